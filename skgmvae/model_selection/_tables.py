"""Tables with categories or missing values as points, in which the search looks for clusters."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import check_array

from skgmvae._validation import check_no_dates
from skgmvae.data.arrays import Floats
from skgmvae.data.categories import Categories
from skgmvae.data.category_columns import learn_categories
from skgmvae.initialization.relevance import find_relevant
from skgmvae.models.missing import estimate_normal
from skgmvae.models.normals import draw_missing

__all__ = ["make_points"]


def make_points(parts: list[Any], categorical_features: Any) -> list[Floats]:
    """Complete numbers of the samples of each part; categories and means are those of the first.

    With categories, the points are principal components of all columns with equal weights (factor analysis of mixed
    data, Pagès 2004), those of more than average variance. Missing values are drawn from one normal distribution.
    Columns of a table of numbers that say nothing about clusters are left out; others stay as they are.

    Parameters
    ----------
    parts : list of array-like of shape (n, D)
    categorical_features : 'from_dtype', array-like or None
        As the parameter of the estimators.

    Returns
    -------
    list of ndarray of shape (n, D')
    """
    check_no_dates(parts[0])
    categories = learn_categories(parts[0], categorical_features) if hasattr(parts[0], "shape") else None
    encoded = [part if categories is None else categories.encode(part) for part in parts]
    checked = [
        check_array(part, dtype=np.float64, ensure_all_finite="allow-nan", ensure_min_samples=2 - i)
        for i, part in enumerate(encoded)
    ]
    has_levels = categories is not None and bool(categories.n_levels)
    if categories is not None and has_levels:
        checked = _expand(checked, categories)
    if any(np.isnan(part).any() for part in checked):
        checked = _complete(checked)
    if has_levels:
        return _reduce(checked)
    is_relevant = find_relevant(checked[0]).may_tell
    return checked if is_relevant.all() else [part[:, is_relevant] for part in checked]


def _expand(parts: list[Floats], categories: Categories) -> list[Floats]:
    """Columns of equal variance, of all indicators of a category together; NaN where values are missing."""
    columns: list[list[NDArray[np.float64]]] = [[] for _ in parts]
    for d in range(parts[0].shape[1]):
        values = [part[:, d : d + 1] for part in parts]
        if d in categories.n_levels:
            levels = np.arange(categories.n_levels[d])
            values = [np.where(np.isnan(codes), np.nan, codes == levels) for codes in values]
        total = float(np.sqrt(np.nanvar(values[0], axis=0).sum()))
        for into, own in zip(columns, values, strict=True):
            into.append(own / (total if total > 0.0 else 1.0))
    return [np.hstack(own) for own in columns]


def _reduce(parts: list[Floats]) -> list[Floats]:
    """Principal components of the first part of more than average variance; at least two if there are as many."""
    mean = parts[0].mean(0)
    centered = parts[0] - mean
    values, vectors = np.linalg.eigh(centered.T @ centered / len(centered))
    kept = vectors[:, -max(int((values > values.mean()).sum()), min(2, len(values))) :]
    return [(part - mean) @ kept for part in parts]


def _complete(parts: list[Floats]) -> list[Floats]:
    """Missing values drawn given the observed ones under the normal distribution of the first part.

    Conditional means in their place, without noise, can form clusters of their own.
    """
    mean = np.nan_to_num(np.nanmean(parts[0], axis=0))
    scale = np.nanstd(parts[0], axis=0)
    scale = np.where(scale > 0.0, scale, 1.0)
    standardized = [torch.from_numpy((part - mean) / scale) for part in parts]
    normal, generator = estimate_normal(standardized[0]), torch.Generator().manual_seed(0)
    completed = (draw_missing(part, *normal, generator).numpy() * scale + mean for part in standardized)
    return [np.where(np.isnan(part), full, part) for part, full in zip(parts, completed, strict=True)]
