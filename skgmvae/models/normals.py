"""Normal distributions conditioned on the observed features of each sample; missing ones are NaN."""

import math

import torch
from torch import Tensor

__all__ = ["complete_normal", "condition_variance", "draw_missing", "mask_covariance"]

MOST_CONDITIONED = 100  # features; of more, missing values are filled with means
CHUNK_VALUES = 2**21  # entries of matrices at a time: 16 MiB


def mask_covariance(covariance: Tensor, observed: Tensor) -> Tensor:
    """The covariance (..., D, D) of the observed features (n, ..., D), and the identity for the others."""
    both = observed.unsqueeze(-1) & observed.unsqueeze(-2)
    identity = torch.eye(covariance.shape[-1], dtype=covariance.dtype, device=covariance.device)
    return torch.where(both, covariance, identity)


@torch.no_grad()
def complete_normal(x: Tensor, missing: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
    """The samples (n, D), their missing values E[x_m | x_o] under N(mean, covariance)."""
    if x.shape[-1] > MOST_CONDITIONED:
        return torch.where(missing, mean.to(x), x)
    size = max(1, CHUNK_VALUES // x.shape[-1] ** 2)
    parts = zip(x.split(size), missing.split(size), strict=True)
    return torch.cat([_complete(some, holes, mean, covariance) for some, holes in parts])


def _complete(x: Tensor, missing: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
    """The same of a chunk (n, D)."""
    centered = (x.to(mean) - mean).masked_fill(missing, 0.0)
    factor = torch.linalg.cholesky(mask_covariance(covariance, ~missing))
    solved = torch.cholesky_solve(centered.unsqueeze(-1), factor).squeeze(-1)
    return torch.where(missing, (mean + solved.masked_fill(missing, 0.0) @ covariance).to(x.dtype), x)


@torch.no_grad()
def condition_variance(missing: Tensor, covariance: Tensor) -> Tensor:
    """Variances (n, D) of the missing features given the observed ones under a normal distribution; of others zero."""
    if missing.shape[-1] > MOST_CONDITIONED:
        return covariance.diagonal() * missing
    parts = []
    for holes in missing.split(max(1, CHUNK_VALUES // missing.shape[-1] ** 2)):
        factor = torch.linalg.cholesky(mask_covariance(covariance, ~holes))
        cross = covariance.masked_fill(holes.unsqueeze(-1), 0.0)  # of observed features with all
        whitened = torch.linalg.solve_triangular(factor, cross, upper=False)
        parts.append((covariance.diagonal() - whitened.square().sum(-2)).clamp_min(0.0) * holes)
    return torch.cat(parts)


@torch.no_grad()
def draw_missing(x: Tensor, mean: Tensor, covariance: Tensor, generator: torch.Generator) -> Tensor:
    """The samples (n, D), their missing values drawn given the observed ones under N(mean, covariance)."""
    missing, factor = x.isnan(), torch.linalg.cholesky(covariance)
    noise = torch.randn(x.shape, generator=generator, dtype=mean.dtype, device=mean.device)
    normal = mean + noise @ factor.T
    # a draw less its own conditional mean has the conditional covariance
    residual = normal - complete_normal(normal.masked_fill(missing, math.nan), missing, mean, covariance)
    return torch.where(missing, complete_normal(x, missing, mean, covariance) + residual.to(x.dtype), x)
