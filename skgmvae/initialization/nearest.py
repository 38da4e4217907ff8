"""Nearest points by brute force on a CUDA device, as exact as the search of scikit-learn on the CPU."""

import torch
from torch import Tensor

__all__ = ["nearest"]

DISTANCES = 2**26  # at a time: 512 MiB


def nearest(queries: Tensor, points: Tensor, n_neighbors: int, *, is_same: bool = False) -> tuple[Tensor, Tensor]:
    """The nearest of ``points`` to each query, nearest first, by Euclidean distance.

    Candidates are compared by |p|² − 2 q·p, from the mean of the points, and ordered by the differences themselves.

    Parameters
    ----------
    queries : Tensor of shape (n, L)
    points : Tensor of shape (N, L)
    n_neighbors : int
        At most N, or N − 1 if ``is_same``.
    is_same : bool
        Whether the queries are the points; none is then its own neighbor.

    Returns
    -------
    distances, indices : Tensor of shape (n, n_neighbors)
    """
    center = points.mean(0)
    queries, points = queries - center, points - center
    squares, parts = points.square().sum(1), []
    for first in range(0, len(queries), size := max(1, DISTANCES // len(points))):
        some = queries[first : first + size]
        compared = torch.addmm(squares, some, points.T, alpha=-2.0)
        if is_same:
            compared.diagonal(first).fill_(torch.inf)
        indices = compared.topk(n_neighbors, largest=False).indices
        distances = (some.unsqueeze(1) - points[indices]).norm(dim=-1)
        distances, order = distances.sort(1)
        parts.append((distances, indices.gather(1, order)))
    distances, indices = (torch.cat(some) for some in zip(*parts, strict=True))
    return distances, indices
