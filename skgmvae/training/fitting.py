"""From samples to a trained net: pretraining, initialization, training."""

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import torch
from sklearn.utils.validation import check_memory
from torch import nn

from skgmvae._evaluation import cast_networks
from skgmvae._progress import show_phase
from skgmvae.data.batches import ClampedResponsibilities
from skgmvae.data.lazy import empty_or_memmap
from skgmvae.data.training_data import TrainingData
from skgmvae.initialization.contrastive import fit_contrastive_encoder, load_encoder
from skgmvae.initialization.initialize import InitConfig, Initialization, initialize_model
from skgmvae.models.autoencoder import Autoencoder
from skgmvae.models.image_encoder import ImageEncoder
from skgmvae.runtime import MAX_SEED, RandomStream, check_device, describe_environment
from skgmvae.training.checkpoint import Checkpoint, PhaseCheckpoint, get_initialization, set_initialization
from skgmvae.training.config import FitConfig, TrainConfig
from skgmvae.training.net import ELBONet
from skgmvae.training.pretraining import Weights, count_work, make_autoencoder, pretrain
from skgmvae.training.train import TrainOutcome, make_net, train

__all__ = ["FitResult", "continue_training", "fit_from_scratch"]

CLAMP_ROWS = 2**17  # at a time
# shares below e^-30 are set to e^-200, which is 0: tiny shares cause denormal gradients, which slow down all products
LEAST_LOG, LOG_OF_NONE = -30.0, -200.0

MakeModel: TypeAlias = Callable[[Autoencoder, torch.Generator], nn.Module]


class Stopwatch:
    """Wall time per phase, in seconds."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, phase: str) -> None:
        """Add the time since the last lap to ``phase``."""
        now = time.perf_counter()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._last
        self._last = now


@dataclass(frozen=True)
class FitResult:
    """A trained net, and a record of its fit.

    Attributes
    ----------
    net : ELBONet
    outcome : TrainOutcome
    lower_bound : float
        Of the last epoch, or of the initialization if there was none; nats per sample.
    n_epochs : int
        Of this training; the history of the net may be longer.
    init_params : str
        Name of the initialization that was used; empty for a continued training.
    reconstruction : list of float
        Mean reconstruction term per epoch of the pretraining.
    seconds : dict of str to float
    checkpoint : Checkpoint or None
        The state of the fit, to be deleted when it has ended.
    """

    net: ELBONet
    outcome: TrainOutcome
    lower_bound: float
    n_epochs: int
    init_params: str = ""
    reconstruction: list[float] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    checkpoint: Checkpoint | None = None


@dataclass(frozen=True)
class _Pretrained:
    """What all initializations of a fit share: weights of the autoencoder, and an encoder of contrastive features."""

    weights: Weights
    reconstruction: list[float]
    encoder: ImageEncoder | None


def fit_from_scratch(
    data: TrainingData,
    make_model: MakeModel,
    config: FitConfig,
    random_state: np.random.RandomState,
) -> FitResult:
    """One pretraining, then ``n_init`` initializations and trainings; returns that with the best lower bound.

    Parameters
    ----------
    data : TrainingData
    make_model : callable
        Maps an autoencoder, and the generator of further weights, to the model around it.
    config : FitConfig
    random_state : RandomState

    Returns
    -------
    FitResult
    """
    clock = Stopwatch()
    # the first draw does not depend on K, M or λ, so that a grid over them shares the pretraining
    pretrained = _pretrain(data, config, int(random_state.randint(MAX_SEED)))
    clock.lap("pretraining")
    best = _fit_once(data, make_model, config, pretrained, random_state, clock, 0)
    for trial in range(1, config.n_init):
        if best.outcome.interrupted:
            break
        result = _fit_once(data, make_model, config, pretrained, random_state, clock, trial)
        interrupted = result.outcome.interrupted
        best = max(best, result, key=lambda result: result.lower_bound)
        best = replace(best, outcome=replace(best.outcome, interrupted=interrupted))
    cast_networks(best.net.module_, torch.float64)
    return replace(best, checkpoint=config.checkpoint)


def _pretrain(data: TrainingData, config: FitConfig, seed: int) -> _Pretrained:
    cached = check_memory(config.memory).cache(pretrain, ignore=["verbose", "checkpoint"])
    settings = config.pretraining.resolved()
    environment = (
        {} if config.memory is None else describe_environment(count_work(config.architecture, settings.batch_size))
    )
    options: dict[str, Any] = {"verbose": config.verbose, "checkpoint": _name_phase(config, "pretraining")}
    weights, reconstruction = cached(data, config.architecture, settings, seed, environment, **options)
    encoder, image_shape = None, config.init.image_shape
    if (
        isinstance(config.init.init_params, str)
        and config.init.init_params == "contrastive"
        and image_shape is not None
    ):
        phase = _name_phase(config, "contrastive")
        stored = None if phase is None else phase.read()
        if stored is not None:
            return _Pretrained(weights, reconstruction, load_encoder(image_shape, stored[0]))
        options = {"device": settings.device, "precision": settings.precision, "seed": seed, "environment": environment}
        encoder = fit_contrastive_encoder(data, image_shape, memory=config.memory, verbose=config.verbose, **options)
        if phase is not None:
            phase.write({name: tensor.numpy(force=True) for name, tensor in encoder.state_dict().items()}, {})
    return _Pretrained(weights, reconstruction, encoder)


def _fit_once(
    data: TrainingData,
    make_model: MakeModel,
    config: FitConfig,
    pretrained: _Pretrained,
    random_state: np.random.RandomState,
    clock: Stopwatch,
    trial: int,
) -> FitResult:
    """One initialization and training."""
    random = RandomStream(int(random_state.randint(MAX_SEED)))
    which = f" {trial + 1} of {config.n_init}" if config.n_init > 1 else ""
    autoencoder = make_autoencoder(config.architecture, random.on("cpu"))
    autoencoder.load_state_dict({name: torch.tensor(array) for name, array in pretrained.weights.items()})
    model = make_model(autoencoder, random.on("cpu"))
    has_own_table = config.net_type.has_own_table
    with show_phase(f"initialization{which}", config.verbose) as show:
        phase = _name_phase(config, f"initialization-{trial}")
        stored = None if phase is None else phase.read()
        if stored is None:
            init = initialize_model(model, autoencoder, data, _make_init_config(config, pretrained), random)
            if phase is not None:
                phase.write(*get_initialization(model, init, random))
        else:
            init = set_initialization(model, *stored, random)
        show(init.name)
    clock.lap("initialization")
    net = make_net(model, config.training, config.net_type, **config.net_options)
    clamped = clamp_responsibilities(init, config.training, has_own_table=has_own_table)
    name = init.name
    del init  # the responsibilities may be large
    options: dict[str, Any] = {"phase": f"training{which}", "verbose": config.verbose, "callbacks": config.callbacks}
    options["checkpoint"] = _name_phase(config, f"training-{trial}")
    outcome = train(net, data, config.training, random, clamped=clamped, **options)
    bound = last_bound(net, data)
    clock.lap("training")
    return FitResult(net, outcome, bound, len(net.history), name, list(pretrained.reconstruction), clock.seconds)


def _name_phase(config: FitConfig, name: str) -> PhaseCheckpoint | None:
    return None if config.checkpoint is None else config.checkpoint.phase(name)


def _make_init_config(config: FitConfig, pretrained: _Pretrained) -> InitConfig:
    clamps = config.training.n_clamped > 0 and not config.init.is_random
    return replace(
        config.init,
        device=check_device(config.training.device),
        encoder=pretrained.encoder,
        is_pretrained=config.pretraining.n_epochs > 0,
        for_all_samples=config.net_type.has_own_table or clamps,
    )


def last_bound(net: ELBONet, data: TrainingData) -> float:
    """Bound of the last epoch that was not undone, or of the present net if there was none."""
    bounds = [record["lower_bound"] for record in net.history if math.isfinite(record["lower_bound"])]
    return bounds[-1] if bounds else net.evaluate(data)


def clamp_responsibilities(
    init: Initialization, config: TrainConfig, *, has_own_table: bool = False
) -> ClampedResponsibilities | None:
    """The initial responsibilities for the first epochs; none where they are random."""
    if init.is_random or init.responsibilities is None or config.n_clamped == 0:
        return None
    if has_own_table:
        return ClampedResponsibilities(None, config.n_clamped)
    logs = torch.from_numpy(empty_or_memmap(tuple(init.responsibilities.shape)))
    for log_part, part in zip(logs.split(CLAMP_ROWS), init.responsibilities.split(CLAMP_ROWS), strict=True):
        torch.log(part.float(), out=log_part)
        log_part.masked_fill_(log_part < LEAST_LOG, LOG_OF_NONE)
    return ClampedResponsibilities(logs, config.n_clamped)


def continue_training(
    net: ELBONet,
    data: TrainingData,
    config: TrainConfig,
    seed: int,
    *,
    verbose: int = 0,
    callbacks: Sequence[Any] = (),
    net_options: dict[str, Any] | None = None,
) -> FitResult:
    """Train a copy of ``net`` further; its history is continued, and ``net_options`` may differ from its own."""
    clock = Stopwatch()
    n_before = len(net.history)
    net = copy.deepcopy(net)
    for name, value in (net_options or {}).items():
        setattr(net, name, value)
    outcome = train(net, data, config, RandomStream(seed), verbose=verbose, callbacks=callbacks)
    bound = last_bound(net, data)
    cast_networks(net.module_, torch.float64)
    clock.lap("training")
    return FitResult(net, outcome, bound, len(net.history) - n_before, seconds=clock.seconds)
