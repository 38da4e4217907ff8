"""Other ways to choose the number of clusters, each at its usual settings."""

import warnings
from collections.abc import Callable, Sequence

import numpy as np
from sklearn.cluster import HDBSCAN, KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import silhouette_score
from sklearn.mixture import GaussianMixture

N_INIT = 3
N_REFERENCES = 10  # of the gap statistic
MAX_SILHOUETTE = 2000  # samples on which silhouettes are computed
HDBSCAN_SHARE = 0.05  # of the samples in a cluster, at least


def choose_by_bic(X: np.ndarray, numbers: Sequence[int], seed: int) -> int:
    """GaussianMixture of lowest BIC over numbers of components and types of covariance."""
    values = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for K in numbers:
            for kind in ("full", "tied", "diag", "spherical"):
                mixture = GaussianMixture(K, covariance_type=kind, random_state=seed).fit(X)
                values[K, kind] = mixture.bic(X)
    return min(values, key=lambda key: values[key])[0]


def choose_by_silhouette(X: np.ndarray, numbers: Sequence[int], seed: int) -> int:
    """k-means of the largest mean silhouette; never one cluster."""
    options = {"sample_size": min(MAX_SILHOUETTE, len(X)), "random_state": seed}
    values = {}
    for K in numbers:
        if K > 1:
            labels = KMeans(K, n_init=N_INIT, random_state=seed).fit_predict(X)
            values[K] = silhouette_score(X, labels, **options)
    return max(values, key=lambda K: values[K])


def choose_by_gap(X: np.ndarray, numbers: Sequence[int], seed: int) -> int:
    """Gap statistic of k-means, references uniform along the principal axes (Tibshirani, Walther & Hastie 2001)."""
    rs = np.random.RandomState(seed)
    axes = np.linalg.svd(X - X.mean(0), full_matrices=False)[2]
    rotated = (X - X.mean(0)) @ axes.T
    low, high = rotated.min(0), rotated.max(0)
    references = [rs.uniform(low, high, X.shape) for _ in range(N_REFERENCES)]
    gaps, errors = [], []
    for K in numbers:
        inertia = KMeans(K, n_init=N_INIT, random_state=seed).fit(X).inertia_
        drawn = np.log([KMeans(K, n_init=1, random_state=seed).fit(reference).inertia_ for reference in references])
        gaps.append(drawn.mean() - np.log(inertia))
        errors.append(drawn.std() * np.sqrt(1.0 + 1.0 / N_REFERENCES))
    for i in range(len(numbers) - 1):
        if gaps[i] >= gaps[i + 1] - errors[i + 1]:
            return numbers[i]
    return numbers[-1]


def choose_by_hdbscan(X: np.ndarray, numbers: Sequence[int], seed: int) -> int:
    """Number of clusters of HDBSCAN, or one if it finds none."""
    found = HDBSCAN(min_cluster_size=max(5, int(HDBSCAN_SHARE * len(X))), copy=True).fit_predict(X)
    return max(1, len(set(found[found >= 0].tolist())))


PEERS: dict[str, Callable[[np.ndarray, Sequence[int], int], int]] = {
    "GaussianMixture + BIC": choose_by_bic,
    "silhouette, k-means": choose_by_silhouette,
    "gap statistic": choose_by_gap,
    "HDBSCAN (5 % of the samples)": choose_by_hdbscan,
}
