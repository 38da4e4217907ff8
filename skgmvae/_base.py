"""Base class of the estimators: ``fit`` and ``partial_fit``."""

from __future__ import annotations  # help() then shows MatrixLike, not what it stands for

import os
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

from sklearn.utils import check_random_state
from torch import nn

from skgmvae._auto import IMAGES, NETWORK_TABLES, TABLES, UNPACED_TABLES, Defaults
from skgmvae._configuration import make_train_config
from skgmvae._constraints import SHARED_CONSTRAINTS
from skgmvae._description import describe_fit, is_numbered, order_components, warn_if_interrupted, warn_unless_converged
from skgmvae._fitting import all_or_nothing, check_data, end_checkpoint, train_from_scratch, train_further
from skgmvae._inference import MixtureInference
from skgmvae._presets import choose_image_settings
from skgmvae._sklearn_callbacks import epoch_tasks, with_callbacks
from skgmvae.data.arrays import Floats, Integers, MatrixLike
from skgmvae.models.autoencoder import Autoencoder
from skgmvae.models.subcomponents import Counts
from skgmvae.persistence import load_estimator, save_estimator
from skgmvae.runtime import MAX_SEED, isolated
from skgmvae.training.config import Architecture
from skgmvae.training.net import ELBONet

__all__ = ["DeepMixture"]


class DeepMixture(MixtureInference):
    """Base class of the deep generative clusterers. Subclasses define the model.

    The methods of a fitted mixture are in :class:`~skgmvae._inference.MixtureInference`.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = SHARED_CONSTRAINTS
    _net_type: ClassVar[type[ELBONet]] = ELBONet
    _table_defaults: ClassVar[Defaults] = TABLES
    _unpaced_table_defaults: ClassVar[Defaults] = UNPACED_TABLES
    _network_table_defaults: ClassVar[Defaults] = NETWORK_TABLES
    _image_defaults: ClassVar[Defaults] = IMAGES

    n_components: int
    min_information: float
    init_clamp: float
    tol: float
    validation_fraction: float
    warm_start: bool
    callbacks: Sequence[Any] | None
    memory: Any
    checkpoint: Any
    verbose: int
    hidden_layer_sizes_: tuple[int, ...]
    max_iter_: int
    labels_: Integers
    weights_: Floats
    means_: Floats
    lower_bound_: float
    init_params_: str
    n_iter_: int
    net_: ELBONet
    _fitted_structure: dict[str, Any]
    _fitted_architecture: Architecture

    @abstractmethod
    def _make_model(self, autoencoder: Autoencoder, generator: Any = None, subcomponents: Counts = None) -> nn.Module:
        """The untrained model around a pretrained autoencoder; further weights are drawn from the generator."""

    @abstractmethod
    def _set_model_attributes(self, model: Any) -> None:
        """Set the fitted attributes that only this model has, from the model in float64."""

    @classmethod
    def for_images(cls, n_components: int = 3, **parameters: Any) -> Self:
        """An estimator with the settings of the benchmarks for image data sets of the size of MNIST.

        Samples are flat, with pixels in [0, 1]. Pass ``image_shape``, so that the initialization can compare images by
        histograms of oriented gradients. The settings were selected on MNIST, with labels. The products of the networks
        use bfloat16 on machines that are fast at it, so that results differ slightly between machines;
        ``precision='float32'`` avoids this.

        Parameters
        ----------
        n_components : int, default=3
        **parameters : dict
            Further parameters, such as ``image_shape=(1, 28, 28)``; they override the settings.

        Returns
        -------
        estimator
            Unfitted.
        """
        make: Callable[..., Self] = cls
        return make(n_components, **choose_image_settings(cls._image_defaults.of_images(), parameters))

    @with_callbacks
    def fit(self, X: MatrixLike, y: Any = None, *, init_labels: Any = None) -> Self:
        """Cluster the samples, initialize the mixture with the clusters, and maximize the lower bound.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            float32 and float64 arrays are used without a copy, unless torch cannot view their memory layout, such as
            reversed columns. Memory maps, ``h5py.Dataset``, ``zarr.Array`` and other arrays that can be sliced may be
            larger than memory; they are then read block by block. NaN is a missing value.
        y : Ignored
        init_labels : array-like of shape (n_samples,) or (n_samples, n_components), optional
            Initial labels or responsibilities, in place of ``init_params``. −1, or a row of zeros, marks an unlabeled
            sample. Component c is then the one of label c. With labels for some samples and ``init_clamp=1``, the fit
            is semi-supervised.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If ``X`` or a parameter is invalid, or if training diverges repeatedly. The estimator is then left
            unchanged.

        Warns
        -----
        ConvergenceWarning
            If the lower bound did not converge to ``tol`` within ``max_iter`` epochs.
        """
        continues = self.warm_start and hasattr(self, "net_")
        with epoch_tasks(self, X, continues) as tasks, all_or_nothing(self):
            data = check_data(self, X, reset=not continues)
            config = make_train_config(self, self.max_iter_, tol=self.tol, init_clamp=self.init_clamp)
            random_state = check_random_state(self.random_state)
            if continues:
                result = train_further(self, data, config, random_state.randint(MAX_SEED), tasks, init_labels)
            else:
                result = train_from_scratch(self, data, config, random_state, tasks, init_labels, stores=True)
            describe_fit(self, result, data)
            if not is_numbered(self, init_labels):
                order_components(self)
        end_checkpoint(result)
        warn_if_interrupted(result.outcome)
        warn_unless_converged(self, result.outcome)
        return self

    def partial_fit(self, X: MatrixLike, y: Any = None) -> Self:
        """Train on one block of a stream, with one pass over it.

        The first block also determines the standardization, the pretraining, the initialization and the order of the
        components. It should therefore be as large and as representative as possible.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : Ignored

        Returns
        -------
        self : object
            Its ``labels_`` are those of this block.
        """
        with all_or_nothing(self):
            first = not hasattr(self, "net_")
            data = check_data(self, X, reset=first)
            # an E-step on the block, then a pass over it
            config = make_train_config(self, 1, tol=None, init_clamp=float(self.init_clamp > 0.0), anneal=False)
            if first:
                result = train_from_scratch(self, data, config, check_random_state(self.random_state))
            else:
                result = train_further(self, data, config, (self._noise_seed + len(self.net_.history)) % MAX_SEED)
            describe_fit(self, result, data)
            if first and not is_numbered(self):
                order_components(self)
        warn_if_interrupted(result.outcome)
        return self

    def fit_predict(self, X: MatrixLike, y: Any = None, *, init_labels: Any = None) -> Integers:
        """Fit, and return the labels of the training samples; equal to ``fit(X).predict(X)``.

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

    @isolated()
    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted estimator to one file, without pickle.

        ``memory``, ``checkpoint``, parameters that are objects (callbacks, a clusterer or callable as ``init_params``,
        a ``RandomState``) and the state of the optimizer are not saved: the loaded estimator has the defaults of these
        parameters, and further training starts with a new optimizer.

        Parameters
        ----------
        path : str or path-like
            An existing file is replaced.

        Notes
        -----
        Pickle and joblib keep everything, including callbacks, and loading their files can execute arbitrary code. With
        skops, pass ``trusted=skgmvae.SKOPS_TYPES``; these types include nets, which unpickle tensors when they are
        loaded. Load files of all three only from sources that you trust.
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
            With ``device='auto'`` and a warning if the saved device is not available.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file was not written by :meth:`save` of this class, is damaged, or is inconsistent.
        """
        return load_estimator(cls, path)

    def _autoencoder_layer_sizes(self) -> Sequence[int]:
        """Hidden layers of the pretrained autoencoder."""
        return self.hidden_layer_sizes_

    def _rows_per_network(self, n_samples: int) -> float:
        """Samples that a network is trained on."""
        return float(n_samples)

    def _steps_per_epoch(self, n_samples: int, batch_size: int) -> int:
        """Optimizer steps of an epoch, if samples are held out."""
        return int((1.0 - self.validation_fraction) * n_samples) // batch_size

    def _net_options(self) -> dict[str, Any]:
        """Options of the net of the training beyond those of a plain one."""
        return {}
