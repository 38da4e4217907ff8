"""Importance sampling of log p(x, c) with proposals from Laplace approximations of the posterior."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, Self

import torch
from torch import Tensor
from torch.quasirandom import SobolEngine

from skgmvae.functional import log_mean_exp
from skgmvae.models.contract import Model
from skgmvae.models.laplace import Expansion, NewtonStep, Proposal, take_newton_step

__all__ = [
    "LatentPosterior",
    "PointSets",
    "add_background",
    "estimate_log_density",
    "estimate_log_joint",
    "estimate_log_posterior",
    "make_point_sets",
]

FIRST, FURTHER = 16, (64, 256)  # points of a sample; further ones where the first are not enough
MANY_FEATURES = 100  # above it, one round and no refinement, since the networks are usually large
# of the estimates of log p(x) and of any p(c|x), by their own spread, that need no further points
MOST_VARIANCE, MOST_POSTERIOR_VARIANCE = 0.005, 0.001
MOST_CORRECTION = math.log(2.0)  # of a component's density by its control
MOST_MISFIT = 0.02  # nats between an expansion and the density at its maximum that need no further expansion
MAX_REFINEMENTS = 4
FAR_BEHIND = 30.0  # nats below the best component, which it cannot make up
LEAST_SHARE = 0.02  # of the proposal for all components together, whatever their evidence
ENCODER_SHARE = 0.5  # of q(z|x) in the proposal of further points
WIDEN = 1.5  # factor of its standard deviations there
SURE = 12.0  # nats
BITS = 2**31


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
        """Standard deviations of q(u|x), of the same shape."""

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


def estimate_log_joint(posterior: LatentPosterior, x: Tensor, points: PointSets) -> Tensor:
    """Estimate of log p(x, c), shape (N, K), of samples (N, D), in the units of the data.

    For each component the logarithm of the joint density is expanded to second order around the mean of q(z|x), or, if
    this is not accurate, once more around the maximum of the first expansion. The normals that follow are the proposal
    (Laplace importance sampling): for a linear decoder they are the posterior itself, and the estimate is exact. Where
    the weights of the points spread, further points are drawn from the normals and from q(z|x) in equal shares.

    Every sample has points of its own: a fixed set, shifted modulo one by a hash of its values (Cranley and Patterson
    1976). The error of a mean over many samples then is that of independent points, while a sample has the same score
    in whatever batch. The estimate of p(x) is unbiased but for the choice of the number of points; that of log p(x) is
    low by about half the relative variance.
    """
    shifts = hash_rows(x, points.sets[0].shape[1], points.seed)
    proposal = _propose(posterior, refines=points.refines)
    estimate = _sample(posterior, proposal, points.sets[0], shifts, controls=not posterior.has_own_latents)
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
            parts.append(_sample(some.take(part), mixture, further, shifts[at[rows]], controls=False))
        log_joint = log_joint.index_copy(0, at, torch.cat([part.log_joint for part in parts]))
        still_open = torch.cat([~part.is_enough for part in parts])
        open_rows = torch.zeros_like(open_rows).index_fill_(0, at[still_open], True)
    return log_joint


def estimate_log_density(model: Model, x: Tensor, points: PointSets) -> Tensor:
    """log p(x), (N,), of samples (N, D): the sum over the components, and the background if there is one."""
    log_density = add_background(model, x, torch.logsumexp(model.log_joint(x, points), -1))
    return log_density.masked_fill(~model.likelihood.supports(x), -math.inf)


def add_background(model: Model, x: Tensor, log_density: Tensor) -> Tensor:
    """The log-density (N,) of samples (N, D) from that of the components (N,)."""
    if model.background is None:
        return log_density
    likelihood = model.likelihood
    log_jacobian = likelihood.log_scale_sum.to(log_density)
    points = likelihood.standardize(x, torch.float64)
    mixed: Tensor = model.background.mix(log_density + log_jacobian, points) - log_jacobian
    return mixed


def estimate_log_posterior(model: Model, x: Tensor, points: PointSets, noise: Tensor) -> Tensor:
    """log p(c|x) = log p(x, c) − log p(x), (N, K), of samples (N, D).

    For many features, where the networks are usually large, samples for which q(c|x) leaves no doubt keep it: their
    most probable component is ``SURE`` nats ahead. ``noise`` (S, ...) is that of ``log_responsibilities``.
    """
    if points.refines or model.n_components == 1:
        return torch.log_softmax(model.log_joint(x, points), -1)
    log_posterior = model.log_responsibilities(x, noise)
    best = log_posterior.topk(2, -1).values
    unsure = best[:, 0] - best[:, 1] < SURE
    if bool(unsure.any()):
        log_posterior[unsure] = torch.log_softmax(model.log_joint(x[unsure], points), -1)
    return log_posterior


def _propose(posterior: LatentPosterior, *, refines: bool) -> Proposal:
    """Normals at the maxima of log p(x, u, c): (n, K) of them, or (n, K, 1) if components have their own u."""
    step = take_newton_step(posterior.expand(posterior.mean), posterior.mean)
    open_rows = torch.arange(len(posterior.mean), device=posterior.mean.device)
    some = posterior
    for _ in range(MAX_REFINEMENTS if refines else 0):
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
        return Proposal(torch.zeros_like(log_integral).unsqueeze(-1), maximum.unsqueeze(-2), factor.unsqueeze(-3))
    shares = (1.0 - LEAST_SHARE) * torch.softmax(log_integral, -1) + LEAST_SHARE / log_integral.shape[-1]
    return Proposal(shares.log(), maximum, factor)


def _misfits(values: Tensor, step: NewtonStep) -> Tensor:
    """Which expansions, (n, K), differ from the density at their maximum, where that may matter to p(c|x)."""
    either = torch.maximum(values, step.log_maximum)
    matters = either > either.amax(-1, keepdim=True) - FAR_BEHIND
    return matters & ~((values - step.log_maximum).abs() <= MOST_MISFIT)


def _sample(
    posterior: LatentPosterior, proposal: Proposal, points: Tensor, shifts: Tensor, *, controls: bool
) -> _Estimate:
    """Estimate from the points (S, 1 + U), shifted by (n, 1 + U) for each sample.

    With ``controls`` the shares ρ_c of the proposal's normals, one per component, are control variates of p(c|x): where
    the normals are the posterior, p(c|x) is exact too.
    """
    uniform = _shift(points, shifts)
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
    log_controls = log_normals - log_proposal if controls else None
    return _average(log_weights, log_controls, proposal.log_shares)


def _average(log_weights: Tensor, log_controls: Tensor | None, log_shares: Tensor) -> _Estimate:
    """Estimate of log p(x, c) from log-weights (n, S, K) of points and shares (n, K) of the proposal's normals.

    Controls are the logarithms, of the same shape, of the probability that a point is of the normal of c.
    """
    S = log_weights.shape[1]
    log_joint = log_mean_exp(log_weights, 1)
    log_totals = torch.logsumexp(log_weights, -1)
    totals = torch.softmax(log_totals, 1)  # (n, S), of each point's weight in the sum
    variance = totals.square().sum(1) - 1.0 / S
    posteriors = torch.softmax(log_weights, -1)
    means = torch.softmax(log_joint, -1)
    residuals = totals.unsqueeze(-1) * (posteriors - means.unsqueeze(1))
    if log_controls is not None:
        # where the normals are not the posterior, the control of a component without a point means nothing
        correction = (log_shares - log_mean_exp(log_controls, 1)).clamp(-MOST_CORRECTION, MOST_CORRECTION)
        log_joint = torch.log_softmax(log_joint + correction, -1) + torch.logsumexp(log_joint, -1, keepdim=True)
        residuals = residuals - (log_controls.exp() - log_shares.exp().unsqueeze(1)) / S
    of_posterior = residuals.square().sum(1).amax(-1)
    return _Estimate(log_joint, (variance <= MOST_VARIANCE) & (of_posterior <= MOST_POSTERIOR_VARIANCE))


def _shift(points: Tensor, shifts: Tensor) -> Tensor:
    """Points (n, S, W) in the open unit cube from points (S, W), shifted modulo one by (n, W)."""
    shifted = (points.to(shifts) + shifts.unsqueeze(1)).frac()
    least = torch.finfo(shifted.dtype).eps
    return shifted.clamp(least, 1.0 - least)


def hash_rows(x: Tensor, width: int, seed: int) -> Tensor:
    """Numbers (N, width), uniform in [0, 1), that depend on the values of a row (N, D) and the seed alone."""
    bits = (x.double() + 0.0).view(torch.int64)  # no negative zero
    odd = torch.arange(1, 2 * x.shape[1], 2, device=x.device) * _GOLDEN
    of_row = _scramble((_scramble(bits) * odd).sum(1) + seed)
    of_column = torch.arange(1, width + 1, device=x.device) * _GOLDEN
    numbers = _scramble(of_row.unsqueeze(1) + of_column) & (BITS - 1)
    return (numbers.to(torch.float64) / BITS).to(x.dtype)


_GOLDEN = -7046029254386353131  # 2⁶⁴ divided by the golden ratio, as a signed number
_FACTORS = (-4658895280553007687, -7723592293110705685)


def _scramble(numbers: Tensor) -> Tensor:
    """Integers (...) whose every bit depends on all bits of the number (the finalizer of SplitMix64)."""
    for shift, factor in zip((30, 27), _FACTORS, strict=True):
        numbers = (numbers ^ ((numbers >> shift) & (2 ** (64 - shift) - 1))) * factor
    return numbers ^ ((numbers >> 31) & (2**33 - 1))
