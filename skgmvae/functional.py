"""Formulas of mixtures and variational bounds, as pure functions of tensors.

Axes are ordered Monte Carlo (M), samples (N), components (K), latent dimensions or features (L, D).
Computations stay in log space, without small constants inside logarithms.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "entropy_normal",
    "expected_log_normal",
    "kl_categorical",
    "kl_normal",
    "kl_standard_normal",
    "learn_labels",
    "log_mean_exp",
    "log_normal",
    "log_normal_full",
    "log_standard_normal",
    "mean_over_draws",
    "noise_like",
    "reparameterize",
    "scale_gradient",
    "temper_posterior",
    "weighted_moments",
    "whiten",
]

LOG_2PI = math.log(2.0 * math.pi)
MAX_LOG_INVERSE_TEMPERATURE = 20.0


def log_normal(x: Tensor, mean: Tensor, log_variance: Tensor, precision: Tensor | None = None) -> Tensor:
    """Σ_d log N(x_d; mean_d, exp(log_variance_d)), shape ``(...)`` from ``(..., D)``.

    ``precision`` is exp(−log_variance), where it is known.
    """
    if precision is None:
        precision = torch.exp(-log_variance)
    squares = (x - mean).square() * precision
    return -0.5 * (squares + log_variance + LOG_2PI).sum(-1)


def log_standard_normal(x: Tensor) -> Tensor:
    """Σ_d log N(x_d; 0, 1), shape ``(...)`` from ``(..., D)``."""
    return -0.5 * (x.square() + LOG_2PI).sum(-1)


def entropy_normal(log_variance: Tensor) -> Tensor:
    """H[N(·, diag exp(log_variance))] = ½ Σ_d (log_variance_d + 1 + log 2π), shape ``(...)`` from ``(..., D)``."""
    return 0.5 * (log_variance.sum(-1) + log_variance.shape[-1] * (1.0 + LOG_2PI))


def kl_normal(
    mean_q: Tensor,
    log_variance_q: Tensor,
    mean_p: Tensor,
    log_variance_p: Tensor,
    precision_p: Tensor | None = None,
) -> Tensor:
    """KL(N(mean_q, diag) ‖ N(mean_p, diag)), shape ``(...)`` from ``(..., D)``.

    ``precision_p`` is exp(−log_variance_p), where it is known.
    """
    if precision_p is None:
        precision_p = torch.exp(-log_variance_p)
    squares = ((mean_q - mean_p).square() + torch.exp(log_variance_q)) * precision_p
    return 0.5 * (squares + log_variance_p - log_variance_q - 1.0).sum(-1)


def kl_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, diag) ‖ N(0, I)), shape ``(...)`` from ``(..., D)``."""
    return 0.5 * (torch.exp(log_variance) - log_variance - 1.0 + mean.square()).sum(-1)


def whiten(z: Tensor, mean: Tensor, precision_factor: Tensor) -> Tensor:
    """A_c (z − m_c) for every component, with S_c⁻¹ = A_cᵀ A_c.

    Parameters
    ----------
    z : Tensor of shape (..., L)
    mean : Tensor of shape (K, L)
    precision_factor : Tensor of shape (K or 1, L, L)
        Lower-triangular factors A_c.

    Returns
    -------
    Tensor of shape (..., K, L)
    """
    K, L = mean.shape
    A = precision_factor.expand(K, L, L)
    offsets = torch.bmm(A, mean.unsqueeze(-1)).flatten()
    # one product of (..., L) with (L, K·L) instead of K small ones
    return F.linear(z, A.reshape(K * L, L), -offsets).reshape(*z.shape[:-1], K, L)


def log_normal_full(z: Tensor, mean: Tensor, precision_factor: Tensor) -> Tensor:
    """log N(z; m_c, S_c) = Σ log diag A_c − ½‖A_c (z − m_c)‖² − ½ L log 2π.

    Parameters
    ----------
    z : Tensor of shape (..., L)
    mean : Tensor of shape (K, L)
    precision_factor : Tensor of shape (K or 1, L, L)

    Returns
    -------
    Tensor of shape (..., K)
    """
    squares = whiten(z, mean, precision_factor).square().sum(-1)
    return _log_determinant(precision_factor) - 0.5 * (squares + mean.shape[-1] * LOG_2PI)


def _log_determinant(precision_factor: Tensor) -> Tensor:
    """Σ log diag A_c, shape (K or 1,)."""
    return precision_factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def expected_log_normal(
    mean_q: Tensor,
    log_variance_q: Tensor,
    mean: Tensor,
    precision_factor: Tensor,
    log_determinant: Tensor | None = None,
) -> Tensor:
    """E_q[log N(z; m_c, S_c)] = log N(μ; m_c, S_c) − ½ tr(S_c⁻¹ diag σ²).

    Parameters
    ----------
    mean_q, log_variance_q : Tensor of shape (N, L)
        μ and log σ² of q(z|x).
    mean : Tensor of shape (K, L)
    precision_factor : Tensor of shape (K or 1, L, L)
    log_determinant : Tensor of shape (K or 1,), optional
        Σ log diag A_c, where it is known; its gradient through the diagonal is expensive.

    Returns
    -------
    Tensor of shape (N, K)
    """
    if log_determinant is None:
        log_determinant = _log_determinant(precision_factor)
    squares = whiten(mean_q, mean, precision_factor).square().sum(-1)
    # tr(AᵀA diag σ²) = Σ_j σ²_j Σ_i A²_ij
    trace = log_variance_q.exp() @ precision_factor.square().sum(-2).T
    normalizer = log_determinant - 0.5 * mean.shape[-1] * LOG_2PI
    return torch.add(normalizer, squares + trace, alpha=-0.5)


def kl_categorical(log_q: Tensor, log_p: Tensor, q: Tensor | None = None) -> Tensor:
    """KL(q ‖ p) = Σ_c q_c (log q_c − log p_c), shape ``(...)`` from log q ``(..., K)`` and log p ``(K,)``.

    Both must be finite, as log-softmaxes of finite values are. ``q`` is exp(log q), where it is known.
    """
    if q is None:
        q = log_q.exp()
    return (q * log_q).sum(-1) - q @ log_p


def log_mean_exp(x: Tensor, dim: int) -> Tensor:
    """log (1/S) Σ_s exp(x_s) along ``dim``, shape ``(...)`` from ``(S, ...)`` for dim 0."""
    return torch.logsumexp(x, dim) - math.log(x.shape[dim])


def reparameterize(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """mean + exp(½ log_variance) · noise, shape ``(M, ...)`` or ``(...)`` as the noise; the moments are ``(...)``."""
    return torch.addcmul(mean, torch.exp(0.5 * log_variance), noise)


def noise_like(x: Tensor, n_draws: int, width: int | None = None, generator: torch.Generator | None = None) -> Tensor:
    """Standard normal noise for M draws per sample: shape ``(M, ...)`` for x of shape ``(...)``, ``(...)`` for M = 1.

    A single draw has no axis of its own, which saves a broadcast, and its sum in the gradient, per operation. If the
    generator has a ``share`` of a batch, x are its rows, and their noise is that which they have in the whole batch.
    """
    share = getattr(generator, "share", None)
    if share is None:
        return _draw_noise(x, n_draws, width, generator)
    noise = _draw_noise(_with_rows(x, share.n_rows), n_draws, width, generator)
    return noise[share.rows] if n_draws == 1 else noise[:, share.rows]


def _with_rows(x: Tensor, n_rows: int) -> Tensor:
    """An empty tensor ``(n_rows, ...)`` in the layout of x ``(n, ...)``."""
    memory, axes = _lay_out_as(x, (n_rows, *x.shape[1:]))
    return memory.permute(axes)


def _lay_out_as(x: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, list[int]]:
    """An empty contiguous tensor, and the order of its axes that has the ``shape`` (...) and the layout of x (...)."""
    order = sorted(range(x.dim()), key=x.stride, reverse=True)
    return x.new_empty([shape[axis] for axis in order]), [order.index(axis) for axis in range(x.dim())]


def _draw_noise(x: Tensor, n_draws: int, width: int | None, generator: torch.Generator | None) -> Tensor:
    """Standard normal noise of shape ``(M, ...)`` or ``(...)``, as :func:`noise_like` describes it."""
    if n_draws == 1 and width is None:  # in the layout of x
        if x.is_contiguous():
            return torch.empty_like(x).normal_(generator=generator)
        memory, axes = _lay_out_as(x, x.shape)
        return memory.normal_(generator=generator).permute(axes)  # ten times as fast as in place
    shape = x.shape if width is None else (*x.shape[:-1], width)
    shape = shape if n_draws == 1 else (n_draws, *shape)
    return torch.randn(shape, generator=generator, dtype=x.dtype, device=x.device)


def mean_over_draws(x: Tensor, n_draws: int) -> Tensor:
    """(1/M) Σ_m x_m, shape ``(...)`` from ``(M, ...)``; from ``(...)`` for M = 1, as :func:`noise_like` gives it."""
    return x if n_draws == 1 else x.mean(0)


def scale_gradient(value: Tensor, scale: Tensor) -> Tensor:
    """``value`` ``(...)``, exactly, with its gradient multiplied by ``scale`` ``(...)``."""
    value_only = value.detach()
    return value_only + scale * (value - value_only)


def learn_labels(value: Tensor, labels: Tensor, log_joint: Tensor) -> Tensor:
    """``value`` ``(...)``, exactly, with the gradient of the cross-entropy of the labels added.

    A given q(c|x) does not draw the components apart by itself: the model may ignore it at the cost of its entropy.
    The classification loss of semi-supervised VAEs (Kingma et al. 2014, Eq. 9) does, here with weight one.

    Parameters
    ----------
    value : Tensor of shape (...)
    labels : Tensor of shape (..., K)
        q(c|x), that of the samples.
    log_joint : Tensor of shape (..., K)
        log q(c|x) of the model, not normalized.
    """
    cross_entropy = -(labels * torch.log_softmax(log_joint, -1)).sum(-1)
    return value + (cross_entropy - cross_entropy.detach())


def temper_posterior(
    log_likelihoods: Tensor, log_weights: Tensor, min_information: float, n_bisections: int = 30
) -> tuple[Tensor, Tensor | None]:
    """argmax_q Σ_c q_c g_c − max(λ, KL(q ‖ π)): q_c ∝ π_c exp(g_c / T).

    T = 1 where that already has KL(q ‖ π) ≥ λ; elsewhere the T < 1 at which KL(q ‖ π) = λ, found by
    bisection (the divergence falls with T). Where even the most likely component alone has
    −log π_c < λ, T goes to its smallest value and q to a single component, which is the optimum there.

    Parameters
    ----------
    log_likelihoods : Tensor of shape (N, K)
        g_c, the expected log-density of each sample under each component.
    log_weights : Tensor of shape (K,)
        log π_c.
    min_information : float
        λ in nats.
    n_bisections : int, default=30
        Halvings of the bracket of log T.

    Returns
    -------
    log_responsibilities : Tensor of shape (N, K)
    temperature : Tensor of shape (N, 1), or None where λ = 0 and every T = 1
        No gradient flows through either.
    """
    with torch.no_grad():
        log_q = torch.log_softmax(log_weights + log_likelihoods, -1)
        if min_information <= 0.0:
            return log_q, None
        g = log_likelihoods - log_likelihoods.amax(-1, keepdim=True)

        def informs(log_inverse_temperature: Tensor) -> Tensor:  # (N, 1), boolean, from (N, 1)
            log_q = torch.log_softmax(log_weights + g * log_inverse_temperature.exp(), -1)
            return kl_categorical(log_q, log_weights).unsqueeze(-1) >= min_information

        low = g.new_zeros(len(g), 1)
        high = torch.full_like(low, MAX_LOG_INVERSE_TEMPERATURE)
        settled = kl_categorical(log_q, log_weights).unsqueeze(-1) >= min_information
        for _ in range(n_bisections):
            middle = 0.5 * (low + high)
            enough = informs(middle)
            low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
        inverse_temperature = torch.where(settled, torch.ones_like(high), high.exp())
        log_q = torch.log_softmax(log_weights + g * inverse_temperature, -1)
        return log_q, inverse_temperature.reciprocal()


def weighted_moments(z: Tensor, responsibilities: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Counts n_c = Σ_n r_nc, means Σ_n r_nc z_n / n_c and covariances of each component.

    Parameters
    ----------
    z : Tensor of shape (N, L)
    responsibilities : Tensor of shape (N, K)

    Returns
    -------
    counts : Tensor of shape (K,)
    means : Tensor of shape (K, L)
        The overall mean for an empty component.
    covariances : Tensor of shape (K, L, L)
        Zero for an empty component.
    """
    K, L = responsibilities.shape[1], z.shape[1]
    counts = responsibilities.sum(0)
    occupied = (counts > 0).unsqueeze(-1)
    safe_counts = torch.where(counts > 0, counts, torch.ones_like(counts))
    means = torch.where(occupied, responsibilities.T @ z / safe_counts.unsqueeze(-1), z.mean(0))
    covariances = z.new_empty(K, L, L)
    for c in range(K):  # K passes over (N, L) instead of an (N, K, L) tensor
        centered = z - means[c]
        covariances[c] = (centered * responsibilities[:, c : c + 1]).T @ centered / safe_counts[c]
    return counts, means, covariances
