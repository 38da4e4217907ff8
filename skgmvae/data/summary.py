"""Summary statistics of every feature, from a single pass over the samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler
from sklearn.utils import assert_all_finite

from skgmvae.data.arrays import Array, Floats, Integers
from skgmvae.data.frames import name_feature
from skgmvae.data.lazy import LazyRows, iter_chunks

__all__ = ["CHUNK_ROWS", "MAX_DISTINCT", "FeatureSummary", "summarize"]

CHUNK_ROWS = 4096
MAX_DISTINCT = 20  # distinct values of a feature that are counted; more are "many"
MAX_ORDERED_ROWS = 10_000  # evenly spaced samples, for medians and quartiles
MAX_KEPT_FEATURES = 100  # of samples that are kept
QUARTILE_RANGE = 1.3489795003921634  # of a standard normal
MAX_EXPONENT = 300  # of two: squares of values beyond it, or below its inverse, would leave the range of float64


@dataclass(frozen=True)
class FeatureSummary:
    """Summary statistics of every feature; arrays of shape (D,).

    Attributes
    ----------
    low, high : ndarray
        Smallest and largest value.
    mean, scale : ndarray
        Mean and standard deviation; the latter 1 for constant features.
    center, spread : ndarray
        Median, and interquartile range divided by that of the standard normal, of at most ``MAX_ORDERED_ROWS`` samples:
        robust against extreme values. The spread is 0 if half of the values are equal.
    is_integral : ndarray of bool
        All values are whole numbers.
    n_distinct : ndarray of int
        Number of distinct values, up to ``MAX_DISTINCT + 1``.
    n_missing : ndarray of int
        Number of missing values; the other statistics are of the observed ones.
    n_samples : int
    some : ndarray of shape (n, D)
        At most ``MAX_ORDERED_ROWS`` evenly spaced samples; none of samples with more than ``MAX_KEPT_FEATURES``.
    """

    low: Floats
    high: Floats
    mean: Floats
    scale: Floats
    center: Floats
    spread: Floats
    is_integral: NDArray[np.bool_]
    n_distinct: Integers
    n_missing: Integers
    n_samples: int
    some: Floats

    @property
    def has_missing(self) -> bool:
        """Whether there are missing values."""
        return bool(self.n_missing.any())

    @property
    def is_binary(self) -> NDArray[np.bool_]:
        """Features whose values are all 0 or 1."""
        return self.is_integral & (self.low >= 0.0) & (self.high <= 1.0)


def summarize(X: Array | LazyRows, owner: str | None = None, names: Sequence[Any] | None = None) -> FeatureSummary:
    """The summary of every feature, from one pass over the samples; messages name the estimator and the features."""
    summarizer = _Summarizer(*X.shape)
    with np.errstate(over="ignore", invalid="ignore"):  # the caller checks for infinite means and scales
        for first, chunk in iter_chunks(X, getattr(X, "block_rows", CHUNK_ROWS)):
            if isinstance(X, np.ndarray):  # lazy rows check their values themselves
                assert_all_finite(chunk, allow_nan=True, input_name="X", estimator_name=owner)
            summarizer.update(first, chunk)
        return summarizer.finish(names)


class _Summarizer:
    """Accumulates a :class:`FeatureSummary` chunk by chunk."""

    def __init__(self, n_samples: int, n_features: int) -> None:
        self.n_samples, self.scaler = n_samples, StandardScaler()
        self.exponents = np.zeros(n_features, np.int64)  # powers of two that the scaler's values are divided by
        self.low, self.high = np.full(n_features, np.inf), np.full(n_features, -np.inf)
        self.is_integral = np.ones(n_features, bool)
        self.distinct: list[Array] = [np.empty(0)] * n_features
        ordered = np.linspace(0, n_samples - 1, min(n_samples, MAX_ORDERED_ROWS)).astype(np.int64)
        self.ordered = ordered
        self.samples: list[Array] = []
        self.n_missing = np.zeros(n_features, np.int64)

    def update(self, first: int, chunk: Array) -> None:
        """Take in the samples from index ``first`` on."""
        values = chunk.astype(np.float64, order="C")  # sums then round alike in every layout
        low, high = values.min(0), values.max(0)
        is_complete = not np.isnan(low).any()
        if not is_complete:
            self.n_missing += np.isnan(values).sum(0)
            low, high = np.fmin.reduce(values), np.fmax.reduce(values)
        if not first:
            exponents = np.frexp(np.fmax(0.0, np.maximum(np.abs(low), np.abs(high))))[1]
            self.exponents = np.where(np.abs(exponents) > MAX_EXPONENT, exponents, 0)
        self.scaler.partial_fit(np.ldexp(values, -self.exponents) if self.exponents.any() else values)
        if not is_complete:
            np.nan_to_num(self.scaler.mean_, copy=False)  # of features without a value so far
        self._count_distinct(values, low, high)
        self.low, self.high = np.fmin(self.low, low), np.fmax(self.high, high)
        integral = np.flatnonzero(self.is_integral)
        some = values[:, integral] if is_complete else np.nan_to_num(values[:, integral])
        self.is_integral[integral] = (some == np.rint(some)).all(0)
        begin, end = np.searchsorted(self.ordered, (first, first + len(chunk)))
        self.samples.append(chunk[self.ordered[begin:end] - first])

    def _count_distinct(self, values: Floats, low: Floats, high: Floats) -> None:
        """Merge the chunk's values into those of each feature that has few so far."""
        for j, known in enumerate(self.distinct):
            if len(known) > MAX_DISTINCT or np.isnan(low[j]):
                continue
            if low[j] == high[j]:
                new = low[j : j + 1]
            else:
                column = values[:, j] if not self.n_missing[j] else values[~np.isnan(values[:, j]), j]
                head = np.unique(column[:64])  # enough to recognize continuous features
                new = head if len(head) > MAX_DISTINCT else np.unique(column)
            self.distinct[j] = np.union1d(known, new)[: MAX_DISTINCT + 1]

    def finish(self, names: Sequence[Any] | None) -> FeatureSummary:
        """The summary of all samples taken in."""
        samples = np.concatenate(self.samples).astype(np.float64)
        mean, scale = self._standardize()
        quantile = np.quantile
        if self.n_missing.any():
            _check_observed(np.isinf(self.low), names)
            samples = np.where(np.isnan(samples).all(0), mean, samples)  # whose values are all in other samples
            quantile = np.nanquantile
        quartiles = quantile(samples, (0.25, 0.5, 0.75), axis=0)
        return FeatureSummary(
            low=self.low,
            high=self.high,
            mean=mean,
            scale=scale,
            center=quartiles[1],
            spread=(quartiles[2] - quartiles[0]) / QUARTILE_RANGE,
            is_integral=self.is_integral,
            n_distinct=np.array([len(known) for known in self.distinct]),
            n_missing=self.n_missing,
            n_samples=self.n_samples,
            some=samples if samples.shape[1] <= MAX_KEPT_FEATURES else samples[:0],
        )

    def _standardize(self) -> tuple[Floats, Floats]:
        """Mean and standard deviation; exactly the value, and 1, for constant features."""
        is_flat = (self.scaler.scale_ == 1.0) & (self.scaler.var_ != 1.0)  # up to rounding, which may be large itself
        scale = np.where(is_flat, np.fmax(1.0, self.high - self.low), np.ldexp(self.scaler.scale_, self.exponents))
        is_constant = (self.low == self.high) | (scale < np.finfo(np.float64).tiny)
        mean = np.ldexp(self.scaler.mean_, self.exponents)
        return np.where(self.low == self.high, self.low, mean), np.where(is_constant, 1.0, scale)


def _check_observed(is_empty: NDArray[np.bool_], names: Sequence[Any] | None) -> None:
    """Raise for features (D,) without a value."""
    if is_empty.any():
        first, n_more = name_feature(int(is_empty.argmax()), names), np.count_nonzero(is_empty) - 1
        more = f" and {n_more} more have" if n_more else " has"
        raise ValueError(f"feature {first}{more} no observed value. Drop such columns of X.")
