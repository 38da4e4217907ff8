"""Initialization of a model: responsibilities from a representation of the samples, then parameters."""

from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from skgmvae.data.arrays import Array
from skgmvae.data.lazy import Samples, empty_or_memmap
from skgmvae.data.training_data import TrainingData
from skgmvae.initialization.choice import is_table
from skgmvae.initialization.completion import complete_samples
from skgmvae.initialization.config import InitConfig, Initialization, MakeModel
from skgmvae.initialization.given import complete_labels, fit_clusterer
from skgmvae.initialization.given_mixture import fit_mixture_init
from skgmvae.initialization.incomplete import choose_incomplete
from skgmvae.initialization.linear_start import initialize_mixture
from skgmvae.initialization.mixed_samples import are_nearly_constant
from skgmvae.initialization.representations import (
    Representation,
    cells,
    contrastive_features,
    embedding,
    hog,
    inputs,
    principal_components,
    subsample,
)
from skgmvae.initialization.strategies import MixedPoints, Representations, choose_responsibilities, propagate
from skgmvae.initialization.variance import initialize_variance
from skgmvae.models.autoencoder import Autoencoder
from skgmvae.runtime import RandomStream

__all__ = ["initialize_model"]

# maximum if the weights are random: with larger residuals, the nearest optimum ignores z, and all components merge
RANDOM_INIT_VARIANCE = 0.1


class _Points(NamedTuple):
    """A representation, and the points (n, L) of the samples in it."""

    representation: Representation
    points: Array


def initialize_model(
    make_model: MakeModel, autoencoder: Autoencoder, data: TrainingData, config: InitConfig, random: RandomStream
) -> Initialization:
    """A model with initial parameters; those of the mixture follow from the initial responsibilities.

    At most ``MAX_INIT_ROWS`` samples are clustered; the others get the responsibilities of their nearest neighbors.
    With a linear path the standardized samples are the embedding, and the model is initially a mixture of them.
    """
    model = make_model()
    autoencoder.eval()
    if config.is_random and model.random_init_is_weights:
        initialize_variance(model, data, config.device, random, at_most=RANDOM_INIT_VARIANCE)
        return Initialization(config.init_params, None, True, model)
    random_state = np.random.RandomState(random.seed)
    indices = subsample(len(data), random_state)
    samples = data.X if indices is None else data.subset(indices)
    is_linear, n_heads, observed = autoencoder.linear is not None, model.likelihood.n_heads, None
    if data.summary.has_missing or n_heads:
        observed = torch.from_numpy(cells(autoencoder).transform(samples, config.device))
    if data.summary.has_missing:
        samples = complete_samples(samples)
    seen_by = inputs(autoencoder) if is_linear else embedding(autoencoder)
    embedded = _Points(seen_by, seen_by.transform(samples, config.device))
    views, seen = _represent(autoencoder, samples, embedded, config, random_state)
    if n_heads and observed is not None and is_linear and not are_nearly_constant(observed[:, -n_heads:]):
        views = views._replace(mixed=MixedPoints(observed, autoencoder.likelihood))
    labels = config.labels if config.labels is None or indices is None else config.labels[indices]
    if config.is_open and is_linear and observed is not None and not n_heads:
        name, found = choose_incomplete(views, observed.numpy(), model.n_components, random_state)
    else:
        name, found = _find_responsibilities(samples, labels, views, seen, config, model.n_components, random_state)
    points, responsibilities = torch.from_numpy(embedded.points), torch.from_numpy(found)
    division = None
    if is_linear:
        points = points if observed is None else observed
        model, responsibilities, division = initialize_mixture(
            make_model, model, points, samples, responsibilities, config, random_state
        )
    else:
        model.initialize_from(points, responsibilities)
        initialize_variance(model, data, config.device, random)
    if indices is None or not config.for_all_samples:
        return Initialization(name, responsibilities if indices is None else None, config.is_random, model)
    of_all = torch.from_numpy(_spread(data, indices, found, seen, config, random_state))
    if division is not None:
        of_all = division.divide_all(cells(autoencoder), data, of_all, config.device)
    if hasattr(model, "initial_responsibilities"):  # for its first M-steps
        model.initial_responsibilities = of_all
    return Initialization(name, of_all, config.is_random, model)


def _find_responsibilities(
    samples: Samples,
    labels: NDArray[np.float64] | None,
    views: Representations,
    seen: _Points,
    config: InitConfig,
    n_components: int,
    random_state: np.random.RandomState,
) -> tuple[str, NDArray[np.float64]]:
    """Name and responsibilities (n, K): those that the user gives, completed, or those of a strategy."""
    init_params, K = config.init_params, n_components
    if config.mixture.is_given:
        X = np.asarray(samples[: len(samples)], np.float64)
        return "given mixture", fit_mixture_init(config.mixture, X, K, random_state).predict_proba(X)
    if labels is None and isinstance(init_params, str):
        return choose_responsibilities(init_params, views, K, random_state)
    name = "init_labels"
    if labels is None:  # a copy: it may write into what it gets
        name, labels = fit_clusterer(init_params, np.array(samples[: len(samples)]), K, random_state)
    strategy = init_params if isinstance(init_params, str) else "auto"
    choose = partial(choose_responsibilities, strategy, views, K, random_state)
    if not labels.any():
        chosen, responsibilities = choose()
        return f"{chosen}, without labels from {name}", responsibilities
    return name, complete_labels(labels, seen.points, lambda: choose()[1])


def _spread(
    data: TrainingData,
    indices: NDArray[np.int64],
    found: NDArray[np.float64],
    seen: _Points,
    config: InitConfig,
    random_state: np.random.RandomState,
) -> NDArray[np.float32]:
    """Responsibilities (N, K) of all samples from those of some."""
    assign = propagate(seen.points, found, random_state)
    assigned = seen.representation.compose(assign)
    responsibilities = empty_or_memmap((len(data), found.shape[1]))
    assigned.transform(data.X, config.device, out=responsibilities)
    responsibilities[indices] = found
    if config.labels is not None:
        known = config.labels.any(1)
        responsibilities[known] = config.labels[known]
    return responsibilities


def _represent(
    autoencoder: Autoencoder,
    samples: Samples,
    embedded: _Points,
    config: InitConfig,
    random_state: np.random.RandomState,
) -> tuple[Representations, _Points]:
    """The representations for clustering, and the one in which the other samples find their neighbors."""
    device, image_shape, is_trained = config.device, config.image_shape, config.is_pretrained
    views = Representations(embedded.points, of_images=image_shape is not None, is_trained=is_trained, device=device)
    if config.encoder is not None:
        features = contrastive_features(config.encoder)
        points = features.transform(samples, device)
        return views._replace(learned=points), _Points(features, points)
    if isinstance(config.init_params, str) and config.init_params != "auto":
        return views, embedded
    if image_shape is None and is_table(*samples.shape):
        X = samples[: len(samples)]  # read once, for both
        points = inputs(autoencoder).transform(X, device)
        is_transformed = getattr(autoencoder.likelihood.gaussian, "transform", None) is not None
        views = views._replace(inputs=X, transformed=points if is_transformed else None)
        return views, _Points(inputs(autoencoder), points)
    pixels = inputs(autoencoder) if image_shape is None else hog(autoencoder, image_shape)
    principal = principal_components(pixels, samples, random_state, device)
    points = principal.transform(samples, device)
    return views._replace(components=points), embedded if is_trained else _Points(principal, points)
