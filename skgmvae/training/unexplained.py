"""Samples that no component explains: they would lead a training astray."""

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skgmvae._evaluation import map_chunks, map_shares
from skgmvae.data.arrays import Integers
from skgmvae.data.lazy import Samples
from skgmvae.models.density import compute_background_share
from skgmvae.models.points import describe_chunks

__all__ = ["find_explained"]


def find_explained(model: Any, X: Samples) -> Integers | None:
    """Indices of the samples (N, D) that the background does not explain better than the components; None: all.

    The squared error of a single wild value outweighs all other samples in a batch, and the steps that follow make the
    loss infinite, or the model worse than it was. Where the background explains most samples better, as where features
    outnumber samples, it is the components that are poor. The model is a Gaussian mixture, whose density is exact.
    """
    if model.background is None:
        return None
    size = describe_chunks(model, X.shape[1])
    evaluate = partial(map_chunks, model, _find_shares, device=torch.device("cpu"), **size)
    is_explained = map_shares(evaluate, X) <= 0.5
    return None if is_explained.all() or is_explained.mean() < 0.5 else np.flatnonzero(is_explained)


def _find_shares(model: Any, x: Tensor) -> Tensor:
    """Posterior probabilities (n,) of the background."""
    return compute_background_share(model, x, torch.logsumexp(model.log_joint(x, None), -1))
