"""The Gaussian mixture that responsibilities stand for: moments, regularized by as much as other samples ask for."""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from skgmvae.functional import LOG_2PI
from skgmvae.initialization.regularization import (
    Regularization,
    Score,
    climb,
    list_settings,
    narrow,
    take_every_other,
)
from skgmvae.models.background import Background
from skgmvae.models.linear_path import MixtureMoments

__all__ = [
    "FAR",
    "N_FOLDS",
    "Sums",
    "choose_regularization",
    "estimate_mixture",
    "is_near",
    "mixture_log_prob",
    "regularize",
    "sum_up",
    "weigh_components",
]

N_FOLDS, MAX_SCORED = 5, 500  # and samples of a fold
CACHED_VALUES = 2**17  # float64 numbers, 1 MiB
# standardized value beyond which a sample does not enter the moments; by mean and deviation none is beyond √N
FAR = 200.0


class Sums(NamedTuple):
    """Σ r, (..., K); Σ r x, (..., K, D); Σ r x xᵀ, (..., K, D, D)."""

    counts: Tensor
    first: Tensor
    second: Tensor


def estimate_mixture(
    points: Tensor,
    responsibilities: Tensor,
    random_state: np.random.RandomState,
    *,
    reg_covar: float = 1e-6,
    is_tied: bool = False,
) -> MixtureMoments:
    """Moments of the components, in float64; covariances are drawn towards the pooled one.

    By how much, and what is added to the variances, is chosen by the likelihood of samples left out (five folds).

    Parameters
    ----------
    points : Tensor of shape (N, D)
        Standardized inputs.
    responsibilities : Tensor of shape (N, K)
    random_state : RandomState
        Of the folds.
    reg_covar : float, default=1e-6
        The least that is added to the variances.
    is_tied : bool, default=False
        One covariance for all components.

    Returns
    -------
    MixtureMoments
    """
    points, responsibilities = points.double(), responsibilities.double()
    near = is_near(points)
    if int(near.sum()) > N_FOLDS:
        points, responsibilities = points[near], responsibilities[near]
    setting, total = choose_regularization(points, responsibilities, random_state, reg_covar=reg_covar, is_tied=is_tied)
    return regularize(total, setting, is_tied)


def is_near(points: Tensor) -> Tensor:
    """Which samples (N, D) are near enough to the others to enter the moments, (N,)."""
    return points.abs().amax(1) <= max(FAR, math.sqrt(len(points)))


def choose_regularization(
    points: Tensor,
    responsibilities: Tensor,
    random_state: np.random.RandomState,
    *,
    reg_covar: float = 1e-6,
    is_tied: bool = False,
) -> tuple[Regularization, Sums]:
    """The setting of the highest likelihood of samples left out, and sums without samples that belong to no component.

    Parameters as in :func:`estimate_mixture`, in float64.
    """
    fold = torch.from_numpy(random_state.permutation(len(points)) % N_FOLDS)
    background = Background(points.shape[1]).fit(points)
    score, total = _make_score(points, responsibilities, fold, background, is_tied=is_tied)
    settings = list_settings(reg_covar, is_tied=is_tied)
    some = take_every_other(settings)
    best = some[int(np.argmax(score(some)))]
    # samples that the background explains better should not widen a component
    log_prob = mixture_log_prob(points, regularize(total, best, is_tied))
    shares = (log_prob - background.mix(log_prob, points)).exp().clamp_max(1.0)
    score, total = _make_score(points, responsibilities * shares.unsqueeze(-1), fold, background, is_tied=is_tied)
    return narrow(climb(settings, score, best), score, reg_covar), total


def weigh_components(responsibilities: Tensor) -> MixtureMoments:
    """The mixture of responsibilities (N, K) in no dimension."""
    N, K = responsibilities.shape
    weights = (responsibilities.double().sum(0) + 1.0) / (N + K)
    return MixtureMoments(weights, weights.new_zeros(K, 0), weights.new_zeros(K, 0, 0))


def _make_score(
    points: Tensor, responsibilities: Tensor, fold: Tensor, background: Background, *, is_tied: bool
) -> tuple[Score, Sums]:
    """The likelihood of samples left out by regularizations of the others, and the sums of all samples."""
    sums = [sum_up(points[fold == k], responsibilities[fold == k]) for k in range(N_FOLDS)]
    stacked = Sums(*(torch.stack(part) for part in zip(*sums, strict=True)))
    total = Sums(*(part.sum(0) for part in stacked))
    rest = Sums(*(whole - part for whole, part in zip(total, stacked, strict=True)))
    folds = [points[fold == k][:MAX_SCORED] for k in range(N_FOLDS)]
    left_out = nn.utils.rnn.pad_sequence(folds, batch_first=True)
    is_one = torch.arange(left_out.shape[1]) < torch.tensor([[len(part)] for part in folds])
    own = background(left_out.flatten(0, 1)).unflatten(0, is_one.shape)
    # settings and folds at a time, so that the values of a step stay in the processor's cache
    n_values = responsibilities.shape[1] * left_out[0].numel()
    n_at_once, n_settings = max(1, CACHED_VALUES // n_values), max(1, CACHED_VALUES // (N_FOLDS * n_values))

    def score(settings: Sequence[Regularization]) -> list[float]:
        values: list[float] = []
        for first in range(0, len(settings), n_settings):
            setting = torch.tensor(settings[first : first + n_settings], dtype=points.dtype)[..., None, None]
            weights, means, covariances = regularize(rest, setting.unbind(1), is_tied)
            some = (slice(k, k + n_at_once) for k in range(0, N_FOLDS, n_at_once))
            parts = ((left_out[k], MixtureMoments(weights[k], means[k], covariances[:, k])) for k in some)
            found = list(itertools.starmap(mixture_log_prob, parts))
            mixed = background.mix(torch.cat(found, 1), left_out, own)
            values += mixed[:, is_one].mean(-1).tolist()
        return values

    return score, total


def sum_up(points: Tensor, responsibilities: Tensor) -> Sums:
    """Sums (K, ...) of samples (N, D) with responsibilities (N, K)."""
    second = [(points * column.unsqueeze(-1)).T @ points for column in responsibilities.T]
    return Sums(responsibilities.sum(0), responsibilities.T @ points, torch.stack(second))


def regularize(sums: Sums, setting: Regularization | Sequence[Tensor], is_tied: bool) -> MixtureMoments:
    """Weights (..., K), means (..., K, D) and covariances (..., K, D, D) from sums with the same leading axes.

    Of several settings, in tensors (S, 1, 1), covariances have one more axis, the first.
    """
    counts, first, second = sums
    values = (torch.as_tensor(value, dtype=counts.dtype, device=counts.device) for value in setting)
    shrinkage, added_variance, decorrelation = (value[..., None, None] for value in values)
    K, D = first.shape[-2:]
    n_samples = counts.sum(-1, keepdim=True)
    least = torch.finfo(counts.dtype).tiny  # a component without samples stands at the mean of all
    overall = first.sum(-2, keepdim=True) / n_samples.unsqueeze(-1)
    means = torch.where(counts.unsqueeze(-1) > 0, first / counts.clamp_min(least).unsqueeze(-1), overall)
    counts = counts[..., None, None]
    scatter = second - counts * means.unsqueeze(-1) * means.unsqueeze(-2)
    pooled = scatter.sum(-3, keepdim=True) / n_samples[..., None, None]
    prior = shrinkage * (D + 1.0)
    covariances = (scatter + prior * pooled) / (counts + prior)
    if is_tied:
        covariances, counts = pooled.expand_as(scatter), n_samples[..., None, None]
    identity = torch.eye(D, dtype=counts.dtype, device=counts.device)
    if bool((decorrelation > 0.0).any()):
        left = torch.where(decorrelation > 0.0, counts / (counts + decorrelation * (D + 1.0)), 1.0)
        covariances = covariances * (left + (1.0 - left) * identity)
    return MixtureMoments((sums.counts + 1.0) / (n_samples + K), means, covariances + added_variance * identity)


def mixture_log_prob(points: Tensor, mixture: MixtureMoments) -> Tensor:
    """log-density (..., n) of samples (..., n, D) under mixtures; minus infinity where a covariance is singular."""
    K, D = mixture.means.shape[-2:]
    factor, info = torch.linalg.cholesky_ex(mixture.covariances)
    # one product for all components; solving for the centered samples takes twice as long
    inverse = torch.linalg.solve_triangular(factor, torch.eye(D).to(points), upper=False)
    whitened = (inverse.flatten(-3, -2) @ points.mT).unflatten(-2, (K, D))
    squares = whitened.sub_(inverse @ mixture.means.unsqueeze(-1)).square_().sum(-2)
    log_determinants = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    log_normals = -0.5 * (squares + D * LOG_2PI) - log_determinants.unsqueeze(-1)
    log_prob = torch.logsumexp(mixture.weights.log().unsqueeze(-1) + log_normals, -2)
    return torch.where(info.any(-1, keepdim=True), -math.inf, log_prob)
