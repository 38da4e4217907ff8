"""Importance sampling of log p(x, c) with proposals from Laplace approximations of the posterior."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Self

import torch
from torch import Tensor
from torch.quasirandom import SobolEngine

from skgmvae.functional import log_mean_exp
from skgmvae.models.laplace import Expansion, NewtonStep, Proposal, take_newton_step
from skgmvae.models.row_shifts import hash_rows, shift_points

__all__ = [
    "LatentPosterior",
    "PointSets",
    "count_values",
    "estimate_log_joint",
    "make_point_sets",
    "propose",
]

FIRST, FURTHER = 16, (64, 256)  # points of a sample; further ones where the first are not enough
MANY_FEATURES = 100  # above it, one round and no refinement, since the networks are usually large
# of the estimates of log p(x) and of any p(c|x), by their own spread, that need no further points
MOST_VARIANCE, MOST_POSTERIOR_VARIANCE = 0.005, 0.001
MOST_MISFIT = 0.02  # nats between an expansion and the density at its maximum that need no further expansion
MAX_REFINEMENTS, MANY_LATENTS = 4, 20  # with more latent variables, whose derivatives cost more, one refinement
FAR_BEHIND = 30.0  # nats below the best component, which it cannot make up
# of the proposal for components of little evidence: by a power of it, so that no two shares are equal
LEAST_SHARE, TEMPERATURE = 0.02, 100.0
ENCODER_SHARE = 0.5  # of q(z|x) in the proposal of further points
WIDEN = 1.5  # factor of its standard deviations there


class LatentPosterior(Protocol):
    """The posterior p(u, c | x) of some samples: what importance sampling needs to know of a model.

    The latent variables u are shared by all components, or each component has its own.
    """

    @property
    def has_own_latents(self) -> bool:
        """Whether each component has latent variables of its own."""

    @property
    def mean(self) -> Tensor:
        """Of q(u|x), (n, 1, U), or (n, K, U) if components have their own."""

    @property
    def deviation(self) -> Tensor:
        """Standard deviations of q(u|x), (n, 1, U) or (n, K, U)."""

    def take(self, rows: Tensor) -> Self:
        """The posterior of some of the samples, by a mask (n,)."""

    def expand(self, u: Tensor) -> Expansion:
        """log p(x, u, c), (n, K), to second order around u (n, 1 or K, U)."""

    def log_joint(self, u: Tensor) -> Tensor:
        """log p(x, u, c), (n, S, K), at u (n, S, U), or (n, S, K, U) if components have their own."""


class PointSets(NamedTuple):
    """Quasi-random points in the unit cube, (S, 1 + U) each, and whether the first expansion is refined.

    Attributes
    ----------
    sets : sequence of Tensor
        Points of the first estimate, and of each further one.
    refines : bool
    seed : int
        Of the shifts.
    """

    sets: Sequence[Tensor]
    refines: bool
    seed: int


def make_point_sets(width: int, n_features: int, seed: int) -> PointSets:
    """Scrambled Sobol points for ``width`` latent variables; fewer for many features."""
    few = n_features > MANY_FEATURES
    sizes = (FIRST,) if few else (FIRST, *FURTHER)
    engine = SobolEngine(width + 1, scramble=True, seed=seed)
    points, sets = engine.draw(2 * max(sizes), dtype=torch.float64), []
    for size in sizes:  # aligned blocks of the sequence
        sets.append(points[size : 2 * size])
    return PointSets(sets, not few, seed)


@dataclass(frozen=True)
class _Estimate:
    """log p(x, c), (n, K), and whether it needs no further points, (n,)."""

    log_joint: Tensor
    is_enough: Tensor


def count_values(model: Any, n_features: int) -> int:
    """Numbers per sample that an estimate holds at a time: Jacobians and precisions of all components."""
    (n_latents,) = model.noise_shape
    return int(model.n_components * n_latents * (n_latents + n_features))


def estimate_log_joint(posterior: LatentPosterior, x: Tensor, points: PointSets) -> Tensor:
    """Estimate of log p(x, c), shape (N, K), of standardized samples (N, D), in the units of the data.

    For each component the logarithm of the joint density is expanded to second order around the mean of q(z|x), or, if
    this is not accurate, once more around the maximum of the first expansion. The normals that follow are the proposal
    (Laplace importance sampling): for a linear decoder they are the posterior itself, and the estimate is exact. Where
    the weights of the points spread, further points are drawn from the normals and from q(z|x) in equal shares.

    Every sample has points of its own: a fixed set, shifted modulo one by a hash of its values (Cranley and Patterson
    1976). The error of a mean over many samples then is that of independent points, while a sample has the same score
    in whatever batch. The estimate of p(x) is nearly unbiased; that of log p(x) is
    low by about half the relative variance.
    """
    shifts = hash_rows(x, points.sets[0].shape[1], points.seed).to(posterior.mean)
    proposal, log_laplace = propose(posterior, refines=points.refines)
    estimate = _sample(posterior, proposal, points.sets[0], shifts, log_laplace)
    log_joint = estimate.log_joint
    open_rows = ~estimate.is_enough
    for further in points.sets[1:]:
        if not bool(open_rows.any()):
            break
        some, at = posterior.take(open_rows), open_rows.nonzero().flatten()
        mean = some.mean if some.has_own_latents else some.mean.squeeze(1)
        deviation = some.deviation if some.has_own_latents else some.deviation.squeeze(1)
        wide = Proposal(*(part[open_rows] for part in proposal)).mix(mean, WIDEN * deviation, ENCODER_SHARE)
        size = max(1, len(x) * FIRST // len(further))  # as many points at a time as in the first estimate
        parts = []
        for rows in torch.arange(len(at), device=x.device).split(size):
            part = torch.zeros(len(at), dtype=torch.bool, device=x.device).index_fill_(0, rows, True)
            mixture = Proposal(*(tensor[rows] for tensor in wide))
            parts.append(_sample(some.take(part), mixture, further, shifts[at[rows]]))
        log_joint = log_joint.index_copy(0, at, torch.cat([part.log_joint for part in parts]))
        still_open = torch.cat([~part.is_enough for part in parts])
        open_rows = torch.zeros_like(open_rows).index_fill_(0, at[still_open], True)
    # squares of values beyond 1e150 overflow
    return log_joint.masked_fill(~log_joint.isfinite(), -math.inf)


def propose(posterior: LatentPosterior, *, refines: bool) -> tuple[Proposal, Tensor | None]:
    """Normals at the maxima of log p(x, u, c): (n, K) of them, or (n, K, 1) if components have their own u.

    Components that share u have a Laplace approximation of log p(c|x), (n, K), too.
    """
    step = take_newton_step(posterior.expand(posterior.mean), posterior.mean)
    open_rows = torch.arange(len(posterior.mean), device=posterior.mean.device)
    some = posterior
    most = MAX_REFINEMENTS if posterior.mean.shape[-1] <= MANY_LATENTS else 1
    for _ in range(most if refines else 0):
        found = NewtonStep(*(part[open_rows] for part in step))
        expansion = some.expand(found.maximum)
        bad = _misfits(expansion.value, found).any(-1)
        if not bool(bad.any()):
            break
        open_rows, some = open_rows[bad], some.take(bad)
        again = take_newton_step(Expansion(*(part[bad] for part in expansion)), found.maximum[bad])
        step = NewtonStep(*(old.index_copy(0, open_rows, new) for old, new in zip(step, again, strict=True)))
    maximum, factor, log_integral = step.maximum, step.factor, step.log_integral
    if posterior.has_own_latents:
        zero = torch.zeros_like(log_integral)
        return Proposal(zero.unsqueeze(-1), maximum.unsqueeze(-2), factor.unsqueeze(-3)), None
    log_posterior = torch.log_softmax(log_integral, -1)
    others = torch.softmax(log_integral / TEMPERATURE, -1)
    shares = (1.0 - LEAST_SHARE) * log_posterior.exp() + LEAST_SHARE * others
    return Proposal(shares.log(), maximum, factor), log_posterior


def _misfits(values: Tensor, step: NewtonStep) -> Tensor:
    """Which expansions, (n, K), differ from the density at their maximum, where that may matter to p(c|x)."""
    either = torch.maximum(values, step.log_maximum)
    matters = either > either.amax(-1, keepdim=True) - FAR_BEHIND
    return matters & ~((values - step.log_maximum).abs() <= MOST_MISFIT)


def _sample(
    posterior: LatentPosterior,
    proposal: Proposal,
    points: Tensor,
    shifts: Tensor,
    log_laplace: Tensor | None = None,
) -> _Estimate:
    """Estimate from the points (S, 1 + U), shifted by (n, 1 + U) for each sample.

    With an approximation of log p(c|x), (n, K), whose components have the proposal's normals as posteriors of u, its
    integral is a control variate: where it is right, the estimates of p(x) and of p(c|x) are exact.
    """
    uniform = shift_points(points, shifts)
    if posterior.has_own_latents:
        uniform = uniform.unsqueeze(1)  # the same for all components
    u = proposal.draw(uniform)
    log_normals = proposal.log_joint(u)  # (n, S, J) or (n, K, S, J)
    log_proposal = torch.logsumexp(log_normals, -1)
    if posterior.has_own_latents:
        u, log_proposal = u.transpose(1, 2), log_proposal.transpose(1, 2)
    else:
        log_proposal = log_proposal.unsqueeze(-1)
    log_weights = posterior.log_joint(u) - log_proposal  # (n, S, K)
    if log_laplace is None:
        return _average(log_weights)
    log_controls = log_normals + (log_laplace - proposal.log_shares).unsqueeze(1) - log_proposal
    return _average_with_controls(log_weights, log_controls, log_laplace)


def _average(log_weights: Tensor) -> _Estimate:
    """Estimate of log p(x, c) from log-weights (n, S, K) of points."""
    log_joint = log_mean_exp(log_weights, 1)
    totals = torch.softmax(torch.logsumexp(log_weights, -1), 1).unsqueeze(-1)  # of each point's weight in the sum
    residuals = totals * (torch.softmax(log_weights, -1) - torch.softmax(log_joint, -1).unsqueeze(1))
    return _Estimate(log_joint, _is_enough(totals.squeeze(-1) - 1.0 / log_weights.shape[1], residuals))


def _average_with_controls(log_weights: Tensor, log_controls: Tensor, log_laplace: Tensor) -> _Estimate:
    """The same with log-weights (n, S, K) for a density whose integrals over u, log p(c|x) (n, K), are known.

    p(x) is estimated by a ratio of averages; p(c|x) too, or by a difference if c has fewer points than its share.
    """
    log_joint, log_control = log_mean_exp(log_weights, 1), log_mean_exp(log_controls, 1)
    log_means, log_controls_mean = torch.log_softmax(log_joint, -1), torch.log_softmax(log_control, -1)
    lack = log_laplace.exp() - log_controls_mean.exp()  # of points, negative for too many
    log_ratio = log_means + log_laplace - log_controls_mean
    log_sum = torch.logaddexp(log_means, lack.clamp_min(0.0).log())
    log_posterior = torch.log_softmax(torch.where(lack < 0.0, log_ratio, log_sum), -1)
    log_density = torch.logsumexp(log_joint, -1, keepdim=True) - torch.logsumexp(log_control, -1, keepdim=True)
    totals, of_controls = (
        torch.softmax(torch.logsumexp(each, -1), 1).unsqueeze(-1) for each in (log_weights, log_controls)
    )
    residuals = totals * (torch.softmax(log_weights, -1) - log_means.exp().unsqueeze(1))
    expected = torch.softmax(log_controls, -1) - log_controls_mean.exp().unsqueeze(1)
    residuals = residuals - of_controls * expected
    return _Estimate(log_posterior + log_density, _is_enough((totals - of_controls).squeeze(-1), residuals))


def _is_enough(of_density: Tensor, of_posterior: Tensor) -> Tensor:
    """Whether relative errors of p(x), (n, S), and errors of p(c|x), (n, S, K), by point, are small in all, (n,)."""
    variance, of_worst = of_density.square().sum(1), of_posterior.square().sum(1).amax(-1)
    return (variance <= MOST_VARIANCE) & (of_worst <= MOST_POSTERIOR_VARIANCE)
