"""Estimates of log p(x, c) from the weights of points, and whether the points are enough."""

from typing import NamedTuple

import torch
from torch import Tensor

from skgmvae.functional import log_mean_exp

__all__ = ["Estimate", "average", "average_with_controls"]

# of the estimates of log p(x) and of any p(c|x), by their own spread, that need no further points
MOST_VARIANCE, MOST_POSTERIOR_VARIANCE = 0.005, 0.001
SETTLED, MOST_VARIANCE_OF_SETTLED = 1e-5, 0.1  # of p(c|x), and of log p(x) beside it where this is of no interest


class Estimate(NamedTuple):
    """log p(x, c), (n, K), with the variances by its own spread of log p(x), (n,), and of the worst p(c|x), (n,)."""

    log_joint: Tensor
    variance: Tensor
    posterior_variance: Tensor

    def needs_more(self, *, is_of_posterior: bool) -> Tensor:
        """Which samples, (n,), need further points, for p(x) and p(c|x) or for the latter alone."""
        is_enough = (self.variance <= MOST_VARIANCE) & (self.posterior_variance <= MOST_POSTERIOR_VARIANCE)
        if is_of_posterior:
            is_enough |= (self.posterior_variance <= SETTLED) & (self.variance <= MOST_VARIANCE_OF_SETTLED)
        return ~is_enough


def average(log_weights: Tensor) -> Estimate:
    """Estimate of log p(x, c) from log-weights (n, S, K) of points."""
    log_joint = log_mean_exp(log_weights, 1)
    totals = torch.softmax(torch.logsumexp(log_weights, -1), 1).unsqueeze(-1)  # of each point's weight in the sum
    residuals = totals * (torch.softmax(log_weights, -1) - torch.softmax(log_joint, -1).unsqueeze(1))
    return _make_estimate(log_joint, totals.squeeze(-1) - 1.0 / log_weights.shape[1], residuals)


def average_with_controls(log_weights: Tensor, log_controls: Tensor, log_laplace: Tensor) -> Estimate:
    """The same with log-weights (n, S, K) for a density whose integrals over u, log p(c|x) (n, K), are known.

    p(x) is estimated by a ratio of averages; p(c|x) too, or by a difference if c has fewer points than its share.
    """
    log_joint, log_control = log_mean_exp(log_weights, 1), log_mean_exp(log_controls, 1)
    log_means, log_controls_mean = torch.log_softmax(log_joint, -1), torch.log_softmax(log_control, -1)
    lack = log_laplace.exp() - log_controls_mean.exp()  # of points, negative for too many
    log_ratio = log_means + log_laplace - log_controls_mean
    log_sum = torch.logaddexp(log_means, lack.clamp_min(0.0).log())
    log_posterior = torch.log_softmax(torch.where(lack < 0.0, log_ratio, log_sum), -1)
    log_density = torch.logsumexp(log_joint, -1, keepdim=True) - torch.logsumexp(log_control, -1, keepdim=True)
    totals, of_controls = (
        torch.softmax(torch.logsumexp(each, -1), 1).unsqueeze(-1) for each in (log_weights, log_controls)
    )
    residuals = totals * (torch.softmax(log_weights, -1) - log_means.exp().unsqueeze(1))
    expected = torch.softmax(log_controls, -1) - log_controls_mean.exp().unsqueeze(1)
    residuals = residuals - of_controls * expected
    return _make_estimate(log_posterior + log_density, (totals - of_controls).squeeze(-1), residuals)


def _make_estimate(log_joint: Tensor, of_density: Tensor, of_posterior: Tensor) -> Estimate:
    """An estimate (n, K) with relative errors of p(x), (n, S), and errors of p(c|x), (n, S, K), by point."""
    return Estimate(log_joint, of_density.square().sum(1), of_posterior.square().sum(1).amax(-1))
