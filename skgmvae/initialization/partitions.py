"""K-means from one initialization, and labels as matrices."""

import warnings

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

__all__ = ["fit_kmeans", "members", "split_in_two"]

SPLIT_STEPS = 10  # of 2-means


def members(labels: NDArray[np.intp], n_clusters: int) -> csr_array:
    """One-hot labels (N, K)."""
    N = len(labels)
    return csr_array((np.ones(N), labels, np.arange(N + 1)), shape=(N, n_clusters))


def fit_kmeans(
    points: NDArray[np.float64],
    n_clusters: int,
    random_state: np.random.RandomState,
    *,
    n_init: int = 1,
    max_iter: int = 300,
    init: str = "k-means++",
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Labels (N,) and centers (K, L) of k-means, of fewer clusters where points are equal; K is at most N."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        n_clusters = min(n_clusters, len(points))
        kmeans = KMeans(n_clusters, init=init, n_init=n_init, max_iter=max_iter, random_state=random_state).fit(points)
    return kmeans.labels_.astype(np.intp), kmeans.cluster_centers_


def split_in_two(points: NDArray[np.float64], random_state: np.random.RandomState) -> NDArray[np.bool_]:
    """Which points are in the second of two clusters; none where all points are equal.

    2-means from a random point and one drawn by its squared distance to the first (k-means++).
    """
    a = points[random_state.randint(len(points))]
    squared = ((points - a) ** 2).sum(1)
    is_second = np.zeros(len(points), dtype=bool)
    if squared.sum() == 0.0:
        return is_second
    b = points[random_state.choice(len(points), p=squared / squared.sum())]
    for _ in range(SPLIT_STEPS):
        nearer_b = points @ (b - a) > (b @ b - a @ a) / 2.0
        if nearer_b.all() or not nearer_b.any() or (nearer_b == is_second).all():
            break
        is_second = nearer_b
        a, b = points[~is_second].mean(0), points[is_second].mean(0)
    return is_second
