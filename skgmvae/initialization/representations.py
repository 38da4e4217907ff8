"""Places where rows can be looked at for clusters: an embedding, the inputs, their principal components, features."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor, nn

from skgmvae._evaluation import inference_precision, map_chunks
from skgmvae.data.lazy import PickedRows
from skgmvae.initialization.hog import hog_descriptors
from skgmvae.models.autoencoder import Autoencoder
from skgmvae.models.image_encoder import ImageEncoder

MAX_INIT_ROWS = 70_000  # a start is made on so many rows, drawn without replacement, and spread to the others
N_PRINCIPAL = 50
PRINCIPAL_ROWS, PRINCIPAL_VALUES = 10_000, 2**25  # rows that these are computed from, fewer where these are wide


class Representation(NamedTuple):
    """Where rows are put, and by what.

    Attributes
    ----------
    module : nn.Module
    put : callable
        From the module, on some device, and rows (n, D) there to points (n, L).
    is_single : bool
        Whether float32 is enough.
    """

    module: nn.Module
    function: Callable[[Any, Tensor], Tensor]
    is_single: bool = False

    def transform(self, X: Any, device: torch.device, out: np.ndarray | None = None) -> np.ndarray:
        """Points (N, L) of all rows, as :func:`~skgmvae._evaluation.map_chunks`."""
        with inference_precision(single=self.is_single):
            return map_chunks(self.module, self.function, X, device, out=out)

    def compose(self, function: Callable[[Tensor], Tensor]) -> "Representation":
        """Where a function of these points puts the rows."""
        return self._replace(function=lambda module, rows: function(self.function(module, rows)))


def subsample_rows(X: Any, random_state: np.random.RandomState) -> Any:
    """``MAX_INIT_ROWS`` of the rows, or all, if they are no more."""
    if len(X) <= MAX_INIT_ROWS:
        return X
    return PickedRows(X, np.sort(random_state.choice(len(X), MAX_INIT_ROWS, replace=False)))


def embedding(autoencoder: Autoencoder) -> Representation:
    """Posterior means of the latent variables."""
    return Representation(autoencoder, lambda module, rows: module.embed(rows))


def inputs(autoencoder: Autoencoder) -> Representation:
    """The rows as the networks see them."""
    return Representation(autoencoder, lambda module, rows: module.standardize(rows))


def gradients(module: nn.Module, image_shape: Sequence[int]) -> Representation:
    """What the gradients of images are like, in the arithmetic of ``module``."""

    def describe(module: Any, rows: Tensor) -> Tensor:
        return hog_descriptors(rows.to(next(module.parameters()).dtype), image_shape)

    return Representation(module, describe)


def features(encoder: ImageEncoder) -> Representation:
    """What an encoder has learned by contrast."""
    return Representation(encoder, lambda module, rows: module.embed(rows), is_single=True)


def principal_components(
    place: Representation, X: Any, random_state: np.random.RandomState, device: torch.device
) -> Representation:
    """The first ``N_PRINCIPAL`` principal components of a place, computed from some of the rows there."""
    n_rows = min(len(X), PRINCIPAL_ROWS, max(2 * N_PRINCIPAL, PRINCIPAL_VALUES // X.shape[1]))
    some = PickedRows(X, np.sort(random_state.choice(len(X), n_rows, replace=False)))
    rows = place.transform(some, device)
    pca = PCA(min(N_PRINCIPAL, *rows.shape), random_state=random_state).fit(rows)
    mean, directions = torch.from_numpy(pca.mean_), torch.from_numpy(pca.components_)
    return place.compose(lambda points: (points - mean.to(points)) @ directions.to(points).T)
