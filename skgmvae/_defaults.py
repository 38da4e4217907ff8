"""Defaults that depend on the samples: the linear path, early stopping, the standardization."""

from typing import Any

import numpy as np

from skgmvae.data.arrays import Floats
from skgmvae.data.lazy import LazyRows
from skgmvae.data.summary import FeatureSummary
from skgmvae.data.training_data import TrainingData

__all__ = ["MAX_LINEAR_FEATURES", "check_early_stopping", "check_linear_path", "choose_standardization"]

MAX_LINEAR_FEATURES = 100  # with a linear path as many as features, up to so many
LEAST_STOPPED = 10  # samples, for early stopping by default
MOST_WILD = 1e6
WILD = 200.0  # spreads from the center: a single such value would decide on mean and standard deviation


def check_linear_path(
    linear_path: Any, *, likelihood: str, n_features: int, network: str, is_image: bool, is_random: bool
) -> bool:
    """Whether there is a linear path; for 'auto', if it can begin as a mixture of the inputs and these are narrow.

    Raises
    ------
    ValueError
        If it is asked for where there can be none.
    """
    obstacles = {
        f"network={network!r}": network != "mlp",
        f"the likelihood {likelihood!r}": likelihood not in ("gaussian", "columns"),
        "init_params='random'": is_random,
    }
    found = [name for name, is_there in obstacles.items() if is_there]
    if isinstance(linear_path, str):
        return not (found or is_image or n_features > MAX_LINEAR_FEATURES)
    if linear_path and found:
        raise ValueError(
            "linear_path=True needs network='mlp', a Gaussian likelihood and initial clusters; got "
            f"{' and '.join(found)}. Use linear_path='auto' or change these."
        )
    return bool(linear_path)


def check_early_stopping(estimator: Any, data: TrainingData, *, has_linear_path: bool) -> float:
    """The share of the samples that is held out for early stopping, 0 for none.

    'auto' holds samples out where there is a linear path and there are enough of them, in memory.

    Raises
    ------
    ValueError
        If early stopping is asked for where samples cannot be held out.
    """
    fraction, is_lazy = float(estimator.validation_fraction), isinstance(data.X, LazyRows)
    if isinstance(estimator.early_stopping, str):
        return fraction if has_linear_path and not is_lazy and len(data) >= LEAST_STOPPED else 0.0
    if estimator.early_stopping and is_lazy:
        raise ValueError("early_stopping=True needs samples in memory; use early_stopping=False for samples in a file")
    return fraction if estimator.early_stopping else 0.0


def choose_standardization(summary: FeatureSummary) -> tuple[Floats, Floats]:
    """Location and scale of each feature: mean and standard deviation; where a value is wild, median and spread."""
    with np.errstate(over="ignore"):
        extent = np.maximum(summary.high - summary.center, summary.center - summary.low)
    # beyond the upper limit the wild value itself could not be computed with in float32
    is_wild = (extent > WILD * summary.spread) & (extent < MOST_WILD * summary.spread)
    location = np.where(is_wild, summary.center, summary.mean)
    return location, np.where(is_wild, summary.spread, summary.scale)
