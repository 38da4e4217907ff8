"""Pretraining: the encoder and decoder of the model as a plain autoencoder."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import torch
from sklearn.utils.validation import check_memory

from skgmvae._collectives import from_first
from skgmvae._evaluation import count_weights
from skgmvae._ranks import is_first, n_ranks
from skgmvae.data.arrays import Array
from skgmvae.data.training_data import TrainingData
from skgmvae.initialization.contrastive import fit_contrastive_encoder, load_encoder
from skgmvae.models.autoencoder import Autoencoder
from skgmvae.models.columns import Column, Columns
from skgmvae.models.image_encoder import ImageEncoder
from skgmvae.models.likelihoods import Bernoulli, Gaussian
from skgmvae.runtime import RandomStream, describe_environment
from skgmvae.training.checkpoint import PhaseCheckpoint
from skgmvae.training.config import Architecture, FitConfig, TrainConfig
from skgmvae.training.train import make_net, train

__all__ = ["Pretrained", "count_work", "make_autoencoder", "pretrain", "pretrain_once"]

Weights: TypeAlias = dict[str, Array]
Result = TypeVar("Result")


@dataclass(frozen=True)
class Pretrained:
    """What all initializations of a fit share: weights of the autoencoder, and an encoder of contrastive features."""

    weights: Weights
    reconstruction: list[float]
    encoder: ImageEncoder | None
    seed: int


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


def pretrain_once(data: TrainingData, config: FitConfig, seed: int) -> Pretrained:
    """The pretraining of a fit, from the cache if it is there; the seed depends on nothing that it does not."""
    settings = config.pretraining.resolved()
    environment = (
        {} if config.memory is None else describe_environment(count_work(config.architecture, settings.batch_size))
    )
    options: dict[str, Any] = {"verbose": config.verbose, "checkpoint": config.name_phase("pretraining")}
    arguments = data, config.architecture, settings, seed, environment
    weights, reconstruction = call_cached(pretrain, config.memory, ["verbose", "checkpoint"], *arguments, **options)
    encoder, image_shape = None, config.init.image_shape
    if (
        isinstance(config.init.init_params, str)
        and config.init.init_params == "contrastive"
        and image_shape is not None
    ):
        phase = config.name_phase("contrastive")
        stored = None if phase is None else phase.read()
        if stored is not None:
            return Pretrained(weights, reconstruction, load_encoder(image_shape, stored[0]), seed)
        options = {"device": settings.device, "precision": settings.precision, "seed": seed, "environment": environment}
        options |= {"memory": config.memory, "verbose": config.verbose}
        encoder = from_first(lambda: fit_contrastive_encoder(data, image_shape, **options))
        if phase is not None:
            phase.write({name: tensor.numpy(force=True) for name, tensor in encoder.state_dict().items()}, {})
    return Pretrained(weights, reconstruction, encoder, seed)


def call_cached(
    function: Callable[..., Result], memory: Any, ignored: list[str], *arguments: Any, **options: Any
) -> Result:
    """The result of the function, from the cache if it is there; only the first rank reads and writes the cache."""
    cached = check_memory(memory).cache(function, ignore=ignored)
    if n_ranks() > 1 and from_first(lambda: bool(cached.check_call_in_cache(*arguments, **options))):
        found: Result = from_first(lambda: cached(*arguments, **options))
        return found
    call: Callable[..., Result] = cached if is_first() else function
    return call(*arguments, **options)


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
