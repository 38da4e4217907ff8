"""Lazy arrays that are read block by block: memory maps, h5py datasets, zarr arrays, large arrays of bytes."""

import hashlib
import math
import mmap
import os
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from numbers import Integral
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike
from scipy import sparse
from sklearn.utils import assert_all_finite

from skgmvae.data.arrays import Array, Integers

__all__ = [
    "LazyRows",
    "PickedRows",
    "Samples",
    "drop_page_cache",
    "empty_or_memmap",
    "is_better_read_lazily",
    "is_sliceable",
    "iter_chunks",
]

MAX_WHOLE_BYTES = 2**30  # as float32 or float64; larger arrays are not read into memory
BLOCK_BYTES = 2**20  # read at once
MAX_CHUNK_BYTES = 2**28  # chunks of a file are read whole up to this size: the library loads them whole anyway
MAX_TABLE_BYTES = 2**28  # of tables with one row per sample; larger ones are stored in a temporary file
PAGES = 2**16  # bytes; the system maps pages of a file in groups of this size


class LazyRows:
    """A numeric array (N, D) whose rows are read and converted on access.

    Infinite values raise an error when they are first read. Values are converted, but never scaled.

    Parameters
    ----------
    array : object
        With ``shape``, ``dtype`` and slices of rows.
    owner : str, optional
        Name of the estimator, for error messages.

    Attributes
    ----------
    shape : (int, int)
    dtype : numpy.dtype
        Of the slices: float32 if it represents every value of the array's dtype, else float64.
    edges : ndarray of int
        First row of each block, and N: blocks of ``BLOCK_BYTES``, or whole chunks of the array.
    """

    def __init__(self, array: Any, owner: str | None = None) -> None:
        self.array, self.owner = array, owner
        self.shape = tuple(int(size) for size in array.shape)
        self.dtype = min(np.result_type(array.dtype, np.float32), np.dtype(np.float64))
        self._row_bytes = max(1, self.shape[1] * self.dtype.itemsize)
        self.edges = self._choose_edges()
        self._are_checked = np.zeros(len(self), bool)

    def _choose_edges(self) -> Integers:
        n_rows = max(1, BLOCK_BYTES // self._row_bytes)
        chunks = self._find_chunks()
        if chunks is not None:
            return merge_blocks(chunks, n_rows)
        n_blocks = max(1, round(len(self) / n_rows))  # the last is longer or shorter by half a block at most
        return np.append(np.arange(n_blocks) * n_rows, len(self))

    def _find_chunks(self) -> Integers | None:
        """First row of each chunk, and N; None for an array without chunks, or of too large ones."""
        chunks = getattr(self.array, "chunks", None) or (0,)
        if isinstance(chunks[0], Integral):  # all of one size, as those of HDF5 and zarr
            edges = np.append(np.arange(0, len(self), int(chunks[0]) or len(self)), len(self))
        else:  # of their own, as those of dask
            edges = np.unique(np.append(0, np.cumsum(chunks[0]))).astype(np.int64)
        has_chunks = bool(chunks[0]) and np.diff(edges).max(initial=0) * self._row_bytes <= MAX_CHUNK_BYTES
        return edges if has_chunks else None

    @property
    def block_rows(self) -> int:
        """Rows of the largest block."""
        return max(1, int(np.diff(self.edges).max()))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> Array:
        wanted = range(*rows.indices(len(self)))
        if wanted.step == 1 or not wanted:
            first = wanted.start if wanted else 0
            return self.read(slice(first, first + len(wanted)), np.empty((len(wanted), self.shape[1]), self.dtype))
        # files cannot be read backwards, and some not with a step
        first, last = sorted((wanted[0], wanted[-1]))
        return self[first : last + 1][:: wanted.step]

    def read(self, rows: slice, out: Array) -> Array:
        """The slice, written to ``out``; rows are checked the first time."""
        part = self.array[rows]
        np.copyto(out, np.asarray(part), casting="same_kind")
        drop_page_cache(part)
        if not self._are_checked[rows].all():
            assert_all_finite(out, allow_nan=True, input_name="X", estimator_name=self.owner)
            self._are_checked[rows] = True
        return out

    def __getstate__(self) -> dict[str, Any]:
        """For joblib's hash of the rows: a digest of their content, computed block by block."""
        content = hashlib.blake2b(digest_size=16)
        for _, block in iter_chunks(self, self.block_rows):
            content.update(block.data)
        return {"shape": self.shape, "dtype": str(self.dtype), "content": content.hexdigest()}


class PickedRows:
    """Selected rows of an array (N, D) or of :class:`LazyRows`, gathered on access.

    Parameters
    ----------
    X : ndarray, LazyRows or PickedRows
    indices : ndarray of int
        In ascending order.
    """

    def __init__(self, X: "Samples", indices: Integers) -> None:
        self.indices: Integers = X.indices[indices] if isinstance(X, PickedRows) else indices
        self.X: Array | LazyRows = X.X if isinstance(X, PickedRows) else X
        self.shape: tuple[int, ...] = (len(indices), X.shape[1])
        if isinstance(self.X, LazyRows):
            self.edges = np.unique(np.searchsorted(self.indices, self.X.edges))  # where those of each block begin

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, rows: slice) -> Array:
        indices = self.indices[rows]
        if isinstance(self.X, np.ndarray):
            picked: Array = self.X[indices]
            return picked
        edges = self.X.edges
        blocks, first = np.unique(np.searchsorted(edges, indices, "right") - 1, return_index=True)
        parts = zip(edges[blocks], edges[blocks + 1], np.split(indices, first[1:]), strict=True)
        return np.concatenate([self.X[start:stop][part - start] for start, stop, part in parts])


Samples: TypeAlias = Array | LazyRows | PickedRows


def merge_blocks(edges: Integers, n_rows: int) -> Integers:
    """Edges of blocks in which neighbors are put together while they have no more than ``n_rows``."""
    kept = [0]
    for edge, following in pairwise(edges[1:].tolist()):
        if following - kept[-1] > n_rows:
            kept.append(edge)
    return np.array([*kept, edges[-1]], np.int64)


def iter_chunks(X: Any, size: int) -> Iterator[tuple[int, Array]]:
    """Consecutive chunks of ``size`` rows, each with the index of its first row; a block of lazy rows is read once."""
    edges = X.edges if hasattr(X, "edges") else np.append(np.arange(0, len(X), size), len(X))
    first, rest = 0, np.empty(0)
    for begin, end in pairwise(merge_blocks(edges, size).tolist()):
        block = X[begin:end]
        n_missing = size - len(rest) if len(rest) else 0
        pieces = [np.concatenate([rest, block[:n_missing]])] if n_missing else []
        pieces += [block[start : start + size] for start in range(n_missing, len(block), size)]
        rest = pieces.pop() if end < len(X) and len(pieces[-1]) < size else np.empty(0)
        for piece in pieces:
            yield first, piece
            first += len(piece)


def is_sliceable(X: Any) -> bool:
    """Whether ``X`` is not an array but returns NumPy arrays when sliced, as h5py datasets and zarr arrays do."""
    has_interface = isinstance(getattr(X, "dtype", None), np.dtype) and isinstance(getattr(X, "shape", None), tuple)
    # frames and arrays of other libraries, which scikit-learn can convert
    others = ("iloc", "__array_namespace__")
    is_known = isinstance(X, np.ndarray | np.generic) or sparse.issparse(X) or any(hasattr(X, name) for name in others)
    return has_interface and hasattr(X, "__getitem__") and not is_known


def is_better_read_lazily(X: Any) -> bool:
    """Whether ``X`` is numeric, (N, D), and would need more than ``MAX_WHOLE_BYTES`` as float32 or float64.

    Arrays of these dtypes that are in memory already need no more.
    """
    if not (type(X) in (np.ndarray, np.memmap) or is_sliceable(X)) or len(X.shape) != 2 or X.dtype.kind not in "fiub":
        return False
    itemsize = 4 if X.dtype == np.float32 else 8
    in_memory = type(X) is np.ndarray and X.dtype in (np.float32, np.float64) and find_map(X) is None
    return not in_memory and math.prod(X.shape) * itemsize > MAX_WHOLE_BYTES


def find_map(array: Any) -> Any:
    """The memory map that an array is a view of, if any."""
    while array is not None and getattr(array, "_mmap", None) is None:
        array = getattr(array, "base", None)
    return array


def drop_page_cache(part: Any) -> None:
    """Release the mapped pages of ``part``.

    They would count as memory of this process until the system reclaims it; they stay in the system's cache.
    """
    mapped = find_map(part)
    is_private = mapped is not None and mapped.mode == "c"  # changes to it would be lost
    if mapped is None or is_private or not hasattr(mmap, "MADV_DONTNEED") or not part.size or min(part.strides) < 0:
        return
    low = part.ctypes.data - np.frombuffer(mapped._mmap, np.uint8).ctypes.data
    high = low + part.itemsize + sum((n - 1) * stride for n, stride in zip(part.shape, part.strides, strict=True))
    start = low - low % PAGES
    length = min(high + PAGES - high % PAGES, len(mapped._mmap)) - start
    mapped._mmap.madvise(mmap.MADV_DONTNEED, start, length)


def empty_or_memmap(shape: tuple[int, ...], dtype: DTypeLike = np.float32) -> Array:
    """An empty array; beyond ``MAX_TABLE_BYTES`` a memory map of a temporary file that is deleted with it.

    The file has no name (on Windows, only until it is closed), so that nothing is left even if the process is killed.
    """
    n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    if n_bytes <= MAX_TABLE_BYTES:
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile() as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, n_bytes)  # a full disk raises an error now, not a crash later
        return np.memmap(file, dtype, "w+", shape=shape)
