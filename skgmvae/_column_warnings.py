"""Warnings of columns that a mixture describes badly, with the remedy."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from skgmvae._warnings import warn
from skgmvae.data.arrays import Floats
from skgmvae.data.categories import Categories
from skgmvae.data.category_columns import find_names, find_written
from skgmvae.data.frames import name_feature
from skgmvae.data.summary import FeatureSummary
from skgmvae.initialization.views import find_codes

__all__ = [
    "NUMBERS_OF_DATES",
    "warn_of_categories",
    "warn_of_codes",
    "warn_of_copies",
    "warn_of_few_numbers",
    "warn_of_numbering",
    "warn_of_zeros",
]

NUMBERS_OF_DATES = "Convert them to meaningful numbers, for instance days since the first, or hour and weekday."
ZEROS = 0.2  # share of the samples from which a column is called zero-inflated
MOSTLY_ZEROS = 0.5  # the same of one of few whole numbers …
MOST_OF_COLUMNS = 0.5  # … unless more of the columns have few whole numbers, as pixels have
LEAST_FILLED = 0.5  # share of a range of whole numbers that the samples of a numbering fill
LEAST_SAMPLES = 20  # that can show a numbering or a copy
MOST_MISSING = 0.3  # share of a column that is compared with others
MOST_COMPARED = 100  # columns: of more, such as pixels, some may be copies by chance
COPY_TOLERANCE, SAME = 1e-10, 1e-6  # of a correlation of one, and of values in units of their range


def warn_of_categories(X: Any, categories: Categories) -> None:
    """Warn of categorical columns of a table (N, D) that tell samples apart, not groups, and of those of numbers."""
    names = [f"{name} ({n} categories)" for name, n in find_names(X, categories).items()]
    if names:
        warn(
            f"nearly all of the {len(X)} samples have their own category in these columns: {', '.join(names)}. Names "
            "and identifiers say nothing about clusters. Drop such columns, or merge rare categories."
        )
    numbers, dates = (
        [f"{name} (such as {value!r})" for name, value in found.items()] for found in find_written(X, categories)
    )
    if dates:
        warn(
            f"X has columns of dates that are written as strings: {', '.join(dates)}. As they are, they are "
            f"categories, which have no order. {NUMBERS_OF_DATES}"
        )
    if numbers:
        warn(
            f"X has columns of numbers that are written as strings: {', '.join(numbers)}. As they are, they are "
            "categories, which have no order. Remove signs and units, write a point for the decimal "
            "comma, and convert them to numbers; or to the categorical dtype, if they are codes."
        )


def warn_of_codes(columns: Sequence[int], rows: Floats, names: Sequence[Any] | None) -> None:
    """Warn of values far from all others that many samples share."""
    codes = {d: find_codes(rows[~np.isnan(rows[:, d]), d]) for d in columns}
    found = [
        f"{name_feature(d, names)} ({', '.join(f'{value:g}' for value in values)})"
        for d, values in codes.items()
        if len(values)
    ]
    if found:
        warn(
            f"X has values far from all others that many samples share: {', '.join(found)}. If they are codes, such as "
            "999 for a missing value, replace them by NaN: a mixture takes them for a cluster."
        )


def warn_of_zeros(columns: Sequence[int], rows: Floats, names: Sequence[Any] | None) -> None:
    """Warn of continuous columns that are zero in many samples."""
    shares = {d: float((rows[:, d] == 0.0).mean()) for d in columns}
    found = [f"{name_feature(d, names)} ({share:.0%})" for d, share in shares.items() if share >= ZEROS]
    if found:
        warn(
            f"X has continuous columns that are zero in many samples: {', '.join(found)}. A normal distribution "
            "does not describe such a peak. Replace each by two columns: one that says whether it is zero, and one "
            "with its value, or NaN in place of zero."
        )


def warn_of_few_numbers(columns: Sequence[int], rows: Floats, names: Sequence[Any] | None) -> None:
    """Warn of those of the columns of few whole numbers that are zero in most samples."""
    shares = {d: float((rows[:, d] == 0.0).mean()) for d in columns}
    found = [f"{name_feature(d, names)} ({share:.0%})" for d, share in shares.items() if share >= MOSTLY_ZEROS]
    if found and len(columns) <= MOST_OF_COLUMNS * rows.shape[1]:
        warn(
            f"X has columns of few whole numbers that are zero in most samples: {', '.join(found)}. A component may "
            "shrink to one of these numbers. If they are counts, give the column the likelihood 'poisson' or "
            "'negative_binomial'; if they are codes, name it in categorical_features."
        )


def warn_of_numbering(
    columns: Sequence[int], rows: Floats, summary: FeatureSummary, names: Sequence[Any] | None
) -> None:
    """Warn of those of columns of whole numbers that number the samples, beside other columns."""
    if rows.shape[1] == 1:
        return
    found = [name_feature(d, names) for d in columns if _is_numbering(rows[:, d], d, summary)]
    if found:
        warn(
            f"X has columns of whole numbers that are all different and leave few gaps: {', '.join(found)}. If they "
            "only number or identify the samples, leave them out: they say nothing of clusters, but take part in the "
            "distances and in the density."
        )


def _is_numbering(values: Floats, d: int, summary: FeatureSummary) -> bool:
    """Whether whole numbers (n,) of some samples are different, and those of all fill their range, maybe in steps."""
    observed = values[~np.isnan(values)]
    if len(observed) < LEAST_SAMPLES or len(np.unique(observed)) < len(observed) or np.abs(observed).max() > 2.0**53:
        return False
    step = np.gcd.reduce((observed - observed[0]).astype(np.int64))
    filled = (summary.n_samples - summary.n_missing[d]) / ((summary.high[d] - summary.low[d]) / step + 1.0)
    return bool(LEAST_FILLED <= filled <= 1.0)


def warn_of_copies(columns: Sequence[int], rows: Floats, names: Sequence[Any] | None) -> None:
    """Warn of continuous columns of many values that are copies of others, but for their units."""
    used = [d for d in columns if np.isnan(rows[:, d]).mean() <= MOST_MISSING]
    rows = rows[~np.isnan(rows[:, used]).any(1)]
    used = [d for d in used if len(rows) and np.ptp(rows[:, d]) > 0.0]
    if len(rows) < LEAST_SAMPLES or not 1 < len(used) <= MOST_COMPARED:
        return
    values = rows[:, used] / np.abs(rows[:, used]).max(0)  # in other units, squares may overflow
    correlation = np.atleast_2d(np.corrcoef(values, rowvar=False))
    copies: dict[int, int] = {}
    for i, j in np.argwhere(np.triu(np.abs(correlation) >= 1.0 - COPY_TOLERANCE, 1)):
        if used[j] not in copies and _is_copy(values[:, i], values[:, j]):
            copies[used[j]] = used[i]
    found = [f"{name_feature(b, names)} (of {name_feature(a, names)})" for b, a in sorted(copies.items())]
    if found:
        warn(
            f"X has columns that are copies of others, but for their units: {', '.join(found)}. Leave them out: what "
            "they repeat counts twice, and the log-density depends on the least variance that is allowed."
        )


def _is_copy(one: Floats, other: Floats) -> bool:
    """Whether values (n,) are others, shifted and multiplied; not only a wild one, whose correlation is one as well."""
    order = np.argsort(one, kind="stable")
    central = order[len(one) // 20 : len(one) - len(one) // 20]
    x, y = one[central] - one[central[0]], other[central] - other[central[0]]
    return bool(x[-1] > 0.0 and y.any() and np.abs(y - y[-1] / x[-1] * x).max() <= SAME * np.abs(y).max())
