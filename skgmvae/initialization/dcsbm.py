"""Degree-corrected stochastic block model, fitted by local moves, splits and merges of clusters.

Draw a link of the graph by its affinity. The mutual information of the labels of its two ends,
Σ_ab p_ab log(p_ab / (p_a p_b)) with p_ab the share of affinity between clusters a and b, is high where links stay
within clusters and clusters are many and of equal weight: log K at most. It is, per link and but for a constant, the
greatest log-likelihood that a stochastic block model with degrees can give to the graph (Karrer & Newman 2011).
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from skgmvae.initialization.information import TINY, merge_cheapest
from skgmvae.initialization.links import Links, Partition, make_partition, move
from skgmvae.initialization.partitions import fit_kmeans, split_in_two

__all__ = ["fit_dcsbm", "local_search", "split_merge"]

LEAST_GAIN = 1e-9  # nats; smaller changes are rounding
N_GROUPINGS = 2  # ways of grouping the samples, …
N_GROUPS = 250  # … into this number of groups, or more where there are many clusters
GROUPS_PER_CLUSTER = 5
N_SEARCHES = 5  # per grouping, fewer of many clusters, and where the best partition has been found …
MOST_SEARCHED, FEW_SEARCHES = 64, 2  # clusters, and searches of more, whose time grows with their square
N_AGREEING = 2  # … this number of times
MAX_MORE = 20  # clusters beyond K at the beginning of a search, but at most 2K
MAX_SPLITS = 20  # clusters, the largest, whose split is tried after each gain
MAX_TRIED = 1500  # clusters in all partitions tried in a search
GROUPING_STEPS = 20  # of k-means


def _find_moves(links: Links, partition: Partition, mean_affinity: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Nodes whose move raises the information, to first order, and their destinations.

    No node moves to an empty cluster: the gradient there is that of the logarithm of zero, which would fill empty
    clusters with single nodes.
    """
    labels, to_clusters, table, _ = partition
    shares = table.sum(1)
    gradient = np.log((table + mean_affinity) / np.maximum(np.outer(shares, shares), TINY))
    values = 2.0 * to_clusters @ gradient.T + np.outer(links.within, gradient.diagonal())
    values[:, shares == 0.0] = -math.inf
    to, each = values.argmax(1), np.arange(len(labels))
    nodes = np.flatnonzero(values[each, to] > values[each, labels])
    return nodes, to[nodes]


def local_search(links: Links, partition: Partition, random_state: np.random.RandomState) -> Partition:
    """Move nodes to other clusters as long as the information rises.

    A random half of the nodes whose move would raise it to first order move together; if it does not rise, because
    they are linked to each other, half of that half, and so on.

    Parameters
    ----------
    links : Links
    partition : Partition
        Of these links.
    random_state : RandomState

    Returns
    -------
    Partition
    """
    mean_affinity = links.mean_affinity()
    nodes, to = _find_moves(links, partition, mean_affinity)
    while len(nodes):
        some = random_state.permutation(len(nodes))[: math.ceil(len(nodes) / 2)]
        nodes, to = nodes[some], to[some]
        moved = move(links, partition, nodes, to)
        if moved.information > partition.information + LEAST_GAIN:
            partition = moved
            nodes, to = _find_moves(links, partition, mean_affinity)
        elif len(nodes) == 1:
            break
    return partition


def split_merge(
    links: Links, points: NDArray[np.float64], partition: Partition, random_state: np.random.RandomState
) -> Partition:
    """Split one cluster and merge the two whose union costs least, as long as the information rises.

    Clusters are tried in order of size, the largest first; one whose split has failed is not tried again unless its
    nodes change.

    Parameters
    ----------
    links : Links
    points : ndarray of shape (N, L)
        Coordinates of the nodes; a cluster is split by 2-means in these.
    partition : Partition
    random_state : RandomState

    Returns
    -------
    Partition
    """
    K = partition.to_clusters.shape[1]
    partition = local_search(links, partition, random_state)
    waiting, failed = _by_size(partition), set()
    for _ in range(max(MAX_SPLITS, MAX_TRIED // K)):
        if not waiting:
            break
        nodes = np.flatnonzero(partition.labels == waiting.pop(0))
        if len(nodes) < 2 or nodes.tobytes() in failed:
            continue
        labels = partition.labels.copy()
        labels[nodes[split_in_two(points[nodes], random_state)]] = K
        more = local_search(links, make_partition(links, labels, K + 1), random_state)
        merged = make_partition(links, merge_cheapest(more.table, K)[more.labels], K)
        merged = local_search(links, merged, random_state)
        if merged.information > partition.information + LEAST_GAIN:
            partition, waiting = merged, _by_size(merged)
        else:
            failed.add(nodes.tobytes())
    return partition


def _by_size(partition: Partition) -> list[int]:
    """Clusters to split, the largest first."""
    sizes = np.bincount(partition.labels, minlength=partition.to_clusters.shape[1])
    largest: list[int] = np.argsort(-sizes, kind="stable")[:MAX_SPLITS].tolist()
    return largest


def _search(
    links: Links, points: NDArray[np.float64], n_clusters: int, n_searches: int, random_state: np.random.RandomState
) -> Partition:
    """The best of several searches, each from more clusters than K that are merged first."""
    n_more = min(n_clusters + min(2 * n_clusters, MAX_MORE), len(points))
    best, n_agreeing = make_partition(links, np.zeros(len(points), dtype=np.intp), n_clusters), 0
    for _ in range(n_searches):
        many = make_partition(links, fit_kmeans(points, n_more, random_state)[0], n_more)
        merged = merge_cheapest(many.table, n_clusters)[many.labels]
        found = split_merge(links, points, make_partition(links, merged, n_clusters), random_state)
        if found.information > best.information + LEAST_GAIN:
            best, n_agreeing = found, 0
        n_agreeing += found.information > best.information - LEAST_GAIN
        if n_agreeing == N_AGREEING:
            break
    return best


def fit_dcsbm(
    affinities: csr_array, points: NDArray[np.float64], n_clusters: int, random_state: np.random.RandomState
) -> Partition:
    """Partition of a graph of high link information, the best of several searches.

    A search takes groups of samples for nodes, so that its matrices are small and dense, and its partition is improved
    sample by sample. A group across the border of two clusters can hide the best partition from every search: samples
    are therefore grouped in several ways.

    Parameters
    ----------
    affinities : csr_array of shape (N, N)
        Symmetric, its diagonal zero, no row empty.
    points : ndarray of shape (N, L)
        Of the samples: near ones make a group. Rows of the Laplacian's eigenvectors.
    n_clusters : int
        K < N.
    random_state : RandomState

    Returns
    -------
    Partition
    """
    n_searches, init = (N_SEARCHES, "k-means++") if n_clusters <= MOST_SEARCHED else (FEW_SEARCHES, "random")
    links, n_groups = Links.of_samples(affinities), max(N_GROUPS, GROUPS_PER_CLUSTER * n_clusters)
    if n_groups >= len(points):
        dense = Links((affinities / affinities.sum()).toarray(), links.within)
        found = _search(dense, points, n_clusters, N_GROUPINGS * n_searches, random_state)
        return make_partition(links, found.labels, n_clusters)
    best: Partition | None = None
    for _ in range(N_GROUPINGS):
        groups, centers = fit_kmeans(points, n_groups, random_state, max_iter=GROUPING_STEPS, init=init)
        found = _search(links.join(groups, n_groups), centers, n_clusters, n_searches, random_state)
        found = local_search(links, make_partition(links, found.labels[groups], n_clusters), random_state)
        if best is None or found.information > best.information:
            best = found
    if best is None:
        raise ValueError(f"fit_dcsbm needs at least one grouping, got {N_GROUPINGS}.")
    return best
