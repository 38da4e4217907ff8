"""Continuous columns of a table with other columns, fit for the normal distributions of a mixture."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from skgmvae.initialization.views import compress, find_heaped, find_scales

__all__ = ["ContinuousColumns"]

# Round numbers, set on simulated tables with a flag, a category, and columns of outliers, zeros and integers
FAR = 3.5  # robust standard deviations from the median, beyond which values are compressed …
SLOPE = 0.25  # … to a logarithm times this: outliers in several columns would still be a component


class ContinuousColumns:
    """What is known of the columns after one look at the samples that a mixture is fitted to.

    A value that many samples have, or each of few values, would be a component of a variance of nearly zero, and values
    far from all others would be one of a large variance. Columns with the former become normal scores, with ties broken
    at random; the latter are compressed. All other values stay as they are.

    Parameters
    ----------
    X : ndarray of shape (n, G)
        Missing values are NaN.
    """

    def __init__(self, X: NDArray[np.float64]) -> None:
        self.scales: list[tuple[float, float]] = []
        self.heaped: dict[int, NDArray[np.float64]] = {}  # ascending values, by the index of a column
        for d, column in enumerate(X.T):
            observed = column[~np.isnan(column)]
            if len(observed) == 0 or np.ptp(observed) == 0.0:
                self.scales.append((0.0, np.inf))
                continue
            center, scale = find_scales(observed[:, None])
            self.scales.append((float(center[0]), float(scale[0])))
            if find_heaped(observed[:, None])[0]:
                self.heaped[d] = np.sort(observed)

    def transform(self, X: NDArray[np.float64], random_state: np.random.RandomState) -> NDArray[np.float64]:
        """The columns (N, G) of the same or further samples; draws only where columns are heaped."""
        found = X.copy()
        for d, (center, scale) in enumerate(self.scales):
            column = X[:, d]
            if d in self.heaped:
                found[:, d] = _score(column, self.heaped[d], random_state)
                continue
            z = (column - center) / scale
            is_far = np.abs(z) > FAR
            found[is_far, d] = center + scale * compress(z[is_far], FAR, SLOPE)
        return found


def _score(
    column: NDArray[np.float64], values: NDArray[np.float64], random_state: np.random.RandomState
) -> NDArray[np.float64]:
    """Normal scores (N,) of a column by the ascending values (n,) of samples, equal ones in random order."""
    n = len(values)
    low, high = (np.searchsorted(values, column, side) for side in ("left", "right"))
    within = np.where(high > low + 1, random_state.uniform(size=len(column)), 0.5)
    scores = ndtri(np.clip((low + (high - low) * within) / n, 0.5 / n, 1.0 - 0.5 / n))
    return np.where(np.isnan(column), np.nan, scores)
