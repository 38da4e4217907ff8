"""Missing values given the observed ones: means and draws."""

from typing import Any

import torch
from torch import Tensor

from skgmvae.models.density import compute_background_share
from skgmvae.models.importance import PointSets
from skgmvae.models.linear_posterior import LinearPosterior
from skgmvae.models.weighted_points import expect_by_points, resample

__all__ = ["complete_by_draws", "complete_by_means", "draw_given"]


def complete_by_means(model: Any, x: Tensor, points: PointSets) -> Tensor:
    """The samples (n, D), their missing values E[x_m | x_o] in the units of the data.

    Of a linear model exactly, else by self-normalized importance sampling with points that a hash of the sample shifts,
    and further ones where their weights spread. In each component the decoder, linear around the maximum of the
    posterior, is a control variate.

    A sample that no component explains as well as the background does has the means of the background. Those of the
    components would be extrapolated, in a column of little variance to values far from all others.
    """
    if model.is_linear:
        posterior = LinearPosterior.of(model, x, points)
        expected, log_density = posterior.expect(model.likelihood), torch.logsumexp(posterior.log_joint, -1)
    else:
        expected, log_density = expect_by_points(model, x, points)
    means = model.likelihood.collapse(expected).to(x.dtype)
    return _complete_unexplained(model, x, torch.where(x.isnan(), means, x), log_density)


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
        # by squared shares: an unlikely part extrapolates as far as its share is small; and averaged before they are
        # transformed, since its exponential would outweigh all
        shares = (2.0 * shares.log()).softmax(1)
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

    Of a linear model by its posterior, else by sampling importance resampling: one of the points of a sample, which are
    shifted at random, is drawn by their weights. The missing values follow given the latent variables.

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
    rows, likelihood = torch.arange(len(x), device=x.device), model.likelihood
    if model.is_linear:
        exact = LinearPosterior.of(model, x, points)
        components, output = exact.draw(generator, among)
        has_own, log_density = exact.posterior.has_own_latents, torch.logsumexp(exact.log_joint, -1)
    else:
        posterior = model.posterior(x)
        u, components, log_density = resample(model, posterior, points, generator, among)
        output = posterior.decode_all(u.unsqueeze(1)).squeeze(1)  # (n, 1 or K, F)
        has_own = posterior.has_own_latents
    if not has_own:
        output = output[rows, components if output.shape[1] > 1 else 0]
    drawn = likelihood.collapse(likelihood.mean(output)) if expected else likelihood.draw(output, generator)
    drawn = drawn[rows, components] if has_own else drawn
    return torch.where(x.isnan(), drawn.to(x.dtype), x), components, log_density
