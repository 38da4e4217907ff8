"""Whether neighboring clusters are apart: the dip of their samples on the line between their means."""

import numpy as np
from numpy.typing import NDArray

from skgmvae.data.arrays import Floats
from skgmvae.initialization.dip import dip_statistic

__all__ = ["least_dip"]

LEAST_PAIR = 4  # samples of a cluster, for a line to another to tell anything


def least_dip(points: Floats, labels: NDArray[np.intp], edges: NDArray[np.intp]) -> float:
    """The least √n dip on the line between the means of two neighboring clusters, over all pairs that an edge joins.

    0 for a single cluster, and where a cluster has hardly any samples.

    Parameters
    ----------
    points : ndarray of shape (N, D)
    labels : ndarray of shape (N,)
        0 to K − 1, each at least once.
    edges : ndarray of shape (E, 2)
    """
    ends = np.sort(labels[edges], axis=1)
    pairs = np.unique(ends[ends[:, 0] != ends[:, 1]], axis=0)
    if len(pairs) == 0 or np.bincount(labels).min() < LEAST_PAIR:
        return 0.0
    dips = []
    for a, b in pairs:
        of_a, of_b = points[labels == a], points[labels == b]
        line = np.concatenate([of_a, of_b]) @ (of_a.mean(0) - of_b.mean(0))
        dips.append(np.sqrt(len(line)) * dip_statistic(line))
    return float(min(dips))
