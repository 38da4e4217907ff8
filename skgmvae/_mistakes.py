"""What scikit-learn's own messages leave open: which column, which value, and what to do about it."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from skorch.callbacks import Callback

# what scikit-learn says, and the remedy that it does not name
REMEDIES = {
    "could not convert string to float": "X must hold numbers: drop such columns or encode them, for instance with "
    "OneHotEncoder.",
    "contains infinity": "Drop the rows with such values, or clip them.",
}


@contextmanager
def explained(X: Any) -> Iterator[None]:
    """Turn scikit-learn's refusal of ``X`` into one that names the columns and the remedy, where these are known."""
    _check_no_dates(X)
    _check_not_masked(X)
    try:
        yield
    except (TypeError, ValueError) as error:
        text = _explain(X, str(error))
        if text is None:
            raise
        raise ValueError(text) from error


def _explain(X: Any, message: str) -> str | None:
    columns = _find_columns(X, lambda dtype: dtype.kind not in "biuf")
    if columns and ("could not" in message or "Cannot" in message):
        return (
            f"X has columns that are not numbers: {columns} ({message}). Drop them or encode them, for instance with "
            "OneHotEncoder in a ColumnTransformer."
        )
    shape = np.shape(X) if isinstance(X, np.ndarray) else ()
    if len(shape) > 2:
        n_features = int(np.prod(shape[1:]))
        return (
            f"{message} X has shape {shape}; make every row a flat image with X.reshape(len(X), -1), which has "
            f"{n_features} features, and set network='conv' and image_shape if its neighborhoods are to count."
        )
    remedies = [remedy for text, remedy in REMEDIES.items() if text in message]
    return f"{message.rstrip('.')}. {remedies[0]}" if remedies else None


def _find_columns(X: Any, is_wanted: Any) -> str:
    """Names and types of the columns of a frame with such a dtype."""
    if not (hasattr(X, "columns") and hasattr(X, "dtypes") and hasattr(X.dtypes, "items")):
        return ""
    found = [(name, dtype) for name, dtype in X.dtypes.items() if is_wanted(dtype)]
    return ", ".join(f"{name!r} ({dtype})" for name, dtype in found)


def _check_no_dates(X: Any) -> None:
    """Raise for dates, which NumPy would take for numbers of nanoseconds."""
    is_date = getattr(getattr(X, "dtype", None), "kind", "") in ("M", "m")
    columns = _find_columns(X, lambda dtype: dtype.kind in "mM")
    if is_date or columns:
        raise ValueError(
            f"X holds dates or durations: {columns or X.dtype}. Turn them into numbers that mean something, for "
            "instance days since the first, or hour and weekday."
        )


def _check_not_masked(X: Any) -> None:
    if isinstance(X, np.ma.MaskedArray) and np.ma.is_masked(X):
        raise ValueError(
            f"X has {np.ma.count_masked(X)} masked values, and missing values are not supported. Fill them, for "
            "instance with SimpleImputer, or drop their rows."
        )


def check_callbacks(callbacks: Any) -> None:
    """Raise unless all are instances of skorch's callbacks, bare or as (name, callback)."""
    for entry in callbacks or []:
        callback = entry[1] if isinstance(entry, tuple) and len(entry) == 2 else entry
        if isinstance(callback, type):
            raise TypeError(f"callbacks must hold instances; got the class {callback.__name__}: add its parentheses")
        if not isinstance(callback, Callback):
            raise TypeError(
                f"callbacks must hold skorch callbacks, bare or as (name, callback); got {entry!r}. Derive yours from "
                "skorch.callbacks.Callback; scikit-learn's go into set_callbacks."
            )


def check_no_booleans(parameters: Mapping[str, Any], constraints: Mapping[str, Any]) -> None:
    """Raise for True and False where a number is meant, which Python takes for 1 and 0."""
    for name, value in parameters.items():
        is_boolean = name == "verbose" or "boolean" in constraints.get(name, ["boolean"])
        if isinstance(value, (bool, np.bool_)) and not is_boolean:
            raise ValueError(f"{name} must be a number; got {value!r}")


def check_memory_folder(memory: Any) -> None:
    """Raise if ``memory`` names a file."""
    if isinstance(memory, str) and Path(memory).is_file():
        raise ValueError(f"memory={memory!r} is a file; name a folder, which need not exist yet")


def check_spread(location: np.ndarray, scale: np.ndarray) -> None:
    """Raise if the features' means or standard deviations are beyond the range of float64."""
    bad = ~(np.isfinite(location) & np.isfinite(scale))
    if bad.any():
        raise ValueError(
            f"the variance of {np.count_nonzero(bad)} features is beyond the range of float64, the first is feature "
            f"{int(bad.argmax())}. Look for extreme values in X, or divide these features by a constant."
        )


def explain_no_convergence(bounds: Sequence[float], tol: float, max_iter: int, learning_rate: float) -> str:
    """What to do after a training with these bounds, one per epoch."""
    finite = [bound for bound in bounds if math.isfinite(bound)]
    best, last = max(finite, default=math.nan), bounds[-1]
    if len(finite) < len(bounds) or last < best - max(abs(best), tol):
        return (
            f"The lower bound fell from {best:.4g} to {last:.4g} nats per row while training, and "
            f"{len(bounds) - len(finite)} epochs had to be undone. Lower learning_rate (now {learning_rate:g}), or "
            "look for extreme values in X."
        )
    return (
        f"The lower bound still changed by more than tol={tol} nats over the last epochs. Increase max_iter (now "
        f"{max_iter}) or tol, or continue with warm_start=True."
    )
