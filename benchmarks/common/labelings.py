"""Clusterings by other packages, each a function of samples (N, D), K and seed to labels (N,).

UMAP and EVoC need umap-learn and evoc, which are imported when one of them is called.
"""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.cluster import HDBSCAN, SpectralClustering
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KNeighborsClassifier

from skgmvae.initialization.genie import cut_with_gini
from skgmvae.initialization.neighbor_graph import find_neighbors
from skgmvae.initialization.spanning_tree import spanning_tree

Labels = np.ndarray
FindLabels = Callable[[np.ndarray, int, int], Labels]
MANY = 20_000  # samples; of more, HDBSCAN is tried with fewer settings


class LabelsOfNearest(ClusterMixin, BaseEstimator):
    """An estimator of one of these functions; new samples get the label of the nearest sample."""

    def __init__(self, find_labels: FindLabels, n_clusters: int, random_state: int):
        self.find_labels = find_labels
        self.n_clusters = n_clusters
        self.random_state = random_state

    def fit(self, X: np.ndarray, y: None = None) -> "LabelsOfNearest":
        """Cluster the samples."""
        self.labels_ = self.find_labels(X, self.n_clusters, self.random_state)
        self.nearest_ = KNeighborsClassifier(1).fit(X, self.labels_)
        return self

    def predict(self, X: np.ndarray) -> Labels:
        """Labels (n,)."""
        return self.nearest_.predict(X)


def make_umap(seed: int) -> Any:
    """The transformer to ten dimensions in which N2D (McConville et al. 2020) fits a mixture."""
    from umap import UMAP

    return UMAP(n_components=10, n_neighbors=20, min_dist=0.0, random_state=seed)


def make_mixture_of_umap(n_clusters: int, seed: int) -> GaussianMixture:
    """That mixture."""
    return GaussianMixture(n_clusters, n_init=5, reg_covar=1e-3, random_state=seed)


def fit_mixture_by_bic(X: np.ndarray, n_clusters: int, seed: int) -> Labels:
    """The mixture of best BIC among kinds and regularizations."""
    kinds, floors = ("full", "tied", "diag", "spherical"), (1e-6, 1e-3, 1e-2)
    fits = [
        GaussianMixture(n_clusters, covariance_type=kind, reg_covar=floor, n_init=10, random_state=seed).fit(X)
        for kind, floor in itertools.product(kinds, floors)
    ]
    return min(fits, key=lambda mixture: mixture.bic(X)).predict(X)


def fit_hdbscan(X: np.ndarray, n_clusters: int, seed: int) -> Labels:
    """HDBSCAN of the cluster size that gives the number of clusters nearest to K, then the least noise."""
    sizes = [size for size in ((5, 10, 20, 40, 80, 160) if len(X) <= MANY else (40, 160, 640)) if size <= len(X) // 2]
    fits = [HDBSCAN(min_cluster_size=size, copy=True).fit_predict(X) for size in sizes]
    labels = min(fits, key=lambda found: (abs(found.max() + 1 - n_clusters), np.mean(found < 0)))
    known = labels >= 0
    if known.all() or not known.any():
        return np.maximum(labels, 0)
    return np.where(known, labels, KNeighborsClassifier(1).fit(X[known], labels[known]).predict(X))


def fit_spectral(X: np.ndarray, n_clusters: int, seed: int) -> Labels:
    """Spectral clustering of the graph of ten neighbors."""
    spectral = SpectralClustering(n_clusters, affinity="nearest_neighbors", n_neighbors=10, random_state=seed)
    return spectral.fit_predict(X)


def fit_genie(X: np.ndarray, n_clusters: int, seed: int) -> Labels:
    """Genie with the threshold of its authors, on the tree of plain distances."""
    return cut_with_gini(spanning_tree(X, find_neighbors(X, 10), 0), n_clusters)


def fit_umap(X: np.ndarray, n_clusters: int, seed: int) -> Labels:
    """A mixture of UMAP's embedding."""
    return make_mixture_of_umap(n_clusters, seed).fit_predict(make_umap(seed).fit_transform(X))


def fit_evoc(X: np.ndarray, n_clusters: int, seed: int) -> Labels:
    """EVoC at its defaults; noise is a cluster."""
    from evoc import EVoC

    return EVoC(random_state=seed).fit_predict(X.astype(np.float32))
