"""Warnings of columns that a mixture describes badly, with the remedy."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from skgmvae._warnings import warn
from skgmvae.data.arrays import Floats
from skgmvae.data.frames import name_feature
from skgmvae.initialization.views import find_codes

__all__ = ["warn_of_codes", "warn_of_few_numbers", "warn_of_zeros"]

ZEROS = 0.2  # share of the samples from which a column is called zero-inflated
MOSTLY_ZEROS = 0.5  # the same of one of few whole numbers …
MOST_OF_COLUMNS = 0.5  # … unless more of the columns have few whole numbers, as pixels have


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
