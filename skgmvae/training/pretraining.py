"""The first phase: the model's encoder and decoder as a plain autoencoder."""

from dataclasses import dataclass

import numpy as np
import torch

from skgmvae.data.batches import as_rows
from skgmvae.models.autoencoder import Autoencoder
from skgmvae.models.likelihoods import Bernoulli, Gaussian
from skgmvae.runtime import check_device, seeded
from skgmvae.training.train import TrainConfig, make_net, train


@dataclass(frozen=True)
class Architecture:
    """What an autoencoder is made of; plain values, so that it can be part of a cache key.

    Attributes
    ----------
    n_features, latent_dim : int
    hidden_layer_sizes : tuple of int
    image_shape : tuple of int or None
    likelihood : {'bernoulli', 'gaussian', 'unit_gaussian'}
    location, scale : tuple of float
        Constants of the Gaussian likelihood's standardization; empty for Bernoulli, ones for 'unit_gaussian'.
    """

    n_features: int
    latent_dim: int
    hidden_layer_sizes: tuple[int, ...]
    image_shape: tuple[int, ...] | None
    likelihood: str
    location: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()


def make_autoencoder(architecture: Architecture) -> Autoencoder:
    """An autoencoder with random weights."""
    if architecture.likelihood == "bernoulli":
        likelihood: Bernoulli | Gaussian = Bernoulli()
    else:
        constants = (
            torch.tensor(values, dtype=torch.float64) for values in (architecture.location, architecture.scale)
        )
        likelihood = Gaussian(*constants, learns_variance=architecture.likelihood == "gaussian")
    return Autoencoder(
        architecture.n_features,
        architecture.latent_dim,
        likelihood,
        architecture.hidden_layer_sizes,
        architecture.image_shape,
    )


def pretrain(
    X: np.ndarray, architecture: Architecture, config: TrainConfig, seed: int, verbose: int = 0
) -> tuple[dict[str, np.ndarray], list[float]]:
    """Weights of a trained autoencoder, and its reconstruction term per epoch.

    A pure function of plain values, for :class:`joblib.Memory`.

    Parameters
    ----------
    X : ndarray of shape (N, D)
    architecture : Architecture
    config : TrainConfig
    seed : int
    verbose : int, default=0

    Returns
    -------
    weights : dict of str to ndarray
    log_likelihoods : list of float
        Mean log p(x | z = E_q[z]) per epoch, in nats.

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C: there is no mixture yet that would be worth keeping.
    """
    with seeded(seed, check_device(config.device)):
        net = make_net(make_autoencoder(architecture), config)
        if config.n_epochs > 0 and train(net, as_rows(X), config, phase="pretraining", verbose=verbose).interrupted:
            raise KeyboardInterrupt
    weights = {name: tensor.numpy(force=True) for name, tensor in net.module_.state_dict().items()}
    return weights, [record["log_likelihood"] for record in net.history]
