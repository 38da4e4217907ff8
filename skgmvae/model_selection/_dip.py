"""The dip of samples of one variable: their distance from unimodality (Hartigan & Hartigan 1985)."""

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import isotonic_regression

from skgmvae.data.arrays import Floats

__all__ = ["dip_statistic", "least_dip"]

LEAST_PAIR = 4  # samples of a cluster, for a line to another to tell anything


def dip_statistic(values: Floats) -> float:
    """The least, over unimodal distributions, of the largest distance from the empirical distribution function.

    Between 1 / (2n) and ¼. Under a uniform distribution, √n dip exceeds 0.65 with a probability of about 0.005.

    Parameters
    ----------
    values : ndarray of shape (n,)
    """
    x, n = np.sort(values), len(values)
    steps = np.arange(1.0, n + 1.0)
    low, high, dip = 0, n - 1, 1.0  # of the modal interval; the dip in units of 1 / (2n)
    while low < high:  # an interval of one value is left where many are equal
        span = slice(low, high + 1)
        minorant, is_lower = _convex_minorant(x[span], steps[span])
        majorant, is_upper = _convex_minorant(x[span], -steps[span])
        majorant = -majorant
        # the minorant is that of the lower ends of the steps
        gap = np.where(is_lower | is_upper, majorant - minorant + 1.0, -np.inf)
        at = int(gap.argmax())
        # the gap is widest at a knot of one of the two; the modal interval ends at the next knot of the other
        if is_lower[at]:
            left, right = at, at + int(is_upper[at:].argmax())
        else:
            left, right = at - int(is_lower[at::-1].argmax()), at
        if gap[at] <= dip:
            break
        below = (steps[span] - minorant + 1.0)[: left + 1].max()
        above = (majorant - steps[span] + 1.0)[right:].max()
        dip = max(dip, below, above)
        if left == 0 and right == high - low:
            break
        low, high = low + left, low + right
    return dip / (2.0 * n)


def _convex_minorant(x: Floats, y: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """The greatest convex function below the points, at their places (n,), and where it touches them at a corner.

    Its slopes are an isotonic regression.
    """
    widths = np.maximum(np.diff(x), np.finfo(np.float64).tiny)
    slopes = isotonic_regression(np.diff(y) / widths, sample_weight=widths)
    is_knot = np.concatenate([[True], np.diff(slopes) != 0.0, [True]])
    return np.interp(x, x[is_knot], y[is_knot]), is_knot


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
