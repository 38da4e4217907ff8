"""Importance sampling of log p(x, c) with proposals from Laplace approximations of the posterior."""

import math
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from skgmvae.models.estimates import Estimate, average, average_with_controls
from skgmvae.models.laplace import Expansion, Proposal
from skgmvae.models.points import FIRST, PointSets, make_point_sets
from skgmvae.models.proposals import Approximation, approximate, make_proposal
from skgmvae.models.row_shifts import hash_rows, shift_points

__all__ = [
    "FIRST",
    "LatentPosterior",
    "PointSets",
    "estimate_log_joint",
    "make_point_sets",
]

ENCODER_SHARE = 0.3  # of q(z|x) in the proposal of further points
WIDEN = 1.5  # factor of its standard deviations there
RELEVANT = 1e9  # nats that order relevant components before all others


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


class SharedPosterior(LatentPosterior, Protocol):
    """One of latent variables that all components share."""

    def restrict(self, components: Tensor) -> Self:
        """The same as if each sample had only its own components (n, J)."""


def estimate_log_joint(posterior: LatentPosterior, x: Tensor, points: PointSets) -> Tensor:
    """Estimate of log p(x, c), shape (N, K), of standardized samples (N, D), in the units of the data.

    For each component the logarithm of the joint density is expanded to second order around the mean of q(z|x) and,
    while this is not accurate, around the maximum of the expansion. The normals that follow are the proposal (Laplace
    importance sampling): for a linear decoder they are the posterior itself, and the estimate is exact. Where the
    weights of the points spread, further points are drawn from the normals and, a smaller share, from q(z|x), widened.
    Components whose share of p(x) is negligible have no points, and keep Laplace's log p(x, c).

    Every sample has points of its own: a fixed set, shifted modulo one by a hash of its values (Cranley and Patterson
    1976). The error of a mean over many samples then is that of independent points, while a sample has the same score
    in whatever batch. The estimate of p(x) is nearly unbiased; that of log p(x) is low by about half the
    relative variance.
    """
    shifts = hash_rows(x, points.sets[0].shape[1], points.seed).to(posterior.mean)
    approximation = approximate(posterior, refines=points.refines)
    estimate: Any = _estimate_own if posterior.has_own_latents else _estimate_shared
    log_joint: Tensor = estimate(posterior, approximation, points, shifts)
    # squares of values beyond 1e150 overflow
    return log_joint.masked_fill(~log_joint.isfinite(), -math.inf)


def _estimate_shared(
    posterior: SharedPosterior, approximation: Approximation, points: PointSets, shifts: Tensor
) -> Tensor:
    """log p(x, c), (n, K), of components that share u: samples with as many relevant components at a time.

    Other components keep their share in the approximation.
    """
    log_posterior = torch.log_softmax(approximation.log_joint, -1)
    n_components = log_posterior.shape[1]
    counts = approximation.is_relevant.sum(-1).clamp_min(1)
    counts = (2.0 ** counts.log2().ceil()).long()
    counts[counts > n_components // 2] = n_components
    log_joint = torch.empty_like(log_posterior)
    for count in counts.unique().tolist():
        rows = (counts == count).nonzero().flatten()
        some = Approximation(*(part[rows] for part in approximation))
        if count == 1 < n_components and points.is_of_posterior:
            log_joint[rows] = log_posterior[rows]
            continue
        if count == n_components:
            log_joint[rows] = _sample_until_enough(posterior.take(rows), some, points, shifts[rows])
            continue
        # at first the relevant ones, of which some may be misfits of little evidence
        order = some.log_joint + torch.where(some.is_relevant, RELEVANT, 0.0)
        components = order.topk(count, -1).indices.sort(-1).values
        kept = Approximation(*(_gather(part, components) for part in some))
        found = _sample_until_enough(posterior.take(rows).restrict(components), kept, points, shifts[rows])
        of_kept = torch.logsumexp(log_posterior[rows].gather(-1, components), -1, keepdim=True)
        rest = log_posterior[rows] - of_kept + torch.logsumexp(found, -1, keepdim=True)
        log_joint[rows] = rest.scatter(-1, components, found)
    return log_joint


def _gather(values: Tensor, components: Tensor) -> Tensor:
    """Values (n, J, ...) of J components of each sample (n, J), from (n, K, ...)."""
    return values[torch.arange(len(values), device=values.device).unsqueeze(-1), components]


def _sample_until_enough(
    posterior: LatentPosterior, approximation: Approximation, points: PointSets, shifts: Tensor
) -> Tensor:
    """log p(x, c), (n, J), from the first points, and from further ones where they are not enough."""
    log_laplace = torch.log_softmax(approximation.log_joint, -1)
    proposal = make_proposal(approximation, log_laplace)
    estimate = _sample(posterior, proposal, points.sets[0], shifts, log_laplace)
    log_joint, rows = estimate.log_joint, torch.arange(len(shifts), device=shifts.device)
    for further in points.sets[1:]:
        rows = rows[estimate.needs_more(is_of_posterior=points.is_of_posterior)]
        if not len(rows):
            break
        estimate = _sample_rows(posterior, proposal, further, shifts, rows)
        log_joint = log_joint.index_copy(0, rows, estimate.log_joint)
    return log_joint


def _estimate_own(
    posterior: LatentPosterior, approximation: Approximation, points: PointSets, shifts: Tensor
) -> Tensor:
    """log p(x, c), (n, K), of components with u of their own."""
    proposal = make_proposal(approximation, None)
    least = 2 if points.is_of_posterior else 1
    log_joint, rows = approximation.log_joint, (approximation.is_relevant.sum(-1) >= least).nonzero().flatten()
    for i, some_points in enumerate(points.sets):
        if not len(rows):
            break
        estimate = _sample_pairs(posterior, proposal, approximation, some_points, shifts, rows, is_wide=i > 0)
        log_joint = log_joint.index_copy(0, rows, estimate.log_joint)
        rows = rows[estimate.needs_more(is_of_posterior=points.is_of_posterior)]
    is_relevant, log_laplace = approximation.is_relevant, approximation.log_joint
    of_relevant = (torch.where(is_relevant, each, -math.inf).logsumexp(-1) for each in (log_joint, log_laplace))
    gain = torch.sub(*of_relevant).nan_to_num(0.0, 0.0, 0.0).unsqueeze(-1)  # the others keep their shares
    return torch.where(is_relevant, log_joint, log_laplace + gain)


def _sample(
    posterior: LatentPosterior, proposal: Proposal, points: Tensor, shifts: Tensor, log_laplace: Tensor | None = None
) -> Estimate:
    """Estimate from the points (S, 1 + U), shifted by (n, 1 + U) for each sample, where components share u.

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
    posterior: LatentPosterior, proposal: Proposal, points: Tensor, shifts: Tensor, rows: Tensor
) -> Estimate:
    """Estimate for some samples, indices (n,), from further points (S, 1 + U), of normals and of q(u|x)."""
    parts = []
    for part in rows.split(_count_at_a_time(len(shifts), points)):
        some = posterior.take(part)
        wide = Proposal(*(values[part] for values in proposal))
        wide = wide.mix(some.mean.squeeze(1), WIDEN * some.deviation.squeeze(1), ENCODER_SHARE)
        parts.append(_sample(some, wide, points, shifts[part]))
    return Estimate(*(torch.cat(values) for values in zip(*parts, strict=True)))


def _sample_pairs(
    posterior: LatentPosterior,
    proposal: Proposal,
    approximation: Approximation,
    points: Tensor,
    shifts: Tensor,
    rows: Tensor,
    *,
    is_wide: bool,
) -> Estimate:
    """The same where components have their own u, of the relevant pairs (P,) alone.

    Others, of constant weight, would make the estimate seem sure where the points of the relevant ones are off.
    """
    is_relevant = approximation.is_relevant
    log_weights = shifts.new_full((len(rows), len(points), is_relevant.shape[1]), -math.inf)
    index, components = is_relevant[rows].nonzero(as_tuple=True)
    n_at_a_time = _count_at_a_time(is_relevant.numel(), points)
    for at, of in zip(index.split(n_at_a_time), components.split(n_at_a_time), strict=True):
        some = posterior.take_pairs(rows[at], of)
        normals = Proposal(*(values[rows[at], of].unsqueeze(1) for values in proposal))
        if is_wide:
            normals = normals.mix(some.mean, WIDEN * some.deviation, ENCODER_SHARE)
        log_weights[at, :, of] = _weigh(some, normals, points, shifts[rows[at]])[0].squeeze(-1)
    return average(log_weights)


def _count_at_a_time(n_first: int, points: Tensor) -> int:
    """How many have as many points (S, 1 + U) at a time as ``n_first`` have in the first estimate."""
    return max(1, n_first * FIRST // len(points))
