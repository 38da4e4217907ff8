"""The dip of samples of one variable: their distance from unimodality (Hartigan & Hartigan 1985)."""

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import isotonic_regression

from skgmvae.data.arrays import Floats

__all__ = ["dip_statistic"]


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
