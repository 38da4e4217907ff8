"""Columns that say nothing about clusters: they depend on no other column, and have one mode."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2, rankdata

from skgmvae.data.arrays import Floats
from skgmvae.initialization.dip import dip_statistic

__all__ = ["find_relevant"]

LEAST_SAMPLES = 100  # fewer do not show that columns are independent
LEAST_FEATURES, MOST_FEATURES = 3, 100
MOST_SAMPLES, MOST_VALUES = 500, 5000  # among which dependence is looked for, and of a column
LEVEL = 0.05  # of the tests of one column with all others
# √n dip; of two normals three standard deviations apart in four of five cases (n = 400), and of few normal columns
MODES = 0.4
FLAT = 2.0  # standard errors of the kurtosis below that of a normal distribution
ROWS_AT_ONCE = 50


def find_relevant(X: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which columns (D,) of the samples (N, D) may tell clusters apart; all, if none depends on another.

    A cluster that differs from others in two columns makes these depend on each other; one that differs in a single
    column gives it a second mode or, if they overlap, a flat top. Columns with neither are noise to the search for
    clusters, and a few of them hide clusters from all methods that rely on distances.

    Dependence is tested for each pair of columns by the distance correlation of their ranks and, for dependence without
    a trend, of the distances of the ranks from the median (Székely & Rizzo 2014; p-values of Shen, Panda & Vogelstein
    2022).
    """
    N, D = X.shape
    if N < LEAST_SAMPLES or not LEAST_FEATURES <= D <= MOST_FEATURES:
        return np.ones(D, dtype=bool)
    is_relevant = _depend(rankdata(_space_evenly(X, MOST_SAMPLES), axis=0))
    if not is_relevant.any():
        return np.ones(D, dtype=bool)
    for j in np.flatnonzero(~is_relevant):
        is_relevant[j] = _may_have_modes(_space_evenly(X[:, j], MOST_VALUES))
    return is_relevant


def _space_evenly(X: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    """At most so many of the samples (N, ...)."""
    some: NDArray[np.float64] = X[np.linspace(0, len(X) - 1, min(len(X), most)).astype(np.intp)]
    return some


def _may_have_modes(x: NDArray[np.float64]) -> bool:
    """Whether the values (n,) dip between two modes, or are flatter than a normal distribution."""
    n = len(x)
    if (deviation := float(x.std())) == 0.0:
        return False
    kurtosis = float((((x - x.mean()) / deviation) ** 4).mean()) - 3.0
    return bool(math.sqrt(n) * dip_statistic(x) > MODES or kurtosis < -FLAT * math.sqrt(24.0 / n))


def _depend(ranks: Floats) -> NDArray[np.bool_]:
    """Which columns (D,) of the ranks (n, D) depend on another one."""
    n, D = ranks.shape
    level = LEVEL / (3.0 * (D - 1.0))  # three tests of a pair
    p = _test_pairs(ranks, ranks)
    np.fill_diagonal(p, 1.0)
    depend: NDArray[np.bool_] = (p < level).any(1)
    if not depend.all():
        spreads, others = np.abs(ranks - (n + 1.0) / 2.0), np.flatnonzero(~depend)
        both = np.hstack([ranks, spreads])
        p = _test_pairs(both[:, np.concatenate([others, D + others])], both).reshape(2, len(others), 2, D)
        p[:, np.arange(len(others)), :, others] = 1.0
        depend[others] = (p < level).any((0, 2, 3))
    return depend


def _test_pairs(first: Floats, second: Floats) -> Floats:
    """p-values (A, B) of the independence of columns (n, A) and (n, B), by their unbiased distance correlation."""
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
    p: Floats = chi2.sf(n * products / np.outer(*deviations) + 1.0, 1)
    return p


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
