"""Training with early stopping: some samples are held out, and decide what is kept."""

import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from skgmvae._evaluation import cast_networks
from skgmvae._warnings import warn
from skgmvae.data.arrays import Integers
from skgmvae.data.training_data import TrainingData
from skgmvae.initialization.config import Initialization
from skgmvae.initialization.likeliest import find_likeliest
from skgmvae.initialization.linear_start import initialize_linear
from skgmvae.initialization.representations import MAX_INIT_ROWS, subsample
from skgmvae.runtime import RandomStream
from skgmvae.training.callbacks import TrainingDivergedError
from skgmvae.training.checkpoint import PhaseCheckpoint
from skgmvae.training.clamping import clamp_responsibilities
from skgmvae.training.config import TrainConfig
from skgmvae.training.held_out import HeldOut, Scores, is_better, is_clear, is_open, split_rows
from skgmvae.training.net import ELBONet
from skgmvae.training.train import TrainOutcome, train
from skgmvae.training.unexplained import find_explained

__all__ = ["Setting", "train_with_held_out"]

LONGER, MORE_PATIENT = 2, 2  # times as many epochs, and checks without an improvement


@dataclass(frozen=True)
class Setting:
    """What the trainings with held-out samples of one fit share.

    Attributes
    ----------
    training : TrainConfig
    has_linear_path : bool
    has_own_table : bool
        Of the net.
    split_seed : int
        The same for all initializations of a fit, and for later continuations.
    may_move : bool, default=False
        Whether other clusters than the initial ones may be taken for a clearly higher likelihood.
    """

    training: TrainConfig
    has_linear_path: bool
    has_own_table: bool
    split_seed: int
    may_move: bool = False


def train_with_held_out(
    net: ELBONet,
    data: TrainingData,
    setting: Setting,
    responsibilities: Tensor,
    random: RandomStream,
    *,
    is_new: bool,
    checkpoint: PhaseCheckpoint | None = None,
    **options: Any,
) -> TrainOutcome:
    """Train on some samples, and keep what is best for the others.

    A new model with a linear path begins as the mixture of the samples trained on. If its components are not the
    clusters (N, K) after a training with a gain, as where these are not ellipses, it is trained once more, for longer;
    unless there is a clear gain in the end, it is the mixture of all samples. If the model follows the likelihood, and
    a mixture fitted by likelihood alone is clearly better in the end, all begins anew with that. Samples that no
    component explains take no part. A model that is trained further is left as it was unless there is a clear gain. A
    new one whose training diverges warns and remains the mixture.
    """
    model, fraction = net.module_, setting.training.validation_fraction
    split = split_rows(responsibilities, fraction, np.random.RandomState(setting.split_seed))
    explained = find_explained(model, data.X) if is_new and setting.has_linear_path else None
    if explained is not None:
        split = np.intersect1d(split[0], explained), np.intersect1d(split[1], explained)
    options |= {"is_new": is_new, "checkpoint": checkpoint}
    state, n_before = copy.deepcopy(model.state_dict()), len(net.history)
    outcome, kept = _train_split(net, data, split, setting, responsibilities, random, **options)
    may_move = setting.may_move and setting.has_linear_path and model.follows_likelihood
    if not is_new or not may_move or outcome.interrupted:
        return outcome
    trained = kept if outcome.best_epoch else None
    likelier = _find_likelier(model, state, data, split, responsibilities, trained, setting.split_seed)
    if likelier is None:
        return outcome
    n_done = len(net.history) - n_before
    cast_networks(model, torch.float64)
    model.load_state_dict(state)
    _be_mixture(model, data, likelier, setting.split_seed)
    second, _ = _train_split(net, data, split, setting, likelier, random, prefix="likelier-", **options)
    joined = join_outcomes(outcome, second, n_done)
    return replace(joined, best_epoch=second.best_epoch and joined.best_epoch, has_moved=True)


def _train_split(
    net: ELBONet,
    data: TrainingData,
    split: tuple[Integers, Integers],
    setting: Setting,
    responsibilities: Tensor,
    random: RandomStream,
    *,
    is_new: bool,
    checkpoint: PhaseCheckpoint | None,
    prefix: str = "",
    **options: Any,
) -> tuple[TrainOutcome, Scores]:
    """The outcome of a training on some samples, and the scores of the others under what was kept."""
    model, config, (rest, others) = net.module_, setting.training, split
    training, held_out = data.part(rest), HeldOut(data.part(others), responsibilities[others], *model.noise_shape)
    init = Initialization("", responsibilities[rest])

    def run(n_epochs: int, patience: int, name: str) -> TrainOutcome:
        if hasattr(model, "initial_responsibilities"):
            model.initial_responsibilities = init.responsibilities
        if hasattr(model, "learns_labels"):
            model.learns_labels = name == "longer"
        config_now = replace(config, n_epochs=n_epochs, n_iter_no_change=patience)
        clamped = clamp_responsibilities(init, config_now, has_own_table=setting.has_own_table)
        phase = None if checkpoint is None else checkpoint.beside(prefix + name)
        return train(net, training, config_now, random, clamped=clamped, held_out=held_out, checkpoint=phase, **options)

    is_mixture = is_new and setting.has_linear_path
    state = copy.deepcopy(model.state_dict())
    if is_mixture:
        _be_mixture(model, training, responsibilities[rest], setting.split_seed)
    before, n_before = held_out.score(model), len(net.history)
    try:
        outcome = run(config.n_epochs, config.n_iter_no_change, "first")
        after = held_out.score(model)
        if is_mixture and config.may_extend and is_open(after, before) and not outcome.interrupted:
            n_done = len(net.history) - n_before
            longer = run(LONGER * config.n_epochs, MORE_PATIENT * config.n_iter_no_change, "longer")
            outcome = join_outcomes(outcome, longer, n_done)
            after = held_out.score(model)
    except TrainingDivergedError as error:
        if not is_mixture:
            raise
        warn(f"{error} The model is its initial Gaussian mixture.", ConvergenceWarning)
        outcome = TrainOutcome(converged=True, interrupted=False)  # the warning has been given
    if (is_new and not is_mixture) or (outcome.best_epoch and is_better(after, before)):
        return replace(outcome, held_out_score=float(after.marginal.mean())), after
    cast_networks(model, torch.float64)
    model.load_state_dict(state)
    if is_mixture:
        # a training of the usual length has shown no clear gain: more epochs are no remedy
        outcome = replace(outcome, converged=outcome.converged or (config.may_extend and not outcome.interrupted))
        if hasattr(model, "initial_responsibilities"):
            model.initial_responsibilities = responsibilities
    return replace(outcome, best_epoch=0, held_out_score=float(before.marginal.mean())), before


def join_outcomes(first: TrainOutcome, second: TrainOutcome, n_epochs: int) -> TrainOutcome:
    """Of two trainings, the first of ``n_epochs``."""
    best = first.best_epoch if not second.best_epoch else second.best_epoch + n_epochs
    return replace(second, best_epoch=best, validation_scores=first.validation_scores + second.validation_scores[1:])


def _find_likelier(
    module: Any,
    state: dict[str, Tensor],
    data: TrainingData,
    split: tuple[Integers, Integers],
    responsibilities: Tensor,
    trained: Scores | None,
    seed: int,
) -> Tensor | None:
    """Responsibilities (N, K) of a mixture that is clearly better for samples left out than the initial one.

    If a training was kept, with these scores of the held-out samples, it has to be better for them than that, too.
    """
    if module.likelihood.n_heads:
        return None
    model = copy.deepcopy(module)
    cast_networks(model, torch.float64)
    model.load_state_dict(state)
    rest, others = split
    random_state = np.random.RandomState(seed)
    some = subsample(len(rest), random_state)
    rest = rest if some is None else rest[some]
    points = _standardize(model, data.part(rest).X)
    found = find_likeliest(points, responsibilities[rest].double(), random_state)
    if found is None or not is_clear(found.gains.numpy()):
        return None
    if trained is not None:
        initialize_linear(model, points, found.assign(points), random_state)
        held_out = HeldOut(data.part(others), responsibilities[others], *model.noise_shape)
        if not is_clear(held_out.score(model).marginal - trained.marginal):
            return None
    blocks = (data.X[first : first + MAX_INIT_ROWS] for first in range(0, len(data), MAX_INIT_ROWS))
    return torch.cat([found.assign(_standardize(model, block)) for block in blocks])


def _be_mixture(model: Any, data: TrainingData, responsibilities: Tensor, seed: int) -> None:
    """Let the model be the mixture of the samples with these responsibilities (N, K); of many, that of some."""
    random_state = np.random.RandomState(seed)
    some = subsample(len(data), random_state)
    if some is not None:
        data, responsibilities = data.part(some), responsibilities[some]
    initialize_linear(model, _standardize(model, data.X), responsibilities, random_state)


def _standardize(model: Any, X: Any) -> Tensor:
    points: Tensor = model.likelihood.standardize(torch.from_numpy(np.array(X, np.float64, order="C")), torch.float64)
    return points
