"""The training data: validated samples, and a summary of their features from a single pass."""

import hashlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler
from sklearn.utils import assert_all_finite

from skgmvae.data.arrays import Array, Floats, Integers
from skgmvae.data.batches import ClampedResponsibilities, Rows, ShuffledBatches
from skgmvae.data.lazy import LazyRows, PickedRows, iter_chunks
from skgmvae.runtime import RandomStream

__all__ = ["FeatureSummary", "TrainingData"]

CHUNK_ROWS = 4096
MAX_DISTINCT = 20  # distinct values of a feature that are counted; more are "many"
MAX_ORDERED_ROWS = 10_000  # evenly spaced samples, for medians and quartiles
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
    """

    low: Floats
    high: Floats
    mean: Floats
    scale: Floats
    center: Floats
    spread: Floats
    is_integral: NDArray[np.bool_]
    n_distinct: Integers

    @property
    def is_binary(self) -> NDArray[np.bool_]:
        """Features whose values are all 0 or 1."""
        return self.is_integral & (self.low >= 0.0) & (self.high <= 1.0)


@dataclass(frozen=True)
class TrainingData:
    """Finite samples (N, D) with the summary of their features.

    Parameters
    ----------
    X : ndarray or LazyRows of shape (N, D)
        float32 or float64.
    summary : FeatureSummary
    rows : Tensor or LazyRows
        The same samples, for batches: a tensor that shares the memory of ``X``, or a tensor on a device.
    """

    X: Array | LazyRows
    summary: FeatureSummary
    rows: Rows

    @classmethod
    def from_rows(cls, X: Array | LazyRows, owner: str | None = None) -> "TrainingData":
        """Validate and summarize the samples in one pass.

        Raises
        ------
        ValueError
            If a value is not finite; the message names the estimator ``owner``.
        """
        if isinstance(X, LazyRows):
            return cls(X, summarize(X, owner), X)
        X = as_native(X)
        return cls(X, summarize(X, owner), _view(X))

    def __len__(self) -> int:
        return len(self.X)

    @property
    def n_features(self) -> int:
        """D."""
        return int(self.X.shape[1])

    def iter_chunks(self, size: int) -> Iterator[tuple[int, Array]]:
        """Consecutive chunks of ``size`` samples, each with the index of its first sample."""
        return iter_chunks(self.X, size)

    def digest(self) -> str:
        """A digest of shape, type and values, from one pass."""
        content = hashlib.blake2b(f"{self.X.shape} {self.X.dtype}".encode(), digest_size=16)
        for _, chunk in self.iter_chunks(getattr(self.X, "block_rows", CHUNK_ROWS)):
            content.update(np.ascontiguousarray(chunk).data)
        return content.hexdigest()

    def subset(self, indices: Integers) -> PickedRows:
        """Selected samples, gathered on access; ``indices`` are in ascending order."""
        return PickedRows(self.X, indices)

    def part(self, indices: Integers) -> "TrainingData":
        """A copy of selected samples, with the summary of all; ``indices`` are in ascending order."""
        X = np.array(self.subset(indices)[: len(indices)])
        return TrainingData(X, self.summary, _view(X))

    def on(self, device: torch.device) -> "TrainingData":
        """The samples on ``device`` if they fit into half of its free memory; otherwise unchanged."""
        rows = self.rows
        if isinstance(rows, LazyRows) or device.type == "cpu":
            return self
        if device.type == "mps":
            return replace(self, rows=rows.to(device, torch.float32))
        free, _ = torch.cuda.mem_get_info(device)
        fits = rows.numel() * rows.element_size() < free // 2
        return replace(self, rows=rows.to(device)) if fits else self

    def batches(
        self,
        batch_size: int,
        random: RandomStream,
        device: torch.device,
        clamped: ClampedResponsibilities | None = None,
    ) -> ShuffledBatches:
        """Shuffled batches on ``device``, one pass per iteration."""
        return ShuffledBatches(self.rows, batch_size, random, device=device, clamped=clamped)

    def __reduce__(self) -> tuple[Any, ...]:
        # joblib hashes the content of the samples
        return TrainingData.from_rows, (self.X,)


def as_native(X: Array) -> Array:
    """The array in a memory layout that torch can view; a copy only if necessary."""
    is_odd = any(stride < 0 or stride % X.itemsize for stride in X.strides)
    return np.ascontiguousarray(X, X.dtype.newbyteorder("=")) if is_odd or not X.dtype.isnative else X


def _view(X: Array) -> torch.Tensor:
    """A tensor that shares the memory of ``X``, which may be read-only or memory-mapped."""
    with warnings.catch_warnings():
        # torch warns that writing to a read-only array is undefined; samples are only read
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(X)


def summarize(X: Array | LazyRows, owner: str | None = None) -> FeatureSummary:
    """The summary of every feature, from one pass over the samples."""
    summarizer = _Summarizer(*X.shape)
    with np.errstate(over="ignore", invalid="ignore"):  # the caller checks for infinite means and scales
        for first, chunk in iter_chunks(X, getattr(X, "block_rows", CHUNK_ROWS)):
            if isinstance(X, np.ndarray):  # lazy rows check their values themselves
                assert_all_finite(chunk, input_name="X", estimator_name=owner)
            summarizer.update(first, chunk)
        return summarizer.finish()


class _Summarizer:
    """Accumulates a :class:`FeatureSummary` chunk by chunk."""

    def __init__(self, n_samples: int, n_features: int) -> None:
        self.scaler = StandardScaler()
        self.exponents = np.zeros(n_features, np.int64)  # powers of two that the scaler's values are divided by
        self.low, self.high = np.full(n_features, np.inf), np.full(n_features, -np.inf)
        self.is_integral = np.ones(n_features, bool)
        self.distinct: list[Array] = [np.empty(0)] * n_features
        ordered = np.linspace(0, n_samples - 1, min(n_samples, MAX_ORDERED_ROWS)).astype(np.int64)
        self.ordered = ordered
        self.samples: list[Array] = []

    def update(self, first: int, chunk: Array) -> None:
        """Take in the samples from index ``first`` on."""
        values = chunk.astype(np.float64, order="C")  # sums then round alike in every layout
        low, high = values.min(0), values.max(0)
        if not first:
            exponents = np.frexp(np.maximum(np.abs(low), np.abs(high)))[1]
            self.exponents = np.where(np.abs(exponents) > MAX_EXPONENT, exponents, 0)
        self.scaler.partial_fit(np.ldexp(values, -self.exponents) if self.exponents.any() else values)
        self._count_distinct(values, low, high)
        self.low, self.high = np.minimum(self.low, low), np.maximum(self.high, high)
        integral = np.flatnonzero(self.is_integral)
        self.is_integral[integral] = (values[:, integral] == np.rint(values[:, integral])).all(0)
        begin, end = np.searchsorted(self.ordered, (first, first + len(chunk)))
        self.samples.append(chunk[self.ordered[begin:end] - first])

    def _count_distinct(self, values: Floats, low: Floats, high: Floats) -> None:
        """Merge the chunk's values into those of each feature that has few so far."""
        for j, known in enumerate(self.distinct):
            if len(known) > MAX_DISTINCT:
                continue
            if low[j] == high[j]:
                new = low[j : j + 1]
            else:
                head = np.unique(values[:64, j])  # enough to recognize continuous features
                new = head if len(head) > MAX_DISTINCT else np.unique(values[:, j])
            self.distinct[j] = np.union1d(known, new)[: MAX_DISTINCT + 1]

    def finish(self) -> FeatureSummary:
        """The summary of all samples taken in."""
        samples = np.concatenate(self.samples).astype(np.float64)
        quartiles = np.quantile(samples, (0.25, 0.5, 0.75), axis=0)
        mean, scale = self._standardize()
        return FeatureSummary(
            low=self.low,
            high=self.high,
            mean=mean,
            scale=scale,
            center=quartiles[1],
            spread=(quartiles[2] - quartiles[0]) / QUARTILE_RANGE,
            is_integral=self.is_integral,
            n_distinct=np.array([len(known) for known in self.distinct]),
        )

    def _standardize(self) -> tuple[Floats, Floats]:
        """Mean and standard deviation; exactly the value, and 1, for constant features."""
        is_flat = (self.scaler.scale_ == 1.0) & (self.scaler.var_ != 1.0)  # up to rounding, which may be large itself
        scale = np.where(is_flat, np.fmax(1.0, self.high - self.low), np.ldexp(self.scaler.scale_, self.exponents))
        is_constant = (self.low == self.high) | (scale < np.finfo(np.float64).tiny)
        mean = np.ldexp(self.scaler.mean_, self.exponents)
        return np.where(self.low == self.high, self.low, mean), np.where(is_constant, 1.0, scale)
