"""Frames of pandas and polars, and the names of their columns."""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np

__all__ = [
    "check_one_value_per_cell",
    "find_column",
    "find_library",
    "get_column",
    "is_frame",
    "name_feature",
    "replace_column",
]


NESTED = (list, tuple, dict, set, np.ndarray)


def find_column(name: Any, names: Sequence[Any] | None, n_features: int, parameter: str) -> int:
    """Index of a feature by its name, a string, or its index; ``parameter`` is what names it.

    As in scikit-learn, integers are indices, also if columns of a frame have integers as labels.
    """
    names = None if names is None or not all(isinstance(known, str) for known in names) else list(names)
    if names is not None and isinstance(name, str) and name in names:
        return names.index(name)
    if isinstance(name, Integral) and not isinstance(name, bool) and 0 <= int(name) < n_features:
        return int(name)
    known = f"the indices 0 to {n_features - 1}" + (
        "" if names is None else f" and the names {', '.join(map(str, names))}"
    )
    remedy = ""
    if names is None and isinstance(name, str):
        remedy = ", and no names: fit to a DataFrame, which a pipeline passes on after set_output(transform='pandas')"
    raise ValueError(f"{parameter} names an unknown feature, {name!r}; X has {known}{remedy}")


def name_feature(d: int, names: Sequence[Any] | None) -> str:
    """A feature as messages call it: by its name if it has one, else by its index."""
    return str(d) if names is None else repr(str(names[d]))


def check_one_value_per_cell(X: Any) -> None:
    """Raise if a column of a frame holds lists, arrays or dicts."""
    if not is_frame(X):
        return
    found = [X.columns[d] for d in range(X.shape[1]) if _is_nested(get_column(X, d))]
    if found:
        raise ValueError(
            f"X has columns with several values in a cell, as lists or dicts: {', '.join(map(repr, found))}. Make "
            "columns of these values, or drop them."
        )


def _is_nested(column: Any) -> bool:
    dtype = str(column.dtype)
    if dtype != "object":
        return dtype.lower().startswith(("list", "array", "struct"))
    return any(isinstance(value, NESTED) for value in column)


def is_frame(X: Any) -> bool:
    """Whether it is a frame of pandas or polars."""
    return find_library(X) is not None


def find_library(X: Any) -> str | None:
    """'pandas' or 'polars' if it is a frame of one of them."""
    for base in type(X).__mro__:
        library = base.__module__.split(".")[0]
        if base.__name__ == "DataFrame" and library in ("pandas", "polars"):
            return library
    return None


def get_column(X: Any, d: int) -> Any:
    """A column of a frame."""
    return X.iloc[:, d] if hasattr(X, "iloc") else X[:, d]


def replace_column(X: Any, d: int, values: Any) -> Any:
    """The frame with other values (N,) in a column."""
    if not hasattr(X, "isetitem"):
        return X.with_columns(type(X[:, d])(values).alias(X.columns[d]))
    X = X.copy(deep=False)
    X.isetitem(d, values)
    return X
