"""One phase of training: a net made for it, run, and what came of it."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from skorch.callbacks import LRScheduler
from torch import Tensor, nn

from skgmvae.data.batches import ClampedResponsibilities, Rows, rows_on_device
from skgmvae.runtime import check_device, choose_autocast_dtype
from skgmvae.training.callbacks import ConvergenceStopping, DivergenceGuard, FlushDenormals, StepSizeSchedule
from skgmvae.training.net import ELBONet
from skgmvae.training.progress import Progress

WARMUP_STEPS = 200
PATIENCE = 10  # epochs over which the bound has to rise by tol


@dataclass(frozen=True)
class TrainConfig:
    """How a phase is trained; plain values, so that it can be part of a cache key.

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
    anneal : bool
        Decay the step size to zero over the phase; otherwise keep it.
    device, precision : str
        As the estimator's parameters.
    """

    n_epochs: int
    batch_size: int
    learning_rate: float
    tol: float | None = None
    min_information: float = 0.0
    n_mc_samples: int = 1
    anneal: bool = True
    device: str = "auto"
    precision: str = "float32"


@dataclass(frozen=True)
class TrainOutcome:
    """How a phase ended."""

    converged: bool
    interrupted: bool


def make_net(module: nn.Module, config: TrainConfig, net_type: type[ELBONet] = ELBONet, **options: Any) -> ELBONet:
    """An initialized net for ``module`` on the config's device; ``options`` are those of ``net_type`` alone."""
    device = check_device(config.device)
    net = net_type(
        module,
        **options,
        min_information=config.min_information,
        learning_rate=config.learning_rate,
        batch_size=config.batch_size,
        max_epochs=config.n_epochs,
        device=str(device),
    )
    return net.initialize()


def train(
    net: ELBONet,
    rows: Rows,
    config: TrainConfig,
    *,
    clamped: ClampedResponsibilities | None = None,
    phase: str = "training",
    verbose: int = 0,
    callbacks: Any = None,
) -> TrainOutcome:
    """Train ``net`` on ``rows`` as planned, in place, and leave it on the CPU in evaluation mode.

    With a ``guide`` the first epochs hold on to its responsibilities: components that begin where a start has
    put them are not yet Gaussian in the embedding, and would lose rows to each other before they are.

    Raises
    ------
    ValueError
        If the bound stops being finite again and again.
    """
    device = check_device(config.device)
    n_clamped = clamped.n_epochs if clamped is not None else 0
    # a short run compares the halves of its free epochs
    patience = min(PATIENCE, (config.n_epochs - n_clamped) // 2)
    stop = ConvergenceStopping(config.tol, patience, n_clamped) if config.tol is not None else None
    net.lr = config.learning_rate
    net.interrupted_ = False
    net.criterion_.min_information = config.min_information
    if hasattr(net.module_, "n_mc_samples"):
        # a mixture; a config for more epochs may differ from the one it was made with
        net.module_.n_mc_samples, net.module_.min_information = config.n_mc_samples, config.min_information
    net.move_to(device)
    rows = rows_on_device(rows, device)
    net.clamped_ = clamped
    if clamped is not None and clamped.log_responsibilities is not None:
        place = rows.device if isinstance(rows, Tensor) else torch.device("cpu")
        net.clamped_ = clamped._replace(log_responsibilities=clamped.log_responsibilities.to(place))
    # one epoch of a net's iterator has as many steps as it has batches
    n_steps = config.n_epochs * len(net.get_iterator(rows, training=True))
    for group in net.optimizer_.param_groups:
        group["lr"] = config.learning_rate
    own = [
        None if _has_schedule(callbacks) else StepSizeSchedule(n_steps, WARMUP_STEPS, anneal=config.anneal),
        FlushDenormals() if device.type == "cpu" else None,  # others count with denormals as with any
        DivergenceGuard(),
        Progress(phase, config.n_epochs, verbose) if verbose else None,
        *(callbacks or []),
        stop,  # last, so that the user's see the last epoch too
    ]
    net.set_callbacks([callback for callback in own if callback is not None])
    try:
        with _networks_in(net.module_, choose_autocast_dtype(config.precision, device)):
            net.partial_fit(rows, epochs=config.n_epochs)
    finally:
        net.clamped_ = None
        net.set_callbacks(list(callbacks or []))
        net.move_to(check_device("cpu"))
        net.module_.eval()
    return TrainOutcome(converged=stop is not None and stop.converged_, interrupted=net.interrupted_)


def _has_schedule(callbacks: Any) -> bool:
    """Whether a skorch schedule of the user's, bare or as (name, callback), is to set the step size."""
    bare = [callback[1] if isinstance(callback, tuple) else callback for callback in callbacks or []]
    return any(isinstance(callback, LRScheduler) for callback in bare)


@contextlib.contextmanager
def _networks_in(module: nn.Module, dtype: Any) -> Iterator[None]:
    """Let the networks' products run in ``dtype`` for a while."""
    autoencoder = getattr(module, "autoencoder", module)
    autoencoder.autocast_dtype = dtype
    try:
        yield
    finally:
        autoencoder.autocast_dtype = None
