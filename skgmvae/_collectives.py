"""Sums, exchanges and agreements of the ranks of a fit; where there is one rank, they change nothing."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from skgmvae._ranks import Share, alone, get_group, is_first, n_ranks, part_of

__all__ = [
    "add_gradients",
    "add_over_ranks",
    "average_over_ranks",
    "check_equal",
    "copy_from_first",
    "exchange",
    "from_all",
    "from_first",
    "is_any",
    "take_from_first",
]

ROWS_AT_ONCE = 2**17  # of tables that are exchanged
LOST = "Another rank of this fit has failed or ended; see its error. This rank cannot go on alone."

Value = TypeVar("Value")


def _communicate(collective: Callable[..., Any], *args: Any, **options: Any) -> None:
    try:
        collective(*args, **options, group=get_group())
    except RuntimeError as error:
        raise RuntimeError(LOST) from error


def add_over_ranks(values: Tensor) -> Tensor:
    """Sum over the ranks, in place."""
    if n_ranks() > 1:
        _communicate(dist.all_reduce, values)
    return values


def add_gradients(parameters: Iterable[Tensor], share: Share | None) -> None:
    """The gradients of the mean over a batch, from those of the mean over the share of each rank."""
    if share is None:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = add_over_ranks(torch.cat([gradient.reshape(-1) for gradient in gradients]).mul_(share.weight))
    for gradient, part in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


@torch.no_grad()
def average_over_ranks(tensors: Iterable[Tensor]) -> None:
    """Mean over the ranks, in place."""
    for tensor in tensors:
        tensor.copy_(add_over_ranks(tensor.clone()) / n_ranks())


@torch.no_grad()
def copy_from_first(tensors: Iterable[Tensor]) -> None:
    """The values of the first rank, in place."""
    for tensor in tensors if n_ranks() > 1 else ():
        values = tensor.contiguous()
        _communicate(dist.broadcast, values, 0)
        tensor.copy_(values)


def exchange(table: Tensor, indices: Tensor) -> None:
    """Complete a table of which each rank has computed the rows of its :func:`part_of` of ``indices``, in place."""
    number = n_ranks()
    for index in range(number) if number > 1 else ():
        for rows in indices[part_of(len(indices), index)].split(ROWS_AT_ONCE):
            if len(rows):
                values = table[rows]
                _communicate(dist.broadcast, values, index)
                table[rows] = values


def from_first(function: Callable[[], Value]) -> Value:
    """The result of ``function`` on the first rank, or the error that it raises there, for all ranks.

    The first rank is on its own meanwhile: another fit within ``function`` is not shared.
    """
    if n_ranks() == 1:
        return function()
    outcome: list[Any] = [None, None]
    if is_first():
        try:
            with alone():
                outcome[0] = function()
        except (Exception, KeyboardInterrupt) as error:
            outcome[1] = error
    own = outcome[0]
    _communicate(dist.broadcast_object_list, outcome, 0)
    if outcome[1] is not None:
        raise outcome[1]
    value: Value = own if is_first() else outcome[0]
    return value


def take_from_first(value: Value) -> Value:
    """The value of the first rank."""
    return from_first(lambda: value)


def from_all(value: Value) -> list[Value]:
    """The values of all ranks."""
    values: list[Any] = [value] * n_ranks()
    if len(values) > 1:
        _communicate(dist.all_gather_object, values, value)
    return values


def is_any(flag: bool) -> bool:
    """Whether the flag is set on any rank."""
    return (
        flag if n_ranks() == 1 else bool(add_over_ranks(torch.tensor(float(flag), dtype=torch.float32, device="cpu")))
    )


def check_equal(values: Mapping[str, Any], remedy: str) -> None:
    """Raise on all ranks if they have different values under a name."""
    if n_ranks() == 1:
        return
    all_values = from_all(dict(values))
    names = [name for name in values if any(other.get(name) != all_values[0].get(name) for other in all_values)]
    if names:
        raise ValueError(f"The ranks of this fit have different values of {', '.join(names)}. {remedy}")
