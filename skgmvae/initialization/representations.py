"""Representations of the samples for clustering: embedding, inputs, principal components, HOG, contrastive features."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from torch import Tensor, nn

from skgmvae._evaluation import inference_precision, map_chunks
from skgmvae.data.arrays import Array
from skgmvae.data.lazy import PickedRows, Samples
from skgmvae.initialization.hog import hog_descriptors
from skgmvae.models.autoencoder import Autoencoder
from skgmvae.models.image_encoder import ImageEncoder

__all__ = [
    "Representation",
    "cells",
    "contrastive_features",
    "embedding",
    "hog",
    "inputs",
    "principal_components",
    "subsample",
]

MAX_INIT_ROWS = 70_000  # samples that are clustered; the others follow their nearest neighbors among them
N_PRINCIPAL = 50
PRINCIPAL_ROWS, PRINCIPAL_VALUES = 10_000, 2**25  # samples for the PCA; fewer if they have many features


class Representation(NamedTuple):
    """A map from samples to points, computed by a module.

    Attributes
    ----------
    module : nn.Module
    function : callable
        Maps the module and samples (n, D) on its device to points (n, L).
    is_single : bool
        Whether float32 is sufficient.
    """

    module: nn.Module
    function: Callable[[Any, Tensor], Tensor]
    is_single: bool = False

    def transform(self, X: Samples, device: torch.device, out: Array | None = None) -> Array:
        """Points (N, L) of all samples, as :func:`~skgmvae._evaluation.map_chunks`."""
        with inference_precision(single=self.is_single):
            return map_chunks(self.module, self.function, X, device, out=out)

    def compose(self, function: Callable[[Tensor], Tensor]) -> "Representation":
        """The representation followed by a function of its points."""
        return self._replace(function=lambda module, rows: function(self.function(module, rows)))


def subsample(n_samples: int, random_state: np.random.RandomState) -> NDArray[np.int64] | None:
    """Indices of ``MAX_INIT_ROWS`` samples, drawn without replacement, ascending; None for all if there are no more."""
    if n_samples <= MAX_INIT_ROWS:
        return None
    return np.sort(random_state.choice(n_samples, MAX_INIT_ROWS, replace=False))


def embedding(autoencoder: Autoencoder) -> Representation:
    """Posterior means of the latent variables."""
    return Representation(autoencoder, lambda module, rows: module.embed(rows))


def inputs(autoencoder: Autoencoder) -> Representation:
    """The inputs of the networks: standardized samples, missing values filled in."""
    return Representation(autoencoder, lambda module, rows: module.complete(module.standardize(rows)))


def cells(autoencoder: Autoencoder) -> Representation:
    """Standardized samples as they are, with missing values."""
    return Representation(autoencoder, lambda module, rows: module.standardize(rows))


def hog(module: nn.Module, image_shape: Sequence[int]) -> Representation:
    """Histograms of oriented gradients (HOG) of images, in the dtype of ``module``."""

    def describe(module: Any, rows: Tensor) -> Tensor:
        return hog_descriptors(rows.to(next(module.parameters()).dtype), image_shape)

    return Representation(module, describe)


def contrastive_features(encoder: ImageEncoder) -> Representation:
    """Contrastive features: those of an encoder trained on positive pairs."""
    return Representation(encoder, lambda module, rows: module.embed(rows), is_single=True)


def principal_components(
    representation: Representation, X: Samples, random_state: np.random.RandomState, device: torch.device
) -> Representation:
    """The first ``N_PRINCIPAL`` principal components of a representation, computed from some of the samples."""
    n_rows = min(len(X), PRINCIPAL_ROWS, max(2 * N_PRINCIPAL, PRINCIPAL_VALUES // X.shape[1]))
    some = PickedRows(X, np.sort(random_state.choice(len(X), n_rows, replace=False)))
    rows = representation.transform(some, device)
    pca = PCA(min(N_PRINCIPAL, *rows.shape), random_state=random_state).fit(rows)
    mean, directions = torch.from_numpy(pca.mean_), torch.from_numpy(pca.components_)
    return representation.compose(lambda points: (points - mean.to(points)) @ directions.to(points).T)
