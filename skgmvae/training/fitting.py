"""From rows to a trained net: pretraining, start, training."""

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_memory
from torch import nn

from skgmvae.data.batches import ClampedResponsibilities, as_rows
from skgmvae.data.lazy import LazyRows, empty_or_memmap
from skgmvae.initialization.contrastive import fit_contrastive_encoder
from skgmvae.initialization.initialize import Initialization, initialize_model
from skgmvae.runtime import MAX_SEED, check_device, seeded
from skgmvae.training.net import ELBONet
from skgmvae.training.pretraining import Architecture, make_autoencoder, pretrain
from skgmvae.training.progress import show_phase
from skgmvae.training.train import TrainConfig, TrainOutcome, make_net, train

INIT_CLAMP = 0.75  # of the epochs hold on to the start (found on MNIST and the small sets)
CLAMP_ROWS = 2**17  # at a time
# a share of less than e^-30 is none, and e^-200 is 0: tiny shares make denormal gradients, which slow all products down
LEAST_LOG, LOG_OF_NONE = -30.0, -200.0


class Stopwatch:
    """Seconds per phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, phase: str) -> None:
        """Book the time since the last lap on ``phase``."""
        now = time.perf_counter()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._last
        self._last = now


@dataclass(frozen=True)
class FitResult:
    """A trained net and how it came about.

    Attributes
    ----------
    net : ELBONet
    outcome : TrainOutcome
    lower_bound : float
        Of the last epoch, or of the start if there was none; nats per row.
    n_epochs : int
        Of this training; the net's history may be longer.
    start : str
        Name of the start that was taken; empty for a training that went on.
    reconstruction : list of float
        The pretraining's mean reconstruction term per epoch.
    seconds : dict of str to float
    """

    net: ELBONet
    outcome: TrainOutcome
    lower_bound: float
    n_epochs: int
    start: str = ""
    reconstruction: list[float] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


def fit_from_scratch(
    X: np.ndarray | LazyRows,
    architecture: Architecture,
    make_model: Callable[[nn.Module], nn.Module],
    *,
    pretraining: TrainConfig,
    config: TrainConfig,
    init_params: str,
    image_shape: Sequence[int] | None = None,
    n_init: int,
    random_state: np.random.RandomState,
    memory: Any = None,
    verbose: int = 0,
    callbacks: Any = None,
    net_type: type[ELBONet] = ELBONet,
    net_options: dict[str, Any] | None = None,
) -> FitResult:
    """One pretraining, ``n_init`` starts and trainings; the one with the best lower bound.

    Parameters
    ----------
    X : ndarray or LazyRows of shape (N, D)
    architecture : Architecture
    make_model : callable
        From an autoencoder to the model around it.
    pretraining, config : TrainConfig
    init_params : str
    image_shape : (C, H, W), optional
        Of the rows, if they are images; whatever the networks are.
    n_init : int
    random_state : RandomState
    memory : None, str or joblib.Memory
        Caches the pretraining, and the features of a contrastive start.
    verbose : int
    callbacks : list of skorch callbacks or None
        For the training phase.
    net_type : type of ELBONet
        Of the training phase.
    net_options : dict, optional
        What ``net_type`` takes beyond a :class:`ELBONet`'s options.

    Returns
    -------
    FitResult
    """
    clock = Stopwatch()
    # the first draw, whatever K, M and λ are, so that a grid over them shares the pretraining
    pretraining_seed = int(random_state.randint(MAX_SEED))
    cached = check_memory(memory).cache(pretrain, ignore=["verbose"])
    weights, reconstruction = cached(X, architecture, pretraining, pretraining_seed, verbose=verbose)
    encoder = None
    if init_params == "contrastive" and image_shape is not None:
        options = {"device": config.device, "precision": config.precision, "seed": pretraining_seed}
        encoder = fit_contrastive_encoder(X, image_shape, memory=memory, verbose=verbose, **options)
    clock.lap("pretraining")

    best: FitResult | None = None
    for trial in range(n_init):
        which = f" {trial + 1} of {n_init}" if n_init > 1 else ""
        seed = int(random_state.randint(MAX_SEED))
        with seeded(seed, check_device(config.device)):
            autoencoder = make_autoencoder(architecture)
            autoencoder.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
            model = make_model(autoencoder)
            rng = np.random.RandomState(seed)
            is_held = net_type.has_own_table or (count_clamped_epochs(config) > 0 and init_params != "random")
            with show_phase(f"start{which}", verbose) as show:
                start = initialize_model(
                    model,
                    autoencoder,
                    X,
                    init_params,
                    rng,
                    check_device(config.device),
                    image_shape=image_shape,
                    encoder=encoder,
                    is_pretrained=pretraining.n_epochs > 0,
                    for_all_rows=is_held,
                )
                show(start.name)
            clock.lap("start")
            net = make_net(model, config, net_type, **(net_options or {}))
            clamped = clamp_responsibilities(start, config, has_own_table=net_type.has_own_table)
            start = start._replace(responsibilities=None)  # they may be large
            phase = f"training{which}"
            outcome = train(net, as_rows(X), config, clamped=clamped, phase=phase, verbose=verbose, callbacks=callbacks)
            bound = last_bound(net, X)
            clock.lap("training")
        if best is None or bound > best.lower_bound:
            best = FitResult(net, outcome, bound, len(net.history), start.name, list(reconstruction), clock.seconds)
        if outcome.interrupted:
            break
    if best is None:
        raise ValueError(f"n_init must be at least 1; got {n_init}.")
    return best


def last_bound(net: ELBONet, X: np.ndarray | LazyRows) -> float:
    """Bound of the last epoch that was not undone, or of the net as it is if there was none."""
    bounds = [record["lower_bound"] for record in net.history if math.isfinite(record["lower_bound"])]
    return bounds[-1] if bounds else net.evaluate(as_rows(X))


def count_clamped_epochs(config: TrainConfig) -> int:
    """Epochs that hold on to the start; after them, of three or more, come two at least, to be compared."""
    n = config.n_epochs
    return min(int(INIT_CLAMP * n), max(n // 2, n - 2))


def clamp_responsibilities(
    start: Initialization, config: TrainConfig, *, has_own_table: bool = False
) -> ClampedResponsibilities | None:
    """The start's responsibilities for the first epochs; none where they are random."""
    n_epochs = count_clamped_epochs(config)
    if start.name == "random" or n_epochs == 0:
        return None
    if has_own_table:
        return ClampedResponsibilities(None, n_epochs)
    clamped_rows = torch.from_numpy(empty_or_memmap(tuple(start.responsibilities.shape)))
    for log_part, part in zip(clamped_rows.split(CLAMP_ROWS), start.responsibilities.split(CLAMP_ROWS), strict=True):
        torch.log(part.float(), out=log_part)
        log_part.masked_fill_(log_part < LEAST_LOG, LOG_OF_NONE)
    return ClampedResponsibilities(clamped_rows, n_epochs)


def continue_training(
    net: ELBONet,
    X: np.ndarray | LazyRows,
    config: TrainConfig,
    *,
    seed: int,
    verbose: int = 0,
    callbacks: Any = None,
    net_options: dict[str, Any] | None = None,
) -> FitResult:
    """More epochs for a copy of ``net``, whose history goes on; ``net_options`` may differ from its own."""
    clock = Stopwatch()
    n_before = len(net.history)
    net = copy.deepcopy(net)
    for name, value in (net_options or {}).items():
        setattr(net, name, value)
    with seeded(seed, check_device(config.device)):
        outcome = train(net, as_rows(X), config, verbose=verbose, callbacks=callbacks)
        bound = last_bound(net, X)
    clock.lap("training")
    return FitResult(net, outcome, bound, len(net.history) - n_before, seconds=clock.seconds)
