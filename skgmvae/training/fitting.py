"""From samples to a trained net: pretraining, initialization, training."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from skgmvae._evaluation import cast_networks
from skgmvae._progress import show_phase
from skgmvae._ranks import is_first
from skgmvae.data.training_data import TrainingData
from skgmvae.initialization.config import InitConfig, Initialization
from skgmvae.initialization.initialize import initialize_model
from skgmvae.models.autoencoder import Autoencoder
from skgmvae.models.subcomponents import Counts
from skgmvae.runtime import MAX_SEED, RandomStream, check_device
from skgmvae.training.checkpoint import Checkpoint
from skgmvae.training.clamping import clamp_responsibilities
from skgmvae.training.config import FitConfig, TrainConfig
from skgmvae.training.early_stopping import Setting, train_with_held_out
from skgmvae.training.net import ELBONet
from skgmvae.training.pretraining import Pretrained, make_autoencoder, pretrain_once
from skgmvae.training.progress import Stopwatch
from skgmvae.training.state import get_initialization, initialize_once, set_initialization
from skgmvae.training.step_length import shorten_pass
from skgmvae.training.train import TrainOutcome, make_net, train
from skgmvae.training.unexplained import find_explained

__all__ = ["FitResult", "continue_training", "fit_from_scratch"]

MakeModel: TypeAlias = Callable[[Autoencoder, torch.Generator, Counts], nn.Module]


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
        The state of the fit, to be deleted when it has ended; on the first rank.
    """

    net: ELBONet
    outcome: TrainOutcome
    lower_bound: float
    n_epochs: int
    init_params: str = ""
    reconstruction: list[float] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    checkpoint: Checkpoint | None = None

    @property
    def value(self) -> float:
        """What the initializations of a fit are compared by: score of held-out samples, else the lower bound."""
        held_out = self.outcome.held_out_score
        return self.lower_bound if held_out is None else held_out


def fit_from_scratch(
    data: TrainingData,
    make_model: MakeModel,
    config: FitConfig,
    random_state: np.random.RandomState,
) -> FitResult:
    """One pretraining, then ``n_init`` initializations and trainings, of which the best is returned.

    The best by the score of held-out samples if there are any, else by the lower bound.

    Parameters
    ----------
    data : TrainingData
    make_model : callable
        Maps an autoencoder, the generator of further weights, and numbers of subcomponents to the model around it.
    config : FitConfig
    random_state : RandomState

    Returns
    -------
    FitResult
    """
    clock = Stopwatch()
    # the first draw does not depend on K, M or λ, so that a grid over them shares the pretraining
    pretrained = pretrain_once(data, config, int(random_state.randint(MAX_SEED)))
    clock.lap("pretraining")
    best = _fit_once(data, make_model, config, pretrained, random_state, clock, 0)
    for trial in range(1, config.n_init):
        if best.outcome.interrupted:
            break
        result = _fit_once(data, make_model, config, pretrained, random_state, clock, trial)
        interrupted = result.outcome.interrupted
        best = max(best, result, key=lambda result: result.value)
        best = replace(best, outcome=replace(best.outcome, interrupted=interrupted))
    cast_networks(best.net.module_, torch.float64)
    return replace(best, checkpoint=config.checkpoint if is_first() else None)


def _fit_once(
    data: TrainingData,
    make_model: MakeModel,
    config: FitConfig,
    pretrained: Pretrained,
    random_state: np.random.RandomState,
    clock: Stopwatch,
    trial: int,
) -> FitResult:
    """One initialization and training."""
    random = RandomStream(int(random_state.randint(MAX_SEED)))
    which = f" {trial + 1} of {config.n_init}" if config.n_init > 1 else ""
    autoencoder = make_autoencoder(config.architecture, random.on("cpu"))
    autoencoder.load_state_dict({name: torch.tensor(array) for name, array in pretrained.weights.items()})

    def make(subcomponents: Counts = None) -> nn.Module:
        return make_model(autoencoder, random.on("cpu"), subcomponents)

    has_own_table = config.net_type.has_own_table
    may_move = config.init.is_open and config.training.init_clamp < 1.0 and not data.summary.has_missing
    with show_phase(f"initialization{which}", config.verbose) as show:
        phase = config.name_phase(f"initialization-{trial}")
        stored = None if phase is None else phase.read()
        if stored is None:
            init_config = _make_init_config(config, pretrained, may_move=may_move)
            init = initialize_once(make, random, lambda: initialize_model(make, autoencoder, data, init_config, random))
            if phase is not None:
                phase.write(*get_initialization(init, random))
        else:
            init = set_initialization(make, *stored, random)
        show(init.name)
    clock.lap("initialization")
    model, name, responsibilities = init.model, init.name, init.responsibilities
    net = make_net(model, config.training, config.net_type, **config.net_options)
    options: dict[str, Any] = {"phase": f"training{which}", "verbose": config.verbose, "callbacks": config.callbacks}
    options["checkpoint"] = config.name_phase(f"training-{trial}")
    if config.training.validation_fraction > 0.0 and responsibilities is not None and not init.is_random:
        may_move = may_move and model.subcomponents is None  # other clusters would have other ones
        setting = Setting(config.training, config.architecture.linear_path, has_own_table, pretrained.seed, may_move)
        outcome = train_with_held_out(net, data, setting, responsibilities, random, is_new=True, **options)
        name += ", then the likeliest mixture" if outcome.has_moved else ""
    else:
        training, init = _leave_out_unexplained(data, init, config)
        clamped = clamp_responsibilities(init, config.training, has_own_table=has_own_table)
        del init, responsibilities  # they may be large
        outcome = train(net, training, config.training, random, clamped=clamped, **options)
    bound = last_bound(net, data)
    clock.lap("training")
    return FitResult(net, outcome, bound, len(net.history), name, list(pretrained.reconstruction), clock.seconds)


def _leave_out_unexplained(
    data: TrainingData, init: Initialization, config: FitConfig
) -> tuple[TrainingData, Initialization]:
    """The samples to train on, and what a model was initialized with, without samples that no component explains."""
    if not config.architecture.linear_path or init.is_random or not isinstance(data.X, np.ndarray):
        return data, init
    if (explained := find_explained(init.model, data.X)) is None:
        return data, init
    responsibilities = None if init.responsibilities is None else init.responsibilities[explained]
    if responsibilities is not None and hasattr(init.model, "initial_responsibilities"):
        init.model.initial_responsibilities = responsibilities
    return data.part(explained), init._replace(responsibilities=responsibilities)


def _make_init_config(config: FitConfig, pretrained: Pretrained, *, may_move: bool = False) -> InitConfig:
    clamps = config.training.n_clamped > 0 and not config.init.is_random
    return replace(
        config.init,
        device=check_device(config.training.device),
        encoder=pretrained.encoder,
        may_move=may_move,
        is_pretrained=config.pretraining.n_epochs > 0 and not config.architecture.linear_path,
        for_all_samples=config.net_type.has_own_table or clamps or config.training.validation_fraction > 0.0,
    )


def last_bound(net: ELBONet, data: TrainingData) -> float:
    """Bound of the last epoch that was not undone, or of the present net if there was none."""
    bounds = [record["lower_bound"] for record in net.history if math.isfinite(record["lower_bound"])]
    return bounds[-1] if bounds else net.evaluate(data)


def continue_training(
    net: ELBONet,
    data: TrainingData,
    config: TrainConfig,
    seed: int,
    *,
    responsibilities: Tensor | None = None,
    verbose: int = 0,
    callbacks: Sequence[Any] = (),
    net_options: dict[str, Any] | None = None,
    may_shorten: bool = False,
) -> FitResult:
    """Train a copy of ``net`` further; its history is continued, and ``net_options`` may differ from its own.

    ``responsibilities`` (N, K), those of the fitted model, are clamped as the initial ones are: the clusters would not
    survive a warm-up without them. If the training may be shortened, it goes only as far as the density is better.
    """
    clock = Stopwatch()
    n_before = len(net.history)
    net = copy.deepcopy(net)
    for name, value in (net_options or {}).items():
        setattr(net, name, value)
    random, options = RandomStream(seed), dict[str, Any](verbose=verbose, callbacks=callbacks)
    has_own_table = type(net).has_own_table
    before = copy.deepcopy(net.module_.state_dict()) if may_shorten else {}
    if responsibilities is not None and config.validation_fraction > 0.0:
        setting = Setting(config, has_linear_path=True, has_own_table=has_own_table, split_seed=seed)
        outcome = train_with_held_out(net, data, setting, responsibilities, random, is_new=False, **options)
    else:
        clamped = None
        if responsibilities is not None:
            if has_own_table:
                net.module_.initial_responsibilities = responsibilities
            clamped = clamp_responsibilities(Initialization("", responsibilities), config, has_own_table=has_own_table)
        outcome = train(net, data, config, random, clamped=clamped, **options)
    bound = last_bound(net, data)
    cast_networks(net.module_, torch.float64)
    if may_shorten:
        shorten_pass(net, before, data)
    clock.lap("training")
    return FitResult(net, outcome, bound, len(net.history) - n_before, seconds=clock.seconds)
