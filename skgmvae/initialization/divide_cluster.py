"""A cluster that is no ellipse as a mixture of Gaussians."""

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from skgmvae.initialization.left_out import draw_folds, score_folds, score_left_out
from skgmvae.initialization.mixture import (
    REGULARIZATION,
    Mixture,
    fit_from_each,
    has_samples_for,
    information_criterion,
    n_parameters,
)
from skgmvae.initialization.moments import regularize, sum_up
from skgmvae.initialization.partitions import fit_kmeans
from skgmvae.initialization.regularization import Regularization
from skgmvae.initialization.ridgelines import hang_together
from skgmvae.models.linear_path import MixtureMoments

__all__ = ["LEAST_GAIN", "divide_cluster"]

LEAST_SAMPLES = 10  # of a subcomponent
MOST_FAILURES = 2  # numbers in a row without a better criterion after which the search ends
MAX_ITER = 50
LEAST_SHRINKAGE = 1e-9  # of covariances, for a component without samples
KINDS = ("tied", "full")
LEAST_GAIN, N_ERRORS = 0.1, 2.0  # nats per sample left out, and standard errors of their mean
N_ERRORS_OF_SOME = 1.5  # by which the mean of some folds may be below the least


def divide_cluster(
    points: NDArray[np.float64], exact: NDArray[np.float64], most: int, random_state: np.random.RandomState
) -> MixtureMoments | None:
    """The mixture of the samples (n, D) of a cluster; None: one Gaussian. It has to be better for exact values, too."""
    n, D = points.shape
    if n < 2 * LEAST_SAMPLES or not has_samples_for(1, n, D):
        return None
    cluster = cache(lambda J: _cluster(points, J, random_state))
    candidates = [(kind, labels) for kind in KINDS for labels in _find_candidates(points, kind, most, cluster).values()]
    if not candidates:
        return None
    fold, best = draw_folds(n, random_state), None
    spaces = [torch.from_numpy(points)]
    spaces += [] if np.array_equal(points, exact) else [torch.from_numpy(exact)]
    ones = spaces[0].new_ones(n, 1)
    before = [score_left_out(x, ones, fold, ones.__getitem__, random_state) for x in spaces]
    for kind, labels in candidates:
        gains = _find_gains(points, spaces, before, labels, kind, fold, random_state)
        if gains is None:
            continue
        gain, error = float(gains[0].mean()), float(gains[0].std()) / math.sqrt(n)
        is_clear = gain > max(LEAST_GAIN, N_ERRORS * error) and float(gains[-1].mean()) > 0.0
        if not is_clear or (best is not None and gain <= best[0]):
            continue
        moments = _estimate(points, _fit(points, labels, kind))
        if hang_together(moments, spaces[0]):
            best = gain, moments
    return None if best is None else best[1]


def _find_gains(
    points: NDArray[np.float64],
    spaces: list[Tensor],
    before: list[Tensor],
    labels: NDArray[np.intp],
    kind: str,
    fold: Tensor,
    random_state: np.random.RandomState,
) -> list[Tensor] | None:
    """By how much log p(x) (n,) of samples left out rises, in each space (n, D), under mixtures found in the first one.

    They have as many subcomponents as the labels (n,). None as soon as some folds speak against them.
    """
    J = int(labels.max()) + 1

    def fit(some: NDArray[np.float64], labels: NDArray[np.intp]) -> Tensor:
        R = torch.from_numpy(np.ascontiguousarray(_fit(some, labels, kind).responsibilities))
        return F.pad(R, (0, J - R.shape[1]))

    def refit(rest: Tensor) -> Tensor:
        some = points[rest.numpy()]
        return fit(some, _cluster(some, J, random_state))

    R, found = fit(points, labels), list[Tensor]()
    for x, one in zip(spaces, before, strict=True):
        gains, seen = torch.empty_like(one), torch.zeros_like(fold, dtype=torch.bool)
        for left, scores in score_folds(x, R, fold, refit, random_state):
            gains[left], seen = scores - one[left], seen | left
            if not found and not _may_be_enough(gains[seen]):
                return None
        found.append(gains)
    return found


def _may_be_enough(gains: Tensor) -> bool:
    """Whether a mean gain above the least is not improbable from those of some folds."""
    error = float(gains.std()) / math.sqrt(len(gains))
    return float(gains.mean()) + N_ERRORS_OF_SOME * error > LEAST_GAIN


def _find_candidates(
    points: NDArray[np.float64], kind: str, most: int, cluster: Callable[[int], NDArray[np.intp]]
) -> dict[int, NDArray[np.intp]]:
    """By number, labels (n,) from which the mixtures of the best criteria begin.

    None where one Gaussian is better, or Akaike's criterion, an optimistic estimate of the gain for samples left out,
    does not promise the least one.
    """
    n, D = points.shape
    labels = np.zeros(n, np.intp)
    found: dict[int, tuple[NDArray[np.intp], float]] = {}  # by criterion
    highest, n_failures = _criteria(points, labels, kind), 0
    least = highest[1] + LEAST_GAIN
    for J in range(2, most + 1):
        if n_failures == MOST_FAILURES or n < J * LEAST_SAMPLES or (kind == "full" and not has_samples_for(J, n, D)):
            break
        labels = cluster(J)
        values, n_failures = _criteria(points, labels, kind), n_failures + 1
        for i, value in enumerate(values):
            if value > highest[i]:
                highest[i], found[i], n_failures = value, (labels, values[1]), 0
    return {int(labels.max()) + 1: labels for labels, akaike in found.values() if akaike > least}


def _criteria(points: NDArray[np.float64], labels: NDArray[np.intp], kind: str) -> list[float]:
    """Bayesian and Akaike's information criterion in nats per sample, the higher the better."""
    mixture, (n, D) = _fit(points, labels, kind), points.shape
    J = mixture.responsibilities.shape[1]
    return [information_criterion(mixture, D), mixture.bound - n_parameters(kind, J, D) / n]


def _cluster(points: NDArray[np.float64], n: int, random_state: np.random.RandomState) -> NDArray[np.intp]:
    return fit_kmeans(points, n, random_state)[0]


def _fit(points: NDArray[np.float64], labels: NDArray[np.intp], kind: str) -> Mixture:
    """The mixture after EM from labels (n,)."""
    return fit_from_each(points - points.mean(0), [labels], int(labels.max()) + 1, kind, max_iter=MAX_ITER)[0]


def _estimate(points: NDArray[np.float64], mixture: Mixture) -> MixtureMoments:
    """The moments of a mixture of the samples (n, D)."""
    center = points.mean(0)
    sums = sum_up(torch.from_numpy(points - center), torch.from_numpy(mixture.responsibilities))
    setting = Regularization(LEAST_SHRINKAGE, REGULARIZATION)
    _, means, covariances = regularize(sums, setting, mixture.kind == "tied")
    weights = (sums.counts / len(points)).clamp_min(torch.finfo(sums.counts.dtype).tiny)
    return MixtureMoments(weights, means + torch.from_numpy(center), covariances)
