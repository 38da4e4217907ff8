"""Training with early stopping: some samples are held out, and decide what is kept."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skgmvae.data.training_data import TrainingData
from skgmvae.initialization.initialize import Initialization, initialize_linear
from skgmvae.runtime import RandomStream
from skgmvae.training.clamping import clamp_responsibilities
from skgmvae.training.config import FitConfig
from skgmvae.training.net import ELBONet
from skgmvae.training.train import TrainOutcome, train
from skgmvae.training.validation import HeldOut, is_better, split_rows

__all__ = ["train_with_held_out"]

MOST_DIVERGENCE = 0.05  # nats, of the initial responsibilities from p(c|x), that need no longer training
LONGER = 2  # times as many epochs


def train_with_held_out(
    net: ELBONet, data: TrainingData, config: FitConfig, responsibilities: Tensor, random: RandomStream, **options: Any
) -> TrainOutcome:
    """Train on some samples, and keep what is best for the others.

    With a linear path the model begins as the mixture of the samples trained on. If its components are not the initial
    clusters (N, K) after the training, as where these are not ellipses, it is trained once more, for longer; unless
    there is a clear gain in the end, it is the mixture of all samples.
    """
    model, seed = net.module_, random.seed
    rest, others = split_rows(responsibilities, config.training.validation_fraction, np.random.RandomState(seed))
    training, held_out = data.part(rest), HeldOut(data.part(others), responsibilities[others], *model.noise_shape)
    init = Initialization("", responsibilities[rest])

    def run(n_epochs: int) -> TrainOutcome:
        config_now = replace(config.training, n_epochs=n_epochs)
        clamped = clamp_responsibilities(init, config_now, has_own_table=config.net_type.has_own_table)
        return train(net, training, config_now, random, clamped=clamped, held_out=held_out, **options)

    n_epochs = config.training.n_epochs
    if not config.architecture.linear_path:
        return run(n_epochs)
    _be_mixture(model, training, responsibilities[rest], seed)
    before = held_out.score(model)
    outcome = run(n_epochs)
    after = held_out.score(model)
    if config.training.may_extend and after.divergence.mean() > MOST_DIVERGENCE and not outcome.interrupted:
        if hasattr(model, "initial_responsibilities"):
            model.initial_responsibilities = responsibilities[rest]
        outcome = join_outcomes(outcome, run(LONGER * n_epochs), n_epochs)
        after = held_out.score(model)
    if outcome.best_epoch and is_better(after, before):
        return outcome
    _be_mixture(model, data, responsibilities, seed)
    return replace(outcome, best_epoch=0)


def join_outcomes(first: TrainOutcome, second: TrainOutcome, n_epochs: int) -> TrainOutcome:
    """Of two trainings, the first of ``n_epochs``."""
    best = first.best_epoch if not second.best_epoch else second.best_epoch + n_epochs
    return replace(second, best_epoch=best, validation_scores=first.validation_scores + second.validation_scores[1:])


def _be_mixture(model: Any, data: TrainingData, responsibilities: Tensor, seed: int) -> None:
    """Let the model be the mixture of the samples with these responsibilities (N, K)."""
    rows = torch.from_numpy(np.array(data.X, np.float64, order="C"))
    points = model.likelihood.standardize(rows, torch.float64)
    initialize_linear(model, points, responsibilities, np.random.RandomState(seed))
