"""Samples with missing values, filled in for the search for clusters."""

import numpy as np
import torch

from skgmvae.data.arrays import Floats
from skgmvae.data.lazy import Samples
from skgmvae.models.missing import estimate_normal
from skgmvae.models.normals import complete_normal

__all__ = ["complete_samples"]


def complete_samples(X: Samples) -> Floats:
    """The samples (n, D), missing values replaced by E[x_m | x_o] under one normal distribution, fitted by EM.

    Neighbors and trees need complete samples, and are led astray less by these than by an incomplete mixture.
    """
    samples = np.array(X[: len(X)], np.float64)
    mean, scale = np.nanmean(samples, axis=0), np.nanstd(samples, axis=0)
    scale = np.where(scale > 0.0, scale, 1.0)
    points = torch.from_numpy((samples - mean) / scale)
    missing = points.isnan()
    completed = complete_normal(points, missing, *estimate_normal(points)).numpy() * scale + mean
    return np.where(missing.numpy(), completed, samples)
