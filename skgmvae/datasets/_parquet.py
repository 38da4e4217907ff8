"""Rows of Parquet files."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from skgmvae._warnings import warn
from skgmvae.data.arrays import Array, Integers
from skgmvae.data.lazy import MAX_CHUNK_BYTES

__all__ = ["ParquetRows"]


class ParquetRows:
    """Numeric columns of Parquet files as an array (N, D), of which one row group is read at a time.

    The estimators accept it in place of an array. A fit reads each row group once per pass, and never loads all rows
    into memory if they take more than 1 GiB. Needs `pyarrow <https://arrow.apache.org/docs/python>`_.

    Parameters
    ----------
    path : str, path-like or list of these
        A file, a folder of files, or several files. Paths with a protocol, such as ``"s3://bucket/folder"``, are opened
        by fsspec.
    columns : list of str, optional
        The features, in this order; None: all columns.

    Attributes
    ----------
    shape : (int, int)
    dtype : numpy.dtype
        float32 if it represents all values of the columns' types, else float64. Nulls are NaN.
    columns : list of str
    chunks : tuple of tuple of int
        Numbers of rows of the row groups, and of columns.

    Raises
    ------
    ValueError
        If a column does not exist or is not numeric.

    Examples
    --------
    >>> from skgmvae.datasets import ParquetRows
    >>> X = ParquetRows("measurements", columns=["length", "weight"])  # doctest: +SKIP
    >>> X.shape  # doctest: +SKIP
    (20000000, 2)
    """

    def __init__(
        self, path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], columns: Sequence[str] | None = None
    ) -> None:
        files = _open(path)
        self.columns = list(files.schema.names if columns is None else columns)
        self.dtype = _find_dtype(files.schema, self.columns)
        self._schema = files.schema
        self._groups = [group for file in files.get_fragments() for group in file.split_by_row_group()]
        sizes = [sum(part.num_rows for part in group.row_groups) for group in self._groups]
        self._edges: Integers = np.cumsum([0, *sizes])
        self.shape = int(self._edges[-1]), len(self.columns)
        self.chunks = tuple(size for size in sizes if size), (len(self.columns),)
        self._last: tuple[int, Array] | None = None  # the group of which a part has been read
        largest = max(sizes, default=0) * len(self.columns) * self.dtype.itemsize
        if largest > MAX_CHUNK_BYTES:
            warn(
                f"The row groups of {path} have up to {largest / 2**20:.3g} MiB. A fit reads them in parts, and the "
                "whole group for each part, which is slow. Write the files again with a smaller row_group_size."
            )

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> Array:
        start, stop, step = rows.indices(len(self))
        numbers = range(start, stop, step)
        first, end = (min(numbers[0], numbers[-1]), max(numbers[0], numbers[-1]) + 1) if numbers else (0, 0)
        out = np.empty((end - first, len(self.columns)), self.dtype)
        begins, ends = self._edges[:-1], self._edges[1:]
        for group in np.flatnonzero((begins < end) & (ends > first) & (begins < ends)).tolist():
            low, high = max(first, begins[group]), min(end, ends[group])
            values = self._read(group)
            out[low - first : high - first] = values[low - begins[group] : high - begins[group]]
            self._last = (group, values) if high < ends[group] else None  # the next slice begins there
        return out if step == 1 or not numbers else out[numbers[0] - first :: step]

    def _read(self, group: int) -> Array:
        """The values of a row group, shape (n, D)."""
        if self._last is not None and self._last[0] == group:
            return self._last[1]
        import pyarrow

        self._last = None  # two groups may not fit into memory
        table = self._groups[group].to_table(schema=self._schema, columns=self.columns)
        values = np.empty((table.num_rows, len(self.columns)), self.dtype)
        for d, column in enumerate(table.columns):
            values[:, d] = column.cast(pyarrow.from_numpy_dtype(self.dtype), safe=False).to_numpy()
        return values

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_last": None}


def _open(path: Any) -> Any:
    """The files as a pyarrow.dataset.Dataset, whose rows are not read yet."""
    try:
        from pyarrow import dataset
    except ImportError as error:
        raise ImportError("ParquetRows needs pyarrow; install it with `pip install pyarrow`") from error
    paths = [os.fspath(part) for part in ([path] if isinstance(path, (str, os.PathLike)) else path)]
    filesystem = None
    if "://" in paths[0]:
        from fsspec.core import url_to_fs

        filesystem = url_to_fs(paths[0])[0]
        paths = [filesystem._strip_protocol(part) for part in paths]
    return dataset.dataset(paths[0] if len(paths) == 1 else paths, format="parquet", filesystem=filesystem)


def _find_dtype(schema: Any, columns: Sequence[str]) -> np.dtype[Any]:
    """The floating-point dtype that represents the values of all columns."""
    from pyarrow import types

    missing = [name for name in columns if name not in schema.names]
    if missing:
        raise ValueError(f"There are no columns {missing}; the columns are {schema.names}")
    kinds = {name: schema.field(name).type for name in columns}
    is_known = (types.is_floating, types.is_integer, types.is_boolean)
    others = [f"{name} ({kind})" for name, kind in kinds.items() if not any(check(kind) for check in is_known)]
    if others:
        raise ValueError(f"These columns are not numeric: {', '.join(others)}. Pass numeric ones as columns")
    dtypes = [np.dtype(kind.to_pandas_dtype()) for kind in kinds.values()]
    return min(np.result_type(*dtypes, np.float32), np.dtype(np.float64))
