"""Transformed inputs in which clusters are looked for: standardized and whitened.

A table of continuous columns without wild values is standardized and nothing else. The other transforms keep single
values, and columns of few values, from hiding the clusters of the other columns.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skgmvae.initialization.neighbor_graph import find_neighbors
from skgmvae.initialization.partitions import members

__all__ = [
    "Views",
    "compress",
    "compress_outliers",
    "dequantize",
    "find_codes",
    "find_heaped",
    "find_scales",
    "make_views",
    "rounding_variance",
    "whiten",
    "whiten_within",
]

# Round numbers, set on simulated tables, and so that iris, wine and digits stay as they are; labels of two further
# tables, one with a flag and one of ordinal columns, were in sight.
FAR = 10.0  # robust standard deviations from the median, beyond which values are compressed
NORMAL_QUARTILES = 1.349  # distance between the quartiles of the standard normal distribution
MAX_VALUES = 20  # a column of so few values is heaped at all of them; …
SAMPLES_PER_VALUE = 5  # … unless there are fewer samples per value on average; …
HEAP = 0.2  # … any column is heaped at a value of this share of the samples, as zero-inflated ones are
LEAST_CODED, CODED = 3, 0.01  # samples, and their share, that have the same value far from all others: a code
RELATED = 0.1  # autocorrelation over neighbors in the other columns, from which a column is related to these, …
SIGNIFICANT = 4.0  # … and in standard errors
RARE = 0.1  # frequency of a value, relative to the most frequent one, below which it does not count
COARSE = 0.2  # probability that two samples have equal values, below which a column is a rounded continuous one
DUPLICATES = 0.1  # share of equal samples, from which columns are made continuous that all are heaped
DEPENDENT = 0.05  # mean log ratio of neighbor distances, from which columns depend on each other
N_NEIGHBORS = 10
MAX_SEARCHED = 5_000  # samples on which columns are compared
LEAST_VARIANCE = 1e-6  # of a principal component, relative to the largest, to be whitened


class Views(NamedTuple):
    """Columns of zero mean and unit variance, constant ones left out.

    Attributes
    ----------
    continuous : ndarray of shape (N, L)
        For neighbors: columns of few values may be made continuous.
    exact : ndarray of shape (N, L)
        For mixtures: the same columns as they are. Both are equal where no column has few values.
    """

    continuous: NDArray[np.float64]
    exact: NDArray[np.float64]


def make_views(X: NDArray[np.float64], random_state: np.random.RandomState) -> Views:
    """Standardized columns, robust to outliers and to columns of few values.

    Outliers are compressed (:func:`compress_outliers`). Beside continuous columns, those of few values (flags, one-hot
    and ordinal columns, zero-inflated ones) make heaps of samples at distance zero, which a neighbor graph takes for
    clusters: they are made continuous (:func:`dequantize`), or left out where the continuous columns depend on each
    other but say nothing about them. If all columns are heaped, they are made continuous where many samples are equal.

    Parameters
    ----------
    X : ndarray of shape (N, D)
    random_state : RandomState
        Draws only where columns are heaped.

    Returns
    -------
    Views
        L ≤ D; a single column of zeros if all are constant.
    """
    X = X[:, np.ptp(X, axis=0) > 0.0]
    if X.shape[1] == 0:
        return Views(np.zeros((len(X), 1)), np.zeros((len(X), 1)))
    X, heaped = _replace_codes(X, random_state), find_heaped(X)
    if not heaped.any() or (heaped.all() and len(np.unique(X, axis=0)) >= (1.0 - DUPLICATES) * len(X)):
        points = _scale(compress_outliers(X))
        return Views(points, points)
    if not heaped.all():
        kept = ~heaped
        kept[heaped] = _find_kept(X, heaped, random_state)
        X, heaped = X[:, kept], heaped[kept]
    columns = [dequantize(x, random_state) if is_heaped else x for x, is_heaped in zip(X.T, heaped, strict=True)]
    return Views(_scale(compress_outliers(np.stack(columns, axis=1))), _scale(compress_outliers(X)))


def _scale(X: NDArray[np.float64]) -> NDArray[np.float64]:
    centered = X - X.mean(0)
    return np.asarray(centered / centered.std(0))


def compress_outliers(X: NDArray[np.float64]) -> NDArray[np.float64]:
    """(X − median) / scale, of distances from the median those beyond ``FAR`` scales compressed (:func:`compress`)."""
    center, scale = find_scales(X)
    return compress((X - center) / scale, FAR)


def find_scales(X: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Medians and scales (D,) of columns (N, D) that are not constant.

    The scale is that of the quartiles, in units of a standard deviation; where these are equal, that of the values
    that differ from the median.
    """
    center = np.median(X, axis=0)
    centered = X - center
    low, high = np.percentile(centered, [25, 75], axis=0)
    scale = (high - low) / NORMAL_QUARTILES
    for d in np.flatnonzero(scale == 0.0):
        scale[d] = np.median(np.abs(centered[centered[:, d] != 0.0, d]))
    return center, scale


def compress(z: NDArray[np.float64], far: float, slope: float = 1.0) -> NDArray[np.float64]:
    """Values beyond ``far`` replaced by far + slope · log(1 + excess): order is kept, and values apart stay apart."""
    excess = np.maximum(np.abs(z) - far, 0.0)
    return np.asarray(np.clip(z, -far, far) + slope * np.sign(z) * np.log1p(excess))


def find_heaped(X: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which columns have few values, or one that many samples have."""
    counts = [np.unique(column, return_counts=True)[1] for column in X.T]
    return np.array([_has_few_values(c) or c.max() >= HEAP * len(X) for c in counts], dtype=bool)


def find_codes(column: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values far from all others that many samples share, such as 999 for a missing one; of observed values (n,).

    At most one on either side, which is that of most samples there: a cluster has several values, and so has a tail. A
    column of few values, or with one that many samples have, has no code.
    """
    values, counts = np.unique(column, return_counts=True)
    if len(values) < 2 or _has_few_values(counts) or counts.max() >= HEAP * len(column):
        return values[:0]
    center, scale = find_scales(column[:, None])
    sides = np.where(values > center, 1, -1) * (np.abs(values - center) > FAR * scale)
    least, far = max(LEAST_CODED, CODED * len(column)), [counts * (sides == side) for side in (-1, 1)]
    return np.array([values[n.argmax()] for n in far if n.max() >= max(least, n.sum() / 2)])


def _replace_codes(X: NDArray[np.float64], random_state: np.random.RandomState) -> NDArray[np.float64]:
    """The columns (N, D), codes replaced by other values of the same column, drawn at random."""
    for d, column in enumerate(X.T):
        codes = find_codes(column)
        if len(codes):
            is_code, X = np.isin(column, codes), X.copy()
            X[is_code, d] = random_state.choice(column[~is_code], is_code.sum())
    return X


def _has_few_values(counts: NDArray[np.intp]) -> bool:
    return bool(len(counts) <= min(MAX_VALUES, counts.sum() / SAMPLES_PER_VALUE))


def dequantize(
    column: NDArray[np.float64], random_state: np.random.RandomState, of_heaps: bool = True
) -> NDArray[np.float64]:
    """Values of a heaped column made continuous, or all values that occur more than once; their order is kept.

    A value is replaced by a uniform draw between the middles to its neighboring values; of a column of many values,
    only those that many samples have.
    """
    values, index, counts = np.unique(column, return_inverse=True, return_counts=True)
    middles = (values[1:] + values[:-1]) / 2.0
    low = np.r_[2.0 * values[0] - middles[0], middles]
    high = np.r_[middles, 2.0 * values[-1] - middles[-1]]
    drawn = random_state.uniform(low[index], high[index])
    least = 2 if not of_heaps else 0 if _has_few_values(counts) else HEAP * len(column)
    return np.where((counts >= least)[index], drawn, column)


def rounding_variance(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """h² / 12 of columns of few values, h the median distance between these; 0 of other columns (Sheppard 1898).

    A normal distribution within such values has no density; of variances smaller than this, a mixture's likelihood
    would reward clusters in which a column is constant. Values much rarer than the most frequent one are left out, the
    two most frequent ones are not: a column of −1 and 1 with a few zeros is one of two values.
    """
    variances = np.zeros(points.shape[1])
    for d, column in enumerate(points.T):
        values, counts = np.unique(column, return_counts=True)
        if len(values) > 1 and _has_few_values(counts):
            is_frequent = counts >= min(RARE * counts.max(), np.sort(counts)[-2])
            variances[d] = np.median(np.diff(values[is_frequent])) ** 2 / 12.0
    return variances


def _find_kept(
    X: NDArray[np.float64], heaped: NDArray[np.bool_], random_state: np.random.RandomState
) -> NDArray[np.bool_]:
    """Which of the heaped columns are kept: those that the other columns say something about, if these depend."""
    columns = X[:, heaped]
    some = random_state.permutation(len(X))[:MAX_SEARCHED]
    others = _scale(compress_outliers(X[some][:, ~heaped]))
    distances, indices = find_neighbors(others, N_NEIGHBORS)
    if not _depend(others, distances, random_state):
        return np.ones(columns.shape[1], dtype=bool)
    return _are_related(columns[some], indices) | _are_rounded(columns)


def _are_rounded(columns: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether columns have so many values that these rather are rounded ones."""
    counts = [np.unique(column, return_counts=True)[1] for column in columns.T]
    return np.array([np.sum((c / len(columns)) ** 2) < COARSE for c in counts], dtype=bool)


def _depend(points: NDArray[np.float64], distances: NDArray[np.float64], random_state: np.random.RandomState) -> bool:
    """Whether neighbors are nearer than they are after a permutation of each column."""
    if points.shape[1] < 2:
        return False
    permuted = np.stack([random_state.permutation(column) for column in points.T], axis=1)
    apart = find_neighbors(permuted, N_NEIGHBORS).distances
    least = np.finfo(np.float64).tiny
    ratio = np.log(np.maximum(apart[:, -1], least)) - np.log(np.maximum(distances[:, -1], least))
    return bool(ratio.mean() >= DEPENDENT)


def _are_related(columns: NDArray[np.float64], indices: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Whether neighbors have similar values (Moran's I and its standard error under permutation)."""
    z = columns - columns.mean(0)
    autocorrelation = (z * z[indices].mean(1)).mean(0) / (z**2).mean(0)
    error = np.sqrt(2.0 / indices.size)  # of links that are mostly mutual
    return np.asarray(autocorrelation >= max(RELATED, SIGNIFICANT * error))


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
