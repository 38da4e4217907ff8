"""Clusters that are not ellipses as mixtures of Gaussians: how many, and which samples belong to which."""

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from skgmvae.data.lazy import empty_or_memmap
from skgmvae.data.training_data import TrainingData
from skgmvae.initialization.choice import tells_apart
from skgmvae.initialization.left_out import draw_folds, score_left_out
from skgmvae.initialization.mixture import (
    REGULARIZATION,
    Mixture,
    fit_from_each,
    has_samples_for,
    information_criterion,
    n_parameters,
)
from skgmvae.initialization.moments import Regularization, is_near, regularize, sum_up
from skgmvae.initialization.partitions import fit_kmeans
from skgmvae.initialization.representations import MAX_INIT_ROWS, Representation
from skgmvae.initialization.ridgelines import hang_together
from skgmvae.initialization.views import dequantize, rounding_variance
from skgmvae.models.linear_path import MixtureMoments
from skgmvae.runtime import single_thread

__all__ = ["LEAST_GAIN", "Division", "find_division"]

MOST_SAMPLES = 2000  # of a cluster that the search looks at
LEAST_SAMPLES = 10  # of a subcomponent
MOST_FAILURES = 2  # numbers in a row without a better criterion after which the search ends
MAX_ITER = 50
LEAST_SHRINKAGE = 1e-9  # of covariances, for a component without samples
KINDS = ("tied", "full")
LEAST_GAIN, N_ERRORS = 0.1, 2.0  # nats per sample left out, and standard errors of their mean


class Division(NamedTuple):
    """A mixture for every cluster.

    Attributes
    ----------
    parts : list of MixtureMoments or None
        None where a cluster is one Gaussian.
    """

    parts: list[MixtureMoments | None]

    @property
    def counts(self) -> tuple[int, ...]:
        """Numbers (K,) of subcomponents."""
        return tuple(1 if part is None else len(part.weights) for part in self.parts)

    def divide(self, points: Tensor, responsibilities: Tensor) -> Tensor:
        """Responsibilities (N, P) of the subcomponents of samples (N, D), from those of the clusters (N, K)."""
        columns = []
        for of_cluster, part in zip(responsibilities.split(1, -1), self.parts, strict=True):
            columns.append(of_cluster if part is None else of_cluster * _share_out(points, part).to(of_cluster))
        return torch.cat(columns, -1)

    def divide_all(
        self, representation: Representation, data: TrainingData, responsibilities: Tensor, device: torch.device
    ) -> Tensor:
        """The same for all samples of a fit, block by block, in their standardized ``representation``."""
        divided = torch.from_numpy(empty_or_memmap((len(data), sum(self.counts))))
        for first in range(0, len(data), MAX_INIT_ROWS):
            part = slice(first, first + MAX_INIT_ROWS)
            points = torch.from_numpy(representation.transform(data.X[part], device))
            divided[part] = self.divide(points[:, : self.n_features], responsibilities[part])
        return divided

    def estimate_gain(self, points: Tensor, responsibilities: Tensor, random_state: np.random.RandomState) -> float:
        """Mean gain of log p(x) over one Gaussian per cluster, of samples (N, D) left out."""
        points, R = points.double(), responsibilities.double()
        fold, divided = draw_folds(len(points), random_state), self.divide(points, R)
        scores = [score_left_out(points, r, fold, r.__getitem__, random_state) for r in (R, divided)]
        return float((scores[1] - scores[0]).mean())

    @property
    def n_features(self) -> int:
        """D, of continuous columns, which are the first ones."""
        return next(part.means.shape[1] for part in self.parts if part is not None)


@single_thread()
def find_division(
    points: Tensor, responsibilities: Tensor, most: int, random_state: np.random.RandomState
) -> Division | None:
    """Divide the clusters that several Gaussians clearly describe better than one.

    For each cluster and kind of covariances, one for all or one each, the numbers of the best information criteria
    (BIC, AIC) are candidates. The one that describes samples left out best is taken, if it is better than one Gaussian
    by more than two standard errors, and if its components hang together: between groups that lie apart, the number of
    clusters has to decide.

    Parameters
    ----------
    points : Tensor of shape (N, D)
        Standardized samples; those with missing values (NaN) are not looked at.
    responsibilities : Tensor of shape (N, K)
    most : int
        The most subcomponents of a cluster.
    random_state : RandomState

    Returns
    -------
    Division or None
        None where every cluster is one Gaussian.
    """
    if points.shape[1] == 0:
        return None
    is_looked_at = is_near(points.nan_to_num()) & ~points.isnan().any(-1)
    exact, labels, parts = points[is_looked_at].double().numpy(), responsibilities[is_looked_at].argmax(-1).numpy(), []
    distinct, first = np.unique(exact, True, axis=0)
    if len(distinct) < len(exact) and tells_apart(distinct):  # copies would be in several folds
        first.sort()
        exact, labels = exact[first], labels[first]
    continuous = _make_continuous(exact, random_state)
    for c in range(responsibilities.shape[1]):
        own = np.flatnonzero(labels == c)
        if len(own) > MOST_SAMPLES:
            own = np.sort(random_state.choice(own, MOST_SAMPLES, replace=False))
        parts.append(_divide_cluster(continuous[own], exact[own], most, random_state))
    return None if all(part is None for part in parts) else Division(parts)


def _make_continuous(X: NDArray[np.float64], random_state: np.random.RandomState) -> NDArray[np.float64]:
    """The samples (N, D), columns of few values made continuous: values are no subcomponents."""
    has_few = rounding_variance(X) > 0.0
    columns = [dequantize(x, random_state) if few else x for x, few in zip(X.T, has_few, strict=True)]
    return np.stack(columns, axis=1)


def _divide_cluster(
    points: NDArray[np.float64], exact: NDArray[np.float64], most: int, random_state: np.random.RandomState
) -> MixtureMoments | None:
    """The mixture of the samples (n, D) of a cluster; None: one Gaussian. It has to be better for exact values, too."""
    n, D = points.shape
    if n < 2 * LEAST_SAMPLES or not has_samples_for(1, n, D):
        return None
    candidates = [
        (kind, labels) for kind in KINDS for labels in _find_candidates(points, kind, most, random_state).values()
    ]
    if not candidates:
        return None
    fold, best = draw_folds(n, random_state), None
    spaces = [torch.from_numpy(points)]
    spaces += [] if np.array_equal(points, exact) else [torch.from_numpy(exact)]
    ones = spaces[0].new_ones(n, 1)
    before = [score_left_out(x, ones, fold, ones.__getitem__, random_state) for x in spaces]
    for kind, labels in candidates:
        scores = _score_divided(points, spaces, labels, kind, fold, random_state)
        gains = [after - one for after, one in zip(scores, before, strict=True)]
        gain, error = float(gains[0].mean()), float(gains[0].std()) / math.sqrt(n)
        is_clear = gain > max(LEAST_GAIN, N_ERRORS * error) and float(gains[-1].mean()) > 0.0
        if not is_clear or (best is not None and gain <= best[0]):
            continue
        moments = _fit(points, labels, kind)[1]
        if hang_together(moments, spaces[0]):
            best = gain, moments
    return None if best is None else best[1]


def _score_divided(
    points: NDArray[np.float64],
    spaces: list[Tensor],
    labels: NDArray[np.intp],
    kind: str,
    fold: Tensor,
    random_state: np.random.RandomState,
) -> list[Tensor]:
    """log p(x) (n,) of samples left out, in each space (n, D), under mixtures found in the first one.

    They have as many subcomponents as the labels (n,).
    """
    J = int(labels.max()) + 1

    def fit(some: NDArray[np.float64], labels: NDArray[np.intp]) -> Tensor:
        R = torch.from_numpy(np.ascontiguousarray(_fit(some, labels, kind)[0].responsibilities))
        return F.pad(R, (0, J - R.shape[1]))

    def refit(rest: Tensor) -> Tensor:
        some = points[rest.numpy()]
        return fit(some, _cluster(some, J, random_state))

    R = fit(points, labels)
    return [score_left_out(x, R, fold, refit, random_state) for x in spaces]


def _find_candidates(
    points: NDArray[np.float64], kind: str, most: int, random_state: np.random.RandomState
) -> dict[int, NDArray[np.intp]]:
    """By number, labels (n,) from which the mixtures of the best criteria begin; none where one Gaussian is better."""
    n, D = points.shape
    labels = np.zeros(n, np.intp)
    highest, found, n_failures = _criteria(points, labels, kind), [labels, labels], 0
    for J in range(2, most + 1):
        if n_failures == MOST_FAILURES or n < J * LEAST_SAMPLES or (kind == "full" and not has_samples_for(J, n, D)):
            break
        labels = _cluster(points, J, random_state)
        values, n_failures = _criteria(points, labels, kind), n_failures + 1
        for i, value in enumerate(values):
            if value > highest[i]:
                highest[i], found[i], n_failures = value, labels, 0
    return {int(labels.max()) + 1: labels for labels in found if labels.any()}


def _criteria(points: NDArray[np.float64], labels: NDArray[np.intp], kind: str) -> list[float]:
    """Bayesian and Akaike's information criterion in nats per sample, the higher the better."""
    mixture, (n, D) = _fit(points, labels, kind)[0], points.shape
    J = mixture.responsibilities.shape[1]
    return [information_criterion(mixture, D), mixture.bound - n_parameters(kind, J, D) / n]


def _cluster(points: NDArray[np.float64], n: int, random_state: np.random.RandomState) -> NDArray[np.intp]:
    return fit_kmeans(points, n, random_state)[0]


def _fit(points: NDArray[np.float64], labels: NDArray[np.intp], kind: str) -> tuple[Mixture, MixtureMoments]:
    """The mixture after EM from labels (n,), and its moments."""
    center = points.mean(0)
    centered, J = points - center, int(labels.max()) + 1
    mixture = fit_from_each(centered, [labels], J, kind, max_iter=MAX_ITER)[0]
    sums = sum_up(torch.from_numpy(centered), torch.from_numpy(mixture.responsibilities))
    _, means, covariances = regularize(sums, Regularization(LEAST_SHRINKAGE, REGULARIZATION), kind == "tied")
    weights = (sums.counts / len(points)).clamp_min(torch.finfo(sums.counts.dtype).tiny)
    return mixture, MixtureMoments(weights, means + torch.from_numpy(center), covariances)


def _share_out(points: Tensor, mixture: MixtureMoments) -> Tensor:
    """Responsibilities (N, J) of samples (N, D); the weights of those too far for a density."""
    log_joint = mixture.log_joint(points)
    log_joint = torch.where(log_joint.amax(-1, keepdim=True) > -math.inf, log_joint, mixture.weights.log())
    return torch.softmax(log_joint, -1)
