"""Checks of the values in a saved file: of the type and in the range that they must have."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np

from skgmvae._file_format import NotASavedEstimatorError
from skgmvae.models.contract import ELBOTerms
from skgmvae.training.config import Architecture

__all__ = ["check_architecture", "check_history", "check_integer"]

MAX_LAYERS = 100


def check_integer(value: Any, name: str, low: int, high: int = 2**31) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise NotASavedEstimatorError(f"the file's {name} is {value!r}, which is no integer from {low} to {high}")
    return value


def _check_boolean(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise NotASavedEstimatorError(f"the file's {name} is {value!r}, which is neither true nor false")
    return value


def check_architecture(fields: dict[str, Any]) -> Architecture:
    """The architecture in the file, with the type and range of every value validated."""
    sizes, image_shape = fields["hidden_layer_sizes"], fields["image_shape"]
    if len(sizes) > MAX_LAYERS or (image_shape is not None and len(image_shape) != 3):
        raise NotASavedEstimatorError(f"the file describes networks of impossible shape: {sizes}, {image_shape}")
    D = check_integer(fields["n_features"], "n_features", 1)
    constants = [tuple(map(float, fields[name])) for name in ("location", "scale")]
    if any(len(values) not in (0, D) or not np.isfinite(values).all() for values in constants):
        raise NotASavedEstimatorError(f"the file's location and scale are not {D} finite numbers each")
    if fields["likelihood"] not in ("bernoulli", "gaussian", "unit_gaussian"):
        raise NotASavedEstimatorError(f"the file's likelihood is {fields['likelihood']!r}")
    return Architecture(
        n_features=D,
        latent_dim=check_integer(fields["latent_dim"], "latent_dim", 1),
        hidden_layer_sizes=tuple(check_integer(size, "hidden_layer_sizes", 1) for size in sizes),
        image_shape=None
        if image_shape is None
        else tuple(check_integer(side, "image_shape", 1) for side in image_shape),
        likelihood=fields["likelihood"],
        location=constants[0],
        scale=constants[1],
        linear_path=_check_boolean(fields["linear_path"], "linear_path"),
    )


def check_history(history: Any) -> None:
    names = ("lower_bound", *ELBOTerms._fields)
    is_complete = isinstance(history, dict) and tuple(sorted(history)) == tuple(sorted(names))
    if not is_complete or any(not isinstance(value, Real) for values in history.values() for value in values):
        raise NotASavedEstimatorError("the file's history_ is not a list of numbers for each term of the bound")
