"""Partitions of the samples for several numbers of clusters, and what these share: neighbors, tree, mixtures."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.decomposition import PCA

from skgmvae.data.arrays import Floats
from skgmvae.initialization.candidates import find_candidates
from skgmvae.initialization.choice import weigh
from skgmvae.initialization.comparison import link_points
from skgmvae.initialization.mixture import Mixture
from skgmvae.initialization.neighbor_graph import find_neighbors, self_tuned_graph
from skgmvae.initialization.rules import Thresholds, choose_name
from skgmvae.initialization.spanning_tree import spanning_tree
from skgmvae.initialization.views import Views, make_views

__all__ = ["SAMPLES_PER_CLUSTER", "Partition", "Partitions", "find_edges", "find_partitions"]

MAX_SAMPLES = 10_000  # that are partitioned
MAX_FEATURES, N_PRINCIPAL = 100, 50  # beyond which number of features these principal components stand for them
LEAST_VARIANCE = 1e-3  # of these, relative to the first
N_NEIGHBORS = 10
# no bootstrap for clusters that cross each other, which takes longer than all else, for every K
QUICK = Thresholds(clearly_less=0.0)
SAMPLES_PER_CLUSTER = 3  # at least, for a number of clusters to be considered


class Partition(NamedTuple):
    """The clusters that initialize a mixture of K components.

    Attributes
    ----------
    name : str
        Of the candidate that was chosen.
    labels : ndarray of shape (n,)
    responsibilities : ndarray of shape (n, K)
    mixture : Mixture or None
        Of the best criterion among those of K components; None for a single cluster.
    """

    name: str
    labels: NDArray[np.intp]
    responsibilities: Floats
    mixture: Mixture | None


class Partitions(NamedTuple):
    """Partitions of the same samples.

    Attributes
    ----------
    rows : ndarray of shape (n,)
        Indices of the samples that were partitioned.
    points, exact : ndarray of shape (n, L)
        Their coordinates for neighbors and for mixtures.
    links : csr_array of shape (n, n)
        Affinities of few neighbors.
    edges : ndarray of shape (E, 2)
        Of the spanning tree and of the neighbor graph, each once.
    by_number : dict of int to Partition
        By the number of clusters K, ascending.
    """

    rows: NDArray[np.intp]
    points: Floats
    exact: Floats
    links: csr_array
    edges: NDArray[np.intp]
    by_number: dict[int, Partition]


def find_partitions(X: Floats, numbers: Sequence[int], random_state: np.random.RandomState) -> Partitions:
    """The partition that initializes a mixture, for each number of components.

    Parameters
    ----------
    X : ndarray of shape (N, D)
        At most ``MAX_SAMPLES`` of them are partitioned; more than ``MAX_FEATURES`` features are projected to their
        first ``N_PRINCIPAL`` principal components.
    numbers : sequence of int
        Numbers of clusters; those that are too large for so few samples are left out.
    random_state : RandomState

    Returns
    -------
    Partitions
    """
    rows = np.arange(len(X))
    if len(X) > MAX_SAMPLES:
        rows = np.sort(random_state.choice(len(X), MAX_SAMPLES, replace=False))
    if X.shape[1] > MAX_FEATURES:
        principal = PCA(min(N_PRINCIPAL, len(rows)), random_state=random_state).fit_transform(X[rows])
        principal /= max(float(principal[:, 0].std()), np.finfo(np.float64).tiny)
        principal = principal[:, principal.var(0) >= LEAST_VARIANCE]
        views = Views(principal, principal)  # of unequal variance, unlike columns
    else:
        views = make_views(X[rows], random_state)
    points, n_distinct = views.continuous, len(np.unique(views.continuous, axis=0))
    seed = random_state.randint(2**31)
    found = {}
    for K in sorted({int(number) for number in numbers}):
        if K > 1 and (len(points) < SAMPLES_PER_CLUSTER * K or n_distinct <= K):
            break
        # each K from the same state, so that a partition does not depend on the other numbers
        found[K] = _partition(views, K, np.random.RandomState(seed))
    links = link_points(points)
    return Partitions(rows, points, views.exact, links, find_edges(points), found)


def _partition(views: Views, n_clusters: int, random_state: np.random.RandomState) -> Partition:
    K, N = n_clusters, len(views.continuous)
    if K == 1:
        return Partition("all", np.zeros(N, dtype=np.intp), np.ones((N, 1)), None)
    found = find_candidates(views, K, random_state)
    name = choose_name(found, weigh(views, found, K, random_state, QUICK))
    labels = found.labels[name]
    is_mixture = name == found.mixture_name
    return Partition(name, labels, found.mixture.responsibilities if is_mixture else np.eye(K)[labels], found.mixture)


def find_edges(points: Floats) -> NDArray[np.intp]:
    """Edges (E, 2) of the spanning tree and of the graph of ``N_NEIGHBORS`` nearest neighbors, each edge once."""
    neighbors = find_neighbors(points, N_NEIGHBORS)
    graph = self_tuned_graph(neighbors, N_NEIGHBORS).tocoo()
    once = graph.row < graph.col
    return np.vstack([spanning_tree(points, neighbors), np.stack([graph.row[once], graph.col[once]], axis=1)])
