"""The Gaussian mixture that responsibilities stand for, of samples with missing values, by EM over these."""

import math

import numpy as np
import torch
from torch import Tensor

from skgmvae.initialization.moments import FAR, N_FOLDS, Sums, regularize
from skgmvae.initialization.regularization import Regularization, list_settings
from skgmvae.models.background import Background
from skgmvae.models.linear_path import MixtureMoments
from skgmvae.models.missing import ObservedCells

__all__ = ["DEFAULT", "MAX_ITER", "begin_mixture", "estimate_observed_mixture", "log_joint_of_observed", "run_em"]

DEFAULT = Regularization(1.0, 1e-2)
MAX_ITER, TOLERANCE = 20, 1e-3  # of EM, and the change of means of standardized samples at which it ends
NEGLIGIBLE = 1e-8  # share of a sample in a component
FOLD_ITER = 4  # of EM without the samples of a fold, from the moments with them
SCORED_WORK = 5e6  # multiply-adds of the score of a fold, with one inverse per sample


def estimate_observed_mixture(
    points: Tensor,
    responsibilities: Tensor,
    random_state: np.random.RandomState,
    *,
    reg_covar: float = 1e-6,
    is_tied: bool = False,
) -> MixtureMoments:
    """As ``moments.estimate_mixture``, of standardized samples (N, D) with missing values.

    The responsibilities (N, K) are kept; EM is over the missing values alone.
    """
    points, R = points.double(), responsibilities.double()
    near = points.nan_to_num().abs().amax(1) <= max(FAR, math.sqrt(len(points)))
    if int(near.sum()) > N_FOLDS:
        points, R = points[near], R[near]
    fold = torch.from_numpy(random_state.permutation(len(points)) % N_FOLDS)
    cells, background = ObservedCells(points), Background(points.shape[1]).fit(points)
    first = begin_mixture(background.mean, background.factor @ background.factor.T, R.shape[1])
    mixture = run_em(cells, R, first, DEFAULT, MAX_ITER, is_tied)[1]
    setting = _choose(points, R, fold, mixture, list_settings(reg_covar, is_tied=is_tied), background, is_tied)
    # samples that the background explains better should not widen a component
    log_prob = torch.logsumexp(log_joint_of_observed(cells, mixture), -1)
    shares = (log_prob - background.mix(log_prob, points)).exp().clamp_max(1.0)
    return run_em(cells, R * shares.unsqueeze(-1), mixture, setting, MAX_ITER, is_tied)[1]


def _choose(
    points: Tensor,
    responsibilities: Tensor,
    fold: Tensor,
    mixture: MixtureMoments,
    settings: list[Regularization],
    background: Background,
    is_tied: bool,
) -> Regularization:
    """The setting of the highest likelihood of samples left out; missing values stay as they are by default."""
    n_scored = max(10, int(SCORED_WORK / points.shape[1] ** 3))
    parts = []
    for k in range(N_FOLDS):
        inner, scored = fold != k, points[fold == k][:n_scored]
        sums, _ = run_em(ObservedCells(points[inner]), responsibilities[inner], mixture, DEFAULT, FOLD_ITER, is_tied)
        parts.append((sums, ObservedCells(scored), scored, background(scored)))

    def score(setting: Regularization) -> float:
        values = []
        for sums, cells, scored, of_background in parts:
            log_prob = torch.logsumexp(log_joint_of_observed(cells, regularize(sums, setting, is_tied)), -1)
            values.append(background.mix(log_prob, scored, of_background))
        return float(torch.cat(values).mean())

    return max(settings, key=score)


def begin_mixture(mean: Tensor, covariance: Tensor, n_components: int) -> MixtureMoments:
    """The normal distribution of all samples for every component."""
    K = n_components
    return MixtureMoments(mean.new_full((K,), 1.0 / K), mean.expand(K, -1), covariance.expand(K, -1, -1))


def run_em(
    cells: ObservedCells,
    responsibilities: Tensor,
    mixture: MixtureMoments,
    setting: Regularization,
    max_iter: int,
    is_tied: bool,
) -> tuple[Sums, MixtureMoments]:
    """EM over the missing values; the sums of the completed samples, and the moments by them."""
    parts = [_take_part(cells, r) for r in responsibilities.T]
    for _ in range(max_iter):
        sums, before = _expect(parts, mixture), mixture.means
        mixture = regularize(sums, setting, is_tied)
        if float((mixture.means - before).abs().amax()) < TOLERANCE:
            break
    return sums, mixture


def _take_part(cells: ObservedCells, shares: Tensor) -> tuple[ObservedCells, Tensor]:
    """The samples that have a share (N,) in a component, and these shares: the others would take most of the time."""
    rows = (shares > NEGLIGIBLE).nonzero().flatten()
    return (cells, shares) if len(rows) == len(shares) else (cells.select(rows), shares[rows])


def _expect(parts: list[tuple[ObservedCells, Tensor]], mixture: MixtureMoments) -> Sums:
    """Expected sums given the observed cells."""
    counts, first, second = torch.stack([shares.sum() for _, shares in parts]), [], []
    for (cells, shares), mean, covariance in zip(parts, mixture.means, mixture.covariances, strict=True):
        found = cells.condition(mean, covariance, shares)
        weighted = found.completed * shares.unsqueeze(-1)
        first.append(weighted.sum(0))
        second.append(weighted.T @ found.completed + found.covariance)
    return Sums(counts, torch.stack(first), torch.stack(second))


def log_joint_of_observed(cells: ObservedCells, mixture: MixtureMoments) -> Tensor:
    """log π_c + log N(x_o; m_c, C_c), (N, K); minus infinity where a covariance is singular."""
    return mixture.weights.log() + cells.log_density(mixture.means, mixture.covariances)
