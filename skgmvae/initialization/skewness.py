"""Which columns are skewed as log-normal distributions are, or have heavy tails."""

import numpy as np
from numpy.typing import NDArray

from skgmvae.data.summary import QUARTILE_RANGE
from skgmvae.initialization.views import dequantize

__all__ = ["find_heavy_tails", "find_log_normal"]

N_NORMALS = (1, 2, 3)  # components of the mixtures that are compared
MAX_ITER, TOLERANCE = 60, 1e-3  # of EM, and nats per sample
LEAST_GAIN, LEAST_GAIN_OF_TAILS, N_ERRORS = 0.02, 0.04, 2.0  # nats per held-out sample, and standard errors
MOST_GAIN = 2.0  # nats, of a sample in a heavy tail; a few of them should not decide
LEAST_SAMPLES, MOST_SAMPLES = 50, 2_000
LEAST_SKEWNESS = 1.0  # of the values; columns with less are not looked at
LEAST_DISTINCT = 0.25  # values that differ, as a share of all; or, of those whose logarithms are compared, …
LEAST_VALUES = 50  # … more than these, as amounts of money have, which are rounded: they are made continuous
# range of the values, and extent on either side of the median, relative to those of 95 % of them; columns with less are
# not looked at
LEAST_RANGE, LEAST_SIDE = 1.9, 1.4
REGULARIZATION = 1e-4  # variance that is added to standardized values


def find_log_normal(X: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Columns (D,) of which few normals fit the logarithms clearly better than as many fit the values.

    By the likelihood of held-out samples, in the units of the data. A single normal would take two clusters of
    different sizes for a skewed column; a mixture does not.

    Parameters
    ----------
    X : ndarray of shape (n, D)
        NaN where values are missing.
    """
    return np.array([_is_candidate(column) and _gains_by_log(column) for column in X.T], dtype=bool)


def find_heavy_tails(X: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Columns (D,) of which few normals fit asinh((x − median) / spread) clearly better than as many fit the values.

    Clusters in other places need more normals; tails need them around one place.

    Parameters
    ----------
    X : ndarray of shape (n, D)
        NaN where values are missing.
    """
    return np.array([_may_have_tails(column) and _gains_by_asinh(column) for column in X.T], dtype=bool)


def _may_have_tails(column: NDArray[np.float64]) -> bool:
    """Whether some values on either side are far from the others, and most are different."""
    values = _take_some(column)
    if len(values) < LEAST_SAMPLES:
        return False
    low, q_low, median, q_high, high = np.quantile(values, (0.0, 0.025, 0.5, 0.975, 1.0))
    if not q_low < median < q_high or high - low < LEAST_RANGE * (q_high - q_low):
        return False
    sides = (median - low) / (median - q_low), (high - median) / (q_high - median)
    return min(sides) >= LEAST_SIDE and _are_mostly_different(values)


def _gains_by_asinh(column: NDArray[np.float64]) -> bool:
    values = _shuffle(column)
    quarter, median, three = np.quantile(values, (0.25, 0.5, 0.75))
    spread = (three - quarter) / QUARTILE_RANGE
    if spread <= 0.0:
        return False
    points = (values - median) / spread
    slopes = np.log(spread) + 0.5 * np.log1p(points**2)
    return _fits_better(values, np.arcsinh(points), slopes, LEAST_GAIN_OF_TAILS)


def _take_some(column: NDArray[np.float64]) -> NDArray[np.float64]:
    """At most ``MOST_SAMPLES`` observed values, in units of the largest."""
    values = column[~np.isnan(column)]
    largest = np.abs(values).max(initial=0.0)
    values = values / largest if 0.0 < largest < np.inf else values  # whose squares do not overflow
    return values[np.linspace(0, len(values) - 1, min(len(values), MOST_SAMPLES)).astype(np.int64)]


def _is_candidate(column: NDArray[np.float64]) -> bool:
    """Whether the values are positive, skewed, and mostly different."""
    values = _take_some(column)
    if len(values) < LEAST_SAMPLES or values.min() <= 0.0 or not 0.0 < values.std() < np.inf:
        return False
    skewness = float((((values - values.mean()) / values.std()) ** 3).mean())
    return skewness >= LEAST_SKEWNESS and (_are_mostly_different(values) or len(np.unique(values)) > LEAST_VALUES)


def _are_mostly_different(values: NDArray[np.float64]) -> bool:
    return len(np.unique(values)) >= LEAST_DISTINCT * len(values)


def _gains_by_log(column: NDArray[np.float64]) -> bool:
    values = _shuffle(column)
    if not _are_mostly_different(values):  # normals could shrink to one of them
        spread = dequantize(values, np.random.RandomState(0), of_heaps=False)
        values = np.where(spread > 0.0, spread, values)
    logs = np.log(values)
    return _fits_better(np.exp(logs), logs, logs, LEAST_GAIN)


def _shuffle(column: NDArray[np.float64]) -> NDArray[np.float64]:
    values = _take_some(column)
    return np.asarray(values[np.random.RandomState(0).permutation(len(values))])


def _fits_better(
    values: NDArray[np.float64], transformed: NDArray[np.float64], slopes: NDArray[np.float64], least_gain: float
) -> bool:
    """Whether normals fit transformed values (n,), of log-derivatives −slopes, clearly better than the values (n,).

    With the number of normals that is best for the transformed values; more must not fit the values better.
    """
    scores, plain = _score(transformed) - slopes, _score(values)
    n_best = scores.mean(1).argmax()
    gains = (scores[n_best] - plain[n_best]).clip(-MOST_GAIN, MOST_GAIN)
    is_clear = gains.mean() > max(least_gain, N_ERRORS * gains.std() / np.sqrt(len(gains)))
    return bool(is_clear and scores[n_best].mean() >= plain.mean(1).max())


def _score(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-densities (3, n) of the values of either half under mixtures of normals fitted to the other half.

    A row for each number of normals.
    """
    scale = values.std()
    points = (values - values.mean()) / scale
    halves = points[::2], points[1::2]
    scores = np.empty((len(N_NORMALS), len(points)))
    for i, n_normals in enumerate(N_NORMALS):
        scores[i, ::2] = _log_density(_fit_normals(halves[1], n_normals), halves[0])
        scores[i, 1::2] = _log_density(_fit_normals(halves[0], n_normals), halves[1])
    return np.asarray(scores - np.log(scale))


def _fit_normals(points: NDArray[np.float64], n_normals: int) -> NDArray[np.float64]:
    """Log-weights, means and variances, (3, K), of a mixture of normals, by EM from parts of the sorted points."""
    R = np.zeros((n_normals, len(points)))
    R[np.arange(len(points)) * n_normals // len(points), np.argsort(points)] = 1.0
    last = -np.inf
    for _ in range(MAX_ITER):
        counts = R.sum(1) + 1e-9
        means = R @ points / counts
        variances = np.einsum("kn,kn->k", (points - means[:, None]) ** 2, R) / counts + REGULARIZATION
        normals = np.stack([np.log(counts / counts.sum()), means, variances])
        if n_normals == 1:
            break
        log_density, R = _score_normals(normals, points)
        mean = log_density.mean()
        if mean - last < TOLERANCE:
            break
        last = mean
    return normals


def _score_normals(
    normals: NDArray[np.float64], points: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Log-density (n,) of points under normals (3, K), and responsibilities (K, n); as logsumexp, but faster."""
    log_weights, means, variances = normals[:, :, None]
    log_joint = log_weights - 0.5 * ((points - means) ** 2 / variances + np.log(2.0 * np.pi * variances))
    highest = log_joint.max(0)
    shares = np.exp(log_joint - highest)
    total = shares.sum(0)
    return highest + np.log(total), shares / total


def _log_density(normals: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    return _score_normals(normals, points)[0]
