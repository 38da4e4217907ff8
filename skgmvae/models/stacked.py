"""Bodies and heads of K stacked networks: batched products and grouped convolutions.

Every network maps (N, K, inputs) to (N, K, outputs). The first axis of every parameter has K entries or K blocks:
component ``c`` is entry, or block, ``c``.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from skgmvae.models.networks import (
    DENSE_AFTER_CONVOLUTIONS,
    bound_log_variance,
    choose_convolutions,
    convolution_sides,
    draw_weights,
    mirror_convolutions,
    unset,
)

__all__ = [
    "StackedGaussianHead",
    "StackedLinear",
    "copy_linear_layers",
    "draw_stacked_weights",
    "lay_out",
    "make_stacked_body",
    "make_stacked_conv_body",
    "make_stacked_conv_decoder",
    "make_stacked_mlp",
    "stacked_layer",
    "take_own",
]

MAX_HEIGHT = 64  # of a table of rows that are processed together


class StackedLinear(nn.Module):
    """K linear layers: (N, K, in) to (N, K, out), one batched product.

    Parameters
    ----------
    n_stacked, in_features, out_features : int
    """

    __call__: Callable[..., Tensor]  # forward

    def __init__(self, n_stacked: int, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_stacked, in_features, out_features, dtype=torch.float32))
        self.bias = nn.Parameter(torch.zeros(n_stacked, out_features, dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        """A x + b for every component, (N, K, out) from (N, K, in)."""
        # the product has the components first; both transpositions are views
        return torch.baddbmm(self.bias.unsqueeze(1), x.transpose(0, 1), self.weight).transpose(0, 1)

    @torch.no_grad()
    def draw_weights(self, generator: torch.Generator | None = None) -> None:
        """Random weights: each slice as :func:`~skgmvae.models.networks.draw_weights` draws those of a layer."""
        for weight in self.weight:
            nn.init.kaiming_uniform_(weight.T, nonlinearity="relu", generator=generator)

    @torch.no_grad()
    def copy_from(self, layer: nn.Linear) -> None:
        """Copy the weights of ``layer`` to all components."""
        self.weight.copy_(layer.weight.T)
        self.bias.copy_(layer.bias)


class StackedGaussianHead(nn.Module):
    """K times the mean and the log-variance of a diagonal Gaussian.

    Parameters
    ----------
    n_stacked, in_features, out_features : int
    """

    __call__: Callable[..., tuple[Tensor, Tensor]]  # forward

    def __init__(self, n_stacked: int, in_features: int, out_features: int) -> None:
        super().__init__()
        self.mean = StackedLinear(n_stacked, in_features, out_features)
        self.log_variance = StackedLinear(n_stacked, in_features, out_features)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(mean, log_variance), each (N, K, out_features), from (N, K, in_features)."""
        return self.mean(features), bound_log_variance(self, self.log_variance(features))


class StackedLinearPath(nn.Module):
    """K times the linear maps beside an encoder and a decoder, as :class:`~skgmvae.models.autoencoder.LinearPath`.

    They add nothing until they are initialized.

    Parameters
    ----------
    n_stacked, n_features, latent_dim : int
    """

    def __init__(self, n_stacked: int, n_features: int, latent_dim: int) -> None:
        super().__init__()
        self.encoder = StackedLinear(n_stacked, n_features, latent_dim)
        self.decoder = StackedLinear(n_stacked, latent_dim, n_features)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)


def make_stacked_body(n_stacked: int, in_features: int, hidden_layer_sizes: Sequence[int]) -> tuple[nn.Sequential, int]:
    """Linear layers with ReLU; returns the body and its output width."""
    sizes = (in_features, *hidden_layer_sizes)
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        layers += [StackedLinear(n_stacked, fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*layers), sizes[-1]


def make_stacked_mlp(
    n_stacked: int, in_features: int, hidden_layer_sizes: Sequence[int], out_features: int
) -> nn.Sequential:
    """A body and a linear output layer."""
    body, width = make_stacked_body(n_stacked, in_features, hidden_layer_sizes)
    return body.append(StackedLinear(n_stacked, width, out_features))


def draw_stacked_weights(module: nn.Module, generator: torch.Generator | None = None) -> None:
    """Random weights of every layer of a stack."""
    draw_weights(module, generator)
    for layer in module.modules():
        if isinstance(layer, StackedLinear):
            layer.draw_weights(generator)


def copy_linear_layers(stacked: Iterable[nn.Module], single: Iterable[nn.Module]) -> None:
    """Copy the linear layers of one network to all components of a stack of the same sizes."""
    sources = [layer for layer in single if isinstance(layer, nn.Linear)]
    targets = [layer for layer in stacked if isinstance(layer, StackedLinear)]
    for target, source in zip(targets, sources, strict=True):
        target.copy_from(source)


def _norm(n_stacked: int, channels: int) -> nn.GroupNorm:
    """Normalization over one sample of one component.

    Batch norm would mix in samples of other components, and its running averages would lag in the few steps between
    two E-steps.
    """
    return nn.GroupNorm(n_stacked, n_stacked * channels, dtype=torch.float32)


def _dense(n_stacked: int, fan_in: int, fan_out: int) -> list[nn.Module]:
    """(N, K, fan_in) to (N, K, fan_out), normalized, with ReLU."""
    norm = [nn.Flatten(), _norm(n_stacked, fan_out), nn.ReLU(), nn.Unflatten(1, (n_stacked, fan_out))]
    return [StackedLinear(n_stacked, fan_in, fan_out), *norm]


def make_stacked_conv_body(n_stacked: int, image_shape: Sequence[int]) -> tuple[nn.Sequential, int]:
    """As :func:`~skgmvae.models.networks.make_conv_body`, K times by grouped convolutions.

    Parameters
    ----------
    n_stacked : int
    image_shape : (C, H, W)

    Returns
    -------
    body : nn.Sequential
        Maps rows (N, K, C·H·W) to features.
    width : int
    """
    K, channels = n_stacked, image_shape[0]
    layers: list[nn.Module] = [nn.Unflatten(2, tuple(image_shape)), nn.Flatten(1, 2)]
    for filters, kernel, stride, padding in choose_convolutions(*image_shape[1:]):
        layers.append(unset(nn.Conv2d, K * channels, K * filters, kernel, stride, padding, groups=K))
        layers += [_norm(K, filters), nn.ReLU()]
        channels = filters
    height, width = convolution_sides(image_shape)[-1]
    n_inputs = channels * height * width
    layers += [nn.Flatten(), nn.Unflatten(1, (K, n_inputs)), *_dense(K, n_inputs, DENSE_AFTER_CONVOLUTIONS)]
    return nn.Sequential(*layers), DENSE_AFTER_CONVOLUTIONS


def make_stacked_conv_decoder(n_stacked: int, latent_dim: int, image_shape: Sequence[int]) -> nn.Sequential:
    """The mirror of :func:`make_stacked_conv_body`; rows (N, K, C·H·W) out."""
    K = n_stacked
    channels = choose_convolutions(*image_shape[1:])[-1][0]
    height, width = convolution_sides(image_shape)[-1]
    n_inputs = channels * height * width
    layers = _dense(K, latent_dim, DENSE_AFTER_CONVOLUTIONS) + _dense(K, DENSE_AFTER_CONVOLUTIONS, n_inputs)
    layers += [nn.Unflatten(2, (channels, height, width)), nn.Flatten(1, 2)]
    for i, (fan_in, fan_out, options) in enumerate(mirror_convolutions(image_shape)):
        if i > 0:
            layers += [_norm(K, fan_in), nn.ReLU()]
        layers.append(unset(nn.ConvTranspose2d, K * fan_in, K * fan_out, groups=K, **options))
    layers += [nn.Flatten(), nn.Unflatten(1, (K, image_shape[0] * image_shape[1] * image_shape[2]))]
    return nn.Sequential(*layers)


def stacked_layer(layers: nn.Sequential, index: int) -> StackedLinear:
    """The linear layer at ``index``."""
    return cast(StackedLinear, layers[index])


def lay_out(networks: Tensor, n_stacked: int) -> tuple[Tensor, list[tuple[int, Tensor]]]:
    """Arrange rows in tables (height, K) with one column for each network.

    Parameters
    ----------
    networks : Tensor of shape (N,)
        The network of each row.
    n_stacked : int

    Returns
    -------
    place : Tensor of shape (N,)
        Index of each row in its column.
    tables : list of (int, Tensor)
        Height of each table, and its rows.
    """
    counts = torch.bincount(networks, minlength=n_stacked)
    by_network = networks.argsort(stable=True)
    place = torch.empty_like(by_network)
    first = (counts.cumsum(0) - counts)[networks[by_network]]
    place[by_network] = torch.arange(len(networks), device=networks.device) - first
    n_tables = torch.bincount(place // MAX_HEIGHT)
    rows = (place // MAX_HEIGHT).argsort(stable=True).split(n_tables.tolist())
    place = place % MAX_HEIGHT
    return place, [(int(place[part].max()) + 1, part) for part in rows]


def take_own(values: Tensor, networks: Tensor) -> Tensor:
    """The values of network ``networks[n]`` for each row n: (N, D) from (N, K, D) and networks (N,)."""
    index = networks.reshape(-1, 1, 1).expand(-1, 1, values.shape[-1])
    return values.gather(1, index).squeeze(1)
