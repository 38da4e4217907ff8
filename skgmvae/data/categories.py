"""Columns of categories: found in a table, encoded as numbers 0, 1, …, and decoded."""

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.preprocessing import OrdinalEncoder

from skgmvae.data.arrays import Array

__all__ = ["MAX_CATEGORIES", "Categories", "find_column", "is_frame", "learn_categories", "restore_categories"]

RESTORED = ("category", "boolean", "string", "bool")  # dtypes of pandas that decoded columns get
MAX_CATEGORIES = 255  # of a column; one with more is rather a name or a number


@dataclass(frozen=True)
class Categories:
    """The categories of some columns of a table, as found in fit.

    Attributes
    ----------
    values : dict of int to ndarray
        By index of the column, the sorted categories: strings, numbers or booleans.
    dtypes : dict of int to str
        Of these columns in the frame they were found in.
    library : str or None
        'pandas' or 'polars' if the table was a frame.
    """

    values: dict[int, Array]
    dtypes: dict[int, str] = field(default_factory=dict)
    library: str | None = None

    @property
    def n_levels(self) -> dict[int, int]:
        """Numbers of categories, by index of the column; booleans are numbers 0 and 1."""
        return {d: len(known) for d, known in self.values.items() if known.dtype.kind != "b"}

    def describe(self) -> dict[str, Any]:
        """Plain values, for :func:`restore_categories`."""
        values = {str(d): known.tolist() for d, known in self.values.items()}
        dtypes = {str(d): dtype for d, dtype in self.dtypes.items()}
        return {"values": values, "dtypes": dtypes, "library": self.library}

    def encode(self, X: Any) -> Any:
        """The table with codes in place of categories: −1 of new ones, NaN where they are missing."""
        if is_frame(X):
            if X.shape[1] <= max(self.values):
                return X  # whose columns scikit-learn then compares
            for d in self.values:
                X = _replace_column(X, d, self._encode_column(d, _get_column(X, d)))
            return X
        X = np.array(X, dtype=object if np.asarray(X).dtype.kind in "OUS" else np.float64)
        if X.ndim != 2 or X.shape[1] <= max(self.values):
            return X
        for d in self.values:
            X[:, d] = self._encode_column(d, X[:, d])
        return X.astype(np.float64)

    def _encode_column(self, d: int, column: Any) -> Array:
        known, missing = self.values[d], _find_missing(column)
        values = np.where(missing, known[0], _to_array(column))
        encoder = OrdinalEncoder(
            categories=[known], handle_unknown="use_encoded_value", unknown_value=-1, dtype=np.float64
        )
        encoder.fit(known[:1].reshape(-1, 1))
        codes: Array = encoder.transform(_like(values, known).reshape(-1, 1)).ravel()
        codes[missing] = np.nan
        return codes

    def encode_value(self, d: int, value: Any) -> float:
        """The code of one category of column d; raises if it is new."""
        known = self.values[d]
        found = np.flatnonzero(known == value)
        if not len(found):
            raise ValueError(f"{value!r} is none of the categories {', '.join(map(repr, known.tolist()))}")
        return float(found[0])

    def decode(self, X: Array, names: Sequence[str] | None, index: Any = None) -> Any:
        """The samples (N, D) with categories in place of codes: a frame if they were found in one."""
        columns = {d: self._decode_column(d, X[:, d]) for d in self.values}
        if self.library is None or names is None:
            if all(known.dtype.kind in "fiub" for known in self.values.values()):
                decoded = np.array(X, np.float64)
            else:
                decoded = np.array(X, dtype=object)
            for d, column in columns.items():
                decoded[:, d] = column
            return decoded
        frames = importlib.import_module(self.library)
        data = {str(name): columns.get(d, X[:, d]) for d, name in enumerate(names)}
        if self.library == "polars":
            return frames.DataFrame(data)
        frame = frames.DataFrame(data, index=index)
        restored = {
            str(names[d]): dtype for d, dtype in self.dtypes.items() if dtype in ("category", "boolean", "string")
        }
        return frame.astype(restored)

    def _decode_column(self, d: int, codes: Array) -> Array:
        known = self.values[d]
        missing = ~(codes >= 0.0)
        decoded: Array = known[np.where(missing, 0, codes).round().astype(np.int64)]
        if missing.any():
            decoded = decoded.astype(object)
            decoded[missing] = None
        return decoded


def learn_categories(X: Any, categorical_features: Any) -> Categories | None:
    """The categories of the columns that ``categorical_features`` names; None if there are none.

    Parameters
    ----------
    X : table of shape (N, D)
        An array or a frame.
    categorical_features : 'from_dtype', None, or array of names, indices or booleans
        'from_dtype': columns of a frame whose dtype is categorical, string or boolean.

    Raises
    ------
    ValueError
        If there is no such column, or one has no value or more than ``MAX_CATEGORIES`` categories.
    """
    found = list(_find_columns(X, categorical_features))
    if not found:
        return None
    values, dtypes = {}, {}
    for d in found:
        column = _get_column(X, d) if is_frame(X) else np.asarray(X)[:, d]
        known = np.unique(_unify(_to_array(column)[~_find_missing(column)], d))
        known = np.array([False, True]) if known.dtype.kind == "b" else known  # for a code that is the value
        if not len(known):
            raise ValueError(f"the categorical column {_name(X, d)} has no value at all; drop it")
        if len(known) > MAX_CATEGORIES:
            raise ValueError(
                f"the categorical column {_name(X, d)} has {len(known)} categories, and at most {MAX_CATEGORIES} are "
                "possible. Drop it, or merge rare categories."
            )
        values[d], dtypes[d] = known, str(getattr(column, "dtype", ""))
    return Categories(values, dtypes, _find_library(X))


def _find_columns(X: Any, categorical_features: Any) -> Iterable[int]:
    if categorical_features is None:
        return []
    if isinstance(categorical_features, str):
        return [d for d in range(X.shape[1]) if _has_categories(_get_column(X, d))] if is_frame(X) else []
    given, n_features = np.asarray(categorical_features), np.shape(X)[1]
    if given.ndim != 1 or given.dtype.kind not in "biuUO":
        raise ValueError(
            "categorical_features must be 'from_dtype', None, or a list of names, indices or booleans; got "
            f"{categorical_features!r}"
        )
    if given.dtype.kind == "b":
        if len(given) != n_features:
            raise ValueError(f"categorical_features has {len(given)} booleans for {n_features} features")
        return np.flatnonzero(given).tolist()
    names = list(X.columns) if is_frame(X) else None
    return [find_column(name, names, n_features, "categorical_features") for name in given.tolist()]


def find_column(name: Any, names: Sequence[Any] | None, n_features: int, parameter: str) -> int:
    """Index of a feature by its name or index; ``parameter`` is what names it."""
    if names is not None and name in list(names):
        return list(names).index(name)
    if isinstance(name, Integral) and not isinstance(name, bool) and 0 <= int(name) < n_features:
        return int(name)
    known = f"the indices 0 to {n_features - 1}" + (
        "" if names is None else f" and the names {', '.join(map(str, names))}"
    )
    raise ValueError(f"{parameter} names a feature {name!r}, which there is not; there are {known}")


def is_frame(X: Any) -> bool:
    """Whether it is a frame of pandas or polars."""
    return _find_library(X) is not None


def _find_library(X: Any) -> str | None:
    for base in type(X).__mro__:
        library = base.__module__.split(".")[0]
        if base.__name__ == "DataFrame" and library in ("pandas", "polars"):
            return library
    return None


def _get_column(X: Any, d: int) -> Any:
    return X.iloc[:, d] if hasattr(X, "iloc") else X[:, d]


def _replace_column(X: Any, d: int, values: Array) -> Any:
    if not hasattr(X, "isetitem"):
        return X.with_columns(type(X[:, d])(X.columns[d], values))
    X = X.copy(deep=False)
    X.isetitem(d, values)
    return X


def _has_categories(column: Any) -> bool:
    """Whether the dtype of a column of a frame is categorical, string or boolean, or it holds strings."""
    dtype = str(column.dtype).lower()
    if dtype != "object":
        return dtype.startswith(("category", "categorical", "enum", "str", "bool"))
    known = _to_array(column)[~_find_missing(column)]
    return len(known) > 0 and np.array(known.tolist()).dtype.kind in "Ub"


def _to_array(column: Any) -> Array:
    return column if isinstance(column, np.ndarray) else np.asarray(column, dtype=object)


def _find_missing(column: Any) -> Array:
    """Which values of a column (N,) are missing, (N,)."""
    for name in ("isna", "is_null"):
        if hasattr(column, name):
            return np.asarray(getattr(column, name)(), dtype=bool)
    values = np.asarray(column)
    return (
        np.array([value is None or value != value for value in values]) if values.dtype == object else values != values
    )


def _unify(values: Array, d: int) -> Array:
    """Values (N,) of one type: booleans, numbers or strings."""
    unified = np.array(values.tolist()) if values.dtype == object else values
    if unified.dtype.kind not in "biufU":
        raise ValueError(f"the categorical column {d} holds values that are neither strings, numbers nor booleans")
    return unified.astype(object) if unified.dtype.kind == "U" else unified


def _like(values: Array, known: Array) -> Array:
    """Values of a column in the type of its categories."""
    return values.astype(object) if known.dtype == object else values.astype(known.dtype)


def _name(X: Any, d: int) -> str:
    return repr(X.columns[d]) if is_frame(X) else str(d)


def restore_categories(
    values: Mapping[str, Sequence[Any]], dtypes: Mapping[str, str], library: str | None
) -> Categories:
    """Categories from plain values, as JSON holds them."""
    arrays = {int(d): _unify(np.array(known, dtype=object), int(d)) for d, known in values.items()}
    return Categories(arrays, {int(d): str(dtype) for d, dtype in dtypes.items()}, library)
