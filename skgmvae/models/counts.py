"""The likelihood of counts: Poisson or negative binomial."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skgmvae.models.heads import average, observe
from skgmvae.models.likelihoods import LOG_VARIANCE_PACE

__all__ = ["CountHead", "draw_gamma"]

MOST_LOG_RATE = 30.0  # the exponential of larger outputs would leave float32
LEAST_SIZE, MOST_SIZE = 1e-2, 1e4  # of a negative binomial; with the largest it is nearly a Poisson distribution
LEAST_RATE = 1e-6  # initially


class CountHead(nn.Module):
    """x_d ~ Poisson(exp(output_d)) of the first columns, negative binomial with the same mean of the last ones.

    The variance of a negative binomial is m + m²/r for the mean m; r is learned. Network input is the standardized
    logarithm of 1 + x.

    Parameters
    ----------
    location, scale : Tensor of shape (P,)
        Of log(1 + x).
    n_dispersed : int
        Number of negative binomial columns.
    n_copies : int, optional
        Number of stacked outputs (..., N, K, P), each with r of its own.
    """

    double_buffers = ("location", "scale")  # not cast with the networks

    location: Tensor
    scale: Tensor

    def __init__(self, location: Tensor, scale: Tensor, n_dispersed: int, n_copies: int | None = None) -> None:
        super().__init__()
        self.register_buffer("location", location)
        self.register_buffer("scale", scale)
        self.n_plain = len(location) - n_dispersed
        shape = (n_dispersed,) if n_copies is None else (n_copies, n_dispersed)
        self.scaled_log_size = nn.Parameter(torch.zeros(shape, dtype=torch.float32))

    @property
    def log_size(self) -> Tensor:
        """log r, (n_dispersed,) or (K, n_dispersed)."""
        return (LOG_VARIANCE_PACE * self.scaled_log_size).clamp(math.log(LEAST_SIZE), math.log(MOST_SIZE))

    def _overdispersion(self) -> Tensor:
        """1/r, zero of Poisson columns, (P,) or (K, P)."""
        return F.pad(torch.exp(-self.log_size), (self.n_plain, 0))

    def standardize(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Network input (..., P) for counts (..., P)."""
        return ((x.double().clamp_min(0.0).log1p() - self.location) / self.scale).to(dtype)

    def restore(self, standardized: Tensor) -> Tensor:
        """Counts (..., P) for network input (..., P)."""
        return (self.location + self.scale * standardized).expm1().round().clamp_min(0.0).to(standardized.dtype)

    def supports(self, x: Tensor) -> Tensor:
        """Which values (..., P) can be observed: whole numbers from zero on."""
        return ((x >= 0.0) & (x == x.round())) | x.isnan()

    def log_prob(self, x: Tensor, output: Tensor, offsets: Tensor | None = None) -> Tensor:
        """Sum of the log-probabilities, (..., N), of network input (..., N, P) under outputs (..., N, P).

        With what components add to the outputs, (..., K, P): in each of them, (..., N, K).
        """
        if offsets is not None:
            x, output = x.unsqueeze(-2), output.unsqueeze(-2) + offsets.unsqueeze(-3)
        plain, dispersed = self._log_prob_of_parts(x, output)
        return plain.sum(-1) + dispersed.sum(-1)

    def log_prob_of_each(self, x: Tensor, output: Tensor) -> Tensor:
        """The log-probabilities (..., P) of network input under outputs; zero of missing values."""
        return torch.cat(self._log_prob_of_parts(x, output), -1)

    def _log_prob_of_parts(self, x: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
        """The same of the Poisson columns (..., P), and of the negative binomial ones."""
        x, is_observed = observe(x)
        y, log_rate, n = self.restore(x), output.clamp_max(MOST_LOG_RATE), self.n_plain
        plain = y[..., :n] * log_rate[..., :n] - log_rate[..., :n].exp() - torch.lgamma(y[..., :n] + 1.0)
        plain = plain * is_observed[..., :n]
        if n == y.shape[-1]:
            return plain, plain[..., n:]
        y, log_rate, log_size = y[..., n:], log_rate[..., n:], self.log_size
        size, log_sum = log_size.exp(), torch.logaddexp(log_size, log_rate)
        choices = torch.lgamma(y + size) - torch.lgamma(size) - torch.lgamma(y + 1.0)
        dispersed = size * (log_size - log_sum) + y * (log_rate - log_sum) + choices
        return plain, dispersed * is_observed[..., n:]

    def differentiate(self, x: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
        """First derivative and Fisher information with respect to the outputs, (..., P)."""
        rate = self.mean(output)
        shrink = 1.0 / (1.0 + rate * self._overdispersion())
        return (self.restore(x) - rate) * shrink, rate * shrink

    def mean(self, output: Tensor) -> Tensor:
        """Rates (..., P) for outputs (..., P)."""
        return output.clamp_max(MOST_LOG_RATE).exp()

    def collapse(self, expected: Tensor) -> Tensor:
        """The expectations (..., P), which estimates may exceed."""
        return expected.clamp_min(0.0)

    to_numbers = collapse

    def variance(self, output: Tensor) -> Tensor:
        """Variances (..., P)."""
        rate = self.mean(output)
        return rate * (1.0 + rate * self._overdispersion())

    def draw(self, output: Tensor, generator: torch.Generator) -> Tensor:
        """Counts (..., P) for outputs (..., P): of a negative binomial by a Poisson rate that is gamma distributed."""
        rate, n = self.mean(output), self.n_plain
        size = self.log_size.exp().expand_as(rate[..., n:])
        rate = torch.cat([rate[..., :n], rate[..., n:] * draw_gamma(size, generator) / size], -1)
        return torch.poisson(rate, generator=generator)

    @torch.no_grad()
    def estimate(self, x: Tensor, responsibilities: Tensor) -> Tensor:
        """Outputs (K, P) that match the moments of network input (N, P) with responsibilities (N, K); and sets r."""
        y, R, n = self.restore(x.double()), responsibilities, self.n_plain
        rate = average(y, R).clamp_min(LEAST_RATE)
        y, of_dispersed = y[:, n:], rate[:, n:]
        squares = torch.einsum("nk,nkp->kp", R, (y.unsqueeze(1) - of_dispersed).square().nan_to_num())
        counts = R.T @ (~y.isnan()).to(R)
        excess, expected = squares - counts * of_dispersed, counts * of_dispersed.square()
        if self.scaled_log_size.dim() == 1:  # all components have the same
            excess, expected = excess.sum(0), expected.sum(0)
        overdispersion = (excess / expected.clamp_min(LEAST_RATE)).clamp(1.0 / MOST_SIZE, 1.0 / LEAST_SIZE)
        self.scaled_log_size.copy_(-overdispersion.log() / LOG_VARIANCE_PACE)
        return rate.log()


def draw_gamma(shape: Tensor, generator: torch.Generator) -> Tensor:
    """Draws (...) of gamma distributions of these shapes (...) and scale one (Marsaglia and Tsang 2000).

    torch's own draws take no generator but the global one.
    """
    d = shape + 2.0 / 3.0  # of shape + 1, which a power of a uniform number brings back to the shape
    drawn, is_open = torch.zeros_like(d), torch.ones_like(d, dtype=torch.bool)
    while bool(is_open.any()):
        noise, uniform = torch.empty_like(d).normal_(generator=generator), torch.empty_like(d)
        cube = (1.0 + noise / (3.0 * d.sqrt())).clamp_min(0.0) ** 3
        bound = 0.5 * noise.square() + d * (1.0 - cube + cube.log())  # minus infinity for a cube of zero
        accepted = is_open & (uniform.uniform_(generator=generator).log() < bound)
        drawn, is_open = torch.where(accepted, d * cube, drawn), is_open & ~accepted
    return drawn * torch.empty_like(d).uniform_(generator=generator).pow(1.0 / shape)
