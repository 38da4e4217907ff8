"""Agglomeration along a spanning tree with bounded inequality of cluster sizes."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["cut_with_gini", "gini_index"]


def gini_index(sizes: dict[int, int]) -> float:
    """Σ_i<j |s_i − s_j| / ((n − 1) Σ_i s_i) of n clusters, given the number of clusters of each size."""
    below = total = spread = 0
    for size in sorted(sizes):
        count = sizes[size]
        spread += count * (size * below - total)
        below += count
        total += count * size
    return spread / ((below - 1) * total) if below > 1 else 0.0


class _Clusters:
    """Disjoint sets of points."""

    def __init__(self, n_points: int) -> None:
        self.parent = list(range(n_points))
        self.size = [1] * n_points
        self.n_of_size = {1: n_points}

    def find(self, point: int) -> int:
        while self.parent[point] != point:
            self.parent[point] = self.parent[self.parent[point]]
            point = self.parent[point]
        return point

    def size_of(self, point: int) -> int:
        return self.size[self.find(point)]

    def join(self, a: int, b: int) -> None:
        a, b = self.find(a), self.find(b)
        if self.size[a] < self.size[b]:
            a, b = b, a
        for size in (self.size[a], self.size[b]):
            self.n_of_size[size] -= 1
            if self.n_of_size[size] == 0:
                del self.n_of_size[size]
        self.parent[b] = a
        self.size[a] += self.size[b]
        self.n_of_size[self.size[a]] = self.n_of_size.get(self.size[a], 0) + 1


def cut_with_gini(edges: NDArray[np.intp], n_clusters: int, threshold: float = 0.3) -> NDArray[np.intp]:
    """Labels of single linkage, except that a smallest cluster is joined while sizes are unequal.

    While the Gini index of the cluster sizes is at most ``threshold``, the shortest remaining edge of the tree is
    contracted; otherwise the shortest that touches a cluster of the smallest size (Genie; Gagolewski, Bartoszuk & Cena
    2016).

    Parameters
    ----------
    edges : ndarray of shape (N − 1, 2)
        Of a spanning tree, shortest first.
    n_clusters : int
        K ≤ N.
    threshold : float, default=0.3
        1 gives single linkage.

    Returns
    -------
    labels : ndarray of shape (N,)
    """
    N = len(edges) + 1
    clusters, remaining = _Clusters(N), edges.tolist()
    is_used, first, cursor, smallest = [False] * (N - 1), 0, 0, 0
    for _ in range(N - n_clusters):
        while is_used[first]:
            first += 1
        edge = first
        if gini_index(clusters.n_of_size) > threshold:
            least = min(clusters.n_of_size)
            # no edge before the cursor touches a cluster of the smallest size, as long as that size lasts
            cursor = cursor if least == smallest else first
            smallest = least
            while is_used[cursor] or least not in map(clusters.size_of, remaining[cursor]):
                cursor += 1
            edge = cursor
        is_used[edge] = True
        clusters.join(*remaining[edge])
    roots = np.array([clusters.find(point) for point in range(N)])
    return np.unique(roots, return_inverse=True)[1].astype(np.intp)
