"""Responsibilities from the clusters of a graph of nearest neighbours."""

import functools
import math

import numpy as np
from scipy.sparse import csr_array, diags_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import LinearOperator, eigsh
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

from skgmvae.training.simple_starts import count_starts, kmeans_responsibilities, one_hot

TINY, EPSILON = np.finfo(np.float64).tiny, np.finfo(np.float64).eps
N_NEIGHBORS = 10
MAX_NEIGHBORS = 80  # pieces of the graph that hold more rows than this are groups of their own
CLEAR_GAP = 2.0  # ratio of eigenvalues K + 1 and K above which K eigenvectors are enough
# where there is no such gap
MAX_COUNTS = 3  # of eigenvectors, tried
MAX_SPECTRAL_STARTS = 30  # of k-means on each


def graph_responsibilities(points: np.ndarray, n_components: int, random_state: np.random.RandomState) -> np.ndarray:
    """One-hot labels of spectral clustering on a self-tuning neighbour graph; of k-means for K + 1 rows or less."""
    if n_components == 1 or len(points) <= n_components + 1:
        return kmeans_responsibilities(points, n_components, random_state)
    return partition(neighbor_affinities(points, n_pieces=n_components), points, n_components, random_state)


def partition(
    affinities: csr_array, points: np.ndarray, n_components: int, random_state: np.random.RandomState
) -> np.ndarray:
    """One-hot labels of spectral clustering.

    Eigenvectors of the normalised Laplacian (Ng, Jordan & Weiss 2001), rows scaled to length one, then
    k-means: on K eigenvectors where their eigenvalues stand clearly apart from the next. Without a gap the
    first K or K + 1 often leave two clusters in one: then on two fifths to a half as many again, of which those
    clusters are taken, and mended by :func:`lessen_cut`, whose normalised cut is the least (found on MNIST and
    digits).

    Parameters
    ----------
    affinities : csr_array of shape (N, N)
        Symmetric. Should it fall into more than K pieces, these go where most of their rows go in the graph of
        half of the points, which reaches farther.
    points : ndarray of shape (N, L)
        What it is the graph of.
    n_components : int
        K < N − 1.
    random_state : RandomState

    Returns
    -------
    responsibilities : ndarray of shape (N, K)
    """
    K, N = n_components, affinities.shape[0]
    n_pieces, piece = connected_components(affinities, directed=False)
    if n_pieces == K:
        return one_hot(piece, K)
    if n_pieces > K:
        half = random_state.permutation(N)[: N // 2]
        votes = np.zeros((n_pieces, K))
        np.add.at(votes, piece[half], graph_responsibilities(points[half], K, random_state))
        return one_hot(votes.argmax(1)[piece], K)
    n_vectors = min(K + max(1, K // 2), N - 1)  # one more than K at least, to see the gap
    laplacian, vectors = eigenvectors(affinities, n_vectors, random_state)
    if laplacian[K] > CLEAR_GAP * laplacian[K - 1]:
        return kmeans_responsibilities(normalize(vectors[:, :K]), K, random_state)
    n_counts = min(MAX_COUNTS, count_starts(K))
    counts = np.unique(np.linspace(n_vectors, min(K + max(1, 2 * K // 5), n_vectors), n_counts).astype(int))
    candidates = [
        kmeans_responsibilities(normalize(vectors[:, :n]), K, random_state, MAX_SPECTRAL_STARTS) for n in counts
    ]
    best = min(candidates, key=functools.partial(normalized_cut, affinities))
    return one_hot(lessen_cut(affinities, best.argmax(1), K, random_state), K)


def eigenvectors(
    affinities: csr_array, n_vectors: int, random_state: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    """The lowest eigenvalues of the normalised Laplacian, ascending, and their vectors (N, ``n_vectors``)."""
    N = affinities.shape[0]
    n_pieces, piece = connected_components(affinities, directed=False)
    degrees = affinities.sum(0)
    scale = diags_array(1.0 / np.sqrt(degrees))
    similarity = scale @ affinities @ scale
    # Lanczos' method misses copies of a multiple eigenvalue: the vectors of eigenvalue 0, one per piece,
    # are known, and the operator sends them to the other end of the spectrum
    known = normalize(one_hot(piece, n_pieces) * np.sqrt(degrees)[:, None], axis=0)
    operator = LinearOperator((N, N), matvec=lambda v: similarity @ v - 2.0 * (known @ (known.T @ v)), dtype=np.float64)
    values, others = eigsh(operator, k=n_vectors - n_pieces, which="LA", v0=random_state.uniform(-1.0, 1.0, N))
    return np.concatenate([np.zeros(n_pieces), 1.0 - values[::-1]]), np.hstack([known, others[:, ::-1]])


def lessen_cut(
    affinities: csr_array, labels: np.ndarray, n_components: int, random_state: np.random.RandomState
) -> np.ndarray:
    """Labels of smaller normalised cut, by moving rows to clusters that they are linked to.

    A local search, as weighted kernel k-means is one (Dhillon, Guan & Kulis 2007): a random half of the rows
    that would gain by a move make it; should the cut not fall, since they also meet each other, half of that half,
    and so on. It ends where no row would gain. A sweep costs as much as there are affinities, whatever K is.

    Parameters
    ----------
    affinities : csr_array of shape (N, N)
        Symmetric, its diagonal zero, no row empty.
    labels : ndarray of shape (N,)
        To begin with, from 0 to K − 1.
    n_components : int
        K.
    random_state : RandomState

    Returns
    -------
    labels : ndarray of shape (N,)
    """
    cut, rows, to = _find_moves(affinities, labels, n_components)
    while len(rows):
        some = random_state.permutation(len(rows))[: math.ceil(len(rows) / 2)]
        rows, to = rows[some], to[some]
        moved = labels.copy()
        moved[rows] = to
        found = _find_moves(affinities, moved, n_components)
        if found[0] < cut:
            labels, (cut, rows, to) = moved, found
        elif len(rows) == 1:
            break  # a gain within rounding
    return labels


def _find_moves(affinities: csr_array, labels: np.ndarray, n_components: int) -> tuple[float, np.ndarray, np.ndarray]:
    """The normalised cut, the rows that would lessen it by a move, each for itself, and where to."""
    K, N = n_components, len(labels)
    degrees = affinities.sum(0)
    clusters = csr_array((np.ones(N), labels, np.arange(N + 1)), shape=(N, K))
    links = (affinities @ clusters).tocsr()  # of each row, to every cluster that it is linked to
    rows, to = np.repeat(np.arange(N), np.diff(links.indptr)), links.indices
    is_own = to == labels[rows]
    own = np.zeros(N)
    own[rows[is_own]] = links.data[is_own]
    volumes, kept = (np.bincount(labels, weights, minlength=K) for weights in (degrees, own))
    share = kept / np.maximum(volumes, TINY)
    rest = volumes[labels] - degrees
    loss = share[labels] - (kept[labels] - 2.0 * own) / np.maximum(rest, TINY)
    loss[np.bincount(labels, minlength=K)[labels] == 1] = math.inf  # the last row of its cluster stays
    gain = (kept[to] + 2.0 * links.data) / (volumes[to] + degrees[rows]) - share[to] - loss[rows]
    gain[is_own] = 0.0
    most = np.maximum.reduceat(gain, links.indptr[:-1])
    moves = np.flatnonzero((gain == most[rows]) & (gain > EPSILON))
    return _cut(volumes, kept), rows[moves], to[moves]


def _cut(volumes: np.ndarray, kept: np.ndarray) -> float:
    """Σ_c (1 − kept_c / volume_c); an empty cluster keeps nothing."""
    return float(np.sum(1.0 - kept / np.maximum(volumes, TINY)))


def normalized_cut(affinities: csr_array, responsibilities: np.ndarray) -> float:
    """Σ_c (share of the affinities of cluster c that leave it), 0 to K (Shi & Malik 2000)."""
    kept = np.einsum("nc,nc->c", responsibilities, affinities @ responsibilities)
    return _cut(responsibilities.T @ affinities.sum(0), kept)


def neighbor_affinities(points: np.ndarray, n_pieces: int, n_neighbors: int = N_NEIGHBORS) -> csr_array:
    """Symmetric affinities of a neighbour graph with at most ``n_pieces`` connected components, if that can be had.

    exp(−d²_ij / (s_i s_j)), s_i the distance to the last neighbour (Zelnik-Manor & Perona 2004). Neighbours
    are doubled until the graph has so few pieces, since each would take an eigenvector, and so a cluster,
    for itself; but only up to ``MAX_NEIGHBORS``: groups of more rows need not be strung together.

    Parameters
    ----------
    points : ndarray of shape (N, L)
    n_pieces : int
    n_neighbors : int, default=10

    Returns
    -------
    csr_array of shape (N, N)
    """
    N = len(points)
    n_neighbors = min(n_neighbors, N - 1)
    # without X, kneighbors leaves each point out of its own neighbours
    distances, neighbors = NearestNeighbors(n_neighbors=n_neighbors).fit(points).kneighbors()
    scales = np.maximum(distances[:, -1], TINY**0.25)
    affinities = np.exp(-(distances / scales[:, None]) * (distances / scales[neighbors]))
    # rounding must not cut an edge that the graph needs to hold together
    affinities = np.maximum(affinities, np.finfo(np.float32).tiny)
    indptr = np.arange(0, N * n_neighbors + 1, n_neighbors)
    graph = csr_array((affinities.ravel(), neighbors.ravel(), indptr), shape=(N, N))
    graph = graph.maximum(graph.T).tocsr()
    may_grow = n_neighbors < min(N - 1, MAX_NEIGHBORS)
    if may_grow and connected_components(graph, directed=False, return_labels=False) > n_pieces:
        return neighbor_affinities(points, n_pieces, 2 * n_neighbors)
    return graph
