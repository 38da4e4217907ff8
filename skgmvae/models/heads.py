"""Likelihoods of columns that are not continuous: binary ones and categories; counts are in ``counts``.

Each is that of several columns of its kind, given the decoder's outputs for them. Missing values are NaN.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["BinaryHead", "CategoricalHead", "average", "logsumexp_of_sums", "observe"]

UNSEEN = 1e-6  # probability of a category that there was not in fit


class BinaryHead(nn.Module):
    """x_d ~ Bernoulli(sigmoid(output_d)), of P columns."""

    def standardize(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Network input (..., P) for values (..., P): the values."""
        return x.to(dtype)

    def supports(self, x: Tensor) -> Tensor:
        """Which values (..., P) can be observed."""
        return ((x >= 0.0) & (x <= 1.0)) | x.isnan()

    def log_prob(self, x: Tensor, output: Tensor, offsets: Tensor | None = None) -> Tensor:
        """Sum of the log-probabilities, (..., N), of network input (..., N, P) under outputs (..., N, P).

        With what components add to the outputs, (..., K, P): in each of them, (..., N, K).
        """
        x, is_observed = observe(x)
        if offsets is None:
            return (x * output - F.softplus(output) * is_observed).sum(-1)
        of_zero = F.softplus(output.unsqueeze(-2) + offsets.unsqueeze(-3)) * is_observed.unsqueeze(-2)
        return (x * output).sum(-1, keepdim=True) + x @ offsets.mT.to(x.dtype) - of_zero.sum(-1)

    def differentiate(self, x: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
        """First derivative and Fisher information with respect to the outputs, (..., P)."""
        p = torch.sigmoid(output)
        return x - p, p * (1.0 - p)

    def mean(self, output: Tensor) -> Tensor:
        """Probabilities (..., P) for outputs (..., P)."""
        return torch.sigmoid(output)

    def collapse(self, expected: Tensor) -> Tensor:
        """The expectations (..., P), which estimates may exceed."""
        return expected.clamp(0.0, 1.0)

    to_numbers = collapse

    def variance(self, output: Tensor) -> Tensor:
        """Variances (..., P)."""
        p = torch.sigmoid(output)
        return p * (1.0 - p)

    def draw(self, output: Tensor, generator: torch.Generator) -> Tensor:
        """Zeros and ones (..., P) for outputs (..., P)."""
        return torch.bernoulli(torch.sigmoid(output), generator=generator)

    def estimate(self, x: Tensor, responsibilities: Tensor) -> Tensor:
        """Outputs (K, P) that match the moments of network input (N, P) with responsibilities (N, K)."""
        return torch.logit(average(x, responsibilities))


class CategoricalHead(nn.Module):
    """x_d ~ Cat(softmax(outputs of column d)), of P columns with categories 0, 1, …; other values are new categories.

    A new category has a small probability that is the same in all components.

    Parameters
    ----------
    n_levels : sequence of int
        Numbers of categories of the columns; their sum is F.
    """

    _columns: Tensor
    _levels: Tensor

    def __init__(self, n_levels: Sequence[int]) -> None:
        super().__init__()
        self.n_levels = list(n_levels)
        columns = [column for column, n in enumerate(n_levels) for _ in range(n)]
        levels = [level for n in n_levels for level in range(n)]
        self.register_buffer("_columns", torch.tensor(columns, dtype=torch.int64), persistent=False)
        self.register_buffer("_levels", torch.tensor(levels, dtype=torch.int64), persistent=False)

    def split(self, values: Tensor) -> Sequence[Tensor]:
        """The parts (..., n_levels) of values (..., F) that belong to each column."""
        parts: Sequence[Tensor] = values.split(self.n_levels, -1)
        return parts

    def standardize(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Zeros and ones (..., F) for categories (..., P)."""
        expanded = x[..., self._columns]
        return (expanded == self._levels).to(dtype).masked_fill(expanded.isnan(), math.nan)

    def supports(self, x: Tensor) -> Tensor:
        """Which values (..., P) can be observed: all."""
        return torch.ones_like(x, dtype=torch.bool)

    def log_prob(self, x: Tensor, output: Tensor, offsets: Tensor | None = None) -> Tensor:
        """Sum of the log-probabilities, (..., N), of network input (..., N, F) under outputs (..., N, F).

        With what components add to the outputs, (..., K, F): in each of them, (..., N, K).
        """
        x, is_observed = observe(x)
        total = (x * output).sum(-1)
        if offsets is None:
            log_sums = [logits.logsumexp(-1) for logits in self.split(output)]
        else:
            total = total.unsqueeze(-1) + x @ offsets.mT.to(x.dtype)
            pairs = zip(self.split(output), self.split(offsets), strict=True)
            log_sums = [logsumexp_of_sums(logits, constants) for logits, constants in pairs]
            x, is_observed = x.unsqueeze(-2), is_observed.unsqueeze(-2)
        for one_hot, observed, log_sum in zip(self.split(x), self.split(is_observed), log_sums, strict=True):
            known = one_hot.sum(-1)
            is_new = observed[..., 0] - known
            total = total + is_new * math.log(UNSEEN) + known * (math.log1p(-UNSEEN) - log_sum)
        return total

    def differentiate(self, x: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
        """First derivative and diagonal of the Fisher information with respect to the outputs, (..., F)."""
        known = self._join([part.sum(-1, keepdim=True).expand_as(part) for part in self.split(x)], x)
        p = self.mean(output)
        return x - known * p, known * p * (1.0 - p)

    def mean(self, output: Tensor) -> Tensor:
        """Probabilities (..., F) for outputs (..., F)."""
        return self._join([part.softmax(-1) for part in self.split(output)], output)

    def _join(self, parts: Sequence[Tensor], like: Tensor) -> Tensor:
        """Values (..., F) from those of each column; without columns, ``like`` (..., 0)."""
        return torch.cat([*parts], -1) if parts else like

    def collapse(self, expected: Tensor) -> Tensor:
        """The most probable categories (..., P) for probabilities (..., F)."""
        return self._stack([part.argmax(-1) for part in self.split(expected)], expected)

    def to_numbers(self, expected: Tensor) -> Tensor:
        """Expectations (..., P) of the categories as numbers, for probabilities (..., F)."""
        return self._stack([part @ torch.arange(part.shape[-1]).to(part) for part in self.split(expected)], expected)

    def _stack(self, columns: Sequence[Tensor], like: Tensor) -> Tensor:
        """Values (..., P) from those of each column (...), of the type of ``like`` (..., F)."""
        return torch.stack([*columns], -1).to(like) if columns else like[..., :0]

    def variance(self, output: Tensor) -> Tensor:
        """Variances (..., P) of the categories as numbers."""
        expected = self.mean(output)
        squares = [part @ torch.arange(part.shape[-1]).to(part).square() for part in self.split(expected)]
        return self._stack(squares, expected) - self.to_numbers(expected).square()

    def draw(self, output: Tensor, generator: torch.Generator) -> Tensor:
        """Categories (..., P) for outputs (..., F)."""
        parts = [part.softmax(-1).flatten(0, -2) for part in self.split(output)]
        drawn = [torch.multinomial(part, 1, generator=generator).reshape(output.shape[:-1]) for part in parts]
        return self._stack(drawn, output)

    def estimate(self, x: Tensor, responsibilities: Tensor) -> Tensor:
        """Outputs (K, F) that match the moments of network input (N, F) with responsibilities (N, K)."""
        return average(x, responsibilities).log()


def logsumexp_of_sums(one: Tensor, other: Tensor) -> Tensor:
    """log Σ_j exp(a_nj + b_kj), (..., N, K), of a (..., N, J) and b (..., K, J): by a product of their exponentials.

    A sum that is further below the largest exponentials than the type can hold, 87 nats in float32, counts as this far
    below them. That is so only where a and b contradict each other as far.
    """
    tiny = torch.finfo(one.dtype).tiny
    maxima = [values.detach().amax(-1, keepdim=True) for values in (one, other)]
    factors = [(values - most).exp() for values, most in zip((one, other), maxima, strict=True)]
    return (factors[0] @ factors[1].mT).clamp_min(tiny).log() + maxima[0] + maxima[1].mT


def observe(x: Tensor) -> tuple[Tensor, Tensor]:
    """Values (...) with zero in place of NaN, and 1 where they are observed, else 0."""
    missing = x.isnan()
    return x.masked_fill(missing, 0.0), (~missing).to(x.dtype)


def average(x: Tensor, responsibilities: Tensor) -> Tensor:
    """Averages (K, P) of the observed values (N, P) with responsibilities (N, K), and one sample of their mean each.

    That mean is itself drawn to one half, so that no share is zero or one.
    """
    values, observed = observe(x)
    n_all = observed.sum(0)
    overall = (values.sum(0) + 0.5) / (n_all + 1.0)
    return (responsibilities.T @ values + overall) / (responsibilities.T @ observed + 1.0)
