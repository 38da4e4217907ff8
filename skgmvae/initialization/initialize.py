"""The start of a model: rows placed where clusters can be seen, responsibilities there, and first parameters."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from skgmvae._evaluation import map_chunks
from skgmvae.data.lazy import LazyRows, PickedRows, empty_or_memmap
from skgmvae.initialization.representations import (
    embedding,
    features,
    gradients,
    inputs,
    principal_components,
    subsample_rows,
)
from skgmvae.initialization.strategies import Views, choose_responsibilities, propagate
from skgmvae.models.autoencoder import Autoencoder
from skgmvae.models.image_encoder import ImageEncoder

MAX_INPUT_FEATURES = 100  # starts on the inputs themselves are tried up to so many features
RESIDUAL_ROWS = 4096  # rows behind the first estimate of the likelihood's variance
# of standardized features, at most, where the weights are random: under the large residuals of such a decoder
# the bound's nearest optimum is to ignore z, and all components merge (seen on circle arcs)
RANDOM_INIT_VARIANCE = 0.1


class Initialization(NamedTuple):
    """Name of a start and its responsibilities (N, K); None where the model keeps its random weights."""

    name: str
    responsibilities: Any


def initialize_model(
    model: Any,
    autoencoder: Autoencoder,
    X: np.ndarray | LazyRows,
    init_params: str,
    random_state: np.random.RandomState,
    device: torch.device,
    *,
    image_shape: Sequence[int] | None = None,
    encoder: ImageEncoder | None = None,
    is_pretrained: bool = True,
    for_all_rows: bool = True,
) -> Initialization:
    """Set the parameters that the training starts from: the mixture's by responsibilities in the embedding.

    These are made on ``MAX_INIT_ROWS`` rows at most and spread to the others. Where rows are images of ``image_shape``
    (C, H, W), 'auto' looks at their gradients instead of their pixels; where the embedding is not pretrained, it does
    without it if it can. 'contrastive' looks at what the ``encoder`` has learned. Without ``for_all_rows`` the
    responsibilities may be None where there are many rows.
    """
    autoencoder.eval()
    if init_params == "random" and model.random_init_is_weights:
        _start_variance(model, X, device, at_most=RANDOM_INIT_VARIANCE)
        return Initialization(init_params, None)
    some = subsample_rows(X, random_state)
    place = embedding(autoencoder)
    embedded = points = place.transform(some, device)
    views = Views(embedded, is_trained=is_pretrained, of_images=image_shape is not None)
    if init_params == "contrastive" and encoder is not None:
        place = features(encoder)
        points = place.transform(some, device)
        views = views._replace(learned=points)
    elif init_params == "auto" and image_shape is None and X.shape[1] <= MAX_INPUT_FEATURES:
        place = inputs(autoencoder)
        points = place.transform(some, device)
        views = views._replace(inputs=points)
    elif init_params == "auto":
        seen = inputs(autoencoder) if image_shape is None else gradients(autoencoder, image_shape)
        principal = principal_components(seen, some, random_state, device)
        components = principal.transform(some, device)
        views = views._replace(components=components)
        if not is_pretrained:
            place, points = principal, components
    name, responsibilities = choose_responsibilities(init_params, views, model.n_components, random_state)
    start = Initialization(name, torch.from_numpy(responsibilities))
    model.initialize_from(torch.from_numpy(embedded), start.responsibilities)
    _start_variance(model, X, device)
    if some is X or not for_all_rows:
        return start if some is X else Initialization(name, None)
    assign = propagate(points, responsibilities, random_state, is_random=init_params == "random")
    assigned = place.compose(lambda further: torch.from_numpy(assign(further.numpy(force=True))))
    all_rows = assigned.transform(X, device, out=empty_or_memmap((len(X), model.n_components)))
    all_rows[some.indices] = responsibilities
    start = Initialization(name, torch.from_numpy(all_rows))
    if hasattr(model, "initial_responsibilities"):  # kept for its first M-steps
        model.initial_responsibilities = start.responsibilities
    return start


def _start_variance(model: Any, X: Any, device: torch.device, at_most: float = math.inf) -> None:
    """The likelihood's variance, if it learns one: that of the residuals of some rows."""
    if not model.likelihood.learns_variance:
        return
    some = PickedRows(X, np.arange(0, len(X), max(1, len(X) // RESIDUAL_ROWS)))
    model.eval()
    squares = map_chunks(model, _residual_squares, some, device)
    model.likelihood.set_variance(torch.from_numpy(np.minimum(squares.mean(0), at_most)))


def _residual_squares(model: Any, rows: torch.Tensor) -> torch.Tensor:
    return model.residual_squares(rows)
