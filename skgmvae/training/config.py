"""Configuration of a fit: frozen values, created once by the estimator."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from skgmvae.initialization.config import InitConfig
from skgmvae.models.columns import Column
from skgmvae.runtime import check_device, choose_autocast_dtype

if TYPE_CHECKING:
    from skgmvae.training.checkpoint import Checkpoint, PhaseCheckpoint
    from skgmvae.training.net import ELBONet

__all__ = ["Architecture", "FitConfig", "TrainConfig"]


@dataclass(frozen=True)
class Architecture:
    """Architecture of an autoencoder; plain values, so that it can be part of a cache key.

    Attributes
    ----------
    n_features, latent_dim : int
    hidden_layer_sizes : tuple of int
    image_shape : tuple of int or None
        For convolutional networks.
    likelihood : {'bernoulli', 'gaussian', 'unit_gaussian', 'columns'}
    location, scale : tuple of float
        Constants of the Gaussian likelihood's standardization; empty for Bernoulli, ones for 'unit_gaussian'.
    columns : tuple of Column
        Of each feature, for 'columns'.
    linear_path : bool
        Whether linear maps stand beside the networks.
    """

    n_features: int
    latent_dim: int
    hidden_layer_sizes: tuple[int, ...]
    image_shape: tuple[int, ...] | None
    likelihood: str
    location: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    linear_path: bool = False
    columns: tuple[Column, ...] = ()

    @property
    def width(self) -> int:
        """Number of inputs and outputs of the networks."""
        return sum(max(1, column[1]) for column in self.columns) or self.n_features


@dataclass(frozen=True)
class TrainConfig:
    """Configuration of one phase of training; plain values, so that it can be part of a cache key.

    Attributes
    ----------
    n_epochs, batch_size : int
    learning_rate : float
    tol : float or None
        See :class:`~skgmvae.training.callbacks.ConvergenceStopping`; None: all epochs.
    min_information : float
        λ of the objective.
    n_mc_samples : int
        M.
    init_clamp : float
        Share of the epochs, the first ones, that clamp the initial responsibilities.
    anneal : bool
        Decay the step size to zero over the phase; otherwise it is constant.
    device, precision : str
        As the estimator's parameters.
    may_extend : bool
        Whether ``n_epochs`` is a default that a fit may extend.
    validation_fraction : float
        Share of the samples that is held out for early stopping; 0: none.
    n_iter_no_change : int
        As the estimator's parameter.
    """

    n_epochs: int
    batch_size: int
    learning_rate: float
    tol: float | None = None
    min_information: float = 0.0
    n_mc_samples: int = 1
    init_clamp: float = 0.0
    anneal: bool = True
    device: str = "auto"
    precision: str = "float32"
    may_extend: bool = False
    validation_fraction: float = 0.0
    n_iter_no_change: int = 10

    def resolved(self) -> "TrainConfig":
        """The same with the device and the precision that 'auto' stands for on this machine."""
        device = check_device(self.device)
        dtype = choose_autocast_dtype(self.precision, device)
        return replace(self, device=str(device), precision="float32" if dtype is None else "bfloat16")

    @property
    def n_clamped(self) -> int:
        """Number of epochs that clamp the initial responsibilities.

        Of three or more epochs at least two are left free, so that their bounds can be compared, unless all are
        clamped.
        """
        n = self.n_epochs
        return n if self.init_clamp == 1.0 else min(int(self.init_clamp * n), max(n // 2, n - 2))


@dataclass(frozen=True)
class FitConfig:
    """Configuration of all phases of a fit.

    Attributes
    ----------
    architecture : Architecture
    pretraining, training : TrainConfig
    init : InitConfig
    n_init : int
    memory : None, str or joblib.Memory
        Caches the pretraining, and contrastive features.
    verbose : int
    callbacks : sequence of skorch callbacks
        Called during the training.
    net_type : type of ELBONet
        Net of the training.
    net_options : dict
        Options of ``net_type`` beyond those of an ELBONet.
    checkpoint : Checkpoint, optional
        From which the fit goes on, and where it stores its state.
    """

    architecture: Architecture
    pretraining: TrainConfig
    training: TrainConfig
    init: InitConfig
    net_type: "type[ELBONet]"
    n_init: int = 1
    memory: Any = None
    verbose: int = 0
    callbacks: Sequence[Any] = ()
    net_options: dict[str, Any] = field(default_factory=dict)
    checkpoint: "Checkpoint | None" = None

    def name_phase(self, name: str) -> "PhaseCheckpoint | None":
        """The state of a phase in the checkpoint; None without one."""
        return None if self.checkpoint is None else self.checkpoint.phase(name)
