"""Missing values (NaN): which cells are observed, and normal distributions conditioned on the observed ones."""

from typing import NamedTuple

import torch
from torch import Tensor

from skgmvae.functional import LOG_2PI
from skgmvae.models.normals import CHUNK_VALUES, MOST_CONDITIONED, mask_covariance

__all__ = [
    "Conditional",
    "ObservedCells",
    "complete_linear",
    "estimate_normal",
    "find_missing",
    "widen",
]

MOST_WORK = 2e9  # multiply-adds of an iteration of EM; samples beyond it are left out
MAX_ITER, TOLERANCE = 50, 1e-3  # of EM, and nats per sample
ADDED_VARIANCE = 1e-3  # of standardized features


def find_missing(x: Tensor) -> Tensor | None:
    """Which cells of samples (..., D) are NaN, in a shape that broadcasts to theirs; None if none is.

    None also in an exported graph, which cannot branch and takes complete samples.
    """
    if torch.compiler.is_compiling():
        return None
    for axis, (size, stride) in enumerate(zip(x.shape, x.stride(), strict=True)):
        if stride == 0 and size > 1:  # copies of the same samples
            x = x.narrow(axis, 0, 1)
    missing = x.isnan()
    return missing if bool(missing.any()) else None


@torch.no_grad()
def complete_linear(x: Tensor, missing: Tensor, weight: Tensor, bias: Tensor, log_variance: Tensor) -> Tensor:
    """The samples (n, K, D), their missing values E[x_m | x_o] where x = bias + weightᵀ z + noise, z ~ N(0, I).

    Parameters
    ----------
    x : Tensor of shape (n, K, D)
    missing : Tensor of shape (n, K or 1, D)
    weight : Tensor of shape (K, L, D)
    bias, log_variance : Tensor of shape (K, D)
    """
    W, b = weight.double(), bias.double()
    scaled = W * torch.exp(-log_variance.double()).unsqueeze(-2)  # (K, L, D)
    centered = (x.double() - b).masked_fill(missing, 0.0)
    identity = torch.eye(W.shape[1], dtype=W.dtype, device=W.device)
    information = torch.einsum("nkd,kld,kmd->nklm", (~missing).to(W).expand(x.shape), scaled, W)
    factor = torch.linalg.cholesky(information + identity)
    z = torch.cholesky_solve(torch.einsum("nkd,kld->nkl", centered, scaled).unsqueeze(-1), factor).squeeze(-1)
    return torch.where(missing, (b + torch.einsum("nkl,kld->nkd", z, W)).to(x.dtype), x)


@torch.no_grad()
def widen(missing: Tensor, weight: Tensor, log_variance: Tensor) -> Tensor:
    """By how much missing cells (..., D) raise the log-variances (..., L) of a diagonal posterior of z.

    Of x = weightᵀ z + noise with the prior N(0, I), it is the reciprocal of the precision, whose diagonal is
    1 + Σ_d weight²_ld / variance_d over the observed features; ``weight`` (..., L, D), ``log_variance`` (..., D).
    """
    information = (weight.square() * torch.exp(-log_variance).unsqueeze(-2)).mT  # (..., D, L)
    of_observed = ((~missing).to(information).unsqueeze(-2) @ information).squeeze(-2)
    return torch.log1p(information.sum(-2)) - torch.log1p(of_observed)


class Conditional(NamedTuple):
    """A normal distribution conditioned on the observed cells of each sample.

    Attributes
    ----------
    log_density : Tensor of shape (N,)
        Of the observed cells.
    completed : Tensor of shape (N, D)
        The samples, their missing values E[x_m | x_o].
    covariance : Tensor of shape (D, D)
        Weighted sum of Cov[x | x_o] over the samples.
    """

    log_density: Tensor
    completed: Tensor
    covariance: Tensor


class _Chunk(NamedTuple):
    """Samples of the same or similar patterns: their indices (n,), patterns (P, D) and the pattern of each (n,)."""

    rows: Tensor
    patterns: Tensor
    pattern_of: Tensor


class ObservedCells:
    """Samples (N, D) with missing values, arranged for conditioning on the observed ones many times.

    Each pattern of observed features needs one inverse, whatever the number of its samples.

    Parameters
    ----------
    points : Tensor of shape (N, D)
        float64.
    """

    def __init__(self, points: Tensor) -> None:
        self.missing = points.isnan()
        self.values = points.masked_fill(self.missing, 0.0)
        patterns, pattern_of = torch.unique(~self.missing, dim=0, return_inverse=True)
        self.n_patterns = len(patterns)
        self.chunks = []
        for rows in pattern_of.argsort(stable=True).split(max(1, CHUNK_VALUES // points.shape[1] ** 2)):
            used, local = torch.unique(pattern_of[rows], return_inverse=True)
            self.chunks.append(_Chunk(rows, patterns[used], local))

    def select(self, rows: Tensor) -> "ObservedCells":
        """Some of the samples, by their indices (n,)."""
        return ObservedCells(self.values[rows].masked_fill(self.missing[rows], torch.nan))

    def condition(self, mean: Tensor, covariance: Tensor, weights: Tensor) -> Conditional:
        """N(mean, covariance) given the observed cells; ``weights`` (N,) are those of the summed covariance."""
        centered = (self.values - mean).masked_fill(self.missing, 0.0)
        log_density, completed = torch.empty_like(weights), torch.empty_like(centered)
        precision = torch.zeros_like(covariance)  # weighted sum of precisions of the observed features
        for rows, patterns, pattern_of in self.chunks:
            factor = torch.linalg.cholesky(mask_covariance(covariance, patterns))
            both = patterns.unsqueeze(-1) & patterns.unsqueeze(-2)
            precisions = torch.cholesky_inverse(factor).masked_fill(~both, 0.0)
            log_determinants = 2.0 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
            d = centered[rows]
            solved = torch.bmm(precisions[pattern_of], d.unsqueeze(-1)).squeeze(-1)
            n_observed = patterns.sum(-1)[pattern_of].to(d)
            log_density[rows] = -0.5 * ((d * solved).sum(-1) + log_determinants[pattern_of] + n_observed * LOG_2PI)
            completed[rows] = mean + solved @ covariance
            shares = torch.bincount(pattern_of, weights[rows], len(patterns))
            precision += torch.einsum("p,pij->ij", shares, precisions)
        completed = torch.where(self.missing, completed, self.values)
        return Conditional(log_density, completed, weights.sum() * covariance - covariance @ precision @ covariance)

    def log_density(self, means: Tensor, covariances: Tensor) -> Tensor:
        """log N(x_o; m, C) of the observed cells, (N, K), for means (K, D) and covariances (K, D, D).

        Minus infinity where a covariance is singular. One covariance for all is decomposed once.
        """
        if bool((covariances == covariances[0]).all()):
            return self._log_density(means, covariances[0])
        parts = [self._log_density(means[k : k + 1], covariance) for k, covariance in enumerate(covariances)]
        return torch.cat(parts, -1)

    def _log_density(self, means: Tensor, covariance: Tensor) -> Tensor:
        """The same, (N, K), for one covariance (D, D)."""
        log_density = self.values.new_full((len(self.values), len(means)), -torch.inf)
        for rows, patterns, pattern_of in self.chunks:
            factor, info = torch.linalg.cholesky_ex(mask_covariance(covariance, patterns))
            if bool(info.any()):
                return torch.full_like(log_density, -torch.inf)
            d = (self.values[rows].unsqueeze(-1) - means.T).masked_fill(self.missing[rows].unsqueeze(-1), 0.0)
            squares = torch.linalg.solve_triangular(factor[pattern_of], d, upper=False).square().sum(-2)
            log_determinants = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)[pattern_of]
            of_pattern = 0.5 * patterns.sum(-1)[pattern_of].to(d) * LOG_2PI + log_determinants
            log_density[rows] = -0.5 * squares - of_pattern.unsqueeze(-1)
        return log_density


def estimate_normal(points: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (D,) and covariance (D, D) of standardized samples (N, D) with missing values, by EM.

    The covariance is drawn to its diagonal with the weight of D + 1 samples. Of many samples with many patterns of
    missing values, evenly spaced ones are used.
    """
    N, D = points.shape
    identity = torch.eye(D, dtype=points.dtype, device=points.device)
    observed = (~points.isnan()).sum(0).clamp_min(1)
    mean = points.nansum(0) / observed
    variance = (points - mean).square().nansum(0) / observed
    if D > MOST_CONDITIONED:
        return mean, torch.diag(variance + ADDED_VARIANCE)
    cells = ObservedCells(points)
    n_most = max(10 * D, int(MOST_WORK / D**3))
    if cells.n_patterns > n_most:
        N = n_most
        cells = ObservedCells(points[torch.linspace(0, len(points) - 1, N, dtype=torch.float64).long()])
    covariance, last = torch.diag(variance + ADDED_VARIANCE), -torch.inf
    ones = points.new_ones(N)
    for _ in range(MAX_ITER):
        found = cells.condition(mean, covariance, ones)
        mean = found.completed.mean(0)
        centered = found.completed - mean
        scatter = centered.T @ centered + found.covariance
        diagonal = scatter.diagonal() / N
        covariance = (scatter + (D + 1.0) * diagonal.diag()) / (N + D + 1.0) + ADDED_VARIANCE * identity
        value = float(found.log_density.mean())
        if value - last < TOLERANCE:
            break
        last = value
    return mean, covariance
