"""Degree-corrected stochastic block model (DCSBM) of a graph, fitted by split-merge and local search.

Draw an edge with probability proportional to its affinity. The mutual information of the labels of its two ends, Σ_ab
p_ab log(p_ab / (p_a p_b)) with p_ab the share of affinity between clusters a and b, is high if edges stay within
clusters and clusters are many and of equal weight; its maximum is log K. Per edge, and up to a constant, it is the
maximal log-likelihood of the degree-corrected stochastic block model (Karrer & Newman 2011).
"""

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

TINY = np.finfo(np.float64).tiny
LEAST_GAIN = 1e-9  # nats; smaller changes count as none
MAX_SEARCHES = 24  # fewer, where their clusters would be more than …
MAX_SEARCHED = 320  # … these, or once the best labels have been found …
N_AGREEING = 4  # … so many times
N_GROUPINGS = 4  # of rows, which share the searches; …
MAX_GROUPS = 400  # … into so many groups, which are searched before single rows move …
GROUPS_PER_CLUSTER = 5  # … but at least so many
MAX_MORE = 20  # initial clusters of a search beyond K, but at most 2K
MAX_SPLITS = 20  # largest clusters, which are split in turn until one split gains …
MAX_TRIED = 1500  # … and total number of clusters in the partitions tried, per search
GROUPING_STEPS = 20  # iterations of k-means


@dataclass(frozen=True)
class LinkGraph:
    """A symmetric graph of total weight one.

    Attributes
    ----------
    between : csr_array of shape (N, N)
        Affinities of different nodes.
    within : ndarray of shape (N,)
        Of each node to itself.
    """

    between: csr_array
    within: np.ndarray

    @classmethod
    def of_rows(cls, affinities: csr_array) -> "LinkGraph":
        """The graph of rows, its diagonal zero."""
        return cls(affinities / affinities.sum(), np.zeros(affinities.shape[0]))

    def join(self, groups: np.ndarray, n_groups: int) -> "LinkGraph":
        """The graph of groups of nodes, whose partitions have the same information as those of the nodes."""
        members = _members(groups, n_groups)
        joined = (members.T @ self.between @ members).toarray()
        within = joined.diagonal() + np.bincount(groups, self.within, n_groups)
        np.fill_diagonal(joined, 0.0)
        return LinkGraph(csr_array(joined), within)

    def to_clusters(self, labels: np.ndarray, n_clusters: int) -> np.ndarray:
        """Affinity of each node to every cluster (N, K), without its affinity to itself."""
        return np.asarray((self.between @ _members(labels, n_clusters)).toarray())

    def table(self, labels: np.ndarray, n_clusters: int, to_clusters: np.ndarray) -> np.ndarray:
        """Affinity between clusters (K, K), given that of the nodes to them."""
        table = np.asarray(_members(labels, n_clusters).T @ to_clusters)
        return table + np.diag(np.bincount(labels, self.within, n_clusters))


def fit_dcsbm(
    affinities: csr_array, points: np.ndarray, n_clusters: int, random_state: np.random.RandomState
) -> np.ndarray:
    """Fit the model: labels of maximal mutual information, the best of several searches.

    The nodes of a search are groups of rows. It starts with more than K clusters, merges those whose merge costs least,
    moves nodes (:func:`local_search`), and then splits and merges clusters as long as that gains (:func:`split_merge`).
    The best labels are refined by moving single rows. A group across the border of two clusters can hide the best
    partition from every search; therefore rows are grouped several times, and the best refined labels are returned.

    Parameters
    ----------
    affinities : csr_array of shape (N, N)
        Symmetric, its diagonal zero, no row empty.
    points : ndarray of shape (N, L)
        Rows of the Laplacian's eigenvectors, by which nearby rows are grouped.
    n_clusters : int
        K < N.
    random_state : RandomState

    Returns
    -------
    labels : ndarray of shape (N,)
    """
    links = LinkGraph.of_rows(affinities)
    n_searches = max(1, min(MAX_SEARCHES, MAX_SEARCHED // n_clusters))
    n_groups = max(MAX_GROUPS, GROUPS_PER_CLUSTER * n_clusters)
    if n_groups >= len(points):
        return local_search(
            links, _best_search(links, points, n_clusters, n_searches, random_state), n_clusters, random_state
        )[0]
    best, most = np.zeros(len(points), dtype=int), -math.inf
    n_groupings = min(N_GROUPINGS, n_searches)
    for _ in range(n_groupings):
        grouping = _fit_kmeans(points, n_groups, random_state, max_iter=GROUPING_STEPS)
        group, centers = grouping.labels_, grouping.cluster_centers_
        grouped = links.join(group, n_groups)
        labels = _best_search(grouped, centers, n_clusters, n_searches // n_groupings, random_state)[group]
        labels, found = local_search(links, labels, n_clusters, random_state)
        if found > most:
            best, most = labels, found
    return best


def _best_search(
    links: LinkGraph, points: np.ndarray, n_clusters: int, n_searches: int, random_state: np.random.RandomState
) -> np.ndarray:
    """The best labels of the nodes in so many searches, or fewer if the best have been found repeatedly."""
    n_more = min(n_clusters + min(2 * n_clusters, MAX_MORE), len(points))
    best, most, n_agreeing = np.zeros(len(points), dtype=int), -math.inf, 0
    for _ in range(n_searches):
        many = _fit_kmeans(points, n_more, random_state).labels_
        labels = merge_cheapest(links.table(many, n_more, links.to_clusters(many, n_more)), n_clusters)[many]
        labels, found = split_merge(links, points, labels, n_clusters, random_state)
        if found > most + LEAST_GAIN:
            best, most, n_agreeing = labels, found, 0
        n_agreeing += found > most - LEAST_GAIN
        if n_agreeing == N_AGREEING:
            break
    return best


def information(table: np.ndarray) -> float:
    """Mutual information, in nats, of the two labels of an edge, from the affinity between clusters (K, K)."""
    return float(_entropies(table).sum() - 2.0 * _entropies(table.sum(1)).sum())


def local_search(
    links: LinkGraph, labels: np.ndarray, n_clusters: int, random_state: np.random.RandomState
) -> tuple[np.ndarray, float]:
    """Increase the information by moving nodes to other clusters; return labels and information.

    A random half of the nodes whose move would gain, by the gradient, is moved. If the information does not rise, since
    their moves interact, half of that half is moved, and so on. The search ends when no move gains.
    """
    to_clusters = links.to_clusters(labels, n_clusters)
    table = links.table(labels, n_clusters, to_clusters)
    most = information(table)
    nodes, to = _find_moves(links, labels, to_clusters, table)
    while len(nodes):
        some = random_state.permutation(len(nodes))[: math.ceil(len(nodes) / 2)]
        nodes, to = nodes[some], to[some]
        moved = labels.copy()
        moved[nodes] = to
        to_clusters = links.to_clusters(moved, n_clusters)
        table = links.table(moved, n_clusters, to_clusters)
        found = information(table)
        if found > most + LEAST_GAIN:
            labels, most = moved, found
            nodes, to = _find_moves(links, labels, to_clusters, table)
        elif len(nodes) == 1:
            break
    return labels, most


def _find_moves(
    links: LinkGraph, labels: np.ndarray, to_clusters: np.ndarray, table: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Nodes whose move would gain, to first order, and their new clusters; no node moves to an empty cluster."""
    shares = table.sum(1)
    some_link = links.between.data.mean() if links.between.nnz else 1.0  # avoids log 0
    gradient = np.log((table + some_link) / np.maximum(np.outer(shares, shares), TINY))
    values = 2.0 * to_clusters @ gradient.T + np.outer(links.within, gradient.diagonal())
    values[:, shares == 0.0] = -math.inf
    to = values.argmax(1)
    each = np.arange(len(labels))
    nodes = np.flatnonzero(values[each, to] > values[each, labels])
    return nodes, to[nodes]


def merge_cheapest(table: np.ndarray, n_clusters: int) -> np.ndarray:
    """The new cluster, of ``n_clusters``, of each cluster, if the pair of least cost is merged repeatedly."""
    joined_to = np.arange(len(table))
    while len(table) > n_clusters:
        a, b = divmod(int(_merge_costs(table).argmin()), len(table))
        a, b = min(a, b), max(a, b)
        table = table.copy()
        table[a] += table[b]
        table[:, a] += table[:, b]
        table = np.delete(np.delete(table, b, 0), b, 1)
        joined_to[joined_to == b] = a
        joined_to[joined_to > b] -= 1
    return joined_to


def _merge_costs(table: np.ndarray) -> np.ndarray:
    """Information lost by merging clusters a and b (K, K); inf on the diagonal."""
    entropies, own, shares = _entropies(table), table.diagonal(), table.sum(1)
    own_entropies, share_entropies = entropies.diagonal(), _entropies(shares)
    others = entropies.sum(1)
    gains = np.empty_like(table)
    for a, row in enumerate(table):
        unions = _entropies(row + table)  # of a and b, to every cluster
        with_others = unions.sum(1) - unions[:, a] - unions.diagonal()
        apart = others[a] + others - own_entropies[a] - own_entropies - 2.0 * entropies[a]
        inside = _entropies(own[a] + own + 2.0 * row) - own_entropies[a] - own_entropies - 2.0 * entropies[a]
        sizes = _entropies(shares[a] + shares) - share_entropies[a] - share_entropies
        gains[a] = 2.0 * (with_others - apart) + inside - 2.0 * sizes
        gains[a, a] = -math.inf
    return -gains


def split_merge(
    links: LinkGraph, points: np.ndarray, labels: np.ndarray, n_clusters: int, random_state: np.random.RandomState
) -> tuple[np.ndarray, float]:
    """Increase the information by splitting one cluster and merging two; return labels and information.

    Clusters are split in turn, the largest first. A step that gains is kept. The search ends when no split gains, or
    after a maximal number of trials.
    """
    K = n_clusters
    labels, most = local_search(links, labels, K, random_state)
    waiting = _by_size(labels, K)
    for _ in range(max(MAX_SPLITS, MAX_TRIED // K)):
        if not waiting:
            break
        nodes = np.flatnonzero(labels == waiting.pop(0))
        if len(nodes) < 2:
            continue
        split = labels.copy()
        split[nodes[_fit_kmeans(points[nodes], 2, random_state).labels_ == 1]] = K
        split, _ = local_search(links, split, K + 1, random_state)
        split = merge_cheapest(links.table(split, K + 1, links.to_clusters(split, K + 1)), K)[split]
        split, found = local_search(links, split, K, random_state)
        if found > most + LEAST_GAIN:
            labels, most, waiting = split, found, _by_size(split, K)
    return labels, most


def _by_size(labels: np.ndarray, n_clusters: int) -> list[int]:
    """The clusters to split, the largest first."""
    order: list[int] = np.argsort(-np.bincount(labels, minlength=n_clusters), kind="stable")[:MAX_SPLITS].tolist()
    return order


def _fit_kmeans(points: np.ndarray, n_clusters: int, random_state: np.random.RandomState, **options: Any) -> KMeans:
    """K-means with one initialization; it may find fewer clusters if rows are equal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return KMeans(n_clusters, n_init=1, random_state=random_state, **options).fit(points)


def _members(labels: np.ndarray, n_clusters: int) -> csr_array:
    """One-hot labels (N, K)."""
    N = len(labels)
    return csr_array((np.ones(N), labels, np.arange(N + 1)), shape=(N, n_clusters))


def _entropies(shares: np.ndarray) -> np.ndarray:
    """x log x."""
    logarithms: np.ndarray = np.log(np.maximum(shares, TINY))
    return shares * logarithms
