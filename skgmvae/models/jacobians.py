"""Outputs of networks and their Jacobians, at many points at a time."""

import threading
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from skgmvae.models.stacked import StackedLinear

__all__ = ["differentiate", "differentiate_decoder"]

FORWARD_MODE = threading.RLock()  # torch has one level of derivatives in forward mode for all threads


def differentiate(function: Callable[[Tensor], Tensor], z: Tensor) -> tuple[Tensor, Tensor]:
    """Output (..., D) at points (..., L), and its Jacobian (..., L, D), both without gradients.

    Every point has an output of its own.
    """
    _load_forward_mode()

    def push(direction: Tensor) -> Any:
        """Derivatives (..., D) along a direction (L,)."""
        return torch.func.jvp(function, (z,), (direction.expand_as(z),))[1]

    # within inference_mode, or from tensors made there, some versions of torch cannot do this
    with FORWARD_MODE, torch.inference_mode(False), torch.no_grad():
        z = z.clone()
        directions = torch.eye(z.shape[-1], dtype=z.dtype, device=z.device)
        slopes: Tensor = torch.func.vmap(push)(directions)
        return function(z), slopes.movedim(0, -2)


@cache
def _load_forward_mode() -> None:
    """A first derivative in forward mode, without torch's DeprecationWarning of its own code, which it then loads."""
    one = torch.ones(1, dtype=torch.float64, device="cpu")
    with FORWARD_MODE, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.func.jvp(torch.square, (one,), (one,))


def differentiate_decoder(model: Any, z: Tensor) -> tuple[Tensor, Tensor]:
    """Output (..., D) of a model's decoder and its Jacobian (..., L, D) at points (..., L)."""
    is_exact = model.autocast_dtype is None
    found = _differentiate_layers(list(model.decoder), z) if is_exact else None
    if found is None:
        return differentiate(model.decode, z)
    output, jacobian = found
    if model.linear is None:
        return output, jacobian
    layer = model.linear.decoder
    weight = layer.weight.T if isinstance(layer, nn.Linear) else layer.weight
    straight = layer(z.reshape(-1, *z.shape[-weight.dim() + 1 :])).reshape(output.shape)
    return output + straight, jacobian + weight


def _differentiate_layers(layers: Sequence[Any], z: Tensor) -> tuple[Tensor, Tensor] | None:
    """The same of linear layers with ReLU between them, by products of their weights; None if there are others.

    Of stacked layers, the points are (..., K, L), the outputs (..., K, D) and the Jacobians (..., K, L, D). Derivatives
    of the latent variables are carried forward or, if there are fewer features, those of the features backward.
    """
    linear, between = layers[::2], layers[1::2]
    if not all(isinstance(layer, nn.ReLU) for layer in between):
        return None
    if all(isinstance(layer, nn.Linear) for layer in linear):
        weights, points = [layer.weight.T for layer in linear], z.reshape(-1, z.shape[-1])
    elif all(isinstance(layer, StackedLinear) for layer in linear):
        weights, points = [layer.weight for layer in linear], z.reshape(-1, *z.shape[-2:])
    else:
        return None
    output, active = points, []
    for i, layer in enumerate(linear):
        output = layer(output)
        if i < len(between):
            active.append(output > 0.0)
            output = output.relu()
    is_stacked = weights[0].dim() == 3
    if is_stacked:  # the products have the components first
        active = [each.transpose(0, 1) for each in active]
    jacobian = _multiply(weights, active, points.shape[0])
    if is_stacked:
        jacobian = jacobian.transpose(0, 1)
    return output.reshape(*z.shape[:-1], -1), jacobian.reshape(*z.shape, -1)


def _multiply(weights: Sequence[Tensor], active: Sequence[Tensor], n_points: int) -> Tensor:
    """The Jacobians (..., n, L, D) from weights (..., in, out) and from which hidden units (..., n, H) are active."""
    if weights[-1].shape[-1] < weights[0].shape[-2]:
        weights, active = [weight.mT for weight in reversed(weights)], list(reversed(active))
        return _multiply(weights, active, n_points).mT
    first = weights[0]
    product = first.unsqueeze(-3).expand(*first.shape[:-2], n_points, -1, -1)
    for is_active, weight in zip(active, weights[1:], strict=True):
        product = product * is_active.unsqueeze(-2)
        # one product for all points: (..., n·L, H) with (..., H, out)
        product = (product.flatten(-3, -2) @ weight).unflatten(-2, product.shape[-3:-1])
    return product
