"""Columns of categories: encoded as numbers 0, 1, …, and decoded."""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.preprocessing import OrdinalEncoder

from skgmvae.data.arrays import Array
from skgmvae.data.dtypes import check_integer_dtype, is_restored, restore_categorical, to_integers
from skgmvae.data.frames import get_column, is_frame, replace_column
from skgmvae.data.lazy import is_better_read_lazily

__all__ = ["Categories", "check_in_memory", "find_missing", "replace_na", "restore_categories", "to_array", "unify"]


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
        Of columns of pandas' categorical dtype, and polars' Enum, its categories, and whether they are ordered.
    integers : dict of int to str
        Dtypes of the other columns of the frame that held integers.
    names : list or None
        Of all columns of the frame.
    """

    values: dict[int, Array]
    dtypes: dict[int, str] = field(default_factory=dict)
    library: str | None = None
    declared: dict[int, tuple[list[Any], bool]] = field(default_factory=dict)
    integers: dict[int, str] = field(default_factory=dict)
    names: list[Any] | None = None

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
        integers = {str(d): dtype for d, dtype in self.integers.items()}
        return {
            "values": values,
            "dtypes": dtypes,
            "library": self.library,
            "declared": declared,
            "integers": integers,
            "names": self.names,
        }

    def encode(self, X: Any) -> Any:
        """The table with codes in place of categories: −1 of new ones, NaN where they are missing."""
        check_in_memory(X)
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
        return replace_na(X).astype(np.float64)

    def _encode_column(self, d: int, column: Any) -> Array:
        # as objects: a value of another type is a new category, and not converted
        known, missing = self.values[d].astype(object), find_missing(column)
        values = np.where(missing, known[0], to_array(column).astype(object))
        encoder = OrdinalEncoder(
            categories=[known], handle_unknown="use_encoded_value", unknown_value=-1, dtype=np.float64
        )
        codes: Array = encoder.fit(known[:1].reshape(-1, 1)).transform(values.reshape(-1, 1)).ravel()
        codes[missing] = np.nan
        return codes

    def encode_value(self, d: int, value: Any) -> float:
        """The code of one category of column d; raises if it is new."""
        known = self.values[d]
        found = [i for i, category in enumerate(known.tolist()) if np.ndim(value) == 0 and category == value]
        if not found:
            raise ValueError(f"{value!r} is not among the categories {', '.join(map(repr, known.tolist()))}")
        return float(found[0])

    def decode(self, X: Array, names: Sequence[Any] | None, like: Any = None, *, is_drawn: bool = False) -> Any:
        """The samples (N, D) with categories in place of codes: a frame if they were found in one.

        New categories are those of ``like`` (N, D), of which a frame also has the index. Draws of columns of integers
        are integers.
        """
        columns = {d: self.decode_column(d, X[:, d], like) for d in self.values}
        names = self.names or (None if names is None else [str(name) for name in names])
        if self.library is None or names is None:
            is_object = any(column.dtype.kind not in "fiub" for column in columns.values())
            decoded = np.array(X, dtype=object if is_object else np.float64)
            for d, column in columns.items():
                decoded[:, d] = column
            return decoded
        frames = importlib.import_module(self.library)
        integers = self.integers if is_drawn else {}
        columns |= {d: to_integers(X[:, d], dtype) for d, dtype in integers.items()}
        for d, (levels, is_ordered) in self.declared.items():
            columns[d] = restore_categorical(columns[d], self.library, levels, is_ordered=is_ordered)
        data = {name: columns.get(d, X[:, d]) for d, name in enumerate(names)}
        if self.library == "polars":
            is_plain = {d for d, dtype in self.dtypes.items() if dtype.startswith("Categorical")}
            return frames.DataFrame(data).cast({names[d]: frames.Categorical for d in is_plain})
        frame = frames.DataFrame(data, index=getattr(like, "index", None))
        restored = {d: dtype for d, dtype in self.dtypes.items() if is_restored(dtype, self.values[d])} | integers
        return frame.astype({names[d]: dtype for d, dtype in restored.items()})

    def decode_column(self, d: int, codes: Array, like: Any = None) -> Array:
        """Categories (N,) of column d for its codes (N,); new ones are those of ``like`` (N, D)."""
        known, is_known = self.values[d], codes >= 0.0
        decoded: Array = known[np.where(is_known, codes, 0.0).round().astype(np.int64)]
        if is_known.all():
            return decoded
        decoded = decoded.astype(object)
        original = None if like is None else to_array(get_column(like, d) if is_frame(like) else np.asarray(like)[:, d])
        decoded[~is_known] = None if original is None else original[~is_known]
        return decoded


def check_in_memory(X: Any) -> None:
    """Raise for a file that is read block by block."""
    if is_better_read_lazily(X):
        raise ValueError(
            f"categories need a table in memory, and X of shape {tuple(X.shape)} is so large that it is read block by "
            "block. Encode each category as a column of 0 and 1, which 'auto' takes for booleans, or pass some of the "
            "rows at a time as a DataFrame."
        )


def to_array(column: Any) -> Array:
    """The values (N,) of a column."""
    return column if isinstance(column, np.ndarray) else np.asarray(column, dtype=object)


def find_missing(column: Any) -> Array:
    """Which values of a column (N,) are missing, (N,)."""
    for name in ("isna", "is_null"):
        if hasattr(column, name):
            return np.asarray(getattr(column, name)(), dtype=bool)
    values = np.asarray(column)
    if values.dtype != object:
        return np.asarray(values != values)
    return np.array([value is None or _is_na(value) or value != value for value in values], dtype=bool)


def replace_na(X: Array) -> Array:
    """An array with NaN in place of pandas.NA."""
    return X if X.dtype != object else np.where(np.frompyfunc(_is_na, 1, 1)(X).astype(bool), np.nan, X)


def _is_na(value: Any) -> bool:
    """Whether a value is pandas.NA, whose comparisons are neither true nor false."""
    return type(value).__name__ == "NAType"


def unify(values: Array, name: str) -> Array:
    """Values (N,) of one type: booleans, numbers or strings; ``name`` is that of their column in messages."""
    if values.dtype == object and len({isinstance(value, str) for value in values}) > 1:
        raise ValueError(
            f"the categorical column {name} mixes strings with numbers or booleans; convert its values to strings"
        )
    unified = np.array(values.tolist()) if values.dtype == object else values
    if unified.dtype.kind not in "biufU":
        raise ValueError(
            f"the categorical column {name} holds values that are neither strings, numbers nor booleans; "
            "convert them to strings"
        )
    return unified.astype(object) if unified.dtype.kind == "U" else unified


def restore_categories(fields: Mapping[str, Any]) -> Categories:
    """Categories from the plain values of ``describe``, as JSON holds them."""
    arrays = {int(d): unify(np.array(known, dtype=object), d) for d, known in fields["values"].items()}
    dtypes = {int(d): str(dtype) for d, dtype in fields["dtypes"].items()}
    declared = {int(d): (list(levels), bool(ordered)) for d, (levels, ordered) in fields["declared"].items()}
    integers = {int(d): check_integer_dtype(dtype) for d, dtype in fields.get("integers", {}).items()}
    names = [name if isinstance(name, int) else str(name) for name in fields.get("names") or []]
    return Categories(arrays, dtypes, fields["library"], declared, integers, names or None)
