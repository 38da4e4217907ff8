"""The start of a model: rows placed where clusters can be seen, responsibilities there, and first parameters."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.decomposition import PCA

from skgmvae.inference import over_chunks
from skgmvae.models.autoencoder import Autoencoder
from skgmvae.rows import LazyRows, PickedRows, make_table
from skgmvae.training.gradients import describe_gradients
from skgmvae.training.starts import Views, choose_start, spread

MAX_START_ROWS = 70_000  # a start is made on so many rows, drawn without replacement, and spread to the others
MAX_INPUT_FEATURES = 100  # starts on the inputs themselves are tried up to so many features …
N_PRINCIPAL = 50  # … and on so many principal components of more, or of the gradients of images
PRINCIPAL_ROWS, PRINCIPAL_VALUES = 10_000, 2**25  # rows that these are computed from, fewer where these are wide
RESIDUAL_ROWS = 4096  # rows behind the first estimate of the likelihood's variance
# of standardised features, at most, where the weights are random: under the large residuals of such a decoder
# the bound's nearest optimum is to ignore z, and all components merge (seen on circle arcs)
RANDOM_START_VARIANCE = 0.1


class Start(NamedTuple):
    """Name of a start and its responsibilities (N, K); None where the model keeps its random weights."""

    name: str
    responsibilities: Any


def start_model(
    model: Any,
    autoencoder: Autoencoder,
    X: np.ndarray | LazyRows,
    init_params: str,
    random_state: np.random.RandomState,
    device: torch.device,
    *,
    image_shape: Sequence[int] | None = None,
    is_pretrained: bool = True,
    for_all_rows: bool = True,
) -> Start:
    """Set the parameters that the training starts from: the mixture's by responsibilities in the embedding.

    These are made on ``MAX_START_ROWS`` rows at most and spread to the others. Where rows are images of ``image_shape``
    (C, H, W), 'auto' looks at their gradients instead of their pixels; where the embedding is not pretrained, it does
    without it if it can. Without ``for_all_rows`` the responsibilities may be None where there are many rows.
    """
    autoencoder.eval()
    if init_params == "random" and model.random_start_is_weights:
        _start_variance(model, X, device, at_most=RANDOM_START_VARIANCE)
        return Start(init_params, None)
    some: Any = X
    if len(X) > MAX_START_ROWS:
        some = PickedRows(X, np.sort(random_state.choice(len(X), MAX_START_ROWS, replace=False)))
    place: Callable[[Any, torch.Tensor], torch.Tensor] = _embed
    embedding = points = over_chunks(autoencoder, _embed, some, device)
    views = Views(embedding, is_trained=is_pretrained, of_images=image_shape is not None)
    if init_params == "auto" and image_shape is None and X.shape[1] <= MAX_INPUT_FEATURES:
        place, points = _standardise, over_chunks(autoencoder, _standardise, some, device)
        views = views._replace(inputs=points)
    elif init_params == "auto":
        describe = _standardise if image_shape is None else partial(_describe_images, image_shape=image_shape)
        project = _principal_components(autoencoder, some, describe, random_state, device)
        components = over_chunks(autoencoder, project, some, device)
        views = views._replace(components=components)
        if not is_pretrained:
            place, points = project, components
    name, responsibilities = choose_start(init_params, views, model.n_components, random_state)
    start = Start(name, torch.from_numpy(responsibilities))
    model.start_from(torch.from_numpy(embedding), start.responsibilities)
    _start_variance(model, X, device)
    if some is X or not for_all_rows:
        return start if some is X else Start(name, None)
    assign = spread(points, responsibilities, random_state, is_random=init_params == "random")
    all_rows = _assign_all(autoencoder, X, place, assign, model.n_components, device)
    all_rows[some.indices] = responsibilities
    start = Start(name, torch.from_numpy(all_rows))
    if hasattr(model, "starting_responsibilities"):  # kept for its first M-steps
        model.starting_responsibilities = start.responsibilities
    return start


def _start_variance(model: Any, X: Any, device: torch.device, at_most: float = math.inf) -> None:
    """The likelihood's variance, if it learns one: that of the residuals of some rows."""
    if not model.likelihood.learns_variance:
        return
    some_rows = PickedRows(X, np.arange(0, len(X), max(1, len(X) // RESIDUAL_ROWS)))
    model.eval()
    squares = over_chunks(model, _residual_squares, some_rows, device)
    model.likelihood.set_variance(torch.from_numpy(np.minimum(squares.mean(0), at_most)))


def _principal_components(
    autoencoder: Autoencoder,
    X: Any,
    describe: Callable[[Any, torch.Tensor], torch.Tensor],
    random_state: np.random.RandomState,
    device: torch.device,
) -> Callable[[Any, torch.Tensor], torch.Tensor]:
    """A function that gives rows (n, D) the first principal components (n, ``N_PRINCIPAL``) of their description."""
    n_rows = min(len(X), PRINCIPAL_ROWS, max(2 * N_PRINCIPAL, PRINCIPAL_VALUES // X.shape[1]))
    some = PickedRows(X, np.sort(random_state.choice(len(X), n_rows, replace=False)))
    rows = over_chunks(autoencoder, describe, some, device)
    pca = PCA(min(N_PRINCIPAL, *rows.shape), random_state=random_state).fit(rows)
    mean, directions = torch.from_numpy(pca.mean_), torch.from_numpy(pca.components_)

    def project(autoencoder: Any, rows: torch.Tensor) -> torch.Tensor:
        described = describe(autoencoder, rows)
        return (described - mean.to(described)) @ directions.to(described).T

    return project


def _assign_all(
    autoencoder: Autoencoder,
    X: np.ndarray | LazyRows,
    place: Callable[[Any, torch.Tensor], torch.Tensor],
    assign: Callable[[np.ndarray], np.ndarray],
    n_components: int,
    device: torch.device,
) -> np.ndarray:
    """A table (N, K) of responsibilities, by ``assign`` at the points where ``place`` puts the rows."""

    def place_and_assign(autoencoder: Any, rows: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(assign(place(autoencoder, rows).numpy(force=True)))

    return over_chunks(autoencoder, place_and_assign, X, device, out=make_table((len(X), n_components)))


def _embed(autoencoder: Any, rows: torch.Tensor) -> torch.Tensor:
    return autoencoder.embed(rows)


def _standardise(autoencoder: Any, rows: torch.Tensor) -> torch.Tensor:
    return autoencoder.standardise(rows)


def _describe_images(autoencoder: Any, rows: torch.Tensor, image_shape: Sequence[int]) -> torch.Tensor:
    return describe_gradients(rows.to(autoencoder.dtype), image_shape)


def _residual_squares(model: Any, rows: torch.Tensor) -> torch.Tensor:
    return model.residual_squares(rows)
