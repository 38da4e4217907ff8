"""Importance sampling of log p(x, c) with proposals from Laplace approximations of the posterior."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, Self

import torch
from torch import Tensor
from torch.quasirandom import SobolEngine

from skgmvae.models.estimates import Estimate, average, average_with_controls
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
MOST_MISFIT = 0.02  # nats between an expansion and the density at its maximum that need no further expansion
MAX_REFINEMENTS, MANY_LATENTS = 4, 20  # with more latent variables, whose derivatives cost more, one refinement
FAR_BEHIND = 30.0  # nats below the best component, which a component cannot make up
# of the proposal for components of little evidence: by a power of it, so that no two shares are equal
LEAST_SHARE, TEMPERATURE = 0.02, 100.0
ENCODER_SHARE = 0.5  # of q(z|x) in the proposal of further points
WIDEN = 1.5  # factor of its standard deviations there


class Posterior(Protocol):
    """The posterior p(u, c | x) of some samples, not normalized.

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

    def expand(self, u: Tensor) -> Expansion:
        """log p(x, u, c), (n, K), to second order around u (n, 1 or K, U)."""

    def value(self, u: Tensor) -> Tensor:
        """log p(x, u, c), (n, K), at u (n, K, U)."""

    def log_joint(self, u: Tensor) -> Tensor:
        """log p(x, u, c), (n, S, K), at u (n, S, U), or (n, S, K, U) if components have their own."""


class LatentPosterior(Posterior, Protocol):
    """What importance sampling needs to know of a model: a posterior, and those of some samples or components."""

    def take(self, rows: Tensor) -> Self:
        """The posterior of some of the samples, by a mask or indices (n,)."""

    def take_pairs(self, rows: Tensor, components: Tensor) -> Posterior:
        """A component each of some samples, (P,): as if it were the only one, K = 1."""


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
    log_joint, rows = estimate.log_joint, (~estimate.is_enough).nonzero().flatten()
    sample_further = _sample_pairs if posterior.has_own_latents else _sample_rows
    for further in points.sets[1:]:
        if not len(rows):
            break
        estimate = sample_further(posterior, proposal, further, shifts, log_joint, rows)
        log_joint = log_joint.index_copy(0, rows, estimate.log_joint)
        rows = rows[~estimate.is_enough]
    # squares of values beyond 1e150 overflow
    return log_joint.masked_fill(~log_joint.isfinite(), -math.inf)


def propose(posterior: LatentPosterior, *, refines: bool) -> tuple[Proposal, Tensor | None]:
    """Normals at the maxima of log p(x, u, c): (n, K) of them, or (n, K, 1) if components have their own u.

    Components that share u have a Laplace approximation of log p(c|x), (n, K), too.
    """
    step = take_newton_step(posterior.expand(posterior.mean), posterior.mean)
    if refines:
        step = _refine(posterior, step)
    maximum, factor, log_integral = step.maximum, step.factor, step.log_integral
    if posterior.has_own_latents:
        zero = torch.zeros_like(log_integral)
        return Proposal(zero.unsqueeze(-1), maximum.unsqueeze(-2), factor.unsqueeze(-3)), None
    log_posterior = torch.log_softmax(log_integral, -1)
    others = torch.softmax(log_integral / TEMPERATURE, -1)
    shares = (1.0 - LEAST_SHARE) * log_posterior.exp() + LEAST_SHARE * others
    return Proposal(shares.log(), maximum, factor), log_posterior


def _refine(posterior: LatentPosterior, step: NewtonStep) -> NewtonStep:
    """Further steps for pairs of a sample and a component whose expansion is not accurate."""
    values = posterior.value(step.maximum)
    for _ in range(MAX_REFINEMENTS if step.maximum.shape[-1] <= MANY_LATENTS else 1):
        at = rows, components = _misfits(values, step).nonzero(as_tuple=True)
        if not len(rows):
            break
        pairs, start = posterior.take_pairs(rows, components), step.maximum[at].unsqueeze(1)
        again = take_newton_step(pairs.expand(start), start)
        step = NewtonStep(*(old.index_put(at, new.squeeze(1)) for old, new in zip(step, again, strict=True)))
        values = values.index_put(at, pairs.value(again.maximum).squeeze(1))
    return step


def _misfits(values: Tensor, step: NewtonStep) -> Tensor:
    """Which expansions, (n, K), differ from the density at their maximum, where that may matter to p(c|x)."""
    matters = _matter(torch.maximum(values, step.log_maximum))
    return matters & ~((values - step.log_maximum).abs() <= MOST_MISFIT)


def _matter(log_joint: Tensor) -> Tensor:
    """Which components are not far behind the best, (n, K)."""
    return log_joint > log_joint.amax(-1, keepdim=True) - FAR_BEHIND


def _sample(
    posterior: LatentPosterior,
    proposal: Proposal,
    points: Tensor,
    shifts: Tensor,
    log_laplace: Tensor | None = None,
) -> Estimate:
    """Estimate from the points (S, 1 + U), shifted by (n, 1 + U) for each sample.

    With an approximation of log p(c|x), (n, K), whose components have the proposal's normals as posteriors of u, its
    integral is a control variate: where it is right, the estimates of p(x) and of p(c|x) are exact.
    """
    log_weights, log_normals, log_proposal = _weigh(posterior, proposal, points, shifts)
    if log_laplace is None:
        return average(log_weights)
    log_controls = log_normals + (log_laplace - proposal.log_shares).unsqueeze(1) - log_proposal
    return average_with_controls(log_weights, log_controls, log_laplace)


def _weigh(posterior: Posterior, proposal: Proposal, points: Tensor, shifts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log-weights (n, S, K) of the points, and the logarithms of the proposal: of each normal, and their sum."""
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
    return posterior.log_joint(u) - log_proposal, log_normals, log_proposal


def _sample_rows(
    posterior: LatentPosterior, proposal: Proposal, points: Tensor, shifts: Tensor, log_joint: Tensor, rows: Tensor
) -> Estimate:
    """Estimate for some samples, indices (n,), from further points (S, 1 + U), of normals and of q(u|x)."""
    parts = []
    for part in rows.split(_count_at_a_time(len(log_joint), points)):
        some = posterior.take(part)
        wide = Proposal(*(values[part] for values in proposal))
        wide = wide.mix(some.mean.squeeze(1), WIDEN * some.deviation.squeeze(1), ENCODER_SHARE)
        parts.append(_sample(some, wide, points, shifts[part]))
    return Estimate(torch.cat([part.log_joint for part in parts]), torch.cat([part.is_enough for part in parts]))


def _sample_pairs(
    posterior: LatentPosterior, proposal: Proposal, points: Tensor, shifts: Tensor, log_joint: Tensor, rows: Tensor
) -> Estimate:
    """The same where components have their own u: for those not far behind; others keep their log p(x, c) (N, K)."""
    log_weights = log_joint[rows].unsqueeze(1).repeat(1, len(points), 1)
    index, components = _matter(log_joint[rows]).nonzero(as_tuple=True)
    n_at_a_time = _count_at_a_time(log_joint.numel(), points)
    for at, of in zip(index.split(n_at_a_time), components.split(n_at_a_time), strict=True):
        if not len(at):  # samples too far for any density
            break
        some = posterior.take_pairs(rows[at], of)
        wide = Proposal(*(values[rows[at], of].unsqueeze(1) for values in proposal))
        wide = wide.mix(some.mean, WIDEN * some.deviation, ENCODER_SHARE)
        log_weights[at, :, of] = _weigh(some, wide, points, shifts[rows[at]])[0].squeeze(-1)
    return average(log_weights)


def _count_at_a_time(n_first: int, points: Tensor) -> int:
    """How many have as many points (S, 1 + U) at a time as ``n_first`` have in the first estimate."""
    return max(1, n_first * FIRST // len(points))
