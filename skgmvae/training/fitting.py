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

from skgmvae.rows import LazyRows, make_table
from skgmvae.training.batches import Guide, as_rows
from skgmvae.training.beginning import Start, start_model
from skgmvae.training.contrast import learn_encoder
from skgmvae.training.devices import MAX_SEED, check_device, seeded
from skgmvae.training.net import BoundNet
from skgmvae.training.pretraining import Architecture, make_autoencoder, pretrain
from skgmvae.training.progress import show_phase
from skgmvae.training.trainer import Outcome, Plan, make_net, run

HELD_SHARE = 0.75  # of the epochs hold on to the start (found on MNIST and the small sets)
GUIDE_ROWS = 2**17  # at a time
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
class Fitted:
    """A trained net and how it came about.

    Attributes
    ----------
    net : BoundNet
    outcome : Outcome
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

    net: BoundNet
    outcome: Outcome
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
    pretraining: Plan,
    plan: Plan,
    init_params: str,
    image_shape: Sequence[int] | None = None,
    n_init: int,
    random_state: np.random.RandomState,
    memory: Any = None,
    verbose: int = 0,
    callbacks: Any = None,
    net_type: type[BoundNet] = BoundNet,
    net_options: dict[str, Any] | None = None,
) -> Fitted:
    """One pretraining, ``n_init`` starts and trainings; the one with the best lower bound.

    Parameters
    ----------
    X : ndarray or LazyRows of shape (N, D)
    architecture : Architecture
    make_model : callable
        From an autoencoder to the model around it.
    pretraining, plan : Plan
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
    net_type : type of BoundNet
        Of the training phase.
    net_options : dict, optional
        What ``net_type`` takes beyond a :class:`BoundNet`'s options.

    Returns
    -------
    Fitted
    """
    clock = Stopwatch()
    # the first draw, whatever K, M and λ are, so that a grid over them shares the pretraining
    pretraining_seed = int(random_state.randint(MAX_SEED))
    cached = check_memory(memory).cache(pretrain, ignore=["verbose"])
    weights, reconstruction = cached(X, architecture, pretraining, pretraining_seed, verbose=verbose)
    encoder = None
    if init_params == "contrastive" and image_shape is not None:
        options = {"device": plan.device, "precision": plan.precision, "seed": pretraining_seed}
        encoder = learn_encoder(X, image_shape, memory=memory, verbose=verbose, **options)
    clock.lap("pretraining")

    best: Fitted | None = None
    for trial in range(n_init):
        which = f" {trial + 1} of {n_init}" if n_init > 1 else ""
        seed = int(random_state.randint(MAX_SEED))
        with seeded(seed, check_device(plan.device)):
            autoencoder = make_autoencoder(architecture)
            autoencoder.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
            model = make_model(autoencoder)
            rng = np.random.RandomState(seed)
            is_held = net_type.has_own_table or (_n_held(plan) > 0 and init_params != "random")
            with show_phase(f"start{which}", verbose) as show:
                start = start_model(
                    model,
                    autoencoder,
                    X,
                    init_params,
                    rng,
                    check_device(plan.device),
                    image_shape=image_shape,
                    encoder=encoder,
                    is_pretrained=pretraining.n_epochs > 0,
                    for_all_rows=is_held,
                )
                show(start.name)
            clock.lap("start")
            net = make_net(model, plan, net_type, **(net_options or {}))
            guide = make_guide(start, plan, has_own_table=net_type.has_own_table)
            start = start._replace(responsibilities=None)  # they may be large
            phase = f"training{which}"
            outcome = run(net, as_rows(X), plan, guide=guide, phase=phase, verbose=verbose, callbacks=callbacks)
            bound = last_bound(net, X)
            clock.lap("training")
        if best is None or bound > best.lower_bound:
            best = Fitted(net, outcome, bound, len(net.history), start.name, list(reconstruction), clock.seconds)
        if outcome.interrupted:
            break
    if best is None:
        raise ValueError(f"n_init must be at least 1; got {n_init}.")
    return best


def last_bound(net: BoundNet, X: np.ndarray | LazyRows) -> float:
    """Bound of the last epoch that was not undone, or of the net as it is if there was none."""
    bounds = [record["lower_bound"] for record in net.history if math.isfinite(record["lower_bound"])]
    return bounds[-1] if bounds else net.evaluate(as_rows(X))


def _n_held(plan: Plan) -> int:
    """Epochs that hold on to the start; after them, of three or more, come two at least, to be compared."""
    n = plan.n_epochs
    return min(int(HELD_SHARE * n), max(n // 2, n - 2))


def make_guide(start: Start, plan: Plan, *, has_own_table: bool = False) -> Guide | None:
    """The start's responsibilities for the first epochs; none where they are random."""
    n_epochs = _n_held(plan)
    if start.name == "random" or n_epochs == 0:
        return None
    if has_own_table:
        return Guide(None, n_epochs)
    held = torch.from_numpy(make_table(tuple(start.responsibilities.shape)))
    for log_part, part in zip(held.split(GUIDE_ROWS), start.responsibilities.split(GUIDE_ROWS), strict=True):
        torch.log(part.float(), out=log_part)
        log_part.masked_fill_(log_part < LEAST_LOG, LOG_OF_NONE)
    return Guide(held, n_epochs)


def fit_further(
    net: BoundNet,
    X: np.ndarray | LazyRows,
    plan: Plan,
    *,
    seed: int,
    verbose: int = 0,
    callbacks: Any = None,
    net_options: dict[str, Any] | None = None,
) -> Fitted:
    """More epochs for a copy of ``net``, whose history goes on; ``net_options`` may differ from its own."""
    clock = Stopwatch()
    n_before = len(net.history)
    net = copy.deepcopy(net)
    for name, value in (net_options or {}).items():
        setattr(net, name, value)
    with seeded(seed, check_device(plan.device)):
        outcome = run(net, as_rows(X), plan, verbose=verbose, callbacks=callbacks)
        bound = last_bound(net, X)
    clock.lap("training")
    return Fitted(net, outcome, bound, len(net.history) - n_before, seconds=clock.seconds)
