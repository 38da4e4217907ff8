"""Division of a spanning tree at long edges that separate large limbs."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order

__all__ = ["cut_limbs"]


class _Rooted(NamedTuple):
    """A rooted tree whose nodes are numbered so that those below a node follow it.

    Attributes
    ----------
    position : ndarray of shape (N,)
        Number of each node; the root's is 0.
    end : ndarray of shape (N,)
        Below the node v are the numbers ``position[v]`` to ``end[v] − 1``.
    """

    position: NDArray[np.intp]
    end: NDArray[np.intp]


def cut_limbs(edges: NDArray[np.intp], n_clusters: int, least_share: float, *, count_leaves: bool) -> NDArray[np.intp]:
    """Labels after removing the longest edges both of whose sides are large enough.

    From the longest edge to the shortest, an edge is removed if each of the two parts into which its component falls
    has at least ``least_share`` of the mean cluster size N / K, until there are K parts (Lumbermark; Gagolewski 2025).

    Parameters
    ----------
    edges : ndarray of shape (N − 1, 2)
        Of a spanning tree, shortest first.
    n_clusters : int
        K.
    least_share : float
        Of N / K; at least 3 nodes.
    count_leaves : bool
        Whether the leaves of the tree, outliers often, count towards the size of a part.

    Returns
    -------
    labels : ndarray of shape (N,)
        Fewer than K clusters where no more edges can be removed.
    """
    N = len(edges) + 1
    least = max(3.0, least_share * N / n_clusters)
    tree = _number_nodes(edges)
    counted = np.empty(N, dtype=bool)
    counted[tree.position] = count_leaves | (np.bincount(edges.ravel(), minlength=N) > 1)
    labels, sizes = np.zeros(N, dtype=np.intp), [int(counted.sum())]
    lower = np.where(tree.position[edges[:, 0]] > tree.position[edges[:, 1]], edges[:, 0], edges[:, 1])
    starts, ends = tree.position[lower].tolist(), tree.end[lower].tolist()
    for start, end in zip(reversed(starts), reversed(ends), strict=True):
        if len(sizes) == n_clusters:
            break
        if end - start < least:  # without the parts already removed it is smaller still
            continue
        below = labels[start:end] == labels[start]
        size = int(np.count_nonzero(below & counted[start:end]))
        if min(size, sizes[labels[start]] - size) >= least:
            sizes[labels[start]] -= size
            labels[start:end][below] = len(sizes)
            sizes.append(size)
    return labels[tree.position]


def _number_nodes(edges: NDArray[np.intp]) -> _Rooted:
    """Number the nodes depth first, from the sizes of what is below them."""
    N = len(edges) + 1
    graph = coo_array((np.ones(N - 1), edges.T), shape=(N, N)).tocsr()
    order, above = breadth_first_order(graph, 0, directed=False)
    nodes, parents, sizes = order.tolist(), above.tolist(), [1] * N
    for node in reversed(nodes[1:]):
        sizes[parents[node]] += sizes[node]
    position, following = [0] * N, [1] * N  # the next number that is free below a node
    for node in nodes[1:]:
        parent = parents[node]
        position[node] = following[parent]
        following[parent] += sizes[node]
        following[node] = position[node] + 1
    return _Rooted(np.array(position), np.array(position) + np.array(sizes))
