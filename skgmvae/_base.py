"""The estimator that the deep mixtures share: every public method, once."""

import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClusterMixin, DensityMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from torch import nn

from skgmvae._evaluation import double_precision, inference_precision
from skgmvae._inference import MixtureInference
from skgmvae._mistakes import (
    check_callbacks,
    check_memory_folder,
    check_no_booleans,
    check_spread,
    explain_no_convergence,
    explained,
)
from skgmvae._parameters import SHARED_CONSTRAINTS, check_same_structure, choose_latent_dim, get_structure
from skgmvae._presets import ImageSettings
from skgmvae._sklearn_callbacks import N_WRAPPERS, CallbackSupport, EpochTasks, begin_tasks, with_callbacks
from skgmvae._validation import (
    check_contrastive,
    check_enough_rows,
    check_hidden_layer_sizes,
    check_image_shape,
    check_likelihood,
    check_min_information,
    check_rows,
    measure_scale,
)
from skgmvae.data.lazy import LazyRows
from skgmvae.models.contract import ELBOTerms
from skgmvae.persistence import SavingMixin
from skgmvae.runtime import MAX_SEED, check_device
from skgmvae.training.fitting import FitResult, continue_training, fit_from_scratch
from skgmvae.training.net import ELBONet
from skgmvae.training.pretraining import Architecture
from skgmvae.training.train import TrainConfig, TrainOutcome

INTERRUPTED = "Training was interrupted; the state reached so far is kept."


class DeepMixture(
    MixtureInference, SavingMixin, ImageSettings, CallbackSupport, ClusterMixin, DensityMixin, BaseEstimator, ABC
):
    """Base of the deep generative clusterers: fitting. Subclasses say which model to build.

    What a fitted mixture answers is in :class:`~skgmvae._inference.MixtureInference`.
    """

    _parameter_constraints: ClassVar[dict] = SHARED_CONSTRAINTS

    _net_type: ClassVar[type[ELBONet]] = ELBONet
    labels_: np.ndarray
    weights_: np.ndarray
    means_: np.ndarray
    lower_bound_: float
    lower_bounds_: list[float]
    history_: dict[str, list[float]]
    pretrain_history_: list[float]
    phase_seconds_: dict[str, float]
    init_params_: str
    converged_: bool
    n_iter_: int
    net_: ELBONet

    @abstractmethod
    def _make_model(self, autoencoder: nn.Module) -> nn.Module:
        """The untrained model around a pretrained autoencoder."""

    @abstractmethod
    def _set_model_attributes(self, model: nn.Module) -> None:
        """Fitted attributes that only this model has, from its float64 copy."""

    @with_callbacks
    def fit(self, X: Any, y: Any = None) -> Self:
        """Pretrain an autoencoder, start a mixture in its embedding, and maximize the lower bound.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            float32 and float64 arrays are used without a copy. Memory maps, ``h5py.Dataset``, ``zarr.Array`` and
            whatever else can be sliced may be larger than memory: they are then read block by block.
        y : Ignored

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
        with self._epoch_tasks(X, continues) as tasks, self._all_or_nothing():
            X = self._check_training_rows(X, reset=not continues)
            random_state = check_random_state(self.random_state)
            if continues:
                check_same_structure(self._fitted_structure, self.get_params(deep=False))
                seed = random_state.randint(MAX_SEED)
                fitted = self._train_on(X, self._train_config(self.max_iter, tol=self.tol), seed, tasks)
            else:
                fitted = self._train_anew(X, self._train_config(self.max_iter, tol=self.tol), random_state, tasks)
            self._set_attributes(fitted, X)
            self._order_components()
        self._warn_if_interrupted(fitted.outcome)
        self._warn_unless_converged(fitted.outcome)
        return self

    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """One pass over a block of a stream.

        The first block also pretrains the autoencoder, sets the standardization and starts the mixture, so
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
        with self._all_or_nothing():
            first = not hasattr(self, "net_")
            X = self._check_training_rows(X, reset=first)
            config = self._train_config(1, tol=None, anneal=False)
            if first:
                fitted = self._train_anew(X, config, check_random_state(self.random_state))
            else:
                check_same_structure(self._fitted_structure, self.get_params(deep=False))
                fitted = self._train_on(X, config, (self._noise_seed + len(self.net_.history)) % MAX_SEED)
            self._set_attributes(fitted, X)
            if first:
                self._order_components()
        self._warn_if_interrupted(fitted.outcome)
        return self

    def fit_predict(self, X: Any, y: Any = None) -> np.ndarray:
        """Fit, and return the labels of the training rows; equal to ``fit(X).predict(X)``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : Ignored

        Returns
        -------
        labels : ndarray of shape (n_samples,), int64
        """
        return self.fit(X).labels_

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """Validate the parameters; if anything fails, leave the estimator as it was."""
        before = vars(self).copy()
        try:
            self._validate_params()
            check_no_booleans(self.get_params(deep=False), self._parameter_constraints)
            # whatever the caller has chosen for questions
            with inference_precision(single=False), torch.inference_mode(False), torch.enable_grad():
                yield
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise

    @contextmanager
    def _epoch_tasks(self, X: Any, continues: bool) -> Iterator[list[EpochTasks]]:
        """What tells the callbacks of :meth:`set_callbacks` of the epochs; nothing if there are none."""
        tasks = begin_tasks(self, X, continues)
        yield [tasks] if tasks is not None else []
        if tasks is not None:
            self.net_.set_callbacks(list(self.callbacks or []))
            tasks.end()

    def _check_training_rows(self, X: Any, *, reset: bool) -> np.ndarray | LazyRows:
        with explained(X):
            X = check_rows(self, X, ensure_min_samples=2, reset=reset)
        if reset:  # a fitted mixture learns from a block of any size
            check_enough_rows(len(X), self.n_components)
        check_min_information(self.min_information, self.n_components)
        check_device(self.device)
        check_callbacks(self.callbacks)
        check_memory_folder(self.memory)
        return X

    def _train_config(self, n_epochs: int, *, tol: float | None, anneal: bool = True) -> TrainConfig:
        return TrainConfig(
            n_epochs=n_epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            tol=tol,
            min_information=float(self.min_information),
            n_mc_samples=self.n_mc_samples,
            anneal=anneal,
            device=self.device,
            precision=self.precision,
        )

    def _architecture(self, X: np.ndarray | LazyRows, image_shape: Sequence[int] | None) -> Architecture:
        likelihood = check_likelihood(self.likelihood, X)
        with np.errstate(over="ignore", invalid="ignore"):  # looked at in the next line
            location, scale = measure_scale(X) if likelihood != "bernoulli" else (np.empty(0), np.empty(0))
        check_spread(location, scale)
        if likelihood == "unit_gaussian":
            scale = np.ones_like(scale)
        return Architecture(
            n_features=X.shape[1],
            latent_dim=choose_latent_dim(self.latent_dim, X.shape[1]),
            hidden_layer_sizes=check_hidden_layer_sizes(self._autoencoder_layer_sizes()),
            image_shape=image_shape if self.network == "conv" else None,
            likelihood=likelihood,
            location=tuple(map(float, location)),
            scale=tuple(map(float, scale)),
        )

    def _autoencoder_layer_sizes(self) -> Sequence[int]:
        """Hidden layers of the autoencoder of the first phase."""
        return self.hidden_layer_sizes

    def _net_options(self) -> dict[str, Any]:
        """What the net of the last phase takes beyond a plain one's options."""
        return {}

    def _train_anew(
        self,
        X: np.ndarray | LazyRows,
        config: TrainConfig,
        random_state: np.random.RandomState,
        tasks: Sequence[EpochTasks] = (),
    ) -> FitResult:
        # neither K, M nor λ is in the pretraining's config: a grid over them shares it
        pretraining = replace(
            config, n_epochs=self.pretrain_iter, tol=None, min_information=0.0, n_mc_samples=1, anneal=True
        )
        image_shape = check_image_shape(self.network, self.image_shape, X.shape[1])
        check_contrastive(self.init_params, image_shape)
        architecture = self._architecture(X, image_shape)
        fitted = fit_from_scratch(
            X,
            architecture,
            self._make_model,
            pretraining=pretraining,
            config=config,
            init_params=self.init_params,
            image_shape=image_shape,
            n_init=self.n_init,
            random_state=random_state,
            memory=self.memory,
            verbose=self.verbose,
            callbacks=[*(self.callbacks or []), *tasks],
            net_type=self._net_type,
            net_options=self._net_options(),
        )
        self._noise_seed = int(random_state.randint(MAX_SEED))
        self._fitted_structure = get_structure(self.get_params(deep=False))
        self._fitted_architecture = architecture
        self.init_params_ = fitted.start
        self.pretrain_history_ = fitted.reconstruction
        return fitted

    def _train_on(
        self, X: np.ndarray | LazyRows, config: TrainConfig, seed: int, tasks: Sequence[EpochTasks] = ()
    ) -> FitResult:
        return continue_training(
            self.net_,
            X,
            config,
            seed=int(seed),
            verbose=self.verbose,
            callbacks=[*(self.callbacks or []), *tasks],
            net_options=self._net_options(),
        )

    def _set_attributes(self, fitted: FitResult, X: np.ndarray | LazyRows) -> None:
        """Fitted attributes, but for those that depend on the order of the components."""
        self.net_ = fitted.net
        terms = ("lower_bound", *ELBOTerms._fields)
        self.history_ = {name: [record[name] for record in fitted.net.history] for name in terms}
        self.n_iter_ = fitted.n_epochs
        self.lower_bounds_ = self.history_["lower_bound"][len(fitted.net.history) - fitted.n_epochs :]
        self.lower_bound_ = fitted.lower_bound
        self.converged_ = fitted.outcome.converged
        self.phase_seconds_ = fitted.seconds
        self._describe_components(X)

    def _order_components(self) -> None:
        """Renumber the components by their training rows, largest first."""
        counts = np.bincount(self.labels_, minlength=self.n_components)
        order = np.argsort(-counts, kind="stable")
        if not np.array_equal(order, np.arange(self.n_components)):
            self.net_.module_.reorder(torch.from_numpy(order))
            self.labels_ = np.argsort(order)[self.labels_]  # to assign the rows once more would take as long again
            self.weights_, self.means_ = self.weights_[order], self.means_[order]
            self._set_model_attributes(double_precision(self.net_.module_, check_device(self.device)))

    def _describe_components(self, X: np.ndarray | LazyRows) -> None:
        """Labels, weights and means of the components as they are numbered now."""
        began = time.perf_counter()
        model = double_precision(self.net_.module_, check_device(self.device))
        with torch.inference_mode():
            self.weights_ = model.log_weights().exp().numpy(force=True)
        self.labels_ = self._most_probable(X)
        self.means_ = self._component_means()
        self._set_model_attributes(model)
        seconds = self.phase_seconds_
        seconds["assignment"] = seconds.get("assignment", 0.0) + time.perf_counter() - began

    def _warn_if_interrupted(self, outcome: TrainOutcome) -> None:
        if outcome.interrupted:
            warnings.warn(INTERRUPTED, UserWarning, stacklevel=3 + N_WRAPPERS)

    def _warn_unless_converged(self, outcome: TrainOutcome) -> None:
        if outcome.converged or outcome.interrupted or self.max_iter == 0:
            return
        if self.n_iter_ == self.max_iter:
            text = explain_no_convergence(self.lower_bounds_, self.tol, self.max_iter, self.learning_rate)
            warnings.warn(text, ConvergenceWarning, stacklevel=3 + N_WRAPPERS)
        elif not (self.callbacks or getattr(self, "_skl_callbacks", None)):
            # nobody's callback has ended the training early: it was Ctrl-C, between two epochs
            warnings.warn(INTERRUPTED, UserWarning, stacklevel=3 + N_WRAPPERS)
