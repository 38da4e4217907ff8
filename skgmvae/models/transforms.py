"""Transforms of features after which they are normal, with their moments in the units of the data."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["TRANSFORMED", "Transform"]

TRANSFORMED = ("log_normal", "johnson_su")


class Transform(nn.Module):
    """y = log x of log-normal features, asinh((x − center) / width) of Johnson's SU distribution (1949), else x.

    Parameters
    ----------
    kinds : sequence of str
        Of the D features.
    center, width : Tensor of shape (D,)
        Constants of the features of Johnson's SU distribution.
    """

    double_buffers = ("center", "width")  # not cast with the networks

    is_log: Tensor
    is_sinh: Tensor | None
    center: Tensor
    width: Tensor

    def __init__(self, kinds: Sequence[str], center: Tensor, width: Tensor) -> None:
        super().__init__()
        is_log = torch.tensor([kind == "log_normal" for kind in kinds], dtype=torch.bool)
        is_sinh = None
        if "johnson_su" in kinds:
            is_sinh = torch.tensor([kind == "johnson_su" for kind in kinds], dtype=torch.bool)
        self.register_buffer("is_log", is_log, persistent=False)
        self.register_buffer("is_sinh", is_sinh, persistent=False)
        self.register_buffer("center", center, persistent=False)
        self.register_buffer("width", width, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Transformed features y (..., D) of samples (..., D), in float64; NaN of values that are impossible."""
        # these say nothing of the latent variables
        y = torch.where(self.is_log, x.double().log().masked_fill(x <= 0.0, math.nan), x)
        if self.is_sinh is None:
            return y
        return torch.where(self.is_sinh, torch.asinh((x.double() - self.center) / self.width), y)

    def invert(self, y: Tensor) -> Tensor:
        """Samples (..., D) of transformed features y (..., D)."""
        x = torch.where(self.is_log, y.exp(), y)
        return x if self.is_sinh is None else torch.where(self.is_sinh, self.center + self.width * y.sinh(), x)

    def log_slope(self, y: Tensor) -> Tensor:
        """log dx/dy at transformed features y (..., D)."""
        slope = torch.where(self.is_log, y, 0.0)
        if self.is_sinh is None:
            return slope
        log_cosh = torch.logaddexp(y, -y) - math.log(2.0)
        return torch.where(self.is_sinh, self.width.log() + log_cosh, slope)

    def supports(self, x: Tensor) -> Tensor:
        """Whether all values of samples (N, D) are possible, (N,)."""
        return ~(self.is_log & (x <= 0.0)).any(-1)

    def mean(self, location: Tensor, variance: Tensor) -> Tensor:
        """E[x] for y ~ N(location, variance), (..., D)."""
        mean = torch.where(self.is_log, torch.exp(location + 0.5 * variance), location)
        if self.is_sinh is None:
            return mean
        return torch.where(self.is_sinh, self.center + self.width * (0.5 * variance).exp() * location.sinh(), mean)

    def variance(self, location: Tensor, variance: Tensor) -> Tensor:
        """Var[x] for y ~ N(location, variance), (..., D)."""
        of_logs = variance.expm1() * self.mean(location, variance).square()
        found = torch.where(self.is_log, of_logs, variance)
        if self.is_sinh is None:
            return found
        spread = 0.5 * variance.expm1() * (variance.exp() * (2.0 * location).cosh() + 1.0)
        return torch.where(self.is_sinh, self.width.square() * spread, found)
