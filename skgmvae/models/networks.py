"""Bodies and heads of the networks."""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

__all__ = [
    "GaussianHead",
    "bound_log_variance",
    "draw_weights",
    "make_conv_body",
    "make_conv_decoder",
    "make_mlp",
    "make_mlp_body",
    "set_constant_variance",
    "unset",
]

Layer = TypeVar("Layer", bound=nn.Module)

# (filters, kernel, stride, padding) per layer: Dilokthanakul et al. 2016, tables A.1 and A.3
PAPER_CONVOLUTIONS = {
    28: ((16, 6, 1, 0), (32, 6, 1, 0), (64, 4, 2, 1)),
    32: ((64, 4, 2, 1), (128, 4, 2, 1), (246, 4, 2, 1)),
}
DENSE_AFTER_CONVOLUTIONS = 500
MIN_LOG_VARIANCE, MAX_LOG_VARIANCE = -30.0, 10.0  # of a latent dimension, for samples far from the training data


def bound_log_variance(head: nn.Module, log_variance: Tensor) -> Tensor:
    """The log-variance (..., L) of a head, bounded in evaluation mode: its exponential could overflow for outliers."""
    return log_variance if head.training else log_variance.clamp(MIN_LOG_VARIANCE, MAX_LOG_VARIANCE)


@torch.no_grad()
def set_constant_variance(head: nn.Module, variance: float) -> None:
    """Let a head, which may be stacked, have approximately this variance for every sample and dimension."""
    log_variance: Any = head.log_variance
    log_variance.weight.mul_(0.1)
    log_variance.bias.fill_(math.log(variance))


class GaussianHead(nn.Module):
    """Two linear layers on a body: the mean and the log-variance of a diagonal Gaussian.

    Parameters
    ----------
    in_features : int
    out_features : int
    """

    __call__: Callable[..., tuple[Tensor, Tensor]]  # forward

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.mean = unset(nn.Linear, in_features, out_features)
        self.log_variance = unset(nn.Linear, in_features, out_features)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(mean, log_variance), each (..., out_features), from (..., in_features)."""
        return self.mean(features), bound_log_variance(self, self.log_variance(features))


def unset(layer: type[Layer], *arguments: Any, **options: Any) -> Layer:
    """A layer with uninitialized weights: torch's constructors would draw them from the global generator.

    ``torch.nn.utils.skip_init`` makes them on the meta device first, for which torch loads its symbolic shapes.
    """
    made = layer.__new__(layer)
    made.__dict__["reset_parameters"] = lambda: None
    layer.__init__(made, *arguments, **options, dtype=torch.float32)
    del made.__dict__["reset_parameters"]
    return made


@torch.no_grad()
def draw_weights(module: nn.Module, generator: torch.Generator | None = None, *, for_relu: bool = False) -> None:
    """Random weights of every linear and convolutional layer.

    Parameters
    ----------
    module : nn.Module
    generator : torch.Generator, optional
        None: torch's global generator.
    for_relu : bool
        Initialize linear layers for ReLU (He et al. 2015), with zero biases. torch's default, which the other layers
        use, reduces the variance sixfold per layer, which costs deep bodies their first epochs.
    """
    for layer in module.modules():
        if not isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            continue
        if for_relu and isinstance(layer, nn.Linear):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=generator)
            layer.bias.zero_()
            continue
        nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5.0), generator=generator)
        if layer.bias is not None:
            bound = 1.0 / math.sqrt(layer.weight[0].numel())
            layer.bias.uniform_(-bound, bound, generator=generator)


def make_mlp_body(in_features: int, hidden_layer_sizes: Sequence[int]) -> tuple[nn.Sequential, int]:
    """Linear layers with ReLU; returns the body and its output width."""
    sizes = (in_features, *hidden_layer_sizes)
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        layers += [unset(nn.Linear, fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*layers), sizes[-1]


def make_mlp(in_features: int, hidden_layer_sizes: Sequence[int], out_features: int) -> nn.Sequential:
    """A body and a linear output layer."""
    body, width = make_mlp_body(in_features, hidden_layer_sizes)
    return body.append(unset(nn.Linear, width, out_features))


def choose_convolutions(height: int, width: int) -> tuple[tuple[int, int, int, int], ...]:
    """(filters, kernel, stride, padding) per layer for images of this size.

    Those of the paper for 28 × 28 and 32 × 32; otherwise 4 × 4 filters of stride 2, with 32, 64, 128, … channels, until
    the shorter side is 4 or less (at least one layer, at most four).
    """
    if height == width and height in PAPER_CONVOLUTIONS:
        return PAPER_CONVOLUTIONS[height]
    layers = [(32, 4, 2, 1)]
    side = min(height, width) // 2
    while side > 4 and len(layers) < 4:
        layers.append((2 * layers[-1][0], 4, 2, 1))
        side //= 2
    return tuple(layers)


def convolution_sides(image_shape: Sequence[int]) -> list[tuple[int, int]]:
    """Height and width before the first and after each convolution."""
    sides = [(image_shape[1], image_shape[2])]
    for _, kernel, stride, padding in choose_convolutions(*sides[0]):
        height, width = ((side + 2 * padding - kernel) // stride + 1 for side in sides[-1])
        sides.append((height, width))
    return sides


def make_conv_body(image_shape: Sequence[int]) -> tuple[nn.Sequential, int]:
    """Convolutions and one dense layer, each with batch norm and ReLU (table A.1).

    Parameters
    ----------
    image_shape : (C, H, W)

    Returns
    -------
    body : nn.Sequential
        Maps flat rows (N, C·H·W) to features.
    width : int
    """
    channels = image_shape[0]
    layers: list[nn.Module] = [nn.Unflatten(1, tuple(image_shape))]
    for filters, kernel, stride, padding in choose_convolutions(*image_shape[1:]):
        layers += [
            unset(nn.Conv2d, channels, filters, kernel, stride, padding),
            nn.BatchNorm2d(filters, dtype=torch.float32),
            nn.ReLU(),
        ]
        channels = filters
    height, width = convolution_sides(image_shape)[-1]
    layers += [nn.Flatten(), unset(nn.Linear, channels * height * width, DENSE_AFTER_CONVOLUTIONS)]
    layers += [nn.BatchNorm1d(DENSE_AFTER_CONVOLUTIONS, dtype=torch.float32), nn.ReLU()]
    return nn.Sequential(*layers), DENSE_AFTER_CONVOLUTIONS


def mirror_convolutions(image_shape: Sequence[int]) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """(inputs, outputs, options) of each transposed convolution that leads back to ``image_shape``."""
    convolutions, sides = choose_convolutions(*image_shape[1:]), convolution_sides(image_shape)
    channels = [image_shape[0], *(layer[0] for layer in convolutions)]
    for i in reversed(range(len(convolutions))):
        _, kernel, stride, padding = convolutions[i]
        # a side that is not divisible by the stride needs output padding
        (before_h, before_w), (after_h, after_w) = sides[i], sides[i + 1]
        shrink = 2 * padding - kernel
        extra = (before_h - (after_h - 1) * stride + shrink, before_w - (after_w - 1) * stride + shrink)
        options = {"kernel_size": kernel, "stride": stride, "padding": padding, "output_padding": extra}
        yield channels[i + 1], channels[i], options


def make_conv_decoder(latent_dim: int, image_shape: Sequence[int]) -> nn.Sequential:
    """The mirror of :func:`make_conv_body` with transposed convolutions (table A.3); flat rows out."""
    channels = choose_convolutions(*image_shape[1:])[-1][0]
    height, width = convolution_sides(image_shape)[-1]
    layers: list[nn.Module] = []
    for fan_in, fan_out in (
        (latent_dim, DENSE_AFTER_CONVOLUTIONS),
        (DENSE_AFTER_CONVOLUTIONS, channels * height * width),
    ):
        layers += [unset(nn.Linear, fan_in, fan_out), nn.BatchNorm1d(fan_out, dtype=torch.float32), nn.ReLU()]
    layers.append(nn.Unflatten(1, (channels, height, width)))
    for i, (fan_in, fan_out, options) in enumerate(mirror_convolutions(image_shape)):
        if i > 0:
            layers += [nn.BatchNorm2d(fan_in, dtype=torch.float32), nn.ReLU()]
        layers.append(unset(nn.ConvTranspose2d, fan_in, fan_out, **options))
    layers.append(nn.Flatten())
    return nn.Sequential(*layers)
