"""Validation of X: arrays of any layout and library; errors name the column, the value and the remedy."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import joblib
import numpy as np
import torch
from sklearn.utils.validation import validate_data

from skgmvae._collectives import check_equal
from skgmvae._column_warnings import NUMBERS_OF_DATES
from skgmvae._ranks import n_ranks
from skgmvae._warnings import warn
from skgmvae.data.arrays import Array
from skgmvae.data.categories import Categories, replace_na, to_array
from skgmvae.data.frames import check_one_value_per_cell, get_column, is_frame, name_feature
from skgmvae.data.lazy import LazyRows, is_better_read_lazily, is_sliceable
from skgmvae.data.training_data import TrainingData

__all__ = ["check_enough_samples", "check_no_dates", "check_ranks", "check_samples", "explained"]

ROWS_COMPARED = 1000  # between the ranks of a fit

INFINITE = "contains infinity"
# messages of scikit-learn, and the remedies that they lack
REMEDIES = {
    "could not convert string to float": "X must contain numbers: drop such columns, name them in categorical_features "
    "or pass a DataFrame. A ColumnTransformer passes one on after its set_output(transform='pandas').",
    INFINITE: "Drop the rows with such values, clip them, or use NaN if they mean that nothing is known.",
}
MOST_NAMED = 5  # columns, or categories
MANY_NEW = 100  # samples of a single new category that are warned of
# objects that contain arrays, by package and class, and the expression for the array
CONVERSIONS = {
    ("anndata", "AnnData"): "X.X (X.X.toarray() if it is sparse) or an embedding such as X.obsm['X_pca']",
    ("cudf", "DataFrame"): "X.to_pandas()",
    ("cupy", "ndarray"): "X.get()",
    ("dask", "DataFrame"): "X.to_dask_array(lengths=True)",
    ("datasets", "Dataset"): "X.to_pandas() with the columns of numbers selected",
    ("datasets", "DatasetDict"): "X['train'].to_pandas() with the columns of numbers selected",
    ("datasets", "IterableDataset"): "pandas.DataFrame(list(X)) with the columns of numbers selected",
    ("polars", "LazyFrame"): "X.collect()",
    ("pyspark", "DataFrame"): "X.toPandas()",
    ("torch", "DataLoader"): "numpy.concatenate([batch.numpy() for batch in X])",
    ("torch", "Dataset"): "numpy.stack([numpy.asarray(X[i]) for i in range(len(X))])",
    ("xarray", "Dataset"): "X.to_dataframe()",
}


def check_samples(estimator: Any, X: Any, **options: Any) -> Array | LazyRows:
    """The samples as float64 or float32: an array, or lazy rows where an array would need too much memory.

    Missing values (NaN, None, pandas.NA, masked entries) are NaN.

    Two of the lazy rows go through scikit-learn's validation, and all values are checked when they are read, so that
    the messages are the same. Smaller arrays that can only be sliced are read once, as a whole.

    Parameters
    ----------
    estimator : object
    X : array-like of shape (N, D)
    **options
        ``reset``, ``ensure_min_samples``, … of :func:`sklearn.utils.validation.validate_data`.
    """
    _check_convertible(X)
    check_one_value_per_cell(X)
    categories, names = getattr(estimator, "_categories", None), getattr(X, "columns", None)
    if categories is not None:
        original, X = X, categories.encode(X)
    with explained(X, names):
        X = _as_array(X)
        options = {"ensure_all_finite": "allow-nan", **options, "dtype": [np.float64, np.float32]}
        if is_better_read_lazily(X):
            validate_data(estimator, np.asarray(X[:2]), **options)
            return LazyRows(X, type(estimator).__name__)
        with np.errstate(over="ignore", invalid="ignore"):  # of the sum by which it looks for infinity
            samples: Array = validate_data(estimator, X, **options)
        if categories is not None:
            _warn_of_new(original, samples, categories)
        return samples


def check_enough_samples(n_samples: int, n_components: int) -> None:
    """Raise unless there is at least one sample per component."""
    if n_samples < n_components:
        raise ValueError(
            f"Expected n_samples >= n_components but got n_components = {n_components}, n_samples = {n_samples}"
        )


def _warn_of_new(X: Any, codes_of: Array, categories: Categories) -> None:
    """Warn of categorical columns of a table (N, D) whose values are of another type than in fit, or all others."""
    for d, known in categories.values.items():
        column = get_column(X, d) if is_frame(X) else np.asarray(X)[:, d]
        codes = codes_of[:, d]
        is_new = codes < 0.0
        if not is_new.any() or not (is_new | np.isnan(codes)).all():
            continue
        found = list(dict.fromkeys(to_array(column)[is_new].tolist()))
        if len(found) > 1 or is_new.sum() >= MANY_NEW or isinstance(found[0], str) != isinstance(known[0], str):
            name = name_feature(d, list(X.columns) if is_frame(X) else None)
            examples = ", ".join(map(repr, known[:MOST_NAMED].tolist()))
            warn(
                f"none of the values of the categorical column {name}, such as {found[0]!r}, is among "
                f"the categories of fit, such as {examples}: all are new categories, which say nothing of clusters."
            )


def _check_convertible(X: Any) -> None:
    """Raise for objects that NumPy cannot view, and name the expression for an array."""
    for base in type(X).__mro__:
        call = CONVERSIONS.get((base.__module__.split(".")[0], base.__name__))
        if call is not None:
            raise TypeError(f"X is a {base.__module__.split('.')[0]} {base.__name__}, not an array; pass {call}.")
    if any(isinstance(size, float) and math.isnan(size) for size in getattr(X, "shape", None) or ()):
        raise ValueError(
            "X has chunks of unknown sizes, and thus an unknown number of samples; call X.compute_chunk_sizes() first."
        )
    if isinstance(X, Iterator):
        raise TypeError(f"X is a {type(X).__name__}, which can be read only once; pass numpy.array(list(X)).")


def _as_array(X: Any) -> Any:
    """An object that scikit-learn can validate: an array, a frame, or an object that is read in slices."""
    if isinstance(X, torch.Tensor):
        X = X.detach()
        return (X.to_dense() if X.layout != torch.strided else X).to(_numpy_dtype(X)).numpy(force=True)
    if isinstance(X, np.ma.MaskedArray) and np.ma.is_masked(X):
        return np.where(np.ma.getmaskarray(X), np.nan, X.data)
    if _find_columns(X, lambda dtype: dtype.kind == "O") and hasattr(X, "isna"):
        return X.mask(X.isna(), np.nan)  # pandas.NA, of which NumPy makes no number
    if isinstance(X, np.ndarray) and X.dtype == object:
        return replace_na(X)
    if not is_sliceable(X) or is_better_read_lazily(X):
        return X
    if X.dtype.kind not in "fiubc":
        raise ValueError(f"X must contain numbers; got an array of dtype {X.dtype}.")
    is_refused = len(X.shape) != 2 or X.dtype.kind == "c"  # by scikit-learn, for which two rows are enough
    return np.asarray(X[: 2 if is_refused else X.shape[0]] if X.shape else X)


def _numpy_dtype(tensor: torch.Tensor) -> torch.dtype:
    """The dtype of the tensor if NumPy has it, else float32, which represents every value."""
    return torch.float32 if tensor.is_floating_point() and tensor.itemsize < 4 else tensor.dtype


@contextmanager
def explained(X: Any, names: Any = None) -> Iterator[None]:
    """Extend scikit-learn's error messages about ``X`` by the columns and the remedy, where these are known.

    Names of the columns are those of ``X`` if it is a frame, unless others are given.
    """
    check_no_dates(X)
    try:
        yield
    except (TypeError, ValueError) as error:
        text = _explain(X, names, str(error))
        if text is None:
            raise
        raise ValueError(text) from error


def _explain(X: Any, names: Any, message: str) -> str | None:
    columns = _find_columns(X, lambda dtype: dtype.kind not in "biuf")
    if columns and any(text in message for text in ("datetime.", "Timestamp", "Period", "Interval")):
        return f"X contains dates, durations or intervals: {columns}. {NUMBERS_OF_DATES}"
    if columns and any(text in message for text in ("could not", "Cannot", "a real number")):
        return (
            f"X has columns that are not numbers: {columns} ({message}). Drop them, or name them in "
            "categorical_features; 'from_dtype' finds strings, booleans and categories."
        )
    shape = np.shape(X) if isinstance(X, np.ndarray) else ()
    if len(shape) > 2:
        n_features = int(np.prod(shape[1:]))
        return (
            f"{message} X has shape {shape}; flatten the images with X.reshape(len(X), -1), which gives {n_features} "
            "features, and pass image_shape=(channels, height, width) to the estimator."
        )
    if INFINITE in message and (isinstance(X, np.ndarray) or hasattr(X, "columns")):  # in memory
        message = f"{message.rstrip('.')}, in {_find_infinite(X, names)}"
    remedies = [remedy for text, remedy in REMEDIES.items() if text in message]
    return f"{message.rstrip('.')}. {remedies[0]}" if remedies else None


def _find_columns(X: Any, is_wanted: Callable[[Any], bool]) -> str:
    """Names and dtypes of the columns of a frame whose dtype satisfies the condition."""
    if not (hasattr(X, "columns") and hasattr(X, "dtypes") and hasattr(X.dtypes, "items")):
        return ""
    found = [(name, dtype) for name, dtype in X.dtypes.items() if is_wanted(dtype)]
    return ", ".join(f"{name!r} ({dtype})" for name, dtype in found)


def _find_infinite(X: Any, names: Any) -> str:
    """Names or numbers of the columns of a frame or array (N, D) with infinite values."""
    names = getattr(X, "columns", range(np.shape(X)[1])) if names is None else names
    values = replace_na(np.asarray(X)).astype(np.float64)
    found = [repr(name) for name, column in zip(names, values.T, strict=True) if np.isinf(column).any()]
    more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    return f"column{'s' if len(found) > 1 else ''} {', '.join(found[:MOST_NAMED])}{more}"


def _find_polars_dates(X: Any) -> str:
    """Names and dtypes of the columns of a polars frame that are dates or durations."""
    schema: Any = getattr(X, "schema", None)
    found = schema.items() if hasattr(schema, "items") else []
    return ", ".join(f"{name!r} ({dtype})" for name, dtype in found if str(dtype).startswith(("Date", "Time", "Dur")))


def check_no_dates(X: Any) -> None:
    """Raise for dates, which NumPy would interpret as nanoseconds."""
    is_date = getattr(getattr(X, "dtype", None), "kind", "") in ("M", "m")
    columns = _find_columns(X, lambda dtype: dtype.kind in "mM") or _find_polars_dates(X)
    if is_date or columns:
        raise ValueError(f"X contains dates or durations: {columns or X.dtype}. {NUMBERS_OF_DATES}")


def check_ranks(estimator: Any, data: TrainingData) -> None:
    """Raise if the ranks have called ``fit`` with different samples or parameters."""
    if n_ranks() == 1:
        return
    own = ("random_state", "callbacks", "memory", "checkpoint", "verbose", "device")
    values = {name: value for name, value in estimator.get_params(deep=False).items() if name not in own}
    some = data.X[:ROWS_COMPARED]  # the summary does not depend on the order of the samples
    values |= {"the class of the estimator": type(estimator).__name__, "X": (data.X.shape, data.summary, some)}
    check_equal(
        {name: joblib.hash(value) for name, value in values.items()},
        "Call fit on all ranks with the same X, in the same order, and the same parameters; or set distributed=False, "
        "and each rank fits its own model.",
    )
