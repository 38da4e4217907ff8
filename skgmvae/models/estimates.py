"""Estimates of log p(x, c) from the weights of points, and whether the points are enough."""

from dataclasses import dataclass

import torch
from torch import Tensor

from skgmvae.functional import log_mean_exp

__all__ = ["Estimate", "average", "average_with_controls"]

# of the estimates of log p(x) and of any p(c|x), by their own spread, that need no further points
MOST_VARIANCE, MOST_POSTERIOR_VARIANCE = 0.005, 0.001


@dataclass(frozen=True)
class Estimate:
    """log p(x, c), (n, K), and whether it needs no further points, (n,)."""

    log_joint: Tensor
    is_enough: Tensor


def average(log_weights: Tensor) -> Estimate:
    """Estimate of log p(x, c) from log-weights (n, S, K) of points."""
    log_joint = log_mean_exp(log_weights, 1)
    totals = torch.softmax(torch.logsumexp(log_weights, -1), 1).unsqueeze(-1)  # of each point's weight in the sum
    residuals = totals * (torch.softmax(log_weights, -1) - torch.softmax(log_joint, -1).unsqueeze(1))
    return Estimate(log_joint, _is_enough(totals.squeeze(-1) - 1.0 / log_weights.shape[1], residuals))


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
    return Estimate(log_posterior + log_density, _is_enough((totals - of_controls).squeeze(-1), residuals))


def _is_enough(of_density: Tensor, of_posterior: Tensor) -> Tensor:
    """Whether relative errors of p(x), (n, S), and errors of p(c|x), (n, S, K), by point, are small in all, (n,)."""
    variance, of_worst = of_density.square().sum(1), of_posterior.square().sum(1).amax(-1)
    return (variance <= MOST_VARIANCE) & (of_worst <= MOST_POSTERIOR_VARIANCE)
