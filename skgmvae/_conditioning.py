"""Answers that are conditioned on some of the values: missing values filled in, samples with some values given."""

from __future__ import annotations  # help() then shows MatrixLike, not what it stands for

import math
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skgmvae._evaluation import chunk_rows, inference_precision, map_chunks
from skgmvae._likelihoods import check_given
from skgmvae._sampling import check_component, check_n_samples, to_labels
from skgmvae._validation import check_samples
from skgmvae.data.arrays import Array, Floats, Integers, MatrixLike, Seed
from skgmvae.data.categories import Categories
from skgmvae.data.dtypes import find_integers, to_integers, to_like
from skgmvae.data.frames import find_column, is_frame, replace_column
from skgmvae.models.conditional import complete_by_draws, complete_by_means, draw_given
from skgmvae.models.points import PointSets, count_values, make_point_sets
from skgmvae.models.subcomponents import find_subcomponents_of
from skgmvae.runtime import MAX_SEED, check_device, isolated

__all__ = ["ConditionalQueries", "sample_given", "to_user"]


class ConditionalQueries:
    """Methods that fill in missing values, and what importance sampling takes."""

    net_: Any
    n_features_in_: int
    device: str
    random_state: Seed
    _noise_seed: int
    _categories: Categories | None = None  # of columns of categories; None: there are none

    def __sklearn_tags__(self) -> Any:
        """NaN is a missing value."""
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.input_tags.allow_nan = True
        return tags

    @property
    def categories_(self) -> list[Array | None]:
        """The categories of each feature that has some, else None."""
        check_is_fitted(self)
        found = {} if self._categories is None else self._categories.values
        return [found.get(d) for d in range(self.n_features_in_)]

    def _points(self) -> PointSets:
        """Points of the importance sampling, the same in all calls."""
        (width,) = self.net_.module_.noise_shape
        return make_point_sets(width, self.n_features_in_, self._noise_seed)

    @isolated()
    def impute(self, X: MatrixLike, n_draws: int | None = None, *, random_state: Seed = None) -> Any:
        """Fill in missing values: by their conditional means, or by draws for multiple imputation.

        While the model is linear, means and draws are exact; otherwise, they are computed by self-normalized importance
        sampling. The observed values are unchanged. For a sample that no component explains as well as the background
        of ``score_samples`` does, components would extrapolate: its missing values are those of normal distributions
        with the mean and covariance of all training samples. Categories and booleans get the most probable value in
        place of a mean.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            With NaN for missing values.
        n_draws : int, optional
            Number of draws of the missing values of each sample given its observed ones; None: their means.
        random_state : int, RandomState or None, default=None
            Of the draws. None: the estimator's ``random_state``; if this is an integer, every call draws the same.

        Returns
        -------
        X_imputed : ndarray of shape (n_samples, n_features) or (n_draws, n_samples, n_features)
            In the units of the data. If ``X`` is a DataFrame, a DataFrame with its columns and index, or a list of
            ``n_draws`` of them. Columns without missing values are unchanged. Draws of columns of integers are
            integers; means are floats. Floats that are filled in are float64, also for float32.

        Raises
        ------
        ValueError
            If ``n_draws`` is below one.
        """
        check_is_fitted(self)
        samples, points, module = check_samples(self, X, reset=False), self._points(), self.net_.module_
        options = _describe_size(self, points)
        device = check_device(self.device)

        def fill(model: Any, rows: torch.Tensor) -> torch.Tensor:
            return _fill(rows, lambda some: complete_by_means(model, some, points))

        with inference_precision(single=False):
            if n_draws is None:
                return _complete(self, X, samples, map_chunks(module, fill, samples, device, **options))
            if not isinstance(n_draws, Integral) or isinstance(n_draws, bool) or n_draws < 1:
                raise ValueError(f"n_draws must be an integer of at least 1, or None for means; got {n_draws!r}")
            rng = check_random_state(self.random_state if random_state is None else random_state)
            generator = torch.Generator(_where_to_draw(module, device)).manual_seed(int(rng.randint(MAX_SEED)))
            # of few samples, many draws at a time
            n_at_once = min(max(chunk_rows(module, **options) // len(samples), 1), int(n_draws))

            def draw(model: Any, rows: torch.Tensor) -> torch.Tensor:
                drawn = _fill(rows.repeat(n_at_once, 1), lambda some: complete_by_draws(model, some, points, generator))
                return drawn.unflatten(0, (n_at_once, len(rows))).transpose(0, 1)

            draws = np.empty((len(samples), -(-int(n_draws) // n_at_once) * n_at_once, self.n_features_in_))
            for first in range(0, int(n_draws), n_at_once):
                map_chunks(module, draw, samples, device, **options, out=draws[:, first : first + n_at_once])
        completed = [_complete(self, X, samples, draws[:, i], is_drawn=True) for i in range(int(n_draws))]
        return completed if is_frame(completed[0]) else np.stack(completed)


def sample_given(
    estimator: Any,
    given: Mapping[Any, Any],
    n_samples: int,
    component: int | None,
    random_state: Seed,
    *,
    expected: bool,
) -> tuple[Floats, Integers]:
    """Samples (n_samples, D) with some values given, and their components (n_samples,), sorted by these."""
    check_is_fitted(estimator)
    check_n_samples(n_samples)
    if not hasattr(given, "items"):
        raise ValueError(f"given must be a dict from features, by name or index, to values; got {given!r}")
    if component is not None:
        check_component(estimator, component)
    row = np.full(estimator.n_features_in_, np.nan)
    names = getattr(estimator, "feature_names_in_", None)
    for name, value in given.items():
        d = find_column(name, names, len(row), "given")
        row[d] = _check_value(estimator, d, name, value)
    rng = check_random_state(estimator.random_state if random_state is None else random_state)
    module, device, points = estimator.net_.module_, check_device(estimator.device), estimator._points()
    generator = torch.Generator(_where_to_draw(module, device)).manual_seed(int(rng.randint(MAX_SEED)))
    some = None if component is None else find_subcomponents_of(int(component), module.subcomponents)

    def draw(model: Any, rows: torch.Tensor) -> torch.Tensor:
        samples, components, _ = draw_given(model, rows, points, generator, among=some, expected=expected)
        return torch.cat([samples, components.unsqueeze(-1).to(samples)], -1)

    with inference_precision(single=False):
        found = map_chunks(module, draw, np.tile(row, (n_samples, 1)), device, **_describe_size(estimator, points))
    labels = to_labels(estimator, found[:, -1].astype(np.int64))
    order = np.argsort(labels, kind="stable")
    return found[order, :-1], labels[order]


def _describe_size(estimator: Any, points: PointSets) -> dict[str, Any]:
    """Options of ``map_chunks``: how many numbers per sample the points take; a linear model has none."""
    model, n_points = estimator.net_.module_, len(points.sets[-1])
    (n_latents,) = model.noise_shape
    if model.is_linear:
        return {"n_copies": n_latents, "values_per_row": count_values(model, estimator.n_features_in_)}
    of_points = n_points * model.n_components * (n_latents + 1)
    return {"n_copies": n_points, "values_per_row": max(count_values(model, estimator.n_features_in_), of_points)}


def _fill(rows: torch.Tensor, complete: Any) -> torch.Tensor:
    """Complete those of the rows (n, D) that have missing values."""
    is_open = rows.isnan().any(-1)
    if not bool(is_open.any()):
        return rows
    completed = rows.clone()
    completed[is_open] = complete(rows[is_open])
    return completed


def _where_to_draw(module: torch.nn.Module, device: torch.device) -> torch.device:
    """The device of the model that answers: Apple's has no float64."""
    return torch.device("cpu") if device.type == "mps" else device


def _check_value(estimator: Any, d: int, name: Any, value: Any) -> float:
    """The number that stands for a value of column d."""
    if isinstance(value, list) or getattr(value, "ndim", 0) > 0:
        raise ValueError(f"given[{name!r}] must be a single value; got a {type(value).__name__}.")
    categories = estimator._categories
    if categories is not None and d in categories.values:
        try:
            return float(categories.encode_value(d, value))
        except ValueError as error:
            raise ValueError(f"given[{name!r}]: {error}") from error
    kinds = getattr(estimator, "likelihood_", "gaussian")
    if isinstance(value, Real) and math.isfinite(value) and not isinstance(kinds, str):
        check_given(kinds[d], float(value), f"given[{name!r}]")
    if not isinstance(value, Real) or not math.isfinite(value):
        raise ValueError(f"given[{name!r}] must be a finite number; got {value!r}. Leave out what is not known.")
    return float(value)


def to_user(estimator: Any, values: Array, X: Any = None, *, is_drawn: bool = False) -> Any:
    """The samples (N, D) with categories in place of codes; in a frame with the index of ``X`` if they were in one.

    Draws have the dtypes of integers that they had there.
    """
    if estimator._categories is None:
        return values
    names = getattr(estimator, "feature_names_in_", None)
    return estimator._categories.decode(values, names, X, is_drawn=is_drawn)


def _complete(estimator: Any, X: Any, samples: Any, values: Array, *, is_drawn: bool = False) -> Any:
    """The table X, samples (N, D) with missing values, with the values (N, D); a frame keeps all other columns."""
    if not is_frame(X):
        return to_user(estimator, values, X, is_drawn=is_drawn)
    categories, integers = estimator._categories, {}
    if is_drawn:
        integers = {**(categories.integers if categories is not None else {}), **find_integers(X)}
    for d in np.flatnonzero(np.isnan(samples).any(0)).tolist():
        column = values[:, d]
        if categories is not None and d in categories.values:
            column = categories.decode_column(d, column, X)
        elif d in integers:
            column = to_integers(column, integers[d])
        X = replace_column(X, d, to_like(column, X, d))
    return X
