"""Shifts of quasi-random points that depend on the values of a sample alone (Cranley and Patterson 1976)."""

import torch
from torch import Tensor

__all__ = ["hash_rows", "shift_points"]

BITS = 2**31
OF_NAN = 0x7FF8000000000000
_GOLDEN = -7046029254386353131  # 2⁶⁴ divided by the golden ratio, as a signed number
_FACTORS = (-4658895280553007687, -7723592293110705685)


def shift_points(points: Tensor, shifts: Tensor) -> Tensor:
    """Points (n, S, W) in the open unit cube from points (S, W), shifted modulo one by (n, W)."""
    shifted = (points.to(shifts) + shifts.unsqueeze(1)).frac()
    least = torch.finfo(shifted.dtype).eps
    return shifted.clamp(least, 1.0 - least)


def hash_rows(x: Tensor, width: int, seed: int) -> Tensor:
    """Numbers (N, width), uniform in [0, 1), that depend on the values of a row (N, D) and the seed alone."""
    bits = (x.double() + 0.0).view(torch.int64)  # no negative zero
    bits = bits.masked_fill(x.isnan(), OF_NAN)  # one of many
    odd = torch.arange(1, 2 * x.shape[1], 2, device=x.device) * _GOLDEN
    of_row = _scramble((_scramble(bits) * odd).sum(1) + seed)
    of_column = torch.arange(1, width + 1, device=x.device) * _GOLDEN
    numbers = _scramble(of_row.unsqueeze(1) + of_column) & (BITS - 1)
    return (numbers.to(torch.float64) / BITS).to(x.dtype)


def _scramble(numbers: Tensor) -> Tensor:
    """Integers (...) whose every bit depends on all bits of the number (the finalizer of SplitMix64)."""
    for shift, factor in zip((30, 27), _FACTORS, strict=True):
        numbers = (numbers ^ ((numbers >> shift) & (2 ** (64 - shift) - 1))) * factor
    return numbers ^ ((numbers >> 31) & (2**33 - 1))
