"""The images of a grid: their shape, and where they are in it."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from skgmvae.data.arrays import Array

Transform = Callable[[Array], Array]
GAP_SHARE = 0.1  # of an image's height, at least one pixel


def image_shape_of(estimator: Any, images: Array) -> Sequence[int]:
    """The estimator's ``image_shape``, or a square."""
    return getattr(estimator, "image_shape", None) or _square_shape(images.shape[1])


def _square_shape(n_features: int) -> tuple[int, int]:
    side = math.isqrt(n_features)
    if side * side != n_features:
        raise ValueError(f"{n_features} features are not a square image; pass image_shape=(H, W)")
    return side, side


def cell_centers(n_cells: int, length: int) -> Array:
    """Centers of the images along the rows or columns of a mosaic, in pixels."""
    cell = length / n_cells
    return cell * np.arange(n_cells) + (cell / (1.0 + GAP_SHARE) - 1.0) / 2
