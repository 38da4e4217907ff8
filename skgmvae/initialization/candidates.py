"""Candidate partitions of the points by several methods, sharing one neighbor search."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from skgmvae.initialization.comparison import N_LINKED
from skgmvae.initialization.genie import cut_with_gini
from skgmvae.initialization.lumbermark import cut_limbs
from skgmvae.initialization.mixture import Mixture, information_criterion, is_wide
from skgmvae.initialization.mixture_search import fit_mixtures, merge_components
from skgmvae.initialization.neighbor_graph import (
    N_NEIGHBORS,
    Neighbors,
    connected_graph,
    find_neighbors,
    self_tuned_graph,
)
from skgmvae.initialization.partitions import fit_kmeans
from skgmvae.initialization.spanning_tree import spanning_tree
from skgmvae.initialization.spectral import partition_mainland
from skgmvae.initialization.views import Views, rounding_variance

__all__ = ["Candidates", "cut_trees", "find_candidates"]

N_KMEANS = 5  # initializations of the candidate of k-means
LIMBS = (0.25, 0.1)  # least sizes, relative to N / K

Labels = dict[str, NDArray[np.intp]]


class Candidates(NamedTuple):
    """Partitions of the same points.

    Attributes
    ----------
    labels : dict of str to ndarray of shape (N,)
    contenders : tuple of str
        Names of those to choose from; the others only serve as initializations, or where they are certain.
    graph_name, mixture_name : str
        Of the partition of the graph of highest information, and of the mixture of the best criterion.
    mixture : Mixture
    links : csr_array of shape (N, N)
        Graph of few neighbors.
    gap : float
        Ratio of the lengths of the last edge that single linkage removes and of the first that it keeps.
    gain : float
        Nats per sample by which the Bayesian information criterion of more than K components is better.
    is_wide : bool
        Whether a full covariance has more parameters than there are samples per cluster.
    is_line : bool
        Whether there is a single column.
    """

    labels: Labels
    contenders: tuple[str, ...]
    graph_name: str
    mixture_name: str
    mixture: Mixture
    links: csr_array
    gap: float
    gain: float
    is_wide: bool
    is_line: bool = False


def find_candidates(views: Views, n_clusters: int, random_state: np.random.RandomState) -> Candidates:
    """Partitions by trees, graph, k-means and mixtures; in many features without trees.

    Parameters
    ----------
    views : Views
        Of N samples and D features.
    n_clusters : int
        K, with 1 < K < N − 1.
    random_state : RandomState

    Returns
    -------
    Candidates
    """
    (points, exact), K = views, n_clusters
    N, D = points.shape
    wide = is_wide(N, D, K)
    neighbors = find_neighbors(points, N_NEIGHBORS)
    links = self_tuned_graph(neighbors, N_LINKED)
    from_trees, gap, of_graph = _connect(points, neighbors, K, wide, random_state)
    graph_name = next(iter(of_graph))
    labels = from_trees | of_graph | {"kmeans": fit_kmeans(points, K, random_state, n_init=N_KMEANS)[0]}
    rounding = rounding_variance(exact)
    mixtures = fit_mixtures(exact, labels, K, links, rounding, random_state)
    best = max(mixtures, key=lambda name: information_criterion(mixtures[name], D))
    labels |= {f"{name} mixture": mixture.labels for name, mixture in mixtures.items()}
    merged, gain = merge_components(exact, mixtures[best], rounding, random_state)
    trees = tuple(name for name in from_trees if name != "single linkage")
    return Candidates(
        labels=labels | merged,
        contenders=(*trees, graph_name, f"{best} mixture", *merged),
        graph_name=graph_name,
        mixture_name=f"{best} mixture",
        mixture=mixtures[best],
        links=links,
        gap=gap,
        gain=gain,
        is_wide=wide,
        is_line=D == 1,
    )


def _connect(
    points: NDArray[np.float64], neighbors: Neighbors, n_clusters: int, wide: bool, random_state: np.random.RandomState
) -> tuple[Labels, float, Labels]:
    """Labels by trees, but not in wide tables; the gap of single linkage; and labels by the graph.

    A sample that is repeated more often than there are neighbors has no links to other samples: each value then counts
    once.
    """
    K, index = n_clusters, np.arange(len(points))
    if (neighbors.distances[:, -1] == 0.0).any():
        distinct, of_distinct = np.unique(points, axis=0, return_inverse=True)
        if len(distinct) > K + 1:
            points, index, neighbors = distinct, of_distinct.ravel(), find_neighbors(distinct, N_NEIGHBORS)
    from_trees, gap = ({}, 1.0) if wide else cut_trees(points, neighbors, K)
    of_graph = partition_mainland(points, connected_graph(points, neighbors, K), K, random_state)
    trees, graph = ({name: found[index] for name, found in labels.items()} for labels in (from_trees, of_graph))
    return trees, gap, graph


def cut_trees(points: NDArray[np.float64], neighbors: Neighbors, n_clusters: int) -> tuple[Labels, float]:
    """Labels by spanning trees, and the gap of single linkage."""
    K, tree, plain = n_clusters, spanning_tree(points, neighbors), spanning_tree(points, neighbors, 0)
    labels = {f"limbs {share}": cut_limbs(tree, K, share, count_leaves=False) for share in LIMBS}
    labels |= {"genie": cut_with_gini(tree, K), "single linkage": cut_with_gini(plain, K, 1.0)}
    lengths = np.sqrt(((points[plain[:, 0]] - points[plain[:, 1]]) ** 2).sum(1))
    kept, cut = np.sort(lengths)[[-K, 1 - K]]
    return labels, float(cut / kept) if kept > 0.0 else np.inf
