"""How far the layers of a model with a linear path move at a time.

Where columns follow from others, hardly any noise is left around a linear decoder. Adam's steps, which are of the same
size for all outputs, lead out of it at once, and hundreds of further ones back to where the model began. Hidden units
move the farther the more inputs they have, since Adam moves all weights alike (Yang et al. 2022, arXiv 2203.03466).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skgmvae.models.autoencoder import Autoencoder

__all__ = ["find_paces", "take_paced"]

FULL_AT = 1.0 / 3.0  # standard deviation, of standardized values, from which steps are the optimizer's own
FULL_UP_TO = 32  # inputs of a hidden layer, up to which they are


def take_paced(module: nn.Module, step: Callable[[], Any]) -> None:
    """Take a step of an optimizer, shortened where the autoencoder of a model has little noise, or layers many inputs.

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
    """Parameters (F, ...) of the networks, and the shares of a step that they take, (F, 1), (F,) or (1, 1).

    Decoder and linear path move in proportion to the standard deviation of the noise of their outputs, encoder and
    linear path to that of q(z|x); the weights of other layers in inverse proportion to the number of inputs. None
    without a linear path.
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
    pairs = [pair for layer, pace in layers for pair in ((layer.weight, pace.unsqueeze(-1)), (layer.bias, pace))]
    paced = {id(parameter) for parameter, _ in pairs}
    for layer in autoencoder.modules():
        if isinstance(layer, nn.Linear) and layer.in_features > FULL_UP_TO and id(layer.weight) not in paced:
            pairs.append((layer.weight, layer.weight.new_full((1, 1), FULL_UP_TO / layer.in_features)))
    return pairs


def _share(log_variance: Tensor) -> Tensor:
    """The shares of a step, (F,), from log-variances (F,)."""
    return (torch.exp(0.5 * log_variance) / FULL_AT).clamp_max(1.0)
