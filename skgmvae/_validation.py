"""Checks of parameters against the data, each with what was wrong, what was got, and the remedy."""

import math
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import validate_data

from skgmvae.data.lazy import LazyRows, is_better_read_lazily, is_sliceable, iter_chunks

BLOCK_ROWS = 4096


def check_rows(estimator: Any, X: Any, **options: Any) -> np.ndarray | LazyRows:
    """The rows, float64 or float32: an array, or lazy rows where that would take too much memory.

    Of lazy rows the first block goes through scikit-learn's validation, and all others are checked as they are
    read, so that messages are the same. Smaller arrays that can only be sliced are read once, whole.

    Parameters
    ----------
    estimator : object
    X : array-like of shape (N, D)
    **options
        ``reset``, ``ensure_min_samples``, … of :func:`sklearn.utils.validation.validate_data`.
    """
    options["dtype"] = [np.float64, np.float32]
    if is_better_read_lazily(X):
        rows = LazyRows(X, type(estimator).__name__)
        validate_data(estimator, np.asarray(X[: max(2, rows.block_rows)]), **options)
        return rows
    return validate_data(estimator, _read_whole(X) if is_sliceable(X) else X, **options)


def _read_whole(X: Any) -> np.ndarray:
    """All rows; or some, of an array that scikit-learn will refuse for its axes or its type."""
    if X.dtype.kind not in "fiubc":
        raise ValueError(f"X must hold numbers; got an array of dtype {X.dtype}.")
    is_refused = len(X.shape) != 2 or X.dtype.kind == "c"
    return np.asarray(X[: 2 if is_refused else X.shape[0]] if X.shape else X)


def check_enough_rows(n_samples: int, n_components: int) -> None:
    """Raise unless there is at least one row per component."""
    if n_samples < n_components:
        raise ValueError(
            f"Expected n_samples >= n_components but got n_components = {n_components}, n_samples = {n_samples}"
        )


def check_min_information(min_information: float, n_components: int) -> None:
    """Raise unless 0 ≤ λ < log K (or λ = 0)."""
    if min_information > 0.0 and min_information >= math.log(n_components):
        raise ValueError(
            f"min_information must be below log(n_components) = {math.log(n_components):.4g} nats for n_components="
            f"{n_components}, the most that a component can tell about a row; got {min_information!r}. "
            "Lower min_information or raise n_components."
        )


def check_image_shape(network: str, image_shape: Sequence[int] | None, n_features: int) -> tuple[int, ...] | None:
    """The (C, H, W) of rows that are images; convolutional networks need it."""
    if image_shape is None and network == "mlp":
        return None
    if image_shape is None:
        raise ValueError(
            f"network='conv' needs image_shape=(channels, height, width) with a product of {n_features}, the number "
            "of features; got None"
        )
    shape = tuple(int(side) for side in image_shape if isinstance(side, Integral))
    if len(image_shape) != 3 or len(shape) != 3 or min(shape) < 1 or math.prod(shape) != n_features:
        raise ValueError(
            f"image_shape must be (channels, height, width) with a product of {n_features}, the number of features; "
            f"got {tuple(image_shape)!r}"
        )
    if min(shape[1:]) < 4:
        if shape[2] <= 4 < min(shape[:2]):
            raise ValueError(
                f"image_shape is (channels, height, width), and pixels come channel by channel; got {shape!r}, which "
                "looks like (height, width, channels). For images of shape (N, H, W, C) pass "
                "X.transpose(0, 3, 1, 2).reshape(len(X), -1)."
            )
        raise ValueError(
            f"image_shape is for images of at least 4 × 4; got {shape!r}; use network='mlp' without image_shape"
        )
    return shape


def check_contrastive(init_params: str, image_shape: Sequence[int] | None) -> None:
    """Raise if rows that are not known to be images are to be distorted."""
    if init_params == "contrastive" and image_shape is None:
        raise ValueError(
            "init_params='contrastive' distorts images and needs image_shape=(channels, height, width); got None. "
            "For rows that are no images use init_params='auto'."
        )


def check_likelihood(likelihood: str, X: np.ndarray | LazyRows) -> str:
    """A likelihood that fits the values; for 'auto', Bernoulli if all lie in [0, 1], else Gaussian."""
    if likelihood in ("gaussian", "unit_gaussian"):
        return likelihood
    low, high = measure_range(X)
    inside = low >= 0.0 and high <= 1.0
    if likelihood == "bernoulli" and not inside:
        raise ValueError(
            f"likelihood='bernoulli' needs values in [0, 1]; X has values in [{low:.6g}, {high:.6g}]. Scale X, for "
            "instance with MinMaxScaler, or use likelihood='gaussian'."
        )
    return "bernoulli" if inside else "gaussian"


def measure_range(X: np.ndarray | LazyRows) -> tuple[float, float]:
    """Smallest and largest value."""
    blocks = [X] if isinstance(X, np.ndarray) else (block for _, block in iter_chunks(X, X.block_rows))
    lows, highs = zip(*((float(block.min()), float(block.max())) for block in blocks), strict=True)
    return min(lows), max(highs)


def measure_scale(X: np.ndarray | LazyRows) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation per feature in float64, a block of rows at a time; 1 for constant features."""
    scaler = StandardScaler()
    for _, block in iter_chunks(X, getattr(X, "block_rows", BLOCK_ROWS)):
        scaler.partial_fit(block.astype(np.float64))
    return scaler.mean_, scaler.scale_


def check_hidden_layer_sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    """The widths as a tuple of positive integers."""
    if any(not isinstance(size, Integral) or isinstance(size, bool) or size < 1 for size in sizes):
        raise ValueError(f"hidden_layer_sizes must hold positive integers; got {tuple(sizes)!r}")
    return tuple(int(size) for size in sizes)
