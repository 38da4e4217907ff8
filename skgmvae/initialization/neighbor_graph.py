"""Affinities of nearest neighbors, all from one search."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from sklearn.neighbors import NearestNeighbors

from skgmvae.initialization.nearest import nearest

__all__ = ["N_NEIGHBORS", "Neighbors", "connected_graph", "find_islands", "find_neighbors", "self_tuned_graph"]

N_NEIGHBORS = 10
MAX_NEIGHBORS = 80  # connected components that hold more samples than this are clusters of their own
ISLAND = 0.1  # size of a connected component, relative to N / K, below which it is no cluster
BRUTE_FEATURES = 8  # from this number of features on a brute-force search is faster than a tree
LEAST_SCALE = np.finfo(np.float64).tiny ** 0.25  # its square is still above the smallest number
LEAST_AFFINITY = float(np.finfo(np.float32).tiny)  # rounding to zero must not disconnect the graph


class Neighbors(NamedTuple):
    """The nearest other points of each point, nearest first.

    Attributes
    ----------
    distances : ndarray of shape (N, n_neighbors)
    indices : ndarray of shape (N, n_neighbors)
    """

    distances: NDArray[np.float64]
    indices: NDArray[np.intp]


def find_neighbors(points: NDArray[np.float64], n_neighbors: int, device: torch.device | None = None) -> Neighbors:
    """The ``n_neighbors`` nearest other points of each point, or all N − 1 where there are fewer.

    With a CUDA device, it searches there. The result differs at most where neighbors are equally far.
    """
    n_neighbors = min(n_neighbors, len(points) - 1)
    if device is not None and device.type == "cuda":
        there = torch.from_numpy(np.asarray(points, np.float64)).to(device)
        distances, indices = nearest(there, there, n_neighbors, is_same=True)
        return Neighbors(distances.numpy(force=True), indices.numpy(force=True))
    algorithm = "brute" if points.shape[1] >= BRUTE_FEATURES else "auto"
    search = NearestNeighbors(n_neighbors=n_neighbors, algorithm=algorithm).fit(points)
    return Neighbors(*search.kneighbors())  # without an argument a point is not its own neighbor


def self_tuned_graph(neighbors: Neighbors, n_neighbors: int) -> csr_array:
    """exp(−d²_ij / (s_i s_j)), s_i the distance to the last neighbor (Zelnik-Manor & Perona 2004).

    Parameters
    ----------
    neighbors : Neighbors
    n_neighbors : int
        Number of leading neighbors to use.

    Returns
    -------
    csr_array of shape (N, N)
        Symmetric: an edge exists where either end is a neighbor of the other.
    """
    distances, indices = neighbors.distances[:, :n_neighbors], neighbors.indices[:, :n_neighbors]
    N, n_neighbors = distances.shape
    scales = np.maximum(distances[:, -1], LEAST_SCALE)
    affinities = np.exp(-(distances / scales[:, None]) * (distances / scales[indices]))
    affinities = np.maximum(affinities, LEAST_AFFINITY)
    indptr = np.arange(0, N * n_neighbors + 1, n_neighbors)
    graph = csr_array((affinities.ravel(), indices.ravel(), indptr), shape=(N, N))
    return graph.maximum(graph.T).tocsr()


def find_islands(affinities: csr_array, n_clusters: int) -> tuple[NDArray[np.bool_], int]:
    """Which samples (N,) are in a connected component too small to be a cluster, and the number of other components."""
    piece = connected_components(affinities, directed=False)[1]
    is_large = np.bincount(piece) >= ISLAND * len(piece) / n_clusters
    return ~is_large[piece], int(is_large.sum())


def connected_graph(
    points: NDArray[np.float64], neighbors: Neighbors, n_pieces: int, device: torch.device | None = None
) -> csr_array:
    """Self-tuned affinities of a graph with at most ``n_pieces`` connected components, if possible.

    Each component occupies an eigenvector of the Laplacian, and so a cluster. The number of neighbors is therefore
    doubled until there are few components, up to ``MAX_NEIGHBORS``. Tiny components do not count
    (:func:`find_islands`).

    Parameters
    ----------
    points : ndarray of shape (N, L)
    neighbors : Neighbors
        Of ``points``; searched again only where more neighbors are needed.
    n_pieces : int
    device : torch.device, optional
        As for :func:`find_neighbors`.

    Returns
    -------
    csr_array of shape (N, N)
    """
    n_neighbors = min(N_NEIGHBORS, len(points) - 1)
    graph = self_tuned_graph(neighbors, n_neighbors)
    most = min(MAX_NEIGHBORS, len(points) - 1)
    while n_neighbors < most and find_islands(graph, n_pieces)[1] > n_pieces:
        n_neighbors = min(2 * n_neighbors, most)
        if neighbors.indices.shape[1] < n_neighbors:
            neighbors = find_neighbors(points, most, device)
        graph = self_tuned_graph(neighbors, n_neighbors)
    return graph
