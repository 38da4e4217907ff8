"""Minimum spanning trees of mutual reachability distances."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from skgmvae.initialization.neighbor_graph import Neighbors

__all__ = ["spanning_tree"]

MAX_EXACT = 10_000  # points up to which the tree is exact, which takes N² distances
TIE_WEIGHT = 1e-9  # of the squared distance beside the squared reachability, which is equal for many pairs


def spanning_tree(points: NDArray[np.float64], neighbors: Neighbors, n_neighbors: int = 5) -> NDArray[np.intp]:
    """Edges of a minimum spanning tree under max(d_ij, c_i, c_j), c_i the distance to neighbor ``n_neighbors``.

    Mutual reachability (Campello, Moulavi & Sander 2013) keeps single points between two clusters from joining them.
    Ties are resolved by the distance itself. Exact up to ``MAX_EXACT`` points; for more points, the tree is that of
    the neighbor graph, whose connected components are joined by the shortest edges between their centers' nearest
    points.

    Parameters
    ----------
    points : ndarray of shape (N, L)
    neighbors : Neighbors
        Of ``points``.
    n_neighbors : int, default=5
        0 for a tree of plain distances.

    Returns
    -------
    edges : ndarray of shape (N − 1, 2)
        Shortest first.
    """
    core = np.zeros(len(points))
    if n_neighbors > 0:
        core = neighbors.distances[:, min(n_neighbors, neighbors.distances.shape[1]) - 1] ** 2
    if len(points) <= MAX_EXACT:
        return _exact_tree(points, core)
    return _sparse_tree(points, core, neighbors)


def _exact_tree(points: NDArray[np.float64], core: NDArray[np.float64]) -> NDArray[np.intp]:
    """Prim's algorithm; memory N, each step one pass over the points outside the tree."""
    N = len(points)
    outside, nearest = np.arange(1, N), np.zeros(N - 1, dtype=np.intp)
    rows, cores, best = np.array(points[1:].T, order="C"), core[1:].copy(), np.full(N - 1, np.inf)
    edges, weights, last = np.empty((N - 1, 2), dtype=np.intp), np.empty(N - 1), 0
    for step in range(N - 1):
        n = N - 1 - step
        squared = ((rows[:, :n] - points[last][:, None]) ** 2).sum(0)
        reach = np.maximum(np.maximum(squared, cores[:n]), core[last]) + TIE_WEIGHT * squared
        closer = reach < best[:n]
        np.copyto(best[:n], reach, where=closer)
        np.copyto(nearest[:n], last, where=closer)
        k = int(best[:n].argmin())
        edges[step], weights[step], last = (nearest[k], outside[k]), best[k], int(outside[k])
        for array in (outside, nearest, cores, best):
            array[k] = array[n - 1]
        rows[:, k] = rows[:, n - 1]
    return edges[np.argsort(weights, kind="stable")]


def _sparse_tree(points: NDArray[np.float64], core: NDArray[np.float64], neighbors: Neighbors) -> NDArray[np.intp]:
    """Tree of the neighbor graph and of edges between its connected components."""
    N, k = neighbors.indices.shape
    edges = np.stack([np.repeat(np.arange(N), k), neighbors.indices.ravel()], axis=1)
    graph = coo_array((np.ones(len(edges)), edges.T), shape=(N, N))
    n_pieces, piece = connected_components(graph, directed=False)
    if n_pieces > 1:
        edges = np.concatenate([edges, _bridges(points, piece, n_pieces)])
    a, b = edges.T
    squared = ((points[a] - points[b]) ** 2).sum(1)
    weights = np.maximum(np.maximum(squared, core[a]), core[b]) + TIE_WEIGHT * squared
    least = np.finfo(np.float64).tiny  # SciPy takes a weight of zero for a missing edge
    weights, pairs = np.maximum(weights, least), np.sort(edges, axis=1)
    _, first = np.unique(pairs @ np.array([N, 1]), return_index=True)  # duplicates would be summed
    tree = minimum_spanning_tree(coo_array((weights[first], pairs[first].T), shape=(N, N)).tocsr()).tocoo()
    return np.stack(tree.coords, axis=1)[np.argsort(tree.data, kind="stable")].astype(np.intp)


def _bridges(points: NDArray[np.float64], piece: NDArray[np.int32], n_pieces: int) -> NDArray[np.intp]:
    """For each edge of the tree of the components' centers, the points nearest to each other's side."""
    counts = np.bincount(piece, minlength=n_pieces)
    centers = np.stack([np.bincount(piece, column, n_pieces) / counts for column in points.T], axis=1)
    tree = _exact_tree(centers, np.zeros(n_pieces))
    members = np.split(np.argsort(piece, kind="stable"), np.cumsum(counts)[:-1])
    bridges = np.empty((n_pieces - 1, 2), dtype=np.intp)
    for edge, (a, b) in zip(bridges, tree, strict=True):
        of_a = members[a][((points[members[a]] - centers[b]) ** 2).sum(1).argmin()]
        of_b = members[b][((points[members[b]] - points[of_a]) ** 2).sum(1).argmin()]
        edge[:] = members[a][((points[members[a]] - points[of_b]) ** 2).sum(1).argmin()], of_b
    return bridges
