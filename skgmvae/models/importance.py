"""log p(x) by importance sampling whose proposals follow the draws."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.quasirandom import SobolEngine

from skgmvae.functional import log_mean_exp, log_normal, reparameterize

__all__ = ["count_draws", "draw_noise", "log_evidence"]

ROUNDS = (16, 16, 32, 64)  # draws per row; each round but the last moves the proposal of the next
MANY_FEATURES = 100  # above it, half as many: the networks are large as a rule
TEMPER = 0.5  # power of the weights that move it: whole, few draws would have all of it
WIDEN = 1.25  # the deviations of a proposal that was moved: too wide loses less than too narrow


def count_draws(n_features: int) -> tuple[int, ...]:
    """Draws per row of each round."""
    return tuple(S // 2 for S in ROUNDS) if n_features > MANY_FEATURES else ROUNDS


def draw_noise(n_draws: int, width: int, seed: int) -> Tensor:
    """Standard normal numbers (S, width), float64, that lie more evenly than independent ones (scrambled Sobol).

    Any aligned block of the sequence does; this one is the second.
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

    r is q(z|x) = N(mean, diag exp(log_variance)) in the first round, and in the others a Gaussian with the moments of
    the round before, its draws weighed by the root of p(x, z) / r(z), a little wider and nowhere narrower than q
    (adaptive importance sampling, Cappé et al. 2004). As the noise of the last round is independent of its r, the
    estimate of p(x) is unbiased whatever r is, and that of log p(x) a lower bound in expectation.

    Parameters
    ----------
    log_joint : callable
        From z (S, ..., L) to log p(x, z), shape (S, ...).
    mean, log_variance : Tensor of shape (..., L)
        Of q(z|x).
    rounds : sequence of Tensor of shape (S, L)
        Standard normal noise of each round, shared by all that the axes in the middle stand for.

    Returns
    -------
    Tensor of shape (...)
    """
    least = log_variance
    for number, noise in enumerate(rounds, start=1):
        z = reparameterize(mean, log_variance, noise.reshape(len(noise), *[1] * (mean.dim() - 1), -1))
        log_weights = log_joint(z) - log_normal(z, mean, log_variance)
        if number < len(rounds):
            log_weights = log_weights.clamp_min(torch.finfo(log_weights.dtype).min)  # of several zeros make equals
            weights = torch.softmax(TEMPER * log_weights, 0).unsqueeze(-1)
            mean = (weights * z).sum(0)
            variance = (weights * (z - mean).square()).sum(0)
            log_variance = torch.maximum(variance.log(), least) + 2.0 * math.log(WIDEN)
    return log_mean_exp(log_weights, 0)
