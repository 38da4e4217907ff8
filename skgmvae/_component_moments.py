"""Means and covariances of the components in the units of the data."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.quasirandom import SobolEngine

from skgmvae._evaluation import count_weights, inference_precision, model_for_queries
from skgmvae.data.arrays import Floats
from skgmvae.models.subcomponents import average_subcomponents, find_clusters
from skgmvae.runtime import limit_threads

__all__ = ["component_covariances", "component_expectations", "component_means"]

N_PAIRS = 512  # of draws per component
CHUNK_VALUES = 2**21  # of samples, at a time: 16 MiB


@torch.inference_mode()
def component_means(module: Any, n_features: int, device: torch.device) -> Floats:
    """E[x | c] in the units of the data, shape (K, D); exact for a linear decoder. Of categories the most probable."""
    expected = component_expectations(module, n_features, device)
    means: Floats = module.likelihood.collapse(expected).numpy(force=True)
    return means


@torch.inference_mode()
def component_expectations(module: Any, n_features: int, device: torch.device) -> Tensor:
    """As ``component_means``, but of categories their probabilities: (K, F)."""
    return average_subcomponents(module, _average(module, n_features, device, lambda mean, _: mean.sum(0)))


@torch.inference_mode()
def component_covariances(module: Any, n_features: int, device: torch.device) -> Floats:
    """Cov[x | c] in the units of the data, shape (K, D, D), by the law of total covariance; exact as the means."""
    to_numbers: Callable[[Tensor], Tensor] = module.likelihood.to_numbers
    means = to_numbers(component_expectations(module, n_features, device))
    if module.subcomponents is not None:
        means = means[find_clusters(module.subcomponents)]

    def scatter(mean: Tensor, variance: Tensor) -> Tensor:
        centered = (to_numbers(mean) - means.to(mean)).movedim(0, 1)  # (K, S, D)
        return centered.mT @ centered + variance.sum(0).diag_embed()

    covariances = average_subcomponents(module, _average(module, n_features, device, scatter))
    found: Floats = covariances.numpy(force=True)
    return found


def _average(
    module: Any, n_features: int, device: torch.device, summarize: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """Average over latent variables of a sum (K, ...) of the moments (S, K, D) of x given them.

    The latent variables are quasi-random, with exactly the moments of a standard normal.
    """
    with inference_precision(single=False):
        model = model_for_queries(module, device)
    parameter = next(model.parameters())
    noise = _draw_balanced(*model.noise_shape).to(parameter)
    size = max(1, CHUNK_VALUES // (model.n_components * n_features))
    with limit_threads(N_PAIRS * count_weights(model)):
        parts = [summarize(*model.component_moments(part)) for part in noise.split(size)]
    return torch.stack(parts).sum(0) / len(noise)


def _draw_balanced(width: int) -> Tensor:
    """Normal numbers (S, width) of mean zero and covariance identity, exactly: pairs of opposite sign, whitened."""
    n_pairs = max(N_PAIRS, 2 ** math.ceil(math.log2(width + 1)))
    engine = SobolEngine(width, scramble=True, seed=0)
    uniform = engine.draw(2 * n_pairs, dtype=torch.float64)[n_pairs:]
    noise = torch.special.ndtri(uniform.clamp(1e-12, 1.0 - 1e-12))
    factor = torch.linalg.cholesky(noise.T @ noise / n_pairs)
    noise = torch.linalg.solve_triangular(factor, noise.T, upper=False).T
    return torch.cat([noise, -noise])
