"""Adaptive importance sampling of log p(x)."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.quasirandom import SobolEngine

from skgmvae.functional import log_mean_exp, log_normal, reparameterize

__all__ = ["count_draws", "draw_noise", "log_evidence"]

ROUNDS = (16, 16, 32, 64)  # draws per sample; each round but the last adapts the proposal of the next
MANY_FEATURES = 100  # above it, half as many draws, since the networks are usually large
TEMPER = 0.5  # power of the weights in the adaptation: untempered, few draws would have all the weight
WIDEN = 1.25  # factor of the standard deviations of an adapted proposal: too wide costs less than too narrow


def count_draws(n_features: int) -> tuple[int, ...]:
    """Draws per sample in each round."""
    return tuple(S // 2 for S in ROUNDS) if n_features > MANY_FEATURES else ROUNDS


def draw_noise(n_draws: int, width: int, seed: int) -> Tensor:
    """Quasi-random standard normal numbers (S, width), float64, from a scrambled Sobol sequence.

    Any aligned block of the sequence is suitable; this is the second.
    """
    engine = SobolEngine(width, scramble=True, seed=seed)
    engine.fast_forward(n_draws)  # the first point has the precision of torch's default dtype
    points = engine.draw(n_draws, dtype=torch.float64)
    half_step = 2.0 ** -(SobolEngine.MAXBIT + 1)  # neither 0 nor 1
    noise: Tensor = torch.special.ndtri(points + half_step)
    return noise


def log_evidence(
    log_joint: Callable[[Tensor], Tensor], mean: Tensor, log_variance: Tensor, rounds: Sequence[Tensor]
) -> Tensor:
    """Estimate of log ∫ p(x, z) dz: log (1/S) Σ_s p(x, z_s) / r(z_s) with the draws z_s of the last round.

    r is q(z|x) = N(mean, diag exp(log_variance)) in the first round. In each further round it is a Gaussian with the
    moments of the previous round, whose draws are weighted by the square root of p(x, z) / r(z); it is slightly wider,
    and nowhere narrower than q (adaptive importance sampling, Cappé et al. 2004). Since the noise of the last round is
    independent of its r, the estimate of p(x) is unbiased for any r, and that of log p(x) is a lower bound in
    expectation.

    Parameters
    ----------
    log_joint : callable
        Maps z (S, ..., L) to log p(x, z), shape (S, ...).
    mean, log_variance : Tensor of shape (..., L)
        Of q(z|x).
    rounds : sequence of Tensor of shape (S, L)
        Standard normal noise of each round, shared along the axes between S and L.

    Returns
    -------
    Tensor of shape (...)
    """
    least = log_variance
    for number, noise in enumerate(rounds, start=1):
        z = reparameterize(mean, log_variance, noise.reshape(len(noise), *[1] * (mean.dim() - 1), -1))
        log_weights = log_joint(z) - log_normal(z, mean, log_variance)
        if number < len(rounds):
            log_weights = log_weights.clamp_min(torch.finfo(log_weights.dtype).min)  # zeros become equal weights
            weights = torch.softmax(TEMPER * log_weights, 0).unsqueeze(-1)
            mean = (weights * z).sum(0)
            variance = (weights * (z - mean).square()).sum(0)
            log_variance = torch.maximum(variance.log(), least) + 2.0 * math.log(WIDEN)
    return log_mean_exp(log_weights, 0)
