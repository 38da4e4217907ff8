"""Optimizer steps in units of the noise: how far the outputs of a model with a linear path move at a time.

Where columns follow from others, hardly any noise is left around a linear decoder. Adam's steps, which are of the same
size for all outputs, lead out of it at once, and hundreds of further ones back to where the model began.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skgmvae.models.autoencoder import Autoencoder

__all__ = ["find_paces", "take_paced"]

FULL_AT = 1.0 / 3.0  # standard deviation, of standardized values, from which steps are the optimizer's own


def take_paced(module: nn.Module, step: Callable[[], Any]) -> None:
    """Take a step of an optimizer, shortened where the autoencoder of a model has little noise.

    Autoencoders of the components have posteriors of their own, which do not have to be found: their steps are full.
    """
    autoencoder = getattr(module, "autoencoder", None)
    paces = find_paces(autoencoder) if isinstance(autoencoder, Autoencoder) else []
    before = [parameter.detach().clone() for parameter, _ in paces]
    step()
    with torch.no_grad():
        for (parameter, pace), start in zip(paces, before, strict=True):
            torch.lerp(start, parameter, pace, out=parameter)


@torch.no_grad()
def find_paces(autoencoder: Autoencoder) -> list[tuple[nn.Parameter, Tensor]]:
    """Parameters (F, ...) of the networks, and the shares of a step that they take, (F, 1) or (F,).

    Decoder and linear path move in proportion to the standard deviation of the noise of their outputs, encoder and
    linear path to that of q(z|x). None without a linear path to means of Gaussians.
    """
    linear, gaussian = autoencoder.linear, autoencoder.likelihood.gaussian
    if linear is None or gaussian is None:
        return []
    outputs = F.pad(_share(gaussian.log_variance), (0, autoencoder.likelihood.n_heads), value=1.0)
    means = _share(autoencoder.head.log_variance.bias)
    layers: tuple[tuple[Any, Tensor], ...] = (
        (autoencoder.decoder[-1], outputs),
        (linear.decoder, outputs),
        (autoencoder.head.mean, means),
        (linear.encoder, means),
    )
    return [pair for layer, pace in layers for pair in ((layer.weight, pace.unsqueeze(-1)), (layer.bias, pace))]


def _share(log_variance: Tensor) -> Tensor:
    """The shares of a step, (F,), from log-variances (F,)."""
    return (torch.exp(0.5 * log_variance) / FULL_AT).clamp_max(1.0)
