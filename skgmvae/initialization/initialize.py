"""Initialization of a model: responsibilities from a representation of the samples, then parameters."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from skgmvae._evaluation import map_chunks
from skgmvae.data.lazy import empty_or_memmap
from skgmvae.data.training_data import TrainingData
from skgmvae.initialization.representations import (
    Representation,
    Samples,
    contrastive_features,
    embedding,
    hog,
    inputs,
    principal_components,
    subsample,
)
from skgmvae.initialization.strategies import Views, choose_responsibilities, propagate
from skgmvae.models.autoencoder import Autoencoder
from skgmvae.models.image_encoder import ImageEncoder
from skgmvae.runtime import RandomStream

__all__ = ["InitConfig", "Initialization", "initialize_model"]

MAX_INPUT_FEATURES = 100  # up to so many features, the inputs themselves are clustered
RESIDUAL_ROWS = 4096  # samples for the initial estimate of the likelihood's variance
# maximum for standardized features if the weights are random: with the large residuals of such a decoder, the nearest
# optimum of the bound is to ignore z, and all components merge (observed on circle arcs)
RANDOM_INIT_VARIANCE = 0.1


@dataclass(frozen=True)
class InitConfig:
    """How a model is initialized.

    Attributes
    ----------
    init_params : str
        As the estimator's parameter.
    device : torch.device
        Where representations are computed.
    image_shape : (C, H, W), optional
        If the samples are images: 'auto' then uses their HOG features instead of their pixels.
    encoder : ImageEncoder, optional
        The encoder of contrastive features, for 'contrastive'.
    is_pretrained : bool
        Whether the embedding is that of a trained autoencoder; otherwise 'auto' does not use it, if possible.
    for_all_samples : bool
        Whether responsibilities are needed for all samples, or only for the subsample that is clustered.
    """

    init_params: str
    device: torch.device
    image_shape: tuple[int, ...] | None = None
    encoder: ImageEncoder | None = None
    is_pretrained: bool = True
    for_all_samples: bool = True


class Initialization(NamedTuple):
    """Name of the initialization and its responsibilities (N, K); None where the model keeps its random weights."""

    name: str
    responsibilities: Tensor | None


class _Points(NamedTuple):
    """The representation that is clustered, and the points (n, L) of the samples."""

    representation: Representation
    points: np.ndarray


def initialize_model(
    model: Any, autoencoder: Autoencoder, data: TrainingData, config: InitConfig, random: RandomStream
) -> Initialization:
    """Set the initial parameters of the model; those of the mixture follow from the initial responsibilities.

    At most ``MAX_INIT_ROWS`` samples are clustered; the others get the responsibilities of their nearest neighbors.
    """
    autoencoder.eval()
    if config.init_params == "random" and model.random_init_is_weights:
        _initialize_variance(model, data, config.device, random, at_most=RANDOM_INIT_VARIANCE)
        return Initialization(config.init_params, None)
    random_state = np.random.RandomState(random.seed)
    samples = subsample(data, random_state)
    embedded = _Points(embedding(autoencoder), embedding(autoencoder).transform(samples, config.device))
    views, found = _represent(autoencoder, samples, embedded, config, random_state)
    name, responsibilities = choose_responsibilities(config.init_params, views, model.n_components, random_state)
    model.initialize_from(torch.from_numpy(embedded.points), torch.from_numpy(responsibilities))
    _initialize_variance(model, data, config.device, random)
    if samples is data.X:
        return Initialization(name, torch.from_numpy(responsibilities))
    if not config.for_all_samples:
        return Initialization(name, None)
    is_random = config.init_params == "random"
    assign = propagate(found.points, responsibilities, random_state, is_random=is_random)
    assigned = found.representation.compose(lambda points: torch.from_numpy(assign(points.numpy(force=True))))
    table = empty_or_memmap((len(data), model.n_components))
    all_samples = assigned.transform(data.X, config.device, out=table)
    all_samples[samples.indices] = responsibilities
    if hasattr(model, "initial_responsibilities"):  # for its first M-steps
        model.initial_responsibilities = torch.from_numpy(all_samples)
    return Initialization(name, torch.from_numpy(all_samples))


def _represent(
    autoencoder: Autoencoder,
    samples: Samples,
    embedded: _Points,
    config: InitConfig,
    random_state: np.random.RandomState,
) -> tuple[Views, _Points]:
    """Views of the samples for clustering, and the one in which the other samples find their neighbors."""
    device, image_shape = config.device, config.image_shape
    views = Views(embedded.points, is_trained=config.is_pretrained, of_images=image_shape is not None)
    if config.init_params == "contrastive" and config.encoder is not None:
        features = contrastive_features(config.encoder)
        points = features.transform(samples, device)
        return views._replace(learned=points), _Points(features, points)
    if config.init_params != "auto":
        return views, embedded
    if image_shape is None and samples.shape[1] <= MAX_INPUT_FEATURES:
        points = inputs(autoencoder).transform(samples, device)
        return views._replace(inputs=points), _Points(inputs(autoencoder), points)
    seen = inputs(autoencoder) if image_shape is None else hog(autoencoder, image_shape)
    principal = principal_components(seen, samples, random_state, device)
    points = principal.transform(samples, device)
    return views._replace(components=points), embedded if config.is_pretrained else _Points(principal, points)


def _initialize_variance(
    model: Any, data: TrainingData, device: torch.device, random: RandomStream, at_most: float = math.inf
) -> None:
    """Set the variance of the likelihood, if it is learned, to that of the residuals of some samples."""
    if not model.likelihood.learns_variance:
        return
    some = data.subset(np.arange(0, len(data), max(1, len(data) // RESIDUAL_ROWS)))
    model.eval()

    def squares(module: Any, rows: Tensor) -> Tensor:
        return module.residual_squares(rows, random.on(rows.device))

    means = map_chunks(model, squares, some, device).mean(0)
    model.likelihood.set_variance(torch.from_numpy(np.minimum(means, at_most)))
