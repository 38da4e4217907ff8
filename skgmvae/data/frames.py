"""Frames of pandas and polars, and the names of their columns."""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

__all__ = ["find_column", "find_library", "get_column", "is_frame", "name_feature", "replace_column"]


def find_column(name: Any, names: Sequence[Any] | None, n_features: int, parameter: str) -> int:
    """Index of a feature by its name or index; ``parameter`` is what names it."""
    if names is not None and name in list(names):
        return list(names).index(name)
    if isinstance(name, Integral) and not isinstance(name, bool) and 0 <= int(name) < n_features:
        return int(name)
    known = f"the indices 0 to {n_features - 1}" + (
        "" if names is None else f" and the names {', '.join(map(str, names))}"
    )
    raise ValueError(f"{parameter} names an unknown feature, {name!r}; X has {known}")


def name_feature(d: int, names: Sequence[Any] | None) -> str:
    """A feature as messages call it: by its name if it has one, else by its index."""
    return str(d) if names is None else repr(str(names[d]))


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
