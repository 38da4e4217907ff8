"""Spectral clusters of a neighbor graph, and the better of these and of a block model."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import LinearOperator, eigsh
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import normalize

from skgmvae.initialization.dcsbm import fit_dcsbm, local_search
from skgmvae.initialization.links import Links, make_partition
from skgmvae.initialization.neighbor_graph import find_islands
from skgmvae.initialization.partitions import fit_kmeans, members

__all__ = ["laplacian_eigenvectors", "partition_graph", "partition_mainland", "spectral_clusters"]

MAX_MORE_VECTORS = 50  # beyond K, of at most 2K, by which the block model groups the samples
N_INIT = 5  # of k-means on the eigenvectors


def laplacian_eigenvectors(
    affinities: csr_array, n_vectors: int, random_state: np.random.RandomState
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lowest eigenvalues of the normalized Laplacian, ascending, and their vectors.

    Parameters
    ----------
    affinities : csr_array of shape (N, N)
        Symmetric, without more than ``n_vectors`` − 1 connected components.
    n_vectors : int
        Below N.
    random_state : RandomState

    Returns
    -------
    values : ndarray of shape (n_vectors,)
    vectors : ndarray of shape (N, n_vectors)
    """
    N = affinities.shape[0]
    n_pieces, piece = connected_components(affinities, directed=False)
    roots = np.sqrt(affinities.sum(0))
    similarity = diags_array(1.0 / roots) @ affinities @ diags_array(1.0 / roots)
    # Lanczos' method misses copies of a multiple eigenvalue: the vectors of eigenvalue 0, one per component, are
    # known, and the operator sends them to the other end of the spectrum
    known = normalize(members(piece, n_pieces).toarray() * roots[:, None], axis=0)
    operator = LinearOperator((N, N), matvec=lambda v: similarity @ v - 2.0 * (known @ (known.T @ v)), dtype=np.float64)
    values, others = eigsh(operator, k=n_vectors - n_pieces, which="LA", v0=random_state.uniform(-1.0, 1.0, N))
    return np.concatenate([np.zeros(n_pieces), 1.0 - values[::-1]]), np.hstack([known, others[:, ::-1]])


def spectral_clusters(
    vectors: NDArray[np.float64], n_clusters: int, random_state: np.random.RandomState
) -> NDArray[np.intp]:
    """Labels of k-means on the first K eigenvectors, rows scaled to length one (Ng, Jordan & Weiss 2001)."""
    return fit_kmeans(normalize(vectors[:, :n_clusters]), n_clusters, random_state, n_init=N_INIT)[0]


def partition_graph(
    affinities: csr_array, n_clusters: int, random_state: np.random.RandomState
) -> dict[str, NDArray[np.intp]]:
    """Partitions of a graph into K clusters, by name, the one of highest link information first.

    'spectral': k-means on K eigenvectors. 'refined': the same after a local search. 'blocks': the degree-corrected
    stochastic block model. A graph of K connected components has only the partition 'components'; of more components,
    the largest K − 1 are clusters and the others one.

    Parameters
    ----------
    affinities : csr_array of shape (N, N)
    n_clusters : int
        K < N − 1.
    random_state : RandomState

    Returns
    -------
    dict of str to ndarray of shape (N,)
    """
    K, N = n_clusters, affinities.shape[0]
    n_pieces, piece = connected_components(affinities, directed=False)
    if n_pieces >= K:
        by_size = np.argsort(np.argsort(-np.bincount(piece), kind="stable"))
        return {"components": np.minimum(by_size[piece], K - 1).astype(np.intp)}
    vectors = laplacian_eigenvectors(affinities, min(K + min(K, MAX_MORE_VECTORS), N - 1), random_state)[1]
    links = Links.of_samples(affinities)
    spectral = make_partition(links, spectral_clusters(vectors, K, random_state), K)
    found = {
        "refined": local_search(links, spectral, random_state),
        "blocks": fit_dcsbm(affinities, normalize(vectors), K, random_state),
        "spectral": spectral,
    }
    order = sorted(found, key=lambda name: -found[name].information)
    return {name: found[name].labels for name in order}


def partition_mainland(
    points: NDArray[np.float64], affinities: csr_array, n_clusters: int, random_state: np.random.RandomState
) -> dict[str, NDArray[np.intp]]:
    """Partitions of a graph without its tiny connected components, whose samples follow the nearest other one.

    A few samples that are almost equal have no links to others. As a cluster they would keep all the information of
    their labels.

    Parameters
    ----------
    points : ndarray of shape (N, L)
    affinities : csr_array of shape (N, N)
        Of the points.
    n_clusters : int
        K < N − 1.
    random_state : RandomState

    Returns
    -------
    dict of str to ndarray of shape (N,)
        As of :func:`partition_graph`.
    """
    K, is_kept = n_clusters, ~find_islands(affinities, n_clusters)[0]
    if is_kept.all() or is_kept.sum() <= K + 1:
        return partition_graph(affinities, K, random_state)
    found = partition_graph(affinities[is_kept][:, is_kept], K, random_state)
    nearest = KNeighborsClassifier(1)
    return {name: nearest.fit(points[is_kept], labels).predict(points) for name, labels in found.items()}
