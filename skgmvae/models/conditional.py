"""Missing values given the observed ones, by importance sampling (Mattei & Frellsen 2019): means and draws."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from skgmvae.functional import log_mean_exp
from skgmvae.models.density import compute_background_share
from skgmvae.models.importance import PointSets
from skgmvae.models.jacobians import differentiate
from skgmvae.models.laplace import Proposal
from skgmvae.models.proposals import propose
from skgmvae.models.row_shifts import hash_rows, shift_points

__all__ = ["complete_by_draws", "complete_by_means", "draw_given"]

ENCODER_SHARE, WIDEN = 0.2, 1.5  # of q(u|x) in the proposal, and factor of its standard deviations


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


def complete_by_means(model: Any, x: Tensor, points: PointSets) -> Tensor:
    """The samples (n, D), their missing values E[x_m | x_o] in the units of the data.

    Self-normalized importance sampling with points that a hash of the sample shifts. In each component the decoder,
    linear around the maximum of the posterior, is a control variate: for a linear decoder the means are exact.

    A sample that no component explains as well as the background does has the means of the background. Those of the
    components would be extrapolated, in a column of little variance to values far from all others.
    """
    posterior, sobol = model.posterior(x), points.sets[-1]
    proposal, log_laplace = propose(posterior, refines=points.refines)
    shifts = hash_rows(model.likelihood.standardize(x, torch.float64), sobol.shape[1], points.seed)
    found = _weigh(posterior, proposal, log_laplace, sobol, shifts.to(posterior.mean))
    estimate = _mean_of_own if posterior.has_own_latents else _mean_of_shared
    means = model.likelihood.collapse(estimate(model, posterior, proposal, log_laplace, found))
    return _complete_unexplained(model, x, torch.where(x.isnan(), means.to(x.dtype), x), found.estimate_log_density())


def complete_by_draws(model: Any, x: Tensor, points: PointSets, generator: torch.Generator) -> Tensor:
    """The samples (n, D), their missing values drawn given the observed ones."""
    completed, _, log_density = draw_given(model, x, points, generator)
    return _complete_unexplained(model, x, completed, log_density, generator)


def _complete_unexplained(
    model: Any, x: Tensor, completed: Tensor, log_density: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """The completed samples (n, D), of log-densities (n,) under the components; unexplained ones by the background."""
    background = model.background
    if background is None:
        return completed
    rows = (compute_background_share(model, x, log_density) > 0.5).nonzero().flatten()
    if not len(rows):
        return completed
    some, likelihood = x[rows], model.likelihood
    standardized = likelihood.standardize(some, torch.float64)
    if generator is None:
        shares, *moments = background.condition(standardized)
        # averaged before they are transformed: an exponential of an unlikely part would outweigh all
        values = likelihood.gaussian.mean(*((shares.unsqueeze(1) @ part).squeeze(1) for part in moments))
    else:
        values = likelihood.gaussian.restore(background.draw_given(standardized, generator))
    if likelihood is not likelihood.gaussian:
        values = _join_heads(model, values, generator)
    return completed.index_copy(0, rows, torch.where(some.isnan(), values.to(x.dtype), some))


def _join_heads(model: Any, continuous: Tensor, generator: torch.Generator | None) -> Tensor:
    """Samples (n, D) of continuous values (n, G), and of the heads' means, or draws of them, in all samples."""
    n, K, outputs = len(continuous), model.n_components, model.background.outputs
    outputs = continuous.new_zeros(0) if outputs is None else outputs
    # stacked heads have constants of their own
    parts = (part.unsqueeze(-2).expand(n, K, -1) for part in (continuous, outputs.expand(n, -1)))
    joined = model.likelihood.join_heads(*parts, generator)
    if generator is None:
        return torch.as_tensor(joined[:, 0])
    components = torch.randint(K, (n,), generator=generator, device=joined.device)
    return torch.as_tensor(joined[torch.arange(n, device=joined.device), components])


def _mean_of_shared(
    model: Any, posterior: Any, proposal: Proposal, log_laplace: Tensor | None, points: _Points
) -> Tensor:
    """E[x | x_o], (n, D), where components share u; ``log_laplace`` (n, K)."""
    if log_laplace is None:
        raise ValueError("components that share latent variables have a Laplace approximation of their posterior")

    def expect(u: Tensor) -> Tensor:
        """E[x | u, c], (n, K, D), at (n, K, U)."""
        mean: Tensor = model.likelihood.mean(posterior.decode_own(u))
        return mean

    at_maximum, slopes = differentiate(expect, proposal.means)  # (n, K, D) and (n, K, U, D)
    shape = points.log_weights.shape[1:]
    weights, controls = (
        torch.softmax(log.flatten(1), 1).unflatten(1, shape) for log in (points.log_weights, points.log_controls)
    )
    shares = controls.sum(1)  # (n, K)
    offsets = controls.mT @ points.u - shares.unsqueeze(-1) * proposal.means  # (n, K, U)
    expected = model.likelihood.mean(posterior.decode_all(points.u))  # (n, S, 1 or K, D)
    if expected.shape[2] == 1:
        weights = weights.sum(-1, keepdim=True)
    excess = (log_laplace.exp() - shares).unsqueeze(1) @ at_maximum
    sampled = torch.einsum("nsk,nskd->nd", weights, expected)
    means: Tensor = sampled + excess.squeeze(1) - (offsets.unsqueeze(-2) @ slopes).sum((1, 2))
    return means


def _mean_of_own(model: Any, posterior: Any, proposal: Proposal, log_laplace: Tensor | None, points: _Points) -> Tensor:
    """E[x | x_o], (n, D), where each component has its own u; there is no ``log_laplace``."""

    def expect(u: Tensor) -> Tensor:
        """E[x | u, c], (..., n, K, D), at (..., n, K, U)."""
        mean: Tensor = model.likelihood.mean(posterior.decode_all(u))
        return mean

    maximum = proposal.means.squeeze(-2)  # (n, K, U)
    slopes = differentiate(expect, maximum)[1]
    weights, controls = (torch.softmax(log, 1).unsqueeze(-1) for log in (points.log_weights, points.log_controls))
    offsets = (controls * points.u).sum(1) - maximum
    of_components = (weights * expect(points.u)).sum(1) - (offsets.unsqueeze(-2) @ slopes).squeeze(-2)
    log_joint = log_mean_exp(points.log_weights, 1) - log_mean_exp(points.log_controls, 1)  # whose integral is one
    return (torch.softmax(log_joint, -1).unsqueeze(1) @ of_components).squeeze(1)


def draw_given(
    model: Any,
    x: Tensor,
    points: PointSets,
    generator: torch.Generator,
    *,
    among: slice | None = None,
    expected: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """A draw of the missing values and of the component of each sample (n, D), given its observed values.

    Sampling importance resampling: one of the points of a sample, which are shifted at random, is drawn by their
    weights, and the missing values follow given its latent variables.

    Parameters
    ----------
    model : Model
    x : Tensor of shape (n, D)
    points : PointSets
    generator : torch.Generator
    among : slice, optional
        Components, of which each sample has one; None: all.
    expected : bool, default=False
        E[x | u] in place of a draw of x given u.

    Returns
    -------
    completed : Tensor of shape (n, D)
    components : Tensor of shape (n,)
    log_density : Tensor of shape (n,)
        Estimate of log p(x) of the observed values under the components.
    """
    posterior, sobol = model.posterior(x), points.sets[:2][-1]
    proposal, log_laplace = propose(posterior, refines=points.refines)
    if among is not None and log_laplace is not None:
        log_shares = torch.full_like(log_laplace, -torch.inf)
        # of one component, whatever its share
        log_shares[:, among] = torch.log_softmax(log_laplace[:, among], -1)
        proposal = proposal._replace(log_shares=log_shares)
    shifts = torch.rand(len(x), sobol.shape[1], generator=generator, dtype=torch.float64, device=x.device)
    found = _weigh(posterior, proposal, log_laplace, sobol, shifts.to(posterior.mean))
    rows, log_weights = torch.arange(len(x), device=x.device), found.log_weights
    if among is not None:
        log_weights = log_weights[..., among]
    shares = torch.softmax(log_weights.flatten(1), 1)
    chosen = torch.multinomial(shares, 1, generator=generator).squeeze(1)
    point, components = chosen // log_weights.shape[2], chosen % log_weights.shape[2]
    components = components if among is None else components + among.start
    output = posterior.decode_all(found.u[rows, point].unsqueeze(1)).squeeze(1)  # (n, 1 or K, D)
    if not posterior.has_own_latents:
        output = output[rows, components if output.shape[1] > 1 else 0]
    likelihood = model.likelihood
    drawn = likelihood.collapse(likelihood.mean(output)) if expected else likelihood.draw(output, generator)
    drawn = drawn[rows, components] if posterior.has_own_latents else drawn
    return torch.where(x.isnan(), drawn.to(x.dtype), x), components, found.estimate_log_density()


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
