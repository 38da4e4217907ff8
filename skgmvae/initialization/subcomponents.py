"""Clusters that are not ellipses as mixtures of Gaussians: how many, and which samples belong to which."""

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skgmvae.data.lazy import empty_or_memmap
from skgmvae.data.training_data import TrainingData
from skgmvae.initialization.copies import tells_apart
from skgmvae.initialization.divide_cluster import LEAST_GAIN, divide_cluster
from skgmvae.initialization.left_out import draw_folds, score_left_out
from skgmvae.initialization.mixture import REGULARIZATION
from skgmvae.initialization.moments import is_near
from skgmvae.initialization.relevance import find_relevant
from skgmvae.initialization.representations import MAX_INIT_ROWS, Representation
from skgmvae.initialization.views import dequantize, rounding_variance
from skgmvae.models.linear_path import MixtureMoments
from skgmvae.runtime import single_thread

__all__ = ["Division", "find_division"]

MOST_SAMPLES = 2000  # of a cluster that the search looks at


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
        return _estimate_gain(points, R, self.divide(points, R), random_state)

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
    clusters has to decide. A cluster that is not divided is looked at once more in the columns that depend on others
    (:func:`~skgmvae.initialization.relevance.find_relevant`): covariances of all cost more than a bent cluster brings.

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
    continuous, depends = _make_continuous(exact, random_state), find_relevant(exact).depends
    for c in range(responsibilities.shape[1]):
        own = np.flatnonzero(labels == c)
        if len(own) > MOST_SAMPLES:
            own = np.sort(random_state.choice(own, MOST_SAMPLES, replace=False))
        parts.append(_divide(continuous[own], exact[own], depends, most, random_state))
    return None if all(part is None for part in parts) else Division(parts)


def _divide(
    points: NDArray[np.float64],
    exact: NDArray[np.float64],
    depends: NDArray[np.bool_],
    most: int,
    random_state: np.random.RandomState,
) -> MixtureMoments | None:
    """The mixture of the samples (n, D) of a cluster, found in all columns or in those that depend on others (D,)."""
    part = divide_cluster(points, exact, most, random_state)
    if part is not None or depends.all():
        return part
    of_some = divide_cluster(points[:, depends], exact[:, depends], most, random_state)
    if of_some is None:
        return None
    x, shares = torch.from_numpy(points), _share_out(torch.from_numpy(points[:, depends]), of_some)
    gain = _estimate_gain(x, shares.new_ones(len(x), 1), shares, random_state)
    return _widen(of_some, x, depends) if gain > LEAST_GAIN else None


def _widen(mixture: MixtureMoments, points: Tensor, has_column: NDArray[np.bool_]) -> MixtureMoments:
    """A mixture of some columns as one of all: the others, independent of them, have the moments of all samples."""
    some, J = torch.from_numpy(np.flatnonzero(has_column)), len(mixture.weights)
    means = points.mean(0).repeat(J, 1)
    covariances = torch.cov(points.T, correction=0)
    covariances.diagonal().add_(REGULARIZATION)  # a column may be constant within the cluster
    covariances = covariances.repeat(J, 1, 1)
    covariances[:, some], covariances[:, :, some] = 0.0, 0.0
    means[:, some] = mixture.means
    covariances[:, some.unsqueeze(-1), some] = mixture.covariances
    return MixtureMoments(mixture.weights, means, covariances)


def _estimate_gain(points: Tensor, before: Tensor, after: Tensor, random_state: np.random.RandomState) -> float:
    """Mean gain of log p(x) of samples (N, D) left out, from one set of responsibilities (N, K) to another (N, P)."""
    fold = draw_folds(len(points), random_state)
    scores = [score_left_out(points, r, fold, r.__getitem__, random_state) for r in (before, after)]
    return float((scores[1] - scores[0]).mean())


def _make_continuous(X: NDArray[np.float64], random_state: np.random.RandomState) -> NDArray[np.float64]:
    """The samples (N, D), columns of few values made continuous: values are no subcomponents."""
    has_few = rounding_variance(X) > 0.0
    columns = [dequantize(x, random_state) if few else x for x, few in zip(X.T, has_few, strict=True)]
    return np.stack(columns, axis=1)


def _share_out(points: Tensor, mixture: MixtureMoments) -> Tensor:
    """Responsibilities (N, J) of samples (N, D); the weights of those too far for a density."""
    log_joint = mixture.log_joint(points)
    log_joint = torch.where(log_joint.amax(-1, keepdim=True) > -math.inf, log_joint, mixture.weights.log())
    return torch.softmax(log_joint, -1)
