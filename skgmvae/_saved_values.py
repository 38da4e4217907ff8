"""Values in saved files: what JSON can hold of them, and checks of their types and ranges."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import numpy as np

from skgmvae._file_format import NotASavedEstimatorError, to_plain
from skgmvae.data.arrays import Array
from skgmvae.data.categories import Categories, restore_categories
from skgmvae.data.category_columns import MAX_CATEGORIES
from skgmvae.models.columns import KINDS, Column
from skgmvae.models.contract import ELBOTerms
from skgmvae.training.config import Architecture

__all__ = [
    "ATTRIBUTES",
    "check_architecture",
    "check_arrays",
    "check_attributes",
    "check_categories",
    "check_integer",
    "check_sizes",
    "check_subcomponents",
    "holds_object",
    "shorten",
    "to_tuples",
]

MAX_LAYERS = 100
MAX_INTEGER = 2**53  # beyond it, not every integer is a float
OPTIONAL = (  # of some models, or not of earlier versions
    *("reseeded_", "best_iter_", "validation_scores_", "hidden_layer_sizes_", "latent_dim_", "batch_size_"),
    *("learning_rate_", "pretrain_iter_", "max_iter_", "precision_", "likelihood_"),
)
RELATIVE_ERROR = 1e-5  # of the sum of float32 weights, and of the symmetry of covariances


def is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_INTEGER


def is_list_of(is_item: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(is_item, value))


def is_history(value: Any) -> bool:
    names = {"lower_bound", *ELBOTerms._fields}
    is_complete = isinstance(value, dict) and set(value) == names and all(map(is_list_of(is_number), value.values()))
    return is_complete and len(set(map(len, value.values()))) == 1


def is_times(value: Any) -> bool:
    return isinstance(value, dict) and all(map(is_number, value.values()))


def is_pair(value: Any) -> bool:
    return is_list_of(is_count)(value) and len(value) == 2


# fitted attributes that are no arrays, and what they must be; undone epochs have bounds that are not finite
ATTRIBUTES: dict[str, Callable[[Any], bool]] = {
    "lower_bound_": is_number,
    "lower_bounds_": is_list_of(is_number),
    "converged_": lambda value: isinstance(value, bool),
    "n_iter_": is_count,
    "best_iter_": is_count,
    "validation_scores_": is_list_of(is_number),
    "n_features_in_": is_count,
    "history_": is_history,
    "pretrain_history_": is_list_of(is_number),
    "phase_seconds_": is_times,
    "init_params_": lambda value: isinstance(value, str),
    "hidden_layer_sizes_": is_list_of(is_count),
    "latent_dim_": is_count,
    "batch_size_": is_count,
    "learning_rate_": is_number,
    "pretrain_iter_": is_count,
    "max_iter_": is_count,
    "precision_": lambda value: value in ("float32", "bfloat16"),
    "reseeded_": is_list_of(is_pair),
    "likelihood_": lambda value: isinstance(value, str) or is_list_of(lambda kind: kind in KINDS)(value),
}


def check_attributes(values: dict[str, Any]) -> dict[str, Any]:
    """The attributes in the file: all that are needed and no others, with the type of every value validated."""
    unknown, missing = set(values) - set(ATTRIBUTES), set(ATTRIBUTES) - set(OPTIONAL) - set(values)
    if unknown or missing:
        raise NotASavedEstimatorError(f"the file has unknown attributes {unknown}, or lacks {missing}")
    for name, value in values.items():
        if not ATTRIBUTES[name](value):
            raise NotASavedEstimatorError(f"the file's {name} is not what it must be: {str(value)[:80]}")
    tuples = ("hidden_layer_sizes_", "likelihood_")
    sizes = {name: to_tuples(value) for name, value in values.items() if name in tuples}
    return {"best_iter_": values["n_iter_"], "validation_scores_": [], **values, **sizes}


def check_arrays(estimator: Any, reference: Any, K: int, D: int) -> None:
    """Raise unless the estimator's arrays are those of K components and D features, shaped like the reference's."""
    shapes = {"weights_": (K,), "means_": (K, D)}
    of_model = [name for name, value in vars(reference).items() if isinstance(value, np.ndarray) and "latent" in name]
    shapes |= {name: getattr(reference, name).shape for name in of_model}
    for name, shape in shapes.items():
        array = getattr(estimator, name, None)
        if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype.kind != "f":
            raise NotASavedEstimatorError(f"the file's {name} are not numbers of shape {shape}")
    if estimator.n_features_in_ != D:
        raise NotASavedEstimatorError(f"the file's n_features_in_ is not {D}, as that of its networks")
    labels, weights = getattr(estimator, "labels_", np.empty(0)), estimator.weights_
    if labels.ndim != 1 or labels.dtype != np.int64 or not len(labels) or labels.min() < 0 or labels.max() >= K:
        raise NotASavedEstimatorError(f"the file's labels_ are not components from 0 to {K - 1}")
    if weights.min() < 0.0 or abs(weights.sum() - 1.0) > RELATIVE_ERROR * K:
        raise NotASavedEstimatorError(f"the file's weights_ are not shares that sum to 1, but to {weights.sum()}")
    _check_positive(getattr(estimator, "latent_covariances_", None), getattr(estimator, "covariance_type", None))


def _check_positive(covariances: Array | None, covariance_type: str | None) -> None:
    if covariances is None:
        return
    variances = covariances
    if covariance_type in ("full", "tied"):
        tolerance = RELATIVE_ERROR * np.abs(covariances).max()
        if not np.allclose(covariances, np.swapaxes(covariances, -1, -2), rtol=0.0, atol=tolerance):
            raise NotASavedEstimatorError("the file's latent_covariances_ are not symmetric")
        variances = np.linalg.eigvalsh(covariances)
        variances = (
            variances + np.finfo(np.float64).eps * np.abs(variances).max(-1, keepdims=True) * variances.shape[-1]
        )
    if variances.min() <= 0.0:
        raise NotASavedEstimatorError("the file's latent_covariances_ are not positive definite")


def check_integer(value: Any, name: str, low: int, high: int = 2**31) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise NotASavedEstimatorError(f"the file's {name} is {value!r}, which is not an integer from {low} to {high}")
    return value


def _check_boolean(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise NotASavedEstimatorError(f"the file's {name} is {value!r}, which is not a boolean")
    return value


def check_subcomponents(counts: Any, K: int) -> list[int] | None:
    """Numbers of subcomponents (K,) in the file; None: there are none."""
    if counts is not None and [type(count) for count in counts] != [int] * K:
        raise NotASavedEstimatorError(f"the file does not have numbers of subcomponents of {K} components")
    return counts and [check_integer(count, "subcomponents", 1) for count in counts]


def check_sizes(sizes: Sequence[Any]) -> tuple[int, ...]:
    """Hidden layer sizes in the file as a tuple of positive integers."""
    if len(sizes) > MAX_LAYERS:
        raise NotASavedEstimatorError(f"the file describes networks of impossible shape: {sizes}")
    return tuple(check_integer(size, "hidden_layer_sizes", 1) for size in sizes)


def check_architecture(fields: dict[str, Any]) -> Architecture:
    """The architecture in the file, with the type and range of every value validated."""
    image_shape = fields["image_shape"]
    if image_shape is not None and len(image_shape) != 3:
        raise NotASavedEstimatorError(f"the file describes images of impossible shape: {image_shape}")
    D = check_integer(fields["n_features"], "n_features", 1)
    location, scale = (tuple(map(float, fields[name])) for name in ("location", "scale"))
    sizes_of_constants = (0,) if fields["likelihood"] == "bernoulli" else (D,)
    columns = _check_columns(fields.get("columns", ()), fields["likelihood"], D)
    if any(len(values) not in sizes_of_constants or not np.isfinite(values).all() for values in (location, scale)):
        raise NotASavedEstimatorError(f"the file's location and scale are not {D} finite numbers each")
    if min(scale, default=1.0) <= 0.0:
        raise NotASavedEstimatorError(f"the file's scale is not positive, but as low as {min(scale)}")
    if fields["likelihood"] not in ("bernoulli", "gaussian", "unit_gaussian", "columns"):
        raise NotASavedEstimatorError(f"the file's likelihood is {fields['likelihood']!r}")
    return Architecture(
        n_features=D,
        latent_dim=check_integer(fields["latent_dim"], "latent_dim", 1),
        hidden_layer_sizes=check_sizes(fields["hidden_layer_sizes"]),
        image_shape=None
        if image_shape is None
        else tuple(check_integer(side, "image_shape", 1) for side in image_shape),
        likelihood=fields["likelihood"],
        location=location,
        scale=scale,
        linear_path=_check_boolean(fields["linear_path"], "linear_path"),
        columns=columns,
    )


def _check_columns(columns: Any, likelihood: Any, n_features: int) -> tuple[Column, ...]:
    """Kind, number of categories and constants of each feature in the file; earlier versions have no constants."""
    if len(columns) != (n_features if likelihood == "columns" else 0):
        raise NotASavedEstimatorError(f"the file describes the likelihood of {len(columns)} of {n_features} features")
    checked = []
    for kind, n_levels, *constants in columns:
        least = 1 if kind == "categorical" else 0
        if kind not in KINDS:
            raise NotASavedEstimatorError(f"the file's likelihood of a feature is {kind!r}")
        n_levels = check_integer(n_levels, "n_levels", least, MAX_CATEGORIES * least)
        checked.append(_check_constants(Column(str(kind), n_levels, *map(float, constants))))
    return tuple(checked)


def _check_constants(column: Column) -> Column:
    """The feature, if its constants can be used."""
    if not (math.isfinite(column.center) and 0.0 < column.width < math.inf):
        raise NotASavedEstimatorError(f"the file's constants of a feature are {column.center} and {column.width}")
    return column


def check_categories(fields: Any, architecture: Architecture) -> Categories | None:
    """The categories in the file, as many as its networks have."""
    if fields is None:
        return None
    n_levels = {d: n for d, (kind, n, *_) in enumerate(architecture.columns) if kind == "categorical"}
    categories = restore_categories(fields)
    if categories.library not in (None, "pandas", "polars") or categories.n_levels != n_levels:
        raise NotASavedEstimatorError("the file's categories do not match its networks")
    return categories


def holds_object(value: Any) -> bool:
    """Whether the value is, or holds, something that JSON has no form of."""
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return any(holds_object(item) for item in value)
    return value is not None and to_plain(value) is None


def shorten(array: Array) -> Array:
    """The array in float32 if it represents every value: weights are trained in float32 and stored in float64."""
    if array.dtype != np.float64:
        return array
    with np.errstate(over="ignore", under="ignore"):
        short = array.astype(np.float32)
    return short if np.array_equal(short, array) else array


def to_tuples(value: Any) -> Any:
    """JSON lists as tuples, and indices of columns, which JSON has as strings, as integers."""
    if isinstance(value, dict):
        return {int(name) if name.isdecimal() else name: to_tuples(item) for name, item in value.items()}
    return tuple(to_tuples(item) for item in value) if isinstance(value, list) else value
