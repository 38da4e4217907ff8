"""Weighted points of the posterior p(u, c | x): means and draws of missing values (Mattei & Frellsen 2019)."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from skgmvae.functional import log_mean_exp
from skgmvae.models.importance import PointSets
from skgmvae.models.laplace import Proposal
from skgmvae.models.proposals import propose
from skgmvae.models.row_shifts import hash_rows, shift_points

__all__ = ["expect_by_points", "resample"]

ENCODER_SHARE, WIDEN = 0.2, 1.5  # of q(u|x) in the proposal, and factor of its standard deviations
STEP = 1e-3  # of latent variables
# of log p(x) by its own spread, for means, and for draws, that need no further points
MOST_VARIANCE, MOST_VARIANCE_OF_DRAWS = 0.0005, 0.002


class _Points(NamedTuple):
    """Points u and their weights.

    Attributes
    ----------
    u : Tensor of shape (n, S, U), or (n, S, K, U) where components have their own
    log_weights : Tensor of shape (n, S, K)
        log p(x, u, c) less the log-density of the proposal.
    log_controls : Tensor of shape (n, S, K)
        The same for the Laplace approximation of the posterior, up to a constant.
    """

    u: Tensor
    log_weights: Tensor
    log_controls: Tensor

    def estimate_log_density(self) -> Tensor:
        """log p(x) of the components, (n,)."""
        return torch.logsumexp(log_mean_exp(self.log_weights, 1), -1)

    def estimate_variance(self, *, has_own: bool) -> Tensor:
        """Variance by its own spread of log p(x), (n,), or of the mean of log p(x|c) if components have their own u."""
        if not has_own:
            excess = _normalize(self.log_weights).sum(-1) - _normalize(self.log_controls).sum(-1)
            return excess.square().sum(1)
        excess = torch.softmax(self.log_weights, 1) - torch.softmax(self.log_controls, 1)
        shares = torch.softmax(log_mean_exp(self.log_weights, 1), -1)
        return (shares * excess.square().sum(1)).sum(-1)


class _Lines(NamedTuple):
    """E[x | u, c], linear in u around the maximum of each component's posterior.

    Attributes
    ----------
    at : Tensor of shape (n, K, U)
    values : Tensor of shape (n, K, F)
    slopes : Tensor of shape (n, K, U, F)
    """

    at: Tensor
    values: Tensor
    slopes: Tensor


def expect_by_points(model: Any, x: Tensor, points: PointSets) -> tuple[Tensor, Tensor]:
    """E[x | x_o], (n, F), as ``likelihood.mean``, and log p(x_o) of the components, (n,)."""
    posterior = model.posterior(x)
    proposal, log_laplace = propose(posterior, refines=points.refines)
    shifts = hash_rows(model.likelihood.standardize(x, torch.float64), points.sets[0].shape[1], points.seed)
    shifts = shifts.to(posterior.mean)
    estimate = _mean_of_own if posterior.has_own_latents else _mean_of_shared
    lines = _linearize(model, posterior, proposal)
    rows, means, log_density = torch.arange(len(x), device=x.device), lines.values[:, 0].clone(), shifts[:, 0].clone()
    for sobol in points.sets:
        some, normals, of_lines = posterior.take(rows), _take(proposal, rows), _take(lines, rows)
        laplace = None if log_laplace is None else log_laplace[rows]
        found = _weigh(some, normals, laplace, sobol, shifts[rows])
        means[rows] = estimate(model, some, of_lines, laplace, found)
        log_density[rows] = found.estimate_log_density()
        rows = rows[found.estimate_variance(has_own=posterior.has_own_latents) > MOST_VARIANCE]
        if not len(rows):
            break
    return means, log_density


def _take(parts: Any, rows: Tensor) -> Any:
    """Some rows (n,) of every tensor of a tuple."""
    return type(parts)(*(part[rows] for part in parts))


def resample(
    model: Any, posterior: Any, points: PointSets, generator: torch.Generator, among: slice | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Draws of u (n, U), or (n, K, U) if components have their own, and of c (n,), and log p(x_o) of all components."""
    proposal, log_laplace = propose(posterior, refines=points.refines)
    if among is not None and log_laplace is not None:
        log_shares = torch.full_like(log_laplace, -torch.inf)
        # of one component, whatever its share
        log_shares[:, among] = torch.log_softmax(log_laplace[:, among], -1)
        proposal = proposal._replace(log_shares=log_shares)
    n, device = len(posterior.mean), posterior.mean.device
    rows, parts = torch.arange(n, device=device), []
    for sobol in points.sets[1:] or points.sets:
        laplace = None if log_laplace is None else log_laplace[rows]
        shifts = torch.rand(len(rows), sobol.shape[1], generator=generator, dtype=torch.float64, device=device)
        found = _weigh(posterior.take(rows), _take(proposal, rows), laplace, sobol, shifts.to(posterior.mean))
        parts.append((rows, *_choose(found, generator, among)))
        rows = rows[found.estimate_variance(has_own=posterior.has_own_latents) > MOST_VARIANCE_OF_DRAWS]
        if not len(rows):
            break
    u, components, log_density = (part.clone() for part in parts[0][1:])
    for rows, *further in parts[1:]:
        u[rows], components[rows], log_density[rows] = further
    return u, components, log_density


def _choose(found: _Points, generator: torch.Generator, among: slice | None) -> tuple[Tensor, Tensor, Tensor]:
    """A point u of each sample by the weights, (n, ...), its component (n,), and log p(x_o), (n,)."""
    log_weights = found.log_weights if among is None else found.log_weights[..., among]
    shares = torch.softmax(log_weights.flatten(1), 1)
    chosen = torch.multinomial(shares, 1, generator=generator).squeeze(1)
    point, components = chosen // log_weights.shape[2], chosen % log_weights.shape[2]
    components = components if among is None else components + among.start
    return found.u[torch.arange(len(point), device=point.device), point], components, found.estimate_log_density()


def _linearize(model: Any, posterior: Any, proposal: Proposal) -> _Lines:
    """E[x | u, c] around the maximum of each component's posterior: by differences, which are as good for a control."""

    def expect(u: Tensor) -> Tensor:
        """E[x | u, c], (n, K, F), at (n, K, U)."""
        mean: Tensor = model.likelihood.mean(posterior.decode_own(u))
        return mean

    maximum = proposal.means.squeeze(-2) if posterior.has_own_latents else proposal.means
    steps = STEP * torch.eye(maximum.shape[-1], dtype=maximum.dtype, device=maximum.device)
    slopes = [(expect(maximum + step) - expect(maximum - step)) / (2.0 * STEP) for step in steps]
    return _Lines(maximum, expect(maximum), torch.stack(slopes, -2))


def _mean_of_shared(model: Any, posterior: Any, lines: _Lines, log_laplace: Tensor | None, points: _Points) -> Tensor:
    """E[x | x_o], (n, F), where components share u; ``log_laplace`` (n, K)."""
    if log_laplace is None:
        raise ValueError("components that share latent variables have a Laplace approximation of their posterior")
    weights, controls = (_normalize(log) for log in (points.log_weights, points.log_controls))
    shares = controls.sum(1)  # (n, K)
    offsets = controls.mT @ points.u - shares.unsqueeze(-1) * lines.at  # (n, K, U)
    expected = model.likelihood.mean(posterior.decode_all(points.u))  # (n, S, 1 or K, F)
    if expected.shape[2] == 1:
        weights = weights.sum(-1, keepdim=True)
    excess = (log_laplace.exp() - shares).unsqueeze(1) @ lines.values
    sampled = torch.einsum("nsk,nskd->nd", weights, expected)
    means: Tensor = sampled + excess.squeeze(1) - (offsets.unsqueeze(-2) @ lines.slopes).sum((1, 2))
    return means


def _mean_of_own(model: Any, posterior: Any, lines: _Lines, log_laplace: Tensor | None, points: _Points) -> Tensor:
    """E[x | x_o], (n, F), where each component has its own u; there is no ``log_laplace``."""
    weights, controls = (torch.softmax(log, 1).unsqueeze(-1) for log in (points.log_weights, points.log_controls))
    offsets = (controls * points.u).sum(1) - lines.at
    expected = model.likelihood.mean(posterior.decode_all(points.u))  # (n, S, K, F)
    of_components = (weights * expected).sum(1) - (offsets.unsqueeze(-2) @ lines.slopes).squeeze(-2)
    log_joint = log_mean_exp(points.log_weights, 1) - log_mean_exp(points.log_controls, 1)  # whose integral is one
    means: Tensor = (torch.softmax(log_joint, -1).unsqueeze(1) @ of_components).squeeze(1)
    return means


def _normalize(log_weights: Tensor) -> Tensor:
    """Weights (n, S, K) whose sum over points and components is one."""
    weights: Tensor = torch.softmax(log_weights.flatten(1), 1).unflatten(1, log_weights.shape[1:])
    return weights


def _weigh(posterior: Any, proposal: Proposal, log_laplace: Tensor | None, sobol: Tensor, shifts: Tensor) -> _Points:
    """The points (S, 1 + U), shifted by (n, 1 + U), of the Laplace approximations and of q(u|x)."""
    has_own = posterior.has_own_latents
    mean, deviation = posterior.mean, posterior.deviation
    mean, deviation = (mean, deviation) if has_own else (mean.squeeze(1), deviation.squeeze(1))
    uniform = shift_points(sobol, shifts)
    wide = proposal.mix(mean, WIDEN * deviation, ENCODER_SHARE)
    u = wide.draw(uniform.unsqueeze(1) if has_own else uniform)
    log_proposal = torch.logsumexp(wide.log_joint(u), -1)  # (n, S), or (n, K, S)
    normals = proposal if log_laplace is None else proposal._replace(log_shares=log_laplace)
    log_normals = normals.log_joint(u)  # (n, S, K), or (n, K, S, 1)
    if has_own:
        u, log_proposal, log_normals = u.transpose(1, 2), log_proposal.mT, log_normals.squeeze(-1).mT
    else:
        log_proposal = log_proposal.unsqueeze(-1)
    return _Points(u, posterior.log_joint(u) - log_proposal, log_normals - log_proposal)
