"""From responsibilities in an embedding to the moments that a Gaussian mixture prior begins with."""

from typing import NamedTuple

import torch
from torch import Tensor

from skgmvae.functional import weighted_moments

# share of the embedding's within-component variance that q(z|x) begins with
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
        Of q(z|x), in every row and direction; the covariances include it.
    """

    counts: Tensor
    means: Tensor
    covariances: Tensor
    pooled_covariance: Tensor
    posterior_variance: float


def estimate_moments(embedding: Tensor, responsibilities: Tensor, reg_covar: float = 1e-6) -> ComponentMoments:
    """Maximizers of the bound for given responsibilities and q(z|x) = N(embedding, v I).

    Each covariance is that of the embedding of its rows plus v I. It is then drawn towards the pooled one
    by as much as L + 1 rows weigh, so that a component of few rows begins with a proper density, and
    ``reg_covar`` is added to the diagonal.

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
    # one width for all directions: the embedding of few features lies near a plane
    posterior_variance = float(INITIAL_POSTERIOR_SHARE * pooled.diagonal().mean()) + reg_covar
    added = (posterior_variance + reg_covar) * torch.eye(L, dtype=pooled.dtype, device=pooled.device)
    return ComponentMoments(counts, means, shrunk + added, pooled + added, posterior_variance)


def initial_weight_logits(counts: Tensor) -> Tensor:
    """Logits of π, (K,) from counts (K,); a component without rows keeps the weight of one, to come back."""
    return counts.clamp_min(1.0).log()
