"""One phase of training: the net, its epochs and the outcome."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from skorch.callbacks import Callback, LRScheduler
from torch import Tensor, nn

from skgmvae._collectives import copy_from_first, is_any
from skgmvae._evaluation import cast_networks, count_weights
from skgmvae._interrupts import held, take_interrupt, was_forced
from skgmvae.data.batches import ClampedResponsibilities
from skgmvae.data.training_data import TrainingData
from skgmvae.models.likelihood import Likelihood
from skgmvae.runtime import RandomStream, check_device, choose_autocast_dtype, limit_threads
from skgmvae.training.callbacks import ConvergenceStopping, DivergenceGuard, FlushDenormals, StepSizeSchedule
from skgmvae.training.checkpoint import PhaseCheckpoint, TrainingCheckpoint
from skgmvae.training.config import TrainConfig
from skgmvae.training.held_out import HeldOut
from skgmvae.training.net import ELBONet
from skgmvae.training.progress import Progress
from skgmvae.training.validation import ValidationStopping

__all__ = ["TrainOutcome", "make_net", "train"]

WARMUP_STEPS = 200
PATIENCE = 10  # epochs over which the bound has to rise by tol


@dataclass(frozen=True)
class TrainOutcome:
    """How a phase ended.

    Attributes
    ----------
    converged, interrupted : bool
    best_epoch : int or None
        Epochs before the state that was kept; None: the last state.
    validation_scores : list of float
        Mean log p(x) of the held-out samples.
    held_out_score : float or None
        Mean log p(x) of the held-out samples under the model that was kept, fitted without them.
    has_moved : bool
        Whether the clusters are those of a mixture of higher likelihood instead of the initial ones.
    """

    converged: bool
    interrupted: bool
    best_epoch: int | None = None
    validation_scores: list[float] = field(default_factory=list)
    held_out_score: float | None = None
    has_moved: bool = False


def make_net(module: nn.Module, config: TrainConfig, net_type: type[ELBONet] = ELBONet, **options: Any) -> ELBONet:
    """An initialized net for ``module`` on the configured device; ``options`` are those specific to ``net_type``."""
    net = net_type(
        module,
        **options,
        min_information=config.min_information,
        learning_rate=config.learning_rate,
        batch_size=config.batch_size,
        max_epochs=config.n_epochs,
        device=str(check_device(config.device)),
    )
    initialized: ELBONet = net.initialize()
    return initialized


def train(
    net: ELBONet,
    data: TrainingData,
    config: TrainConfig,
    random: RandomStream,
    *,
    clamped: ClampedResponsibilities | None = None,
    held_out: HeldOut | None = None,
    phase: str = "training",
    verbose: int = 0,
    callbacks: Sequence[Any] = (),
    checkpoint: PhaseCheckpoint | None = None,
) -> TrainOutcome:
    """Train ``net`` as configured, in place, and leave it on the CPU in evaluation mode.

    Clamped responsibilities replace those of the model in the first epochs: the initial clusters are not yet Gaussian
    in the embedding, and would otherwise lose samples to each other before the networks have adapted. With held-out
    samples, the state is kept that is best for them. With a ``checkpoint``, the training goes on from the state that it
    holds.

    Raises
    ------
    ValueError
        If training diverges repeatedly.
    """
    device, n_before = check_device(config.device), len(net.history)
    data = data.on(device)
    for layer in net.module_.modules():
        if isinstance(layer, Likelihood):
            layer.has_missing = data.summary.has_missing
    _configure(net, config)
    net.begin_training(random, _move(clamped, data))
    copy_from_first(tensor for tensor in net.module_.state_dict().values() if tensor.is_floating_point())
    # the iterator has one batch per step
    steps_per_epoch = len(net.get_iterator(data, training=True))
    stop = _make_stopping(config, clamped, held_out, steps_per_epoch)
    own = _make_callbacks(net, config, config.n_epochs * steps_per_epoch, stop, callbacks, phase, verbose)
    stored = None if checkpoint is None else TrainingCheckpoint(checkpoint, [c for c in own if c not in callbacks])
    net.set_callbacks(own if stored is None else [*own, stored])
    dtype = choose_autocast_dtype(config.precision, device)
    with held():  # Ctrl-C waits for the end of a step
        if stored is not None and stored.outcome is not None:
            return _take_over(net, stored, callbacks)
        n_done = 0 if stored is None else max(0, stored.n_epochs - n_before)
        try:
            with _networks_in(net.module_, dtype), _few_threads(net, config):
                net.partial_fit(data, epochs=config.n_epochs - n_done)
        finally:
            net.end_training()
            net.set_callbacks(list(callbacks))
        if was_forced():  # skorch has swallowed it
            raise KeyboardInterrupt
        converged = stop is not None and stop.converged_
        interrupted = _was_interrupted(net, config.n_epochs + n_before, converged, callbacks)
        outcome = TrainOutcome(converged, is_any(take_interrupt() or interrupted))
        if isinstance(stop, ValidationStopping):
            outcome = replace(outcome, best_epoch=stop.best_epoch_, validation_scores=stop.scores_)
        if stored is not None and not outcome.interrupted:
            stored.store(net, asdict(outcome))
        return outcome


def _take_over(net: ELBONet, stored: TrainingCheckpoint, callbacks: Sequence[Any]) -> TrainOutcome:
    """The outcome and the net of a training that was over when its state was stored."""
    outcome = TrainOutcome(**(stored.outcome or {}))
    cast_networks(net.module_, torch.float32)
    stored.restore(net, with_callbacks=False)
    net.end_training()
    net.set_callbacks(list(callbacks))
    return outcome


def _was_interrupted(net: ELBONet, n_epochs: int, converged: bool, callbacks: Sequence[Any]) -> bool:
    """Whether Ctrl-C has ended the training: within a batch, or in between, where skorch does not tell.

    The record of an epoch that is not over is dropped. A callback of the user's may end a training too.
    """
    is_incomplete = len(net.history) > 0 and "lower_bound" not in net.history[-1]
    if is_incomplete:
        net.history.pop()
    ended_early = len(net.history) < n_epochs and not converged and not callbacks
    return net.interrupted_ or is_incomplete or ended_early


def _make_stopping(
    config: TrainConfig, clamped: ClampedResponsibilities | None, held_out: HeldOut | None, steps_per_epoch: int
) -> ConvergenceStopping | ValidationStopping | None:
    """The callback that stops early: by the held-out samples, or by the bound of the epochs that are not clamped."""
    if held_out is not None:
        n_clamped = clamped.n_epochs if clamped is not None else 0
        tol = 0.0 if config.tol is None else config.tol
        return ValidationStopping(held_out, config.n_epochs, n_clamped, steps_per_epoch, config.n_iter_no_change, tol)
    if config.tol is None:
        return None
    # if all epochs are clamped, by their bound
    n_ignored = clamped.n_epochs if clamped is not None and clamped.n_epochs < config.n_epochs else 0
    # a short training compares the halves of its free epochs
    return ConvergenceStopping(config.tol, min(PATIENCE, (config.n_epochs - n_ignored) // 2), n_ignored)


def _configure(net: ELBONet, config: TrainConfig) -> None:
    """Set what can change between two trainings of a net."""
    net.lr = config.learning_rate
    net.batch_size = config.batch_size
    net.criterion_.min_information = config.min_information
    if hasattr(net.module_, "n_mc_samples"):  # a mixture
        net.module_.n_mc_samples, net.module_.min_information = config.n_mc_samples, config.min_information
    net.move_to(check_device(config.device))
    for group in net.optimizer_.param_groups:
        group["lr"] = config.learning_rate


def _move(clamped: ClampedResponsibilities | None, data: TrainingData) -> ClampedResponsibilities | None:
    """The clamped responsibilities on the device of the samples."""
    if clamped is None or clamped.log_responsibilities is None:
        return clamped
    there = data.rows.device if isinstance(data.rows, Tensor) else torch.device("cpu")
    return clamped._replace(log_responsibilities=clamped.log_responsibilities.to(there))


def _make_callbacks(
    net: ELBONet,
    config: TrainConfig,
    n_steps: int,
    stop: Callback | None,
    callbacks: Sequence[Any],
    phase: str,
    verbose: int,
) -> list[Any]:
    """The callbacks of the phase, including the user's."""
    own = [
        None if _has_schedule(callbacks) else StepSizeSchedule(n_steps, WARMUP_STEPS, anneal=config.anneal),
        FlushDenormals() if net.device == "cpu" else None,  # other devices are not slowed down by denormal numbers
        DivergenceGuard(),
        Progress(phase, config.n_epochs, verbose) if verbose else None,
        *callbacks,
        stop,  # last, so that the user's callbacks see the last epoch too
    ]
    return [callback for callback in own if callback is not None]


def _has_schedule(callbacks: Sequence[Any]) -> bool:
    """Whether the user passes a skorch schedule of the step size, bare or as (name, callback)."""
    bare = [callback[1] if isinstance(callback, tuple) else callback for callback in callbacks]
    return any(isinstance(callback, LRScheduler) for callback in bare)


@contextlib.contextmanager
def _networks_in(module: nn.Module, dtype: torch.dtype | None) -> Iterator[None]:
    """Context in which the products of the networks use ``dtype``, and everything else float32."""
    cast_networks(module, torch.float32)
    autoencoder = getattr(module, "autoencoder", module)
    autoencoder.autocast_dtype = dtype
    try:
        yield
    finally:
        autoencoder.autocast_dtype = None


def _few_threads(net: ELBONet, config: TrainConfig) -> contextlib.AbstractContextManager[None]:
    """Context with a suitable number of threads; with other devices the host needs only one."""
    return limit_threads(config.batch_size * count_weights(net.module_) if net.device == "cpu" else 0.0)
