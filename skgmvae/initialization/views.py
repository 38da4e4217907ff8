"""Transformed inputs in which clusters are looked for: standardized, whitened, and principal components.

Tables whose columns are continuous, without wild values, are standardized and nothing else. The other transforms keep
single values and columns of few values from hiding the clusters of the other columns.
"""

import numpy as np
from numpy.typing import NDArray

from skgmvae.initialization.partitions import members

__all__ = ["compress_outliers", "dequantize", "find_heaped", "standardize", "whiten"]

# all constants are round numbers, set before any figure was computed
FAR = 10.0  # robust standard deviations from the median, beyond which values are compressed
NORMAL_QUARTILES = 1.349  # distance between the quartiles of the standard normal distribution
HEAPED = 0.05  # probability that two samples have equal values, from which a column has few values
MAX_VALUES = 20  # a column of more values than this, e.g. zero-inflated, is heaped at single values
RELATED = 0.1  # autocorrelation over neighbors in the other columns, from which a column is related to these, …
SIGNIFICANT = 4.0  # … and in standard errors
N_NEIGHBORS = 10
LEAST_VARIANCE = 1e-6  # of a principal component, relative to the largest, to be whitened


def compress_outliers(X: NDArray[np.float64]) -> NDArray[np.float64]:
    """(X − median) / scale, with distances beyond ``FAR`` scales replaced by FAR + log(1 + excess).

    The scale is that of the quartiles, in units of a standard deviation; where these are equal, that of the values
    that differ from the median. Order is kept, and values apart stay apart.
    """
    centered = X - np.median(X, axis=0)
    low, high = np.percentile(centered, [25, 75], axis=0)
    scale = (high - low) / NORMAL_QUARTILES
    for d in np.flatnonzero(scale == 0.0):
        others = np.abs(centered[centered[:, d] != 0.0, d])
        scale[d] = np.median(others) if len(others) else 1.0
    z = centered / scale
    excess = np.maximum(np.abs(z) - FAR, 0.0)
    return np.asarray(np.where(excess > 0.0, np.sign(z) * (FAR + np.log1p(excess)), z))


def find_heaped(X: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which columns have so few values that the values of two samples are often equal."""
    counts = [np.unique(column, return_counts=True)[1] for column in X.T]
    return np.array([np.sum((c / len(X)) ** 2) >= HEAPED for c in counts], dtype=bool)


def dequantize(column: NDArray[np.float64], random_state: np.random.RandomState) -> NDArray[np.float64]:
    """Values of a heaped column made continuous; their order is kept.

    A value is replaced by a uniform draw between the middles to its neighboring values. Of a column of more than
    ``MAX_VALUES`` values only those that are heaped themselves are.
    """
    values, index, counts = np.unique(column, return_inverse=True, return_counts=True)
    middles = (values[1:] + values[:-1]) / 2.0
    low = np.r_[2.0 * values[0] - middles[0], middles]
    high = np.r_[middles, 2.0 * values[-1] - middles[-1]]
    drawn = random_state.uniform(low[index], high[index])
    is_heap = (counts / len(column)) ** 2 >= HEAPED if len(values) > MAX_VALUES else np.ones(len(values), dtype=bool)
    return np.where(is_heap[index], drawn, column)


def whiten(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Principal components scaled to unit variance, but for those of hardly any variance."""
    centered = points - points.mean(0)
    values, vectors = np.linalg.eigh(centered.T @ centered / len(points))
    kept = values > LEAST_VARIANCE * values.max()
    return np.asarray(centered @ vectors[:, kept] / np.sqrt(values[kept]))


def whiten_within(points: NDArray[np.float64], labels: NDArray[np.intp], n_clusters: int) -> NDArray[np.float64]:
    """Coordinates in which the mean covariance within the clusters is the identity."""
    one_hot = members(labels, n_clusters)
    counts = np.maximum(one_hot.sum(0), 1.0)
    residuals = points - ((one_hot.T @ points) / counts[:, None])[labels]
    values, vectors = np.linalg.eigh(residuals.T @ residuals / len(points))
    return np.asarray(points @ vectors / np.sqrt(np.maximum(values, LEAST_VARIANCE * values.max())))


def standardize(X: NDArray[np.float64], random_state: np.random.RandomState) -> NDArray[np.float64]:
    """Columns of zero mean and unit variance, constant ones left out."""
    points = compress_outliers(X[:, np.ptp(X, axis=0) > 0.0])
    spread = points.std(0)
    return np.asarray((points - points.mean(0)) / spread)
