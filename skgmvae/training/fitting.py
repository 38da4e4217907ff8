"""From rows to a trained net: pretraining, start, training."""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.utils.validation import check_memory
from torch import nn

from skgmvae.inference import over_chunks
from skgmvae.models.autoencoder import Autoencoder
from skgmvae.rows import LazyRows, PickedRows, make_table
from skgmvae.training.batches import Guide, as_rows
from skgmvae.training.devices import MAX_SEED, check_device, seeded
from skgmvae.training.net import BoundNet
from skgmvae.training.pretraining import Architecture, make_autoencoder, pretrain
from skgmvae.training.progress import show_phase
from skgmvae.training.starts import Views, choose_start, spread
from skgmvae.training.trainer import Outcome, Plan, make_net, run

MAX_START_ROWS = 70_000  # a start is made on so many rows, drawn without replacement, and spread to the others
MAX_INPUT_FEATURES = 100  # starts on the inputs themselves are tried up to so many features …
N_PRINCIPAL = 50  # … and on so many principal components of more
PRINCIPAL_ROWS, PRINCIPAL_VALUES = 10_000, 2**25  # rows that these are computed from, fewer where these are wide
HELD_SHARE = 0.75  # of the epochs hold on to the start (found on MNIST and the small sets)
GUIDE_ROWS = 2**17  # at a time
RESIDUAL_ROWS = 4096  # rows behind the first estimate of the likelihood's variance
# of standardised features, at most, where the weights are random: under the large residuals of such a decoder
# the bound's nearest optimum is to ignore z, and all components merge (seen on circle arcs)
RANDOM_START_VARIANCE = 0.1


class Start(NamedTuple):
    """Name of a start and its responsibilities (N, K); None where the model keeps its random weights."""

    name: str
    responsibilities: Any


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
    n_init : int
    random_state : RandomState
    memory : None, str or joblib.Memory
        Caches the pretraining.
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
            is_held = not net_type.can_be_guided or (_n_held(plan) > 0 and init_params != "random")
            with show_phase(f"start{which}", verbose) as show:
                start = start_model(
                    model,
                    autoencoder,
                    X,
                    init_params,
                    rng,
                    check_device(plan.device),
                    is_pretrained=pretraining.n_epochs > 0,
                    for_all_rows=is_held,
                )
                show(start.name)
            clock.lap("start")
            net = make_net(model, plan, net_type, **(net_options or {}))
            guide = make_guide(start, plan) if net_type.can_be_guided else None
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


def start_model(
    model: Any,
    autoencoder: Autoencoder,
    X: np.ndarray | LazyRows,
    init_params: str,
    random_state: np.random.RandomState,
    device: torch.device,
    *,
    is_pretrained: bool = True,
    for_all_rows: bool = True,
) -> Start:
    """Set the parameters that the training starts from.

    Where the embedding is not pretrained, 'auto' does without it if it can. Without ``for_all_rows`` the
    responsibilities may be None where there are many rows.
    """
    autoencoder.eval()
    keeps_weights = init_params == "random" and model.random_start_is_weights
    start = Start(init_params, None)
    if not keeps_weights:
        start = _start_mixture(
            model,
            autoencoder,
            X,
            init_params,
            random_state,
            device,
            is_pretrained=is_pretrained,
            for_all_rows=for_all_rows,
        )
    likelihood = model.likelihood
    if likelihood.learns_variance:
        some_rows = PickedRows(X, np.arange(0, len(X), max(1, len(X) // RESIDUAL_ROWS)))
        model.eval()
        squares = over_chunks(model, _residual_squares, some_rows, device)
        variance = squares.mean(0)
        if keeps_weights:
            variance = np.minimum(variance, RANDOM_START_VARIANCE)
        likelihood.set_variance(torch.from_numpy(variance))
    return start


def _start_mixture(
    model: Any,
    autoencoder: Autoencoder,
    X: np.ndarray | LazyRows,
    init_params: str,
    random_state: np.random.RandomState,
    device: torch.device,
    *,
    is_pretrained: bool,
    for_all_rows: bool,
) -> Start:
    """Moments of the mixture from responsibilities in the embedding of the rows, or of ``MAX_START_ROWS`` of them."""
    some: Any = X
    if len(X) > MAX_START_ROWS:
        some = PickedRows(X, np.sort(random_state.choice(len(X), MAX_START_ROWS, replace=False)))
    embedding = over_chunks(autoencoder, _embed, some, device)
    views = Views(embedding, is_trained=is_pretrained)
    place: Callable[[Any, torch.Tensor], torch.Tensor] = _embed
    if init_params == "auto" and X.shape[1] <= MAX_INPUT_FEATURES:
        views, place = views._replace(inputs=over_chunks(autoencoder, _standardise, some, device)), _standardise
    elif init_params == "auto":
        project = _principal_components(autoencoder, some, random_state, device)
        views = views._replace(components=over_chunks(autoencoder, project, some, device))
        place = _embed if is_pretrained else project
    name, responsibilities = choose_start(init_params, views, model.n_components, random_state)
    start = Start(name, torch.from_numpy(responsibilities))
    model.start_from(torch.from_numpy(embedding), start.responsibilities)
    if some is X or not for_all_rows:
        return start if some is X else Start(name, None)
    points = over_chunks(autoencoder, place, some, device)
    assign = spread(points, responsibilities, random_state, is_random=init_params == "random")
    all_rows = _assign_all(autoencoder, X, place, assign, model.n_components, device)
    all_rows[some.indices] = responsibilities
    start = Start(name, torch.from_numpy(all_rows))
    if hasattr(model, "starting_responsibilities"):  # kept for its first M-step
        model.starting_responsibilities = start.responsibilities
    return start


def _principal_components(
    autoencoder: Autoencoder, X: Any, random_state: np.random.RandomState, device: torch.device
) -> Callable[[Any, torch.Tensor], torch.Tensor]:
    """A function that gives rows (n, D) their first principal components (n, ``N_PRINCIPAL``)."""
    n_rows = min(len(X), PRINCIPAL_ROWS, max(2 * N_PRINCIPAL, PRINCIPAL_VALUES // X.shape[1]))
    some = PickedRows(X, np.sort(random_state.choice(len(X), n_rows, replace=False)))
    rows = over_chunks(autoencoder, _standardise, some, device)
    pca = PCA(min(N_PRINCIPAL, *rows.shape), random_state=random_state).fit(rows)
    mean, directions = torch.from_numpy(pca.mean_), torch.from_numpy(pca.components_)

    def project(autoencoder: Any, rows: torch.Tensor) -> torch.Tensor:
        standardised = autoencoder.standardise(rows)
        return (standardised - mean.to(standardised)) @ directions.to(standardised).T

    return project


def _assign_all(
    autoencoder: Autoencoder,
    X: np.ndarray | LazyRows,
    place: Callable[[Any, torch.Tensor], torch.Tensor],
    assign: Callable[[np.ndarray], np.ndarray],
    n_components: int,
    device: torch.device,
) -> np.ndarray:
    """A table (N, K) of responsibilities, by ``assign`` at the points where ``place`` puts the rows."""

    def place_and_assign(autoencoder: Any, rows: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(assign(place(autoencoder, rows).numpy(force=True)))

    return over_chunks(autoencoder, place_and_assign, X, device, out=make_table((len(X), n_components)))


def _n_held(plan: Plan) -> int:
    """Epochs that hold on to the start; after them, of three or more, come two at least, to be compared."""
    n = plan.n_epochs
    return min(int(HELD_SHARE * n), max(n // 2, n - 2))


def make_guide(start: Start, plan: Plan) -> Guide | None:
    """The start's responsibilities for the first epochs; none where they are random."""
    n_epochs = _n_held(plan)
    if start.name == "random" or n_epochs == 0:
        return None
    held = torch.from_numpy(make_table(tuple(start.responsibilities.shape)))
    for log_part, part in zip(held.split(GUIDE_ROWS), start.responsibilities.split(GUIDE_ROWS), strict=True):
        torch.log(part.float().clamp_min(torch.finfo(torch.float32).tiny), out=log_part)
    return Guide(held, n_epochs)


def _embed(autoencoder: Any, rows: torch.Tensor) -> torch.Tensor:
    return autoencoder.embed(rows)


def _standardise(autoencoder: Any, rows: torch.Tensor) -> torch.Tensor:
    return autoencoder.standardise(rows)


def _residual_squares(model: Any, rows: torch.Tensor) -> torch.Tensor:
    return model.residual_squares(rows)


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
