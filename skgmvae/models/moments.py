"""Initial moments of a Gaussian mixture prior, from responsibilities in an embedding."""

from typing import NamedTuple

import torch
from torch import Tensor

from skgmvae.functional import weighted_moments

__all__ = ["ComponentMoments", "estimate_moments", "initial_weight_logits"]

# initial variance of q(z|x), relative to the variance of the embedding within components
INITIAL_POSTERIOR_SHARE = 0.01


class ComponentMoments(NamedTuple):
    """Moments of the components in the latent space, in float64.

    Attributes
    ----------
    counts : Tensor of shape (K,)
    means : Tensor of shape (K, L)
    covariances : Tensor of shape (K, L, L)
    pooled_covariance : Tensor of shape (L, L)
    posterior_variance : float
        Variance of q(z|x) for every sample and dimension; the covariances include it.
    """

    counts: Tensor
    means: Tensor
    covariances: Tensor
    pooled_covariance: Tensor
    posterior_variance: float


def estimate_moments(embedding: Tensor, responsibilities: Tensor, reg_covar: float = 1e-6) -> ComponentMoments:
    """Maximizers of the bound for given responsibilities and q(z|x) = N(embedding, v I).

    Each covariance is that of the embedding of its samples plus v I. It is shrunk towards the pooled one with the
    weight of L + 1 samples, so that a component with few samples has a proper density, and ``reg_covar`` is added to
    the diagonal.

    Parameters
    ----------
    embedding : Tensor of shape (N, L)
    responsibilities : Tensor of shape (N, K)
    reg_covar : float, default=1e-6

    Returns
    -------
    ComponentMoments
    """
    L = embedding.shape[1]
    counts, means, scatter = weighted_moments(embedding.double(), responsibilities.double())
    n = counts.reshape(-1, 1, 1)
    pooled = (n / n.sum() * scatter).sum(0)
    shrunk = (n * scatter + (L + 1.0) * pooled) / (n + L + 1.0)
    # the same variance in all directions: the embedding of few features lies close to a plane
    posterior_variance = float(INITIAL_POSTERIOR_SHARE * pooled.diagonal().mean()) + reg_covar
    added = (posterior_variance + reg_covar) * torch.eye(L, dtype=pooled.dtype, device=pooled.device)
    return ComponentMoments(counts, means, shrunk + added, pooled + added, posterior_variance)


def initial_weight_logits(counts: Tensor) -> Tensor:
    """Logits of π, (K,) from counts (K,); an empty component keeps the weight of one sample, to recover."""
    return counts.clamp_min(1.0).log()
