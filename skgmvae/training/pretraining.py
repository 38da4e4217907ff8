"""Pretraining: the encoder and decoder of the model as a plain autoencoder."""

from typing import Any, TypeAlias

import torch

from skgmvae._evaluation import count_weights
from skgmvae.data.arrays import Array
from skgmvae.data.training_data import TrainingData
from skgmvae.models.autoencoder import Autoencoder
from skgmvae.models.columns import Column, Columns
from skgmvae.models.likelihoods import Bernoulli, Gaussian
from skgmvae.runtime import RandomStream
from skgmvae.training.checkpoint import PhaseCheckpoint
from skgmvae.training.config import Architecture, TrainConfig
from skgmvae.training.train import make_net, train

__all__ = ["count_work", "make_autoencoder", "pretrain"]

Weights: TypeAlias = dict[str, Array]


def make_autoencoder(architecture: Architecture, generator: torch.Generator | None = None) -> Autoencoder:
    """An autoencoder with random weights, drawn from torch's global generator if None is given."""
    if architecture.likelihood == "bernoulli":
        likelihood: Bernoulli | Gaussian | Columns = Bernoulli()
    else:
        location, scale = (
            torch.tensor(values, dtype=torch.float64) for values in (architecture.location, architecture.scale)
        )
        floor = architecture.linear_path
        if architecture.likelihood == "columns":
            kinds = [Column(*column) for column in architecture.columns]
            likelihood = Columns(kinds, location, scale, has_own_floor=floor)
        else:
            learns = architecture.likelihood == "gaussian"
            likelihood = Gaussian(location, scale, learns_variance=learns, has_own_floor=floor)
    return Autoencoder(
        architecture.width,
        architecture.latent_dim,
        likelihood,
        architecture.hidden_layer_sizes,
        architecture.image_shape,
        generator,
        has_linear_path=architecture.linear_path,
    )


def count_work(architecture: Architecture, batch_size: int) -> float:
    """Multiply-adds per step, by which the number of threads is chosen."""
    return float(batch_size * count_weights(make_autoencoder(architecture, RandomStream(0).on("cpu"))))


def pretrain(
    data: TrainingData,
    architecture: Architecture,
    config: TrainConfig,
    seed: int,
    environment: dict[str, str] | None = None,
    verbose: int = 0,
    checkpoint: PhaseCheckpoint | None = None,
) -> tuple[Weights, list[float]]:
    """Train an autoencoder; return its weights and its reconstruction term per epoch.

    A pure function of plain values, for :class:`joblib.Memory`.

    Parameters
    ----------
    data : TrainingData
    architecture : Architecture
    config : TrainConfig
    seed : int
    environment : dict, optional
        What else the result depends on, for the key of the cache.
    verbose : int, default=0
    checkpoint : PhaseCheckpoint, optional

    Returns
    -------
    weights : dict of str to ndarray
    log_likelihoods : list of float
        Mean log p(x | z = E_q[z]) per epoch, in nats.

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C, since there is no mixture to keep yet.
    """
    random = RandomStream(seed)
    net = make_net(make_autoencoder(architecture, random.on("cpu")), config)
    if config.n_epochs > 0:
        options: dict[str, Any] = {"phase": "pretraining", "verbose": verbose, "checkpoint": checkpoint}
        if train(net, data, config, random, **options).interrupted:
            raise KeyboardInterrupt
    weights = {name: tensor.numpy(force=True) for name, tensor in net.module_.state_dict().items()}
    return weights, [record["log_likelihood"] for record in net.history]
