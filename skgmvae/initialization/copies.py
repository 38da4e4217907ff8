"""Samples that are copies of each other, rather than equal by rounding."""

import numpy as np
from numpy.typing import NDArray

from skgmvae.initialization.comparison import N_LINKED
from skgmvae.initialization.views import HEAP

__all__ = ["are_copies", "tells_apart"]

IDENTIFYING = 0.9  # different values of a column, per sample that differs: equal samples then are copies


def are_copies(distinct: NDArray[np.float64], counts: NDArray[np.intp]) -> bool:
    """Whether a sample is repeated more often than it has links, and not for the rounding of all of its values.

    Its links would be those to its copies, and these a cluster that loses no information. Columns with a sample of a
    larger share are made continuous instead.
    """
    if not N_LINKED < counts.max() < HEAP * counts.sum():
        return False
    return tells_apart(distinct)


def tells_apart(distinct: NDArray[np.float64]) -> bool:
    """Whether a column has a value of its own for nearly all samples (N, D) that differ: equal ones are then copies."""
    return max(len(np.unique(column)) for column in distinct.T) >= IDENTIFYING * len(distinct)
