"""Clusters of the samples that miss no value, where these can stand for all."""

import math

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import pairwise_distances_chunked

from skgmvae.data.arrays import Array
from skgmvae.initialization.comparison import link_points, lost_relative_to
from skgmvae.initialization.mixture import n_parameters
from skgmvae.initialization.rules import speak_against_mixture

__all__ = ["SOME", "CompleteCases"]

MOST, SOME = 0.5, 0.1  # shares of the samples: complete ones stand for all, and have a say
PER_PARAMETER = 5  # complete samples per cluster and parameter of a covariance matrix
MAX_SAMPLES = 5_000  # among which the nearest of the others are looked for …
N_NEAREST = 5  # … and this many of them give one its responsibilities
MAX_ASKED = 1_000  # of the others, about the samples around them: …
N_EXPECTED = 8  # … complete ones among their nearest on average; by chance, there is at least one
LEAST_CLUSTER = 0.1  # samples without complete ones around them, relative to N / K, that may be a cluster of their own
WORKING_MEMORY = 64  # MiB, of distances


class CompleteCases:
    """The complete samples of a table, and the others' nearest among them in the columns that these have.

    Parameters
    ----------
    points : ndarray of shape (N, D)
        Standardized, NaN where values are missing.
    random_state : RandomState
    """

    def __init__(self, points: Array, random_state: np.random.RandomState) -> None:
        is_complete = ~np.isnan(points).any(1)
        self.points, self.indices, self.others = points, np.flatnonzero(is_complete), np.flatnonzero(~is_complete)
        self.random_state = random_state
        self.few = self._draw(np.arange(len(self.indices)), MAX_SAMPLES)
        self.known = points[self.indices[self.few]].astype(np.float64)

    @property
    def share(self) -> float:
        """Of complete samples among all."""
        return len(self.indices) / len(self.points)

    def are_enough(self, n_clusters: int) -> bool:
        """Whether clusters can be looked for among them alone."""
        per_cluster = PER_PARAMETER * n_parameters("full", 1, self.points.shape[1])
        return self.share >= MOST and len(self.indices) >= n_clusters * per_cluster

    def stand_for_all(self, n_clusters: int) -> bool:
        """Whether hardly any other sample is without complete ones among its nearest, in the columns that it has.

        Otherwise a cluster may lack a value in nearly every sample.
        """
        kept = self.others[~np.isnan(self.points[self.others]).all(1)]
        asked, pool = self._draw(kept, MAX_ASKED), self._draw(np.arange(len(self.points)), MAX_SAMPLES)
        n_nearest = 1 + min(math.ceil(N_EXPECTED / self.share), len(pool) - 1)  # a sample is its own
        nearest = pool[_find_nearest(self.points[asked], self.points[pool], n_nearest)]
        n_alone = int((~np.isin(nearest, self.indices).any(1)).sum())
        return n_alone * len(kept) < LEAST_CLUSTER * len(self.points) / n_clusters * max(len(asked), 1)

    def lose_less(self, before: NDArray[np.float64], found: NDArray[np.float64]) -> bool:
        """Whether responsibilities (n, K) clearly tell more about neighbors than those (N, K) found among all samples.

        Both are compared among the complete samples.
        """
        labels = [R[self.few].argmax(1) for R in (before[self.indices], found)]
        return speak_against_mixture(
            lost_relative_to(labels[0], labels[1:], self.known, link_points(self.known), found.shape[1])
        )

    def assign(self, found: NDArray[np.float64]) -> NDArray[np.float64]:
        """Responsibilities (N, K) of all samples from those of the complete ones (n, K).

        The others get the mean of their nearest; those that miss all values, the mean of all.
        """
        responsibilities = np.empty((len(self.points), found.shape[1]))
        responsibilities[self.indices] = found
        others = self.points[self.others]
        nearest = _find_nearest(others, self.known, min(N_NEAREST, len(self.known)))
        is_empty = np.isnan(others).all(1, keepdims=True)
        responsibilities[self.others] = np.where(is_empty, found.mean(0), found[self.few][nearest].mean(1))
        return responsibilities

    def _draw(self, indices: NDArray[np.intp], most: int) -> NDArray[np.intp]:
        """At most so many of the indices, ascending."""
        if len(indices) <= most:
            return indices
        return np.sort(self.random_state.choice(indices, most, replace=False))


def _find_nearest(points: NDArray[np.floating], among: NDArray[np.floating], n_nearest: int) -> NDArray[np.intp]:
    """Indices (n, n_nearest) of the nearest to points (n, D) among those that miss no column that a point has."""
    has, misses = (~np.isnan(points)).astype(np.float32), np.isnan(among).astype(np.float32)

    def take(distances: NDArray[np.float64], start: int) -> NDArray[np.intp]:
        distances[has[start : start + len(distances)] @ misses.T > 0.0] = np.inf
        return np.argpartition(distances, n_nearest - 1, axis=1)[:, :n_nearest].copy()  # not all of them

    if not len(points):
        return np.empty((0, n_nearest), np.intp)
    arrays = (array.astype(np.float64) for array in (points, among))
    parts = pairwise_distances_chunked(
        *arrays, metric="nan_euclidean", reduce_func=take, n_jobs=1, working_memory=WORKING_MEMORY
    )
    return np.concatenate(list(parts))
