"""The Gaussian mixture that responsibilities stand for, of samples with missing values, by EM over these."""

import math

import numpy as np
import torch
from torch import Tensor

from skgmvae.initialization.moments import FAR, N_FOLDS, Regularization, Sums, list_settings, regularize
from skgmvae.models.background import Background
from skgmvae.models.linear_path import MixtureMoments
from skgmvae.models.missing import ObservedCells, estimate_normal

__all__ = ["DEFAULT", "MAX_ITER", "begin_mixture", "estimate_observed_mixture", "log_joint_of_observed", "run_em"]

DEFAULT = Regularization(1.0, 1e-2)
MAX_ITER, TOLERANCE = 50, 1e-3  # of EM, and the change of means of standardized samples at which it ends
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
    background = Background(points.shape[1]).fit(points)
    mixture = run_em(ObservedCells(points), R, begin_mixture(points, R.shape[1]), DEFAULT, MAX_ITER, is_tied)[1]
    setting = _choose(points, R, fold, mixture, list_settings(reg_covar, is_tied=is_tied), background, is_tied)
    # samples that the background explains better should not widen a component
    cells = ObservedCells(points)
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


def begin_mixture(points: Tensor, n_components: int) -> MixtureMoments:
    """The normal distribution of all samples for every component."""
    K = n_components
    mean, covariance = estimate_normal(points)
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
    for _ in range(max_iter):
        sums, before = _expect(cells, mixture, responsibilities), mixture.means
        mixture = regularize(sums, setting, is_tied)
        if float((mixture.means - before).abs().amax()) < TOLERANCE:
            break
    return sums, mixture


def _expect(cells: ObservedCells, mixture: MixtureMoments, responsibilities: Tensor) -> Sums:
    """Expected sums given the observed cells."""
    counts, first, second = responsibilities.sum(0), [], []
    for r, mean, covariance in zip(responsibilities.T, mixture.means, mixture.covariances, strict=True):
        found = cells.condition(mean, covariance, r)
        weighted = found.completed * r.unsqueeze(-1)
        first.append(weighted.sum(0))
        second.append(weighted.T @ found.completed + found.covariance)
    return Sums(counts, torch.stack(first), torch.stack(second))


def log_joint_of_observed(cells: ObservedCells, mixture: MixtureMoments) -> Tensor:
    """log π_c + log N(x_o; m_c, C_c), (N, K); minus infinity where a covariance is singular."""
    parts = zip(mixture.means, mixture.covariances, strict=True)
    log_normals = [cells.log_density(mean, covariance) for mean, covariance in parts]
    return mixture.weights.log() + torch.stack(log_normals, -1)
