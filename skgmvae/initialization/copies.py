"""Samples that are copies of each other, rather than equal by rounding."""

import numpy as np
from numpy.typing import NDArray

from skgmvae.initialization.comparison import N_LINKED
from skgmvae.initialization.views import DUPLICATES, HEAP

__all__ = ["are_copies", "tells_apart"]

IDENTIFYING = 0.9  # different values of a column, per sample that differs: equal samples then are copies


def are_copies(distinct: NDArray[np.float64], counts: NDArray[np.intp]) -> bool:
    """Whether many samples are repeated, or one more often than it has links, and not for rounding of all its values.

    Links would be those to copies, and these a cluster that loses no information. Columns with a sample of a larger
    share are made continuous instead.
    """
    N = counts.sum()
    is_repeated = counts.max() > N_LINKED or len(distinct) <= (1.0 - DUPLICATES) * N
    return bool(is_repeated and counts.max() < HEAP * N and tells_apart(distinct))


def tells_apart(distinct: NDArray[np.float64]) -> bool:
    """Whether a column has a value of its own for nearly all samples (N, D) that differ: equal ones are then copies."""
    return max(len(np.unique(column)) for column in distinct.T) >= IDENTIFYING * len(distinct)
