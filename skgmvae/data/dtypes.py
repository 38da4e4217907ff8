"""Columns in the dtypes that they have in the user's frame: integers, and categories with their order."""

import importlib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from skgmvae.data.arrays import Array
from skgmvae.data.frames import find_library, get_column

__all__ = [
    "check_integer_dtype",
    "find_integers",
    "find_levels",
    "is_restored",
    "restore_categorical",
    "to_integers",
    "to_like",
]

INTEGER = re.compile(r"(u?int(?:8|16|32|64))(\[pyarrow\])?", re.IGNORECASE)
RESTORED = ("boolean", "string")  # dtypes of pandas that decoded columns get


def find_integers(X: Any) -> dict[int, str]:
    """The dtypes of the columns of a frame that hold integers, by index; none of another table."""
    if find_library(X) is None:
        return {}
    dtypes = [str(dtype) for dtype in list(X.dtypes)]
    return {d: dtype for d, dtype in enumerate(dtypes) if INTEGER.fullmatch(dtype)}


def check_integer_dtype(dtype: str) -> str:
    """The name of a dtype of integers; raises for another one."""
    if not INTEGER.fullmatch(dtype):
        raise ValueError(f"{dtype!r} is not an integer dtype")
    return dtype


def to_integers(values: Array, dtype: str) -> Array:
    """Values (N,) rounded to the nearest integers that the dtype has."""
    found = INTEGER.fullmatch(dtype)
    limits = np.iinfo((found.group(1) if found else "int64").lower())
    high = float(limits.max)
    high = high if int(high) <= limits.max else float(np.nextafter(high, 0.0))
    return np.clip(np.rint(values), float(limits.min), high).astype(limits.dtype)


def find_levels(column: Any) -> tuple[list[Any], bool] | None:
    """The declared categories of a column of a frame, and whether they are ordered; None if there are none."""
    if hasattr(column, "cat") and str(column.dtype) == "category":
        return list(column.cat.categories), bool(column.cat.ordered)
    if str(column.dtype).startswith("Enum"):
        return column.dtype.categories.to_list(), True
    return None


def restore_categorical(values: Sequence[Any] | Array, library: str, levels: list[Any], *, is_ordered: bool) -> Any:
    """Values (N,) as a column of declared categories, to which further ones are appended."""
    values, frames = list(values), importlib.import_module(library)
    levels = [*levels, *(value for value in dict.fromkeys(values) if value not in (*levels, None))]
    if library == "polars":
        return frames.Series(values, dtype=frames.Enum(levels))
    return frames.Categorical(values, levels, ordered=is_ordered)


def is_restored(dtype: str, values: Array) -> bool:
    """Whether decoded values (N,) get the dtype of pandas that their column had in fit; strings also get ``object``."""
    return dtype in RESTORED or (dtype == "object" and values.dtype == object)


def to_like(values: Array, X: Any, d: int) -> Any:
    """Values (N,) in the dtype of column d of a frame; numbers that it does not hold stay as they are."""
    column, library = get_column(X, d), str(find_library(X))
    levels, dtype = find_levels(column), str(column.dtype)
    if levels is not None:
        return restore_categorical(values, library, levels[0], is_ordered=levels[1])
    if library == "polars":
        series = type(column)(values.tolist())
        return series.cast(column.dtype) if dtype.startswith("Categorical") or values.dtype.kind in "iu" else series
    series = type(column)(values, index=column.index)
    return series.astype(dtype) if is_restored(dtype, values) or dtype == "str" or values.dtype.kind in "iu" else series
