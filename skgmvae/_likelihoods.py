"""The likelihood of each feature, from the parameter ``likelihood`` and the samples."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skgmvae._column_warnings import (
    warn_of_codes,
    warn_of_copies,
    warn_of_few_numbers,
    warn_of_numbering,
    warn_of_zeros,
)
from skgmvae._warnings import warn
from skgmvae.data.arrays import Floats
from skgmvae.data.frames import find_column, is_frame, name_feature
from skgmvae.data.summary import MAX_DISTINCT, FeatureSummary
from skgmvae.initialization.skewness import find_heavy_tails, find_log_normal
from skgmvae.models.columns import COUNTS, KINDS, Column
from skgmvae.models.transforms import TRANSFORMED

__all__ = [
    "PLAIN",
    "check_given",
    "check_still_fits",
    "choose_kinds",
    "describe_columns",
    "find_named_categories",
    "standardize_columns",
    "warn_of_excluded",
]

MOST_EXCLUDED = 1000  # samples in which a warning looks for the columns
PLAIN = ("bernoulli", "gaussian", "unit_gaussian")  # likelihoods of tables whose columns are all alike
NEEDED = {
    "bernoulli": "values in [0, 1]",
    "log_normal": "values above 0",
    "poisson": "whole numbers from 0 on",
    "negative_binomial": "whole numbers from 0 on",
}


def choose_kinds(
    likelihood: Any,
    n_levels: Mapping[int, int],
    summary: FeatureSummary,
    rows: Floats,
    names: Sequence[Any] | None,
    booleans: Collection[int] = (),
) -> tuple[str, ...]:
    """The kind of each of D columns.

    'auto': categorical where the column is one; Bernoulli where all values are 0 or 1; log-normal where this is clearly
    more likely for samples held out than any normal or mixture of few normals; else Gaussian.

    Parameters
    ----------
    likelihood : str, sequence or dict
        As the estimator's parameter.
    n_levels : dict of int to int
        Numbers of categories of the categorical columns.
    summary : FeatureSummary
    rows : ndarray of shape (n, D)
        Some samples.
    names : sequence or None
        Of the features.
    booleans : collection of int
        Columns of booleans, which are Bernoulli also if all values are equal.

    Returns
    -------
    kinds : tuple of str

    Raises
    ------
    ValueError
        If a kind is unknown, or does not fit its column.
    """
    D = len(summary.mean)
    wanted = ["auto"] * D
    if isinstance(likelihood, str):
        wanted = [likelihood] * D
    elif isinstance(likelihood, Mapping):
        for name, kind in likelihood.items():
            wanted[find_column(name, names, D, "likelihood")] = kind
    else:
        wanted = list(likelihood)
        if len(wanted) != D:
            raise ValueError(f"likelihood has {len(wanted)} entries for {D} features; pass one for each, or a dict")
    for kind in wanted:
        if kind not in ("auto", *KINDS):
            raise ValueError(f"likelihood must consist of 'auto' and {', '.join(map(repr, KINDS))}; got {kind!r}")
    is_flag = summary.is_binary & (summary.low < summary.high)
    is_flag[list(booleans)] = True
    is_open = [d for d, kind in enumerate(wanted) if kind == "auto" and d not in n_levels and not is_flag[d]]
    is_skewed = dict(zip(is_open, find_log_normal(rows[:, is_open]) & (summary.low[is_open] > 0.0), strict=True))
    is_plain = [d for d in is_open if not is_skewed[d]]
    has_tails = dict(zip(is_plain, find_heavy_tails(rows[:, is_plain]), strict=True))
    for d, kind in enumerate(wanted):
        if d in n_levels:
            if kind not in ("auto", "categorical") and not isinstance(likelihood, str):
                raise ValueError(
                    f"feature {name_feature(d, names)} is categorical, and its likelihood cannot be {kind!r}; "
                    "remove it from likelihood or from categorical_features"
                )
            wanted[d] = "categorical"
        elif kind == "categorical" and d in booleans:
            wanted[d] = "bernoulli"  # the same
        elif kind == "auto":
            of_numbers = "log_normal" if is_skewed.get(d) else "johnson_su" if has_tails.get(d) else "gaussian"
            wanted[d] = "bernoulli" if is_flag[d] else of_numbers
        else:
            _check_kind(kind, d, summary, names)
    gaussian, has_many = [d for d in is_open if wanted[d] == "gaussian"], summary.n_distinct > MAX_DISTINCT
    is_whole = summary.is_integral & (summary.low < summary.high)
    warn_of_zeros([d for d in gaussian if has_many[d]], rows, names)
    warn_of_few_numbers([d for d in gaussian if is_whole[d] and not has_many[d]], rows, names)
    continuous = [d for d in is_open if wanted[d] != "bernoulli"]
    warn_of_numbering([d for d in continuous if is_whole[d]], rows, summary, names)
    warn_of_copies([d for d in continuous if has_many[d]], rows, names)
    warn_of_codes(continuous, rows, names)
    return tuple(wanted)


def _check_kind(kind: str, d: int, summary: FeatureSummary, names: Sequence[Any] | None) -> None:
    low, high, is_whole = float(summary.low[d]), float(summary.high[d]), bool(summary.is_integral[d])
    fits = {
        "bernoulli": low >= 0.0 and high <= 1.0,
        "log_normal": low > 0.0,
        **dict.fromkeys(COUNTS, low >= 0.0 and is_whole),
    }
    if fits.get(kind, True):
        return
    raise ValueError(
        f"likelihood={kind!r} needs {NEEDED[kind]}; feature {name_feature(d, names)} has "
        f"{'' if is_whole else 'fractional '}values from {low:.6g} to {high:.6g}. Use another likelihood "
        "for it, or 'auto'."
    )


def find_named_categories(likelihood: Any, X: Any) -> set[int]:
    """Indices of the columns of the table (N, D) that the parameter ``likelihood`` says are categorical."""
    if isinstance(likelihood, str):
        return set(range(np.shape(X)[-1])) if likelihood == "categorical" else set()
    names, D = list(X.columns) if is_frame(X) else None, np.shape(X)[-1]
    if isinstance(likelihood, Mapping):
        columns = [name for name, kind in likelihood.items() if kind == "categorical"]
        return {find_column(name, names, D, "likelihood") for name in columns}
    return {d for d, kind in enumerate(likelihood) if kind == "categorical" and d < D}


def check_still_fits(kinds: Any, summary: FeatureSummary, names: Sequence[Any] | None) -> None:
    """Raise if further samples have values that the likelihoods of a fitted model do not allow."""
    for d, kind in enumerate([] if isinstance(kinds, str) else kinds):
        if kind == "log_normal" or kind in COUNTS:
            _check_kind(kind, d, summary, names)


def check_given(kind: str, value: float, what: str) -> None:
    """Raise unless a value can be observed under the likelihood of its column."""
    if not _allows(kind, np.array(value)):
        raise ValueError(f"{what}: the likelihood {kind!r} of this feature needs {NEEDED[kind]}; got {value:g}")


def warn_of_excluded(kinds: Any, X: Any, scores: Floats, names: Sequence[Any] | None, *, is_auto: bool) -> None:
    """Warn of samples of log-density −inf, with the columns whose likelihoods exclude their values.

    Parameters
    ----------
    kinds : str or sequence of str
        Of all D columns, or of each.
    X : array of shape (n, D)
    scores : ndarray of shape (n,)
    names : sequence or None
        Of the features.
    is_auto : bool
        Whether the likelihoods were not the user's choice.
    """
    excluded = np.flatnonzero(np.isneginf(scores))
    if not len(excluded):
        return
    rows = np.asarray(X[excluded[:MOST_EXCLUDED]])
    kinds = [kinds] * rows.shape[1] if isinstance(kinds, str) else kinds
    columns = [d for d, kind in enumerate(kinds) if not _allows(kind, rows[:, d]).all()]
    if not columns:
        return
    found = [f"{name_feature(d, names)} ({kinds[d]}: {NEEDED[kinds[d]]})" for d in columns]
    advice = "choose another likelihood for these columns"
    if is_auto:
        advice = (
            "set the likelihood of these columns, for example to 'gaussian', for all folds alike; 'auto' chooses it "
            "from the training samples"
        )
    elif any(kinds[d] == "bernoulli" for d in columns):
        advice += ", or clip the values, as MinMaxScaler(clip=True) does"
    warn(
        f"{len(excluded)} of {len(scores)} samples have log-density -inf, since the likelihoods of these columns "
        f"exclude their values: {', '.join(found)}. If such values can occur, {advice}."
    )


def _allows(kind: str, values: Floats) -> NDArray[np.bool_]:
    """Which values can be observed under a likelihood; missing ones always can."""
    if kind == "log_normal":
        allowed = values > 0.0
    elif kind == "bernoulli":
        allowed = (values >= 0.0) & (values <= 1.0)
    elif kind in COUNTS:
        allowed = (values >= 0.0) & (values == np.round(values))
    else:
        return np.ones(np.shape(values), dtype=bool)
    return np.asarray(allowed | np.isnan(values))


def describe_columns(kinds: Sequence[str], n_levels: Mapping[int, int], summary: FeatureSummary) -> tuple[Column, ...]:
    """Kind, number of categories and constants of each of D columns: of Johnson's SU its median and spread."""
    columns = []
    for d, kind in enumerate(kinds):
        width = float(summary.spread[d] if summary.spread[d] > 0.0 else summary.scale[d])
        constants = (float(summary.center[d]), width) if kind == "johnson_su" else ()
        columns.append(Column(kind, n_levels.get(d, 0), *constants))
    return tuple(columns)


def standardize_columns(
    columns: Sequence[Column], rows: Floats, location: Floats, scale: Floats
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Location and scale (D,) of each column as its kind needs them, by those of the values, and samples (n, D)."""
    location, scale = location.copy(), scale.copy()
    for d, (kind, _, center, width) in enumerate(columns):
        if kind in TRANSFORMED or kind in COUNTS:
            values = rows[~np.isnan(rows[:, d]), d]
            if kind == "log_normal":
                transformed = np.log(values[values > 0.0])
            else:
                transformed = np.log1p(values) if kind in COUNTS else np.arcsinh((values - center) / width)
            location[d], spread = float(transformed.mean()), float(transformed.std())
            scale[d] = spread if spread > 0.0 else 1.0
        elif kind in ("bernoulli", "categorical"):
            location[d], scale[d] = 0.0, 1.0
    return location, scale
