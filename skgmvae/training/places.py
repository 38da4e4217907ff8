"""Places where rows can be looked at for clusters: an embedding, the inputs, their principal components, features."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor, nn

from skgmvae.inference import arithmetic, over_chunks
from skgmvae.models.autoencoder import Autoencoder
from skgmvae.models.image_encoder import ImageEncoder
from skgmvae.rows import PickedRows
from skgmvae.training.gradients import describe_gradients

MAX_START_ROWS = 70_000  # a start is made on so many rows, drawn without replacement, and spread to the others
N_PRINCIPAL = 50
PRINCIPAL_ROWS, PRINCIPAL_VALUES = 10_000, 2**25  # rows that these are computed from, fewer where these are wide


class Place(NamedTuple):
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
    put: Callable[[Any, Tensor], Tensor]
    is_single: bool = False

    def of(self, X: Any, device: torch.device, out: np.ndarray | None = None) -> np.ndarray:
        """Points (N, L) of all rows, as :func:`~skgmvae.inference.over_chunks`."""
        with arithmetic(single=self.is_single):
            return over_chunks(self.module, self.put, X, device, out=out)

    def then(self, function: Callable[[Tensor], Tensor]) -> "Place":
        """Where a function of these points puts the rows."""
        return self._replace(put=lambda module, rows: function(self.put(module, rows)))


def some_rows(X: Any, random_state: np.random.RandomState) -> Any:
    """``MAX_START_ROWS`` of the rows, or all, if they are no more."""
    if len(X) <= MAX_START_ROWS:
        return X
    return PickedRows(X, np.sort(random_state.choice(len(X), MAX_START_ROWS, replace=False)))


def embedding(autoencoder: Autoencoder) -> Place:
    """Posterior means of the latent variables."""
    return Place(autoencoder, lambda module, rows: module.embed(rows))


def inputs(autoencoder: Autoencoder) -> Place:
    """The rows as the networks see them."""
    return Place(autoencoder, lambda module, rows: module.standardize(rows))


def gradients(module: nn.Module, image_shape: Sequence[int]) -> Place:
    """What the gradients of images are like, in the arithmetic of ``module``."""

    def describe(module: Any, rows: Tensor) -> Tensor:
        return describe_gradients(rows.to(next(module.parameters()).dtype), image_shape)

    return Place(module, describe)


def features(encoder: ImageEncoder) -> Place:
    """What an encoder has learned by contrast."""
    return Place(encoder, lambda module, rows: module.embed(rows), is_single=True)


def principal_components(place: Place, X: Any, random_state: np.random.RandomState, device: torch.device) -> Place:
    """The first ``N_PRINCIPAL`` principal components of a place, computed from some of the rows there."""
    n_rows = min(len(X), PRINCIPAL_ROWS, max(2 * N_PRINCIPAL, PRINCIPAL_VALUES // X.shape[1]))
    some = PickedRows(X, np.sort(random_state.choice(len(X), n_rows, replace=False)))
    rows = place.of(some, device)
    pca = PCA(min(N_PRINCIPAL, *rows.shape), random_state=random_state).fit(rows)
    mean, directions = torch.from_numpy(pca.mean_), torch.from_numpy(pca.components_)
    return place.then(lambda points: (points - mean.to(points)) @ directions.to(points).T)
