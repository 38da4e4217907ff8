"""The frozen configuration of a fit from an estimator's parameters; NumPy scalars become Python numbers here."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from skgmvae._auto import check_hidden_layer_sizes, choose_latent_dim, is_auto
from skgmvae._defaults import MAX_LINEAR_FEATURES, check_early_stopping, check_linear_path, choose_standardization
from skgmvae._likelihoods import PLAIN, choose_kinds, describe_columns, standardize_columns
from skgmvae._parameters import (
    check_contrastive,
    check_image_shape,
    check_is_instance,
    check_likelihood,
    check_one_initialization,
    check_spread,
)
from skgmvae.data.arrays import Floats
from skgmvae.data.training_data import TrainingData
from skgmvae.initialization.config import InitConfig
from skgmvae.initialization.given import to_responsibilities
from skgmvae.initialization.given_mixture import MixtureInit
from skgmvae.models.columns import Column
from skgmvae.training.config import Architecture, FitConfig, TrainConfig

MOST_ROWS = 10_000  # samples by which the likelihood of a feature is chosen

__all__ = ["make_fit_config", "make_train_config"]


def make_train_config(
    estimator: Any, n_epochs: int, *, tol: float | None, init_clamp: float = 0.0, anneal: bool = True
) -> TrainConfig:
    """Configuration of the training on the lower bound."""
    return TrainConfig(
        n_epochs=n_epochs,
        batch_size=estimator.batch_size_,
        learning_rate=estimator.learning_rate_,
        tol=None if tol is None else float(tol),
        min_information=float(estimator.min_information),
        n_mc_samples=int(estimator.n_mc_samples),
        init_clamp=float(init_clamp),
        anneal=anneal,
        device=estimator.device,
        precision=estimator.precision_,
        n_iter_no_change=int(estimator.n_iter_no_change),
    )


def make_fit_config(
    estimator: Any, data: TrainingData, training: TrainConfig, callbacks: Sequence[Any], init_labels: Any = None
) -> FitConfig:
    """Configuration of all phases of a fit to ``data``; parameters and initial labels are validated against the data.

    Raises
    ------
    ValueError
        If a parameter is not valid for the data.
    """
    # K, M and λ are not part of the configuration of the pretraining, so that a grid over them shares it
    plain: dict[str, Any] = {
        "tol": None,
        "min_information": 0.0,
        "n_mc_samples": 1,
        "init_clamp": 0.0,
        "anneal": True,
        "validation_fraction": 0.0,
        "may_extend": False,
    }
    image_shape = check_image_shape(estimator.network, estimator.image_shape, data.n_features)
    check_contrastive(estimator.init_params, image_shape, has_missing=data.summary.has_missing)
    check_is_instance(estimator.init_params)
    init = _make_init_config(estimator, data, image_shape, init_labels)
    architecture = _make_architecture(estimator, data, image_shape, is_random=init.is_random)
    fraction = check_early_stopping(estimator, data, has_linear_path=architecture.linear_path)
    training = replace(training, validation_fraction=fraction, may_extend=is_auto(estimator.max_iter))
    if architecture.linear_path and is_auto(estimator.pretrain_iter):
        estimator.pretrain_iter_ = 0
    return FitConfig(
        architecture=architecture,
        pretraining=replace(training, n_epochs=estimator.pretrain_iter_, **plain),
        training=training,
        init=init,
        net_type=estimator._net_type,
        n_init=int(estimator.n_init),
        memory=estimator.memory,
        verbose=estimator.verbose,
        callbacks=callbacks,
        net_options=estimator._net_options(),
    )


def _make_init_config(
    estimator: Any, data: TrainingData, image_shape: tuple[int, ...] | None, init_labels: Any
) -> InitConfig:
    K, labels = int(estimator.n_components), None
    if init_labels is not None:
        check_one_initialization(estimator)
        labels = to_responsibilities(init_labels, len(data), K, "init_labels")
    mixture = MixtureInit(
        estimator.weights_init,
        estimator.means_init,
        estimator.precisions_init,
        getattr(estimator, "covariance_type", "full"),
    )
    mixture.check(K, data.n_features)
    mixture.check_codes(_get_levels(estimator), getattr(estimator, "feature_names_in_", None))
    is_full = getattr(estimator, "covariance_type", "full") == "full"
    most = int(estimator.max_subcomponents) if is_full and not mixture.is_given else 1
    return InitConfig(estimator.init_params, image_shape, labels, mixture, max_subcomponents=most)


def _make_architecture(
    estimator: Any, data: TrainingData, image_shape: tuple[int, ...] | None, *, is_random: bool
) -> Architecture:
    summary = data.summary
    n_features = len(summary.mean)
    likelihood, kinds = _choose_likelihood(estimator, data, is_image=image_shape is not None)
    location, scale = choose_standardization(summary)
    columns: tuple[Column, ...] = ()
    if likelihood == "bernoulli":
        location = scale = np.empty(0)
    elif likelihood == "columns":
        columns = describe_columns(kinds, _get_levels(estimator), summary)
        location, scale = standardize_columns(columns, _take_some(data), location, scale)
    check_spread(location, scale, getattr(estimator, "feature_names_in_", None))
    if likelihood == "unit_gaussian":
        scale = np.ones_like(scale)
    linear_path = check_linear_path(
        estimator.linear_path,
        likelihood=likelihood,
        n_features=n_features,
        network=estimator.network,
        is_image=image_shape is not None,
        is_random=is_random,
    )
    return Architecture(
        n_features=n_features,
        latent_dim=choose_latent_dim(estimator, n_features, has_linear_path=linear_path),
        hidden_layer_sizes=check_hidden_layer_sizes(estimator._autoencoder_layer_sizes()),
        image_shape=image_shape if estimator.network == "conv" else None,
        likelihood=likelihood,
        location=tuple(location.tolist()),
        scale=tuple(scale.tolist()),
        linear_path=linear_path,
        columns=columns,
    )


def _choose_likelihood(estimator: Any, data: TrainingData, *, is_image: bool) -> tuple[str, tuple[str, ...]]:
    """The likelihood, 'columns' if not all are alike, and the kind of each column; sets ``likelihood_``."""
    likelihood, n_levels, summary = estimator.likelihood, _get_levels(estimator), data.summary
    is_plain = isinstance(likelihood, str) and estimator._categories is None
    is_large = is_image or len(summary.mean) > MAX_LINEAR_FEATURES  # tables of few flags begin as latent classes
    if is_plain and (likelihood in PLAIN or (is_large and summary.is_binary.all()) or is_image):
        likelihood = check_likelihood(likelihood, summary, is_image=is_image)
        kinds = (likelihood,) * len(summary.mean)
    else:
        if estimator.network == "conv":
            raise ValueError(f"network='conv' needs one likelihood for all pixels; got likelihood={likelihood!r}")
        names = getattr(estimator, "feature_names_in_", None)
        booleans = set() if estimator._categories is None else estimator._categories.booleans
        kinds = choose_kinds(likelihood, n_levels, summary, _take_some(data), names, booleans)
        likelihood = "gaussian" if set(kinds) == {"gaussian"} else "columns"
    estimator.likelihood_ = kinds[0] if len(set(kinds)) == 1 else kinds
    return likelihood, kinds


def _get_levels(estimator: Any) -> dict[int, int]:
    """Numbers of categories, by index of the column."""
    return {} if estimator._categories is None else dict(estimator._categories.n_levels)


def _take_some(data: TrainingData) -> Floats:
    """Evenly spaced samples (n, D), for distributions of single features."""
    if len(data.summary.some):  # of the pass that summarized the samples
        return data.summary.some
    indices = np.linspace(0, len(data) - 1, min(len(data), MOST_ROWS)).astype(np.int64)
    return np.asarray(data.subset(np.unique(indices))[:], np.float64)
