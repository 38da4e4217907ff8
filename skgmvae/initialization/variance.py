"""The initial variance of the likelihood, by the residuals of the samples."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skgmvae._evaluation import map_chunks
from skgmvae.data.arrays import Array
from skgmvae.data.training_data import TrainingData
from skgmvae.runtime import RandomStream

__all__ = ["initialize_variance"]

RESIDUAL_ROWS = 4096  # samples for the estimate


def initialize_variance(
    model: Any, data: TrainingData, device: torch.device, random: RandomStream, at_most: float = math.inf
) -> None:
    """Set the variance of the likelihood, if it is learned, to that of the residuals of some samples."""
    if not model.likelihood.learns_variance:
        return
    some = data.subset(np.arange(0, len(data), max(1, len(data) // RESIDUAL_ROWS)))
    model.eval()

    def squares(module: Any, rows: Tensor) -> Tensor:
        residuals: Tensor = module.residual_squares(rows, random.on(rows.device))
        return residuals

    found = map_chunks(model, squares, some, device)
    means = found.mean(0) if not data.summary.has_missing else _mean_of_observed(found)
    model.likelihood.set_variance(torch.from_numpy(np.minimum(means, at_most)))


def _mean_of_observed(squares: Array) -> Array:
    """Mean (D,) of the values (n, D) that are not NaN; 1 of features without any."""
    n_observed = np.count_nonzero(~np.isnan(squares), axis=0)
    return np.where(n_observed > 0, np.nansum(squares, axis=0) / np.maximum(n_observed, 1), 1.0)
