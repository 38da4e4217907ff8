"""Which columns of a table hold categories, and which these are."""

import re
from collections.abc import Iterable
from numbers import Integral
from typing import Any

import numpy as np

from skgmvae.data.arrays import Array
from skgmvae.data.categories import Categories, check_in_memory, find_missing, to_array, unify
from skgmvae.data.dtypes import find_integers, find_levels
from skgmvae.data.frames import check_one_value_per_cell, find_column, find_library, get_column, is_frame, name_feature

__all__ = ["MAX_CATEGORIES", "find_names", "find_written", "learn_categories"]

MAX_CATEGORIES = 255  # of a column; one with more is rather a name or a number
# of categories, from which on numbers or dates may be written as strings; the share of them; others may be "n/a"
LEAST_NUMBERS, MOSTLY_NUMBERS = 20, 0.9
NUMBER, UNIT = re.compile(r"-?\d+\.?\d*"), re.compile(r"([^\W\d_]{2,}|[^\W\d_A-Z])$")
MOST_UNITS = 2  # of one column; "12A" is a code
MONTH, DAY = "(0?[1-9]|1[0-2])", "(0?[1-9]|[12][0-9]|3[01])"
YEAR_FIRST, YEAR_LAST = rf"\d{{4}}([-/.]){MONTH}\1{DAY}", rf"({DAY}([/.]){MONTH}|{MONTH}([-/.]){DAY})[-/.](\d\d)?\d\d"
DATES = [re.compile(rf"{date}([T ]\d{{1,2}}:\d\d.*)?") for date in (YEAR_FIRST, YEAR_LAST)]
SIGNS = str.maketrans("", "", " ,%$€£\N{NO-BREAK SPACE}")  # that numbers are written with
LEAST_NAMED, NAMED = 20, 0.9  # observed values, and share of different ones, from which on a column looks like names


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
        If there is no such column, or one has no value, or more than ``MAX_CATEGORIES`` categories, or several values
        in a cell.
    """
    check_one_value_per_cell(X)
    found = sorted({*_find_columns(X, categorical_features), *more})
    if not found or len(X) == 0:
        return None
    check_in_memory(X)
    values, dtypes, declared = {}, {}, {}
    for d in found:
        column = get_column(X, d) if is_frame(X) else np.asarray(X)[:, d]
        known = np.unique(unify(to_array(column)[~find_missing(column)], _name(X, d)))
        known = np.array([False, True]) if known.dtype.kind == "b" else known  # for a code that is the value
        if not len(known):
            raise ValueError(f"the categorical column {_name(X, d)} has no observed value; drop it")
        if len(known) > MAX_CATEGORIES:
            raise ValueError(
                f"the categorical column {_name(X, d)} has {len(known)} categories, and at most {MAX_CATEGORIES} are "
                f"possible. {_advise(known)}"
            )
        values[d], dtypes[d] = known, str(getattr(column, "dtype", ""))
        levels = find_levels(column) if is_frame(X) else None
        if levels is not None:
            declared[d] = levels
    integers = {d: dtype for d, dtype in find_integers(X).items() if d not in values}
    names = [int(name) if isinstance(name, Integral) else name for name in X.columns] if is_frame(X) else []
    plain = names if all(isinstance(name, (int, str)) for name in names) else None
    return Categories(values, dtypes, find_library(X), declared, integers, plain or None)


def find_names(X: Any, categories: Categories) -> dict[str, int]:
    """Categorical columns of a table (N, D) that look like names, with nearly as many categories as values."""
    found = {}
    for d in categories.n_levels:
        n_observed = int((~find_missing(get_column(X, d) if is_frame(X) else np.asarray(X)[:, d])).sum())
        if n_observed >= LEAST_NAMED and len(categories.values[d]) >= NAMED * n_observed:
            found[_name(X, d)] = len(categories.values[d])
    return found


def find_written(X: Any, categories: Categories) -> tuple[dict[str, str], dict[str, str]]:
    """Categorical columns of a table (N, D) whose many categories are strings of numbers, and of dates; one of each."""
    undeclared = [d for d in categories.n_levels if d not in categories.declared]
    numbers, dates = (
        {_name(X, d): found for d in undeclared if (found := find(categories.values[d])) is not None}
        for find in (_find_number, _find_date)
    )
    return numbers, dates


def _advise(known: Array) -> str:
    example = _find_number(known)
    if example is not None:
        return f"Most are numbers written as strings, such as {example!r}: remove signs and units, and convert them."
    example = _find_date(known)
    if example is not None:
        return f"Most are dates written as strings, such as {example!r}: convert them to numbers, such as days."
    return "Names and identifiers say nothing about clusters: drop the column, or merge rare categories."


def _find_number(known: Array) -> str | None:
    """One of many numbers that are written as strings, if nearly all categories (n,) are; "02139" is a code."""
    if known.dtype != object or len(known) < LEAST_NUMBERS:
        return None
    plain = [str(value).translate(SIGNS) for value in known]
    units = [UNIT.search(text) for text in plain if text[:1].isdigit()]
    if len({unit.group() for unit in units if unit is not None}) <= MOST_UNITS:
        plain = [UNIT.sub("", text) if text[:1].isdigit() else text for text in plain]
    if any(text.isdigit() and text[0] == "0" and len(text) > 1 for text in plain):
        return None
    found = [value for value, text in zip(known, plain, strict=True) if NUMBER.fullmatch(text)]
    return str(found[0]) if len(found) >= MOSTLY_NUMBERS * len(known) else None


def _find_date(known: Array) -> str | None:
    """One of many dates that are written as strings, if nearly all categories (n,) are."""
    if known.dtype != object or len(known) < LEAST_NUMBERS:
        return None
    found = [value for value in known if any(date.fullmatch(str(value).strip()) for date in DATES)]
    return str(found[0]) if len(found) >= MOSTLY_NUMBERS * len(known) else None


def _find_columns(X: Any, categorical_features: Any) -> Iterable[int]:
    if categorical_features is None:
        return []
    if isinstance(categorical_features, str):
        return [d for d in range(X.shape[1]) if _has_categories(get_column(X, d))] if is_frame(X) else []
    given, n_features = np.asarray(categorical_features), np.shape(X)[1]
    if given.shape == (0,):
        return []
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
    known = to_array(column)[~find_missing(column)]
    return len(known) > 0 and np.array(known.tolist()).dtype.kind in "Ub"


def _name(X: Any, d: int) -> str:
    return name_feature(d, list(X.columns) if is_frame(X) else None)
