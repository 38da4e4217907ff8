"""The estimator that the deep mixtures share: fitting, as a table of contents."""

from __future__ import annotations  # help() then shows MatrixLike, not what it stands for

import os
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.utils import check_random_state
from torch import nn

from skgmvae._configuration import make_fit_config, make_train_config
from skgmvae._defaults import LATENT_DIMS, choose_max_iter
from skgmvae._description import describe_fit, order_components, warn_if_interrupted, warn_unless_converged
from skgmvae._inference import MixtureInference
from skgmvae._parameters import (
    SHARED_CONSTRAINTS,
    all_or_nothing,
    check_callbacks,
    check_memory_folder,
    check_min_information,
    check_same_structure,
    get_structure,
)
from skgmvae._presets import IMAGE_SETTINGS
from skgmvae._sklearn_callbacks import EpochTasks, begin_tasks, with_callbacks
from skgmvae._validation import check_enough_samples, check_samples, explained
from skgmvae.data.arrays import Floats, Integers, MatrixLike
from skgmvae.data.training_data import TrainingData
from skgmvae.models.autoencoder import Autoencoder
from skgmvae.persistence import load_estimator, save_estimator
from skgmvae.runtime import MAX_SEED, check_device
from skgmvae.training.config import Architecture, TrainConfig
from skgmvae.training.fitting import FitResult, continue_training, fit_from_scratch
from skgmvae.training.net import ELBONet

__all__ = ["DeepMixture"]


class DeepMixture(MixtureInference):
    """Base of the deep generative clusterers: fitting. Subclasses say which model to build.

    What a fitted mixture answers is in :class:`~skgmvae._inference.MixtureInference`.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = SHARED_CONSTRAINTS
    _net_type: ClassVar[type[ELBONet]] = ELBONet
    _own_image_settings: ClassVar[dict[str, Any]] = {}
    _latent_dims: ClassVar[tuple[int, int]] = LATENT_DIMS  # limits of the default

    n_components: int
    min_information: float
    hidden_layer_sizes: Sequence[int]
    init_clamp: float
    max_iter: int | None
    batch_size: int
    tol: float
    warm_start: bool
    callbacks: Sequence[Any] | None
    memory: Any
    verbose: int
    labels_: Integers
    weights_: Floats
    means_: Floats
    lower_bound_: float
    lower_bounds_: list[float]
    history_: dict[str, list[float]]
    pretrain_history_: list[float]
    phase_seconds_: dict[str, float]
    init_params_: str
    converged_: bool
    n_iter_: int
    net_: ELBONet
    _fitted_structure: dict[str, Any]
    _fitted_architecture: Architecture

    @abstractmethod
    def _make_model(self, autoencoder: Autoencoder, generator: torch.Generator | None = None) -> nn.Module:
        """The untrained model around a pretrained autoencoder, its own weights from the generator."""

    @abstractmethod
    def _set_model_attributes(self, model: Any) -> None:
        """Fitted attributes that only this model has, from the model in float64."""

    @classmethod
    def for_images(cls, n_components: int = 3, **parameters: Any) -> Self:
        """An estimator with the settings of the benchmarks for sets of images of the size of MNIST.

        Samples are flat, pixels in [0, 1]. Give ``image_shape``, so that the initialization can compare images by their
        oriented gradients. The settings were found on MNIST, its labels in sight. The networks' products are in
        bfloat16 on machines that are fast in it, so that figures differ a little between machines;
        ``precision='float32'`` is the way out.

        Parameters
        ----------
        n_components : int, default=3
        **parameters : dict
            Set on top, for instance ``image_shape=(1, 28, 28)``.

        Returns
        -------
        estimator
            Unfitted.
        """
        make: Callable[..., Self] = cls
        return make(**{**IMAGE_SETTINGS, **cls._own_image_settings, "n_components": n_components, **parameters})

    @with_callbacks
    def fit(self, X: MatrixLike, y: Any = None, *, init_labels: Any = None) -> Self:
        """Pretrain an autoencoder, initialize a mixture in its embedding, and maximize the lower bound.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            float32 and float64 arrays are used without a copy, unless torch cannot view their layout, as that of
            reversed columns. Memory maps, ``h5py.Dataset``, ``zarr.Array`` and
            whatever else can be sliced may be larger than memory: they are then read block by block.
        y : Ignored
        init_labels : array-like of shape (n_samples,) or (n_samples, n_components), optional
            Labels, or responsibilities, that the mixture is initialized with in place of ``init_params``; −1, or a row
            of zeros, means no opinion. Component c is then the one of label c. With labels for some samples and
            ``init_clamp=1`` the fit is semi-supervised.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If ``X`` or a parameter cannot be used, or if training diverges again and again. The estimator
            is then left as it was.

        Warns
        -----
        ConvergenceWarning
            If ``max_iter`` epochs did not converge to ``tol``.
        """
        continues = self.warm_start and hasattr(self, "net_")
        with self._epoch_tasks(X, continues) as tasks, all_or_nothing(self):
            data = self._check_data(X, reset=not continues)
            n_epochs = self._choose_max_iter(*data.X.shape)
            config = make_train_config(self, n_epochs, tol=self.tol, init_clamp=self.init_clamp)
            random_state = check_random_state(self.random_state)
            if continues:
                result = self._continue(data, config, random_state.randint(MAX_SEED), tasks)
            else:
                result = self._fit_from_scratch(data, config, random_state, tasks, init_labels)
            describe_fit(self, result, data)
            if not self._is_numbered(init_labels):
                order_components(self)
        warn_if_interrupted(result.outcome)
        warn_unless_converged(self, result.outcome)
        return self

    def partial_fit(self, X: MatrixLike, y: Any = None) -> Self:
        """One pass over a block of a stream.

        The first block also pretrains the autoencoder, sets the standardization and initializes the mixture, so
        it should be as large and as varied as can be. The order of the components is settled with it.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : Ignored

        Returns
        -------
        self : object
            ``labels_`` are those of this block.
        """
        with all_or_nothing(self):
            first = not hasattr(self, "net_")
            data = self._check_data(X, reset=first)
            config = make_train_config(self, 1, tol=None, init_clamp=self.init_clamp, anneal=False)
            if first:
                result = self._fit_from_scratch(data, config, check_random_state(self.random_state))
            else:
                result = self._continue(data, config, (self._noise_seed + len(self.net_.history)) % MAX_SEED)
            describe_fit(self, result, data)
            if first and not self._is_numbered():
                order_components(self)
        warn_if_interrupted(result.outcome)
        return self

    def fit_predict(self, X: MatrixLike, y: Any = None, *, init_labels: Any = None) -> Integers:
        """Fit, and return the labels of the training rows; equal to ``fit(X).predict(X)``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : Ignored
        init_labels : array-like, optional
            As in :meth:`fit`.

        Returns
        -------
        labels : ndarray of shape (n_samples,), int64
        """
        return self.fit(X, init_labels=init_labels).labels_

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted estimator to one file, without pickle.

        Callbacks, a ``joblib.Memory``, a ``RandomState`` and the optimizer's memory are not saved: the loaded
        estimator has None in their place, and training that goes on begins with a fresh optimizer.

        Parameters
        ----------
        path : str or path-like
            An existing file is replaced.

        Notes
        -----
        Pickle and joblib keep everything, callbacks included, and loading their files can run any code. skops needs to
        be told to trust the types of ``skgmvae._file_format.SKOPS_TYPES``; among them are nets, which unpickle
        tensors when they are loaded. Load files of all three only from whom you trust.
        """
        save_estimator(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """A fitted estimator from a file that :meth:`save` wrote.

        Parameters
        ----------
        path : str or path-like

        Returns
        -------
        estimator : object
            With ``device='auto'`` and a warning where the saved device is not at hand.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file was not written by :meth:`save` of this class, is damaged, or does not fit together.
        """
        return load_estimator(cls, path)

    @contextmanager
    def _epoch_tasks(self, X: MatrixLike, continues: bool) -> Iterator[list[EpochTasks]]:
        """What tells the callbacks of :meth:`set_callbacks` of the epochs; nothing if there are none."""
        tasks = begin_tasks(self, X, continues)
        yield [tasks] if tasks is not None else []
        if tasks is not None:
            self.net_.set_callbacks(list(self.callbacks or []))
            tasks.end()

    def _check_data(self, X: MatrixLike, *, reset: bool) -> TrainingData:
        samples = check_samples(self, X, ensure_min_samples=2, ensure_all_finite=False, reset=reset)
        if reset:  # a fitted mixture learns from a block of any size
            check_enough_samples(len(samples), self.n_components)
        check_min_information(self.min_information, self.n_components)
        check_device(self.device)
        check_callbacks(self.callbacks)
        check_memory_folder(self.memory)
        with explained(samples):
            return TrainingData.from_rows(samples, type(self).__name__)

    def _choose_max_iter(self, n_samples: int, n_features: int) -> int:
        """Epochs of a fit to so many samples and features."""
        return choose_max_iter(self.max_iter, n_samples, n_features, int(self.batch_size))

    def _is_numbered(self, init_labels: Any = None) -> bool:
        """Whether the user has said which component is which."""
        return init_labels is not None or self.means_init is not None

    def _autoencoder_layer_sizes(self) -> Sequence[int]:
        """Hidden layers of the autoencoder of the first phase."""
        return self.hidden_layer_sizes

    def _net_options(self) -> dict[str, Any]:
        """What the net of the last phase takes beyond a plain one's options."""
        return {}

    def _fit_from_scratch(
        self,
        data: TrainingData,
        config: TrainConfig,
        random_state: np.random.RandomState,
        tasks: Sequence[EpochTasks] = (),
        init_labels: Any = None,
    ) -> FitResult:
        fit_config = make_fit_config(self, data, config, [*(self.callbacks or []), *tasks], init_labels)
        result = fit_from_scratch(data, self._make_model, fit_config, random_state)
        self._noise_seed = int(random_state.randint(MAX_SEED))
        self._fitted_structure = get_structure(self.get_params(deep=False))
        self._fitted_architecture = fit_config.architecture
        self.init_params_ = result.init_params
        self.pretrain_history_ = result.reconstruction
        return result

    def _continue(
        self, data: TrainingData, config: TrainConfig, seed: int, tasks: Sequence[EpochTasks] = ()
    ) -> FitResult:
        check_same_structure(self._fitted_structure, self.get_params(deep=False))
        return continue_training(
            self.net_,
            data,
            config,
            int(seed),
            verbose=self.verbose,
            callbacks=[*(self.callbacks or []), *tasks],
            net_options=self._net_options(),
        )
