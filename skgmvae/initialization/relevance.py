"""Columns that say nothing about clusters: they depend on no other column, and have one mode."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2, rankdata

from skgmvae.data.arrays import Floats
from skgmvae.initialization.copies import tells_apart
from skgmvae.initialization.dip import dip_statistic
from skgmvae.initialization.mixture import Mixture, fit_from_each, fit_mixture, information_criterion
from skgmvae.initialization.views import dequantize
from skgmvae.runtime import single_thread

__all__ = ["Relevance", "find_relevant"]

LEAST_SAMPLES = 100  # fewer do not show that columns are independent
LEAST_FEATURES, MOST_FEATURES = 3, 100
MOST_SAMPLES, MOST_VALUES = (500, 1000), 5000  # of which dependence is looked for, and modes; of many columns fewer
MOST_DISTANCES = 2**15  # samples times columns
LEVEL = 0.01  # of the tests of one column with each other one, and of the sum of their statistics
# √n dip; of two normals three standard deviations apart in four of five cases (n = 400), and of few normal columns
MODES = 0.4
FLAT = 2.0  # standard errors of the kurtosis below that of a normal distribution
SHARES, MAX_ITER = (0.02, 0.05, 0.1, 0.5, 0.9, 0.95, 0.98), 50  # from whose quantiles mixtures of two begin
APART, MOST_IN_GROUPS = 2.5, 2000  # standard deviations between the means of two groups; samples for these
ROWS_AT_ONCE = 50


class Relevance(NamedTuple):
    """What columns (D,) may tell of clusters.

    Attributes
    ----------
    depends : ndarray of bool
        Which depend on another one that is no copy; all, if none does.
    may_tell : ndarray of bool
        These, and those that may have clusters of their own: several modes, a flat top, or a group at one side.
    """

    depends: NDArray[np.bool_]
    may_tell: NDArray[np.bool_]


@single_thread()
def find_relevant(X: NDArray[np.float64]) -> Relevance:
    """Which columns of the samples (N, D) may tell clusters apart; all, if nothing speaks for any of them.

    A cluster that differs from others in two columns makes these depend on each other; one that differs in a single
    column gives it a second mode or, if they overlap, a flat top. Columns with neither are noise to the search for
    clusters, and a few of them hide clusters from all methods that rely on distances.

    Dependence is tested by the distance correlations of ranks and, for dependence without a trend, of the distances of
    the ranks from the median (Székely & Rizzo 2014; p-values of Shen, Panda & Vogelstein 2022): those with each other
    column, and their sum, since all columns may tell a little. Copies of a sample count once: they are no evidence.
    """
    N, D = X.shape
    everything = np.ones(D, dtype=bool)
    if N < LEAST_SAMPLES or not LEAST_FEATURES <= D <= MOST_FEATURES:
        return Relevance(everything, everything)
    distinct = np.unique(X, axis=0)
    if tells_apart(distinct):
        X = distinct
        if len(X) < LEAST_SAMPLES:
            return Relevance(everything, everything)
    largest = np.maximum(np.abs(X).max(0), np.finfo(np.float64).tiny)
    X = X / largest  # whose squares do not overflow
    n_samples = min(max(MOST_DISTANCES // D, MOST_SAMPLES[0]), MOST_SAMPLES[1])
    depends = _depend(rankdata(_take_some(X, n_samples), axis=0))
    may_tell = depends.copy()
    for j in np.flatnonzero(~depends):
        may_tell[j] = _may_have_clusters(_take_some(X[:, j], MOST_VALUES))
    if not depends.any():
        depends = everything
    return Relevance(depends, may_tell if may_tell.any() else everything)


def _take_some(X: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    """At most so many of the samples (N, ...), the same for the same N; every second one may be of another group."""
    if len(X) <= most:
        return X
    some: NDArray[np.float64] = X[np.random.RandomState(0).permutation(len(X))[:most]]
    return some


def _may_have_clusters(x: NDArray[np.float64]) -> bool:
    """Whether the values (n,) dip between two modes, are flatter than a normal distribution, or have a group apart."""
    if (x == x[0]).all():
        return False
    n, x = len(x), dequantize(x, np.random.RandomState(0), of_heaps=False)  # ties would be modes
    deviation = float(x.std())
    standardized = (x - x.mean()) / deviation
    is_flat = float((standardized**4).mean()) - 3.0 < -FLAT * math.sqrt(24.0 / n)
    return is_flat or math.sqrt(n) * dip_statistic(x) > MODES or _has_groups(_take_some(standardized, MOST_IN_GROUPS))


def _criterion(mixture: Mixture) -> float:
    return information_criterion(mixture, 1)


def _has_groups(x: NDArray[np.float64]) -> bool:
    """Whether the standardized values (n,) are two normal distributions, of any shares, rather than one, and apart."""
    points = x[:, None]
    starts = [(x > np.quantile(x, share)).astype(np.intp) for share in SHARES]
    found = [two for kind in ("full", "tied") for two in fit_from_each(points, starts, 2, kind, max_iter=MAX_ITER)]
    two, one = max(found, key=_criterion), fit_mixture(points, np.zeros(len(x), np.intp), 1)
    if _criterion(two) <= _criterion(one):
        return False
    shares = two.responsibilities / two.responsibilities.sum(0).clip(np.finfo(np.float64).tiny)
    means = x @ shares
    variances = (shares * (points - means) ** 2).sum(0)
    return bool(abs(means[1] - means[0]) > APART * math.sqrt(variances.mean()))


def _depend(ranks: Floats) -> NDArray[np.bool_]:
    """Which columns (D,) of the ranks (n, D) depend on another one that is no copy of theirs, upside down or not."""
    centered = ranks - ranks.mean(0)
    centered, copy_of = np.unique(centered * np.where(centered[0] < 0.0, -1.0, 1.0), axis=1, return_inverse=True)
    depend, spreads = np.zeros(centered.shape[1], dtype=bool), np.abs(centered)
    for first, second in ((centered, centered), (centered, spreads), (spreads, centered), (spreads, spreads)):
        if len(depend) > 1 and len(others := np.flatnonzero(~depend)):
            depend[others] |= _stand_out(_compare(first[:, others], second), others)
    of_each: NDArray[np.bool_] = depend[copy_of.ravel()]
    return of_each


def _stand_out(statistics: Floats, columns: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Which of some columns (A,), by their number, depend on one of all, or a little on many; statistics (A, D)."""
    n_others = statistics.shape[1] - 1.0
    statistics[np.arange(len(columns)), columns] = 0.0
    one, all_of_them = chi2.sf(statistics + 1.0, 1), chi2.sf(statistics.sum(1) + n_others, n_others)
    level = LEVEL / 3.0  # there are three tests of a pair
    return np.asarray((one < level / n_others).any(1) | (all_of_them < level))


def _compare(first: Floats, second: Floats) -> Floats:
    """n times the unbiased distance correlations (A, B) of columns (n, A) and (n, B).

    Of independent ones, about χ² − 1 of one degree of freedom, or less.
    """
    n = len(first)
    products, squares = (
        np.zeros((first.shape[1], second.shape[1])),
        [np.zeros(some.shape[1]) for some in (first, second)],
    )
    centers = [_find_centers(some) for some in (first, second)]
    for start in range(0, n, ROWS_AT_ONCE):
        rows = np.arange(start, min(start + ROWS_AT_ONCE, n))
        parts = [_center(some, rows, *center) for some, center in zip((first, second), centers, strict=True)]
        products += parts[0] @ parts[1].T
        for sums, part in zip(squares, parts, strict=True):
            sums += np.einsum("mi,mi->m", part, part)
    deviations = [np.sqrt(np.maximum(sums, np.finfo(np.float64).tiny)) for sums in squares]
    statistics: Floats = n * products / np.outer(*deviations)
    return statistics


def _find_centers(columns: Floats) -> tuple[Floats, Floats]:
    """Mean distances (M, n) of each value of columns (n, M) from the others, and those of all (M,), as U-centered."""
    n = len(columns)
    means = np.stack([_sum_distances(column) for column in columns.T]) / (n - 2.0)
    return means, means.sum(1) / (n - 1.0)


def _center(columns: Floats, rows: NDArray[np.intp], means: Floats, totals: Floats) -> NDArray[np.float32]:
    """U-centered distances (M, r · n) of some rows (r,) of columns (n, M) from all."""
    centered = np.abs(columns[rows].T[:, :, None] - columns.T[:, None])
    centered += (totals[:, None] - means[:, rows])[:, :, None] - means[:, None]
    centered[:, rows - rows[0], rows] = 0.0
    return centered.reshape(columns.shape[1], -1).astype(np.float32)


def _sum_distances(values: Floats) -> Floats:
    """Sums (n,) of the distances of each value (n,) from all others."""
    order, n = values.argsort(kind="stable"), len(values)
    ascending = values[order]
    below = np.cumsum(ascending)
    sums = np.empty(n)
    sums[order] = ascending * (2.0 * np.arange(1, n + 1) - n) - 2.0 * below + below[-1]
    return sums
