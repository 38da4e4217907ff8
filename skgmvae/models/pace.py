"""Optimizer steps in units of the noise: how far the outputs of a model with a linear path move at a time.

Where columns follow from others, hardly any noise is left around a linear decoder. Adam's steps, which are of the same
size for all outputs, lead out of it at once, and hundreds of further ones back to where the model began.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["find_paces", "take_paced"]

FULL_AT = 1.0 / 3.0  # standard deviation, of standardized values, from which steps are the optimizer's own


def take_paced(module: nn.Module, step: Callable[[], Any]) -> None:
    """Take a step of an optimizer, shortened where a model with a linear path has little noise."""
    networks = getattr(module, "autoencoder", module)
    paces = find_paces(networks) if getattr(networks, "linear", None) is not None else []
    before = [parameter.detach().clone() for parameter, _ in paces]
    step()
    with torch.no_grad():
        for (parameter, pace), start in zip(paces, before, strict=True):
            torch.lerp(start, parameter, pace, out=parameter)


@torch.no_grad()
def find_paces(networks: Any) -> list[tuple[nn.Parameter, Tensor]]:
    """Parameters of an autoencoder, or of several side by side, and the shares of a step that they take.

    Decoder and linear path move in proportion to the standard deviation of the noise of their outputs, encoder and
    linear path to that of q(z|x). None if no output is the mean of a Gaussian.
    """
    gaussian = networks.likelihood.gaussian
    if gaussian is None:
        return []
    outputs = F.pad(_share(gaussian.log_variance), (0, networks.likelihood.n_heads), value=1.0)
    means, head = _share(networks.head.log_variance.bias), networks.head.mean
    *_, last = networks.decoder
    layers = (last, outputs), (networks.linear.decoder, outputs), (head, means), (networks.linear.encoder, means)
    return [pair for layer, pace in layers for pair in ((layer.weight, _align(pace, layer)), (layer.bias, pace))]


def _share(log_variance: Tensor) -> Tensor:
    """Of a step (..., F), from log-variances (..., F)."""
    return (torch.exp(0.5 * log_variance) / FULL_AT).clamp_max(1.0)


def _align(pace: Tensor, layer: Any) -> Tensor:
    """For weights (F, in) of a layer, or (K, in, F) of stacked ones."""
    return pace.unsqueeze(-1 if isinstance(layer, nn.Linear) else -2)
