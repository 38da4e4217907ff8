"""Clusters of the samples that miss no value, where these can stand for all."""

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import pairwise_distances_chunked

from skgmvae.data.arrays import Array
from skgmvae.initialization.comparison import link_points, lost_relative_to
from skgmvae.initialization.mixture import n_parameters
from skgmvae.initialization.rules import speak_against_mixture

__all__ = ["SOME", "CompleteCases"]

MOST, SOME = 0.5, 0.25  # shares of the samples: complete ones stand for all, and have a say
PER_PARAMETER = 5  # complete samples per cluster and parameter of a covariance matrix
MAX_SAMPLES = 5_000  # among which the nearest of the others are looked for …
N_NEAREST = 5  # … and this many of them give one its responsibilities
USUAL = 0.99  # quantile of the distances of complete samples to their nearest
LEAST_CLUSTER = 0.25  # samples far from all complete ones, relative to N / K, that may be a cluster of their own


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
        n = len(self.indices)
        self.few = np.arange(n) if n <= MAX_SAMPLES else np.sort(random_state.choice(n, MAX_SAMPLES, replace=False))
        self.known = points[self.indices[self.few]].astype(np.float64)
        self.random_state = random_state

    @property
    def share(self) -> float:
        """Of complete samples among all."""
        return len(self.indices) / len(self.points)

    def are_enough(self, n_clusters: int) -> bool:
        """Whether clusters can be looked for among them alone."""
        per_cluster = PER_PARAMETER * n_parameters("full", 1, self.points.shape[1])
        return self.share >= MOST and len(self.indices) >= n_clusters * per_cluster

    def stand_for_all(self, n_clusters: int) -> bool:
        """Whether hardly any other sample is farther from them than they are from each other in the same columns.

        Otherwise a cluster may lack a value in every sample.
        """
        missing = np.isnan(self.points[self.others])
        drawn = self.random_state.choice(len(self.few), len(self.others))
        usual = self._find_nearest(np.where(missing, np.nan, self.known[drawn]), skipped=1)[1]
        n_far = int((self._find_nearest(self.points[self.others])[1] > np.quantile(usual, USUAL)).sum())
        n_expected = (1.0 - USUAL) * len(self.others)
        return n_far - n_expected < LEAST_CLUSTER * len(self.points) / n_clusters

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
        of_others = found[self.few][self._find_nearest(others)[0]].mean(1)
        is_empty = np.isnan(others).all(1, keepdims=True)
        responsibilities[self.others] = np.where(is_empty, found.mean(0), of_others)
        return responsibilities

    def _find_nearest(
        self, points: NDArray[np.floating], skipped: int = 0
    ) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Indices (n, 5) of the nearest complete samples, and the largest of the distances, in observed columns."""
        n_nearest = min(N_NEAREST + skipped, len(self.known))

        def take(distances: NDArray[np.float64], start: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
            index = np.argpartition(distances, n_nearest - 1, axis=1)[:, :n_nearest]
            return index, np.take_along_axis(distances, index, 1).max(1)

        parts = list(
            pairwise_distances_chunked(
                points.astype(np.float64), self.known, metric="nan_euclidean", reduce_func=take, n_jobs=1
            )
        )
        return np.concatenate([index for index, _ in parts]), np.concatenate([distance for _, distance in parts])
