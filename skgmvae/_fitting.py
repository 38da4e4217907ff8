"""Steps of a fit: the data checked at the door, and the training, from scratch or of a fitted net."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from skgmvae._configuration import make_fit_config
from skgmvae._parameters import (
    check_callbacks,
    check_memory_folder,
    check_min_information,
    check_same_structure,
    get_structure,
)
from skgmvae._sklearn_callbacks import EpochTasks
from skgmvae._validation import check_enough_samples, check_samples, explained
from skgmvae.data.arrays import MatrixLike
from skgmvae.data.training_data import TrainingData
from skgmvae.runtime import MAX_SEED, check_device
from skgmvae.training.config import TrainConfig
from skgmvae.training.fitting import FitResult, continue_training, fit_from_scratch

__all__ = ["check_data", "train_from_scratch", "train_further"]


def check_data(estimator: Any, X: MatrixLike, *, reset: bool) -> TrainingData:
    """The samples and what one pass over them tells, after the checks of parameters that need no pass."""
    # a fitted mixture accepts a block of any size
    least = 2 if reset else 1
    samples = check_samples(estimator, X, ensure_min_samples=least, ensure_all_finite=False, reset=reset)
    if reset:
        check_enough_samples(len(samples), estimator.n_components)
    check_min_information(estimator.min_information, estimator.n_components)
    check_device(estimator.device)
    check_callbacks(estimator.callbacks)
    check_memory_folder(estimator.memory)
    with explained(samples):
        return TrainingData.from_rows(samples, type(estimator).__name__)


def train_from_scratch(
    estimator: Any,
    data: TrainingData,
    config: TrainConfig,
    random_state: np.random.RandomState,
    tasks: Sequence[EpochTasks] = (),
    init_labels: Any = None,
) -> FitResult:
    """Pretraining, initialization, training; sets the fitted attributes that a later training does not change."""
    fit_config = make_fit_config(estimator, data, config, [*(estimator.callbacks or []), *tasks], init_labels)
    result = fit_from_scratch(data, estimator._make_model, fit_config, random_state)
    estimator._noise_seed = int(random_state.randint(MAX_SEED))
    estimator._fitted_structure = get_structure(estimator.get_params(deep=False))
    estimator._fitted_architecture = fit_config.architecture
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
            "init_labels initialize a mixture, and warm_start=True continues a fitted one; pass one of the two"
        )
    check_same_structure(estimator._fitted_structure, estimator.get_params(deep=False))
    return continue_training(
        estimator.net_,
        data,
        config,
        int(seed),
        verbose=estimator.verbose,
        callbacks=[*(estimator.callbacks or []), *tasks],
        net_options=estimator._net_options(),
    )
