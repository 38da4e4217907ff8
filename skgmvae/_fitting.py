"""Steps of a fit: the data checked at the door, and the training, from scratch or of a fitted net."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch

from skgmvae._auto import choose_settings, set_settings
from skgmvae._collectives import is_any, take_from_first
from skgmvae._column_warnings import warn_of_categories
from skgmvae._configuration import make_fit_config
from skgmvae._defaults import check_early_stopping
from skgmvae._evaluation import count_weights, inference_precision, map_shares
from skgmvae._interrupts import Guard, is_run_by_joblib, take_interrupt
from skgmvae._likelihoods import check_still_fits, find_named_categories
from skgmvae._parameters import (
    check_batch_size,
    check_callbacks,
    check_folders,
    check_min_information,
    check_parameters,
    check_same_structure,
    get_structure,
)
from skgmvae._ranks import joined
from skgmvae._sklearn_callbacks import EpochTasks
from skgmvae._validation import check_enough_samples, check_ranks, check_samples, explained
from skgmvae._warnings import warn
from skgmvae.data.arrays import MatrixLike
from skgmvae.data.category_columns import learn_categories
from skgmvae.data.training_data import TrainingData
from skgmvae.runtime import MAX_SEED, check_device, describe_environment, isolated, total_memory
from skgmvae.training.checkpoint import Checkpoint
from skgmvae.training.config import Architecture, FitConfig, TrainConfig
from skgmvae.training.fitting import FitResult, continue_training, fit_from_scratch
from skgmvae.training.pretraining import count_work, make_autoencoder

__all__ = ["all_or_nothing", "check_data", "end_checkpoint", "train_from_scratch", "train_further"]

SURELY_FITS = 2**30
BYTES_PER_WEIGHT = 16  # float32: the weight, its gradient and the two moments of Adam


@contextmanager
def all_or_nothing(estimator: Any) -> Iterator[None]:
    """Validate the parameters and compute in isolation; if anything fails, restore the estimator.

    The attributes are set as a whole, too, where Ctrl-C is concerned: it comes before that, or too late.
    """
    with Guard():
        before = vars(estimator).copy()
        try:
            check_parameters(estimator)
            # in float64, whatever precision the caller has set for inference
            with joined(estimator.distributed), isolated(), inference_precision(single=False):
                yield
                if is_any(take_interrupt()):
                    raise KeyboardInterrupt
        except BaseException:
            vars(estimator).clear()
            vars(estimator).update(before)
            raise
        if take_interrupt():
            warn("Interrupted after the fit was complete; the result is kept.")


def check_data(estimator: Any, X: MatrixLike, *, reset: bool) -> TrainingData:
    """The samples and what one pass over them tells, after the checks of parameters that need no pass.

    Parameters that are 'auto' get their values in fitted attributes.
    """
    # a fitted mixture accepts a block of any size
    least = 2 if reset else 1
    if reset:
        named = find_named_categories(estimator.likelihood, X)
        estimator._categories = learn_categories(X, estimator.categorical_features, named)
        if estimator._categories is not None:
            warn_of_categories(X, estimator._categories)
    samples = check_samples(estimator, X, ensure_min_samples=least, ensure_all_finite=False, reset=reset)
    if reset:
        check_enough_samples(len(samples), estimator.n_components)
    check_min_information(estimator.min_information, estimator.n_components)
    check_device(estimator.device)
    check_callbacks(estimator.callbacks)
    check_folders(estimator)
    set_settings(estimator, choose_settings(estimator, *samples.shape), is_new=reset)
    names = getattr(estimator, "feature_names_in_", None)
    check_batch_size(estimator.network, estimator.batch_size_, len(samples))
    with explained(samples, names):
        data = TrainingData.from_rows(samples, type(estimator).__name__, names)
    if not reset:
        check_still_fits(getattr(estimator, "likelihood_", "gaussian"), data.summary, names)
    check_ranks(estimator, data)
    return data


def train_from_scratch(
    estimator: Any,
    data: TrainingData,
    config: TrainConfig,
    random_state: np.random.RandomState,
    tasks: Sequence[EpochTasks] = (),
    init_labels: Any = None,
    *,
    stores: bool = False,
) -> FitResult:
    """Pretraining, initialization, training; sets the fitted attributes that a later training does not change."""
    fit_config = make_fit_config(estimator, data, config, [*(estimator.callbacks or []), *tasks], init_labels)
    _check_size(estimator, fit_config.architecture)
    if stores and estimator.checkpoint is not None:
        fit_config = replace(fit_config, checkpoint=_open_checkpoint(estimator, data, fit_config, init_labels))
    random_state = take_from_first(random_state)  # not a random one of each
    result = fit_from_scratch(data, estimator._make_model, fit_config, random_state)
    _check_whole(result)
    estimator._noise_seed = int(random_state.randint(MAX_SEED))
    estimator._fitted_structure = get_structure(estimator.get_params(deep=False))
    estimator._fitted_architecture = fit_config.architecture
    estimator.latent_dim_ = fit_config.architecture.latent_dim
    estimator.pretrain_iter_ = fit_config.pretraining.n_epochs
    estimator.init_params_ = result.init_params
    estimator.pretrain_history_ = result.reconstruction
    return result


def train_further(
    estimator: Any,
    data: TrainingData,
    config: TrainConfig,
    seed: int,
    tasks: Sequence[EpochTasks] = (),
    init_labels: Any = None,
) -> FitResult:
    """More epochs of the fitted net, in a copy; its components are there already, and take no initial labels."""
    if init_labels is not None:
        raise ValueError(
            "init_labels initialize a new fit, and warm_start=True continues an earlier one; use one of the two"
        )
    parameters = estimator.get_params(deep=False)
    resolved = {name: getattr(estimator, f"{name}_", "auto") for name in parameters}
    check_same_structure(estimator._fitted_structure, parameters, resolved=resolved)
    has_linear_path = estimator._fitted_architecture.linear_path
    fraction = check_early_stopping(estimator, data, has_linear_path=has_linear_path)
    if config.anneal:  # blocks of a stream are too few samples to hold some out
        config = replace(config, validation_fraction=fraction)
    result = continue_training(
        estimator.net_,
        data,
        config,
        take_from_first(int(seed)),
        responsibilities=_present_responsibilities(estimator, data) if config.init_clamp > 0.0 else None,
        verbose=estimator.verbose,
        callbacks=[*(estimator.callbacks or []), *tasks],
        net_options=estimator._net_options(),
        may_shorten=has_linear_path and not config.anneal,
    )
    _check_whole(result)
    estimator._fitted_structure = get_structure(parameters)
    return result


def _present_responsibilities(estimator: Any, data: TrainingData) -> torch.Tensor | None:
    """p(c|x) of the samples, for all components (N, P) of the model.

    None after a random initialization, where the papers clamp nothing.
    """
    if estimator.init_params_ == "random":
        return None
    return torch.from_numpy(np.exp(map_shares(partial(estimator._log_posterior, joins=False), data.X)))


def _open_checkpoint(estimator: Any, data: TrainingData, config: FitConfig, init_labels: Any) -> Checkpoint:
    """The checkpoint of the fit, in a folder of its own if it is one of many; raises if it is of another fit."""
    ignored = ("memory", "checkpoint", "callbacks", "verbose", "warm_start", "device", "distributed")
    parameters = {name: value for name, value in estimator.get_params(deep=False).items() if name not in ignored}
    identity = {
        **describe_environment(
            int(estimator.n_components) * count_work(config.architecture, config.training.batch_size)
        ),
        "class": type(estimator).__name__,
        "device": str(check_device(estimator.device)),
        "X": data.digest(),
        "init_labels": joblib.hash(init_labels),
        **{name: joblib.hash(value) for name, value in parameters.items()},
    }
    folder = Path(estimator.checkpoint)
    checkpoint = Checkpoint(folder / joblib.hash(identity) if is_run_by_joblib() else folder, identity)
    checkpoint.check()
    return checkpoint


def end_checkpoint(result: FitResult) -> None:
    """Delete the stored state of a fit that has ended, unless it was interrupted and may go on."""
    if result.checkpoint is not None and not result.outcome.interrupted:
        result.checkpoint.clear()


def _check_whole(result: FitResult) -> None:
    """Raise after Ctrl-C in a grid search or a cached function, which would take the state so far for a result."""
    if result.outcome.interrupted and is_run_by_joblib():
        raise KeyboardInterrupt


def _check_size(estimator: Any, architecture: Architecture) -> None:
    """Raise if the networks do not fit into the memory of the machine, before any is asked for."""
    sizes = (architecture.n_features, architecture.latent_dim, *architecture.hidden_layer_sizes)
    K, largest = int(estimator.n_components), max(sizes)
    if K * largest**2 * BYTES_PER_WEIGHT < SURELY_FITS:  # counting precisely takes torch a second the first time
        return
    try:
        with torch.device("meta"):
            model = estimator._make_model(make_autoencoder(architecture))
        n_weights = float(count_weights(model))
    except RuntimeError:  # more than torch can count
        n_weights = math.inf
    needed = n_weights * BYTES_PER_WEIGHT + 8.0 * K * architecture.latent_dim**2  # initial covariances, float64
    available = total_memory()
    if needed > available:
        raise ValueError(
            f"networks of {n_weights:.3g} weights, their training, and {K} covariances in the latent space would need "
            f"{needed / 2**30:.3g} GiB of memory; this machine has {available / 2**30:.3g} GiB. Lower "
            f"hidden_layer_sizes (now {architecture.hidden_layer_sizes}), latent_dim (now {architecture.latent_dim}) "
            f"or n_components (now {K})."
        )
