"""Spectral clustering of a self-tuning nearest-neighbor graph."""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_array, diags_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import LinearOperator, eigsh
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

from skgmvae.initialization.candidates import kmeans_responsibilities, one_hot
from skgmvae.initialization.dcsbm import fit_dcsbm

TINY = np.finfo(np.float64).tiny
N_NEIGHBORS = 10
BRUTE_FEATURES = 8  # from so many features on, computing all distances in parallel is faster than a tree
MAX_NEIGHBORS = 80  # components with more points than this are not joined
CLEAR_GAP = 2.5  # ratio of eigenvalues K + 1 and K above which K eigenvectors are sufficient;
MAX_MORE_VECTORS = 50  # without such an eigengap twice as many are used, or so many more


def graph_responsibilities(points: np.ndarray, n_components: int, random_state: np.random.RandomState) -> np.ndarray:
    """One-hot labels of the clusters of a self-tuning neighbor graph; of k-means for K + 1 points or fewer."""
    return joint_responsibilities([points], n_components, random_state)


def joint_responsibilities(
    views: Sequence[np.ndarray], n_components: int, random_state: np.random.RandomState
) -> np.ndarray:
    """As :func:`graph_responsibilities`, on the sum of the graphs of several views (N, L_i) of the samples."""
    if n_components == 1 or len(views[0]) <= n_components + 1:
        return kmeans_responsibilities(np.hstack(views), n_components, random_state)
    return partition(join_affinities(views, n_components), views, n_components, random_state)


def join_affinities(views: Sequence[np.ndarray], n_pieces: int) -> csr_array:
    """Sum of the views' :func:`neighbor_affinities`."""
    affinities = neighbor_affinities(views[0], n_pieces)
    for view in views[1:]:
        affinities = affinities + neighbor_affinities(view, n_pieces)
    return affinities.tocsr()


def partition(
    affinities: csr_array, views: Sequence[np.ndarray], n_components: int, random_state: np.random.RandomState
) -> np.ndarray:
    """One-hot labels of the clusters of a graph.

    Eigenvectors of the normalized Laplacian (Ng, Jordan & Weiss 2001), rows scaled to length one. With an eigengap
    after the first K eigenvalues, k-means on K eigenvectors. Without it, K eigenvectors often merge two clusters:
    then :func:`~skgmvae.initialization.dcsbm.fit_dcsbm`, with twice as many.

    Parameters
    ----------
    affinities : csr_array of shape (N, N)
        Symmetric. If it has more than K connected components, each is assigned to the cluster of most of
        its rows in the graph of half of the points, whose edges are longer.
    views : sequence of ndarray of shape (N, L_i)
        The points of the graph.
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
        np.add.at(votes, piece[half], joint_responsibilities([view[half] for view in views], K, random_state))
        return one_hot(votes.argmax(1)[piece], K)
    n_vectors = min(K + min(K, MAX_MORE_VECTORS), N - 1)  # one more than K at least, to see the gap
    laplacian, vectors = eigenvectors(affinities, n_vectors, random_state)
    if laplacian[K] > CLEAR_GAP * laplacian[K - 1]:
        return kmeans_responsibilities(normalize(vectors[:, :K]), K, random_state)
    return one_hot(fit_dcsbm(affinities, normalize(vectors), K, random_state), K)


def eigenvectors(
    affinities: csr_array, n_vectors: int, random_state: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    """The lowest eigenvalues of the normalized Laplacian, ascending, and their vectors (N, ``n_vectors``)."""
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


def normalized_cut(affinities: csr_array, responsibilities: np.ndarray) -> float:
    """Σ_c (share of the affinities of cluster c that leave it), 0 to K (Shi & Malik 2000)."""
    kept = np.einsum("nc,nc->c", responsibilities, affinities @ responsibilities)
    volumes = responsibilities.T @ affinities.sum(0)
    return float(np.sum(1.0 - kept / np.maximum(volumes, TINY)))  # an empty cluster keeps nothing


def find_neighbors(points: np.ndarray, n_neighbors: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances to the nearest other points, and their indices, each (N, ``n_neighbors``), or one less than N."""
    algorithm = "brute" if points.shape[1] >= BRUTE_FEATURES else "auto"
    nearest = NearestNeighbors(n_neighbors=min(n_neighbors, len(points) - 1), algorithm=algorithm).fit(points)
    return nearest.kneighbors()  # without an argument, each point is left out of its own neighbors


def neighbor_affinities(points: np.ndarray, n_pieces: int, n_neighbors: int = N_NEIGHBORS) -> csr_array:
    """Symmetric affinities of a neighbor graph with at most ``n_pieces`` connected components, if possible.

    exp(−d²_ij / (s_i s_j)), s_i the distance to the last neighbor (Zelnik-Manor & Perona 2004). The
    number of neighbors is doubled until the graph has so few components, since each would be a cluster of its own; but
    only up to ``MAX_NEIGHBORS``: larger groups may stay separate.

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
    distances, neighbors = find_neighbors(points, n_neighbors)
    scales = np.maximum(distances[:, -1], TINY**0.25)
    affinities = np.exp(-(distances / scales[:, None]) * (distances / scales[neighbors]))
    # rounding must not remove an edge that keeps the graph connected
    affinities = np.maximum(affinities, np.finfo(np.float32).tiny)
    indptr = np.arange(0, N * n_neighbors + 1, n_neighbors)
    graph = csr_array((affinities.ravel(), neighbors.ravel(), indptr), shape=(N, N))
    graph = graph.maximum(graph.T).tocsr()
    may_grow = n_neighbors < min(N - 1, MAX_NEIGHBORS)
    if may_grow and connected_components(graph, directed=False, return_labels=False) > n_pieces:
        return neighbor_affinities(points, n_pieces, 2 * n_neighbors)
    return graph
