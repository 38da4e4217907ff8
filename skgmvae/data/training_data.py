"""The training data: validated samples, and a summary of their features from a single pass."""

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from skgmvae.data.arrays import Array, Integers
from skgmvae.data.batches import ClampedResponsibilities, Rows, ShuffledBatches
from skgmvae.data.lazy import LazyRows, PickedRows, iter_chunks
from skgmvae.data.summary import CHUNK_ROWS, FeatureSummary, summarize
from skgmvae.runtime import RandomStream

__all__ = ["FeatureSummary", "TrainingData"]


@dataclass(frozen=True)
class TrainingData:
    """Samples (N, D), finite or NaN, with the summary of their features.

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
    def from_rows(
        cls, X: Array | LazyRows, owner: str | None = None, names: Sequence[Any] | None = None
    ) -> "TrainingData":
        """Validate and summarize the samples in one pass.

        Raises
        ------
        ValueError
            If a value is infinite, or a feature has no value; the message names the estimator ``owner``, and the
            feature if it has a name.
        """
        if isinstance(X, LazyRows):
            return cls(X, summarize(X, owner, names), X)
        X = as_native(X)
        return cls(X, summarize(X, owner, names), _view(X))

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
        *,
        is_shared: bool = False,
    ) -> ShuffledBatches:
        """Shuffled batches on ``device``, one pass per iteration; each rank has its share of them if ``is_shared``."""
        return ShuffledBatches(self.rows, batch_size, random, device=device, clamped=clamped, is_shared=is_shared)

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
