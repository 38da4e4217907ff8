"""Columns of categories: found in a table, encoded as numbers 0, 1, …, and decoded."""

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.preprocessing import OrdinalEncoder

from skgmvae.data.arrays import Array
from skgmvae.data.frames import find_column, find_library, get_column, is_frame, replace_column

__all__ = ["MAX_CATEGORIES", "Categories", "learn_categories", "restore_categories"]

RESTORED = ("boolean", "string")  # dtypes of pandas that decoded columns get
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
    declared : dict of int to (list, bool)
        Of columns of pandas' categorical dtype its categories, and whether they are ordered.
    """

    values: dict[int, Array]
    dtypes: dict[int, str] = field(default_factory=dict)
    library: str | None = None
    declared: dict[int, tuple[list[Any], bool]] = field(default_factory=dict)

    @property
    def n_levels(self) -> dict[int, int]:
        """Numbers of categories, by index of the column; booleans are numbers 0 and 1."""
        return {d: len(known) for d, known in self.values.items() if known.dtype.kind != "b"}

    @property
    def booleans(self) -> set[int]:
        """Indices of columns of booleans."""
        return {d for d, known in self.values.items() if known.dtype.kind == "b"}

    def describe(self) -> dict[str, Any]:
        """Plain values, for :func:`restore_categories`."""
        values = {str(d): known.tolist() for d, known in self.values.items()}
        dtypes = {str(d): dtype for d, dtype in self.dtypes.items()}
        declared = {str(d): [list(levels), bool(ordered)] for d, (levels, ordered) in self.declared.items()}
        return {"values": values, "dtypes": dtypes, "library": self.library, "declared": declared}

    def encode(self, X: Any) -> Any:
        """The table with codes in place of categories: −1 of new ones, NaN where they are missing."""
        if is_frame(X):
            if X.shape[1] <= max(self.values):
                return X  # whose columns scikit-learn then compares
            for d in self.values:
                X = replace_column(X, d, self._encode_column(d, get_column(X, d)))
            return X
        X = np.array(X, dtype=object if np.asarray(X).dtype.kind in "OUS" else np.float64)
        if X.ndim != 2 or X.shape[1] <= max(self.values):
            return X
        for d in self.values:
            X[:, d] = self._encode_column(d, X[:, d])
        return X.astype(np.float64)

    def _encode_column(self, d: int, column: Any) -> Array:
        # as objects: a value of another type is a new category, and not converted
        known, missing = self.values[d].astype(object), _find_missing(column)
        values = np.where(missing, known[0], _to_array(column).astype(object))
        encoder = OrdinalEncoder(
            categories=[known], handle_unknown="use_encoded_value", unknown_value=-1, dtype=np.float64
        )
        codes: Array = encoder.fit(known[:1].reshape(-1, 1)).transform(values.reshape(-1, 1)).ravel()
        codes[missing] = np.nan
        return codes

    def encode_value(self, d: int, value: Any) -> float:
        """The code of one category of column d; raises if it is new."""
        known = self.values[d]
        found = np.flatnonzero(known == value)
        if not len(found):
            raise ValueError(f"{value!r} is none of the categories {', '.join(map(repr, known.tolist()))}")
        return float(found[0])

    def decode(self, X: Array, names: Sequence[str] | None, like: Any = None) -> Any:
        """The samples (N, D) with categories in place of codes: a frame if they were found in one.

        New categories are those of ``like`` (N, D), of which a frame also has the index.
        """
        columns = {d: self._decode_column(d, X[:, d], like) for d in self.values}
        if self.library is None or names is None:
            is_object = any(column.dtype.kind not in "fiub" for column in columns.values())
            decoded = np.array(X, dtype=object if is_object else np.float64)
            for d, column in columns.items():
                decoded[:, d] = column
            return decoded
        frames = importlib.import_module(self.library)
        data = {str(name): columns.get(d, X[:, d]) for d, name in enumerate(names)}
        if self.library == "polars":
            return frames.DataFrame(data)
        for d, dtype in self.dtypes.items():
            if dtype == "category" and d in self.declared:
                levels, is_ordered = self.declared[d]
                more = [value for value in dict.fromkeys(data[str(names[d])]) if value not in (*levels, None)]
                data[str(names[d])] = frames.Categorical(data[str(names[d])], [*levels, *more], ordered=is_ordered)
        frame = frames.DataFrame(data, index=getattr(like, "index", None))
        return frame.astype({str(names[d]): dtype for d, dtype in self.dtypes.items() if dtype in RESTORED})

    def _decode_column(self, d: int, codes: Array, like: Any) -> Array:
        known, is_known = self.values[d], codes >= 0.0
        decoded: Array = known[np.where(is_known, codes, 0.0).round().astype(np.int64)]
        if is_known.all():
            return decoded
        decoded = decoded.astype(object)
        original = (
            None if like is None else _to_array(get_column(like, d) if is_frame(like) else np.asarray(like)[:, d])
        )
        decoded[~is_known] = None if original is None else original[~is_known]
        return decoded


def learn_categories(X: Any, categorical_features: Any, more: Iterable[int] = ()) -> Categories | None:
    """The categories of the columns that ``categorical_features`` names, and of more; None if there are none.

    Parameters
    ----------
    X : table of shape (N, D)
        An array or a frame.
    categorical_features : 'from_dtype', None, or array of names, indices or booleans
        'from_dtype': columns of a frame whose dtype is categorical, string or boolean.
    more : iterable of int
        Indices of columns.

    Raises
    ------
    ValueError
        If there is no such column, or one has no value or more than ``MAX_CATEGORIES`` categories.
    """
    found = sorted({*_find_columns(X, categorical_features), *more})
    if not found or len(X) == 0:
        return None
    values, dtypes, declared = {}, {}, {}
    for d in found:
        column = get_column(X, d) if is_frame(X) else np.asarray(X)[:, d]
        known = np.unique(_unify(_to_array(column)[~_find_missing(column)], d))
        known = np.array([False, True]) if known.dtype.kind == "b" else known  # for a code that is the value
        if not len(known):
            raise ValueError(f"the categorical column {_name(X, d)} has no observed value; drop it")
        if len(known) > MAX_CATEGORIES:
            raise ValueError(
                f"the categorical column {_name(X, d)} has {len(known)} categories, and at most {MAX_CATEGORIES} are "
                "possible. Drop it, or merge rare categories."
            )
        values[d], dtypes[d] = known, str(getattr(column, "dtype", ""))
        if dtypes[d] == "category" and hasattr(column, "cat"):
            declared[d] = list(column.cat.categories), bool(column.cat.ordered)
    return Categories(values, dtypes, find_library(X), declared)


def _find_columns(X: Any, categorical_features: Any) -> Iterable[int]:
    if categorical_features is None:
        return []
    if isinstance(categorical_features, str):
        return [d for d in range(X.shape[1]) if _has_categories(get_column(X, d))] if is_frame(X) else []
    given, n_features = np.asarray(categorical_features), np.shape(X)[1]
    if given.ndim != 1 or given.dtype.kind not in "biuUO":
        raise ValueError(
            "categorical_features must be 'from_dtype', None, or a list of names, indices or booleans; got "
            f"{categorical_features!r}"
        )
    if given.dtype.kind == "b":
        if len(given) != n_features:
            raise ValueError(
                f"categorical_features has {len(given)} booleans for {n_features} features; pass one for each"
            )
        return np.flatnonzero(given).tolist()
    names = list(X.columns) if is_frame(X) else None
    return [find_column(name, names, n_features, "categorical_features") for name in given.tolist()]


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


def _name(X: Any, d: int) -> str:
    return repr(X.columns[d]) if is_frame(X) else str(d)


def restore_categories(fields: Mapping[str, Any]) -> Categories:
    """Categories from the plain values of ``describe``, as JSON holds them."""
    arrays = {int(d): _unify(np.array(known, dtype=object), int(d)) for d, known in fields["values"].items()}
    dtypes = {int(d): str(dtype) for d, dtype in fields["dtypes"].items()}
    declared = {int(d): (list(levels), bool(ordered)) for d, (levels, ordered) in fields["declared"].items()}
    return Categories(arrays, dtypes, fields["library"], declared)
