"""A Gaussian mixture of the inputs as a model with a linear decoder: what the linear path begins with."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skgmvae.functional import LOG_2PI
from skgmvae.models.missing import ObservedCells, find_missing

__all__ = [
    "NOISE_SHARE",
    "LatentMixture",
    "MixtureMoments",
    "adds_nothing",
    "log_joint_of_mixture",
    "make_latent",
    "split_covariances",
]

NOISE_SHARE = 0.2  # of the noise that the covariances have room for
CODE_LENGTH = 5.0  # of a code, in standard deviations around it
FACTORLESS_SHARE = 0.5  # of the least variance within a component, that is left to the diagonal beside factors
LEAST_VARIANCE = 1e-8  # of a direction of z, for a covariance that is singular by rounding


class MixtureMoments(NamedTuple):
    """Σ_c π_c N(x; m_c, C_c) in standardized inputs.

    Attributes
    ----------
    weights : Tensor of shape (K,)
    means : Tensor of shape (K, D)
    covariances : Tensor of shape (K, D, D)
    """

    weights: Tensor
    means: Tensor
    covariances: Tensor

    @property
    def pooled(self) -> Tensor:
        """Σ_c π_c C_c, (D, D)."""
        return torch.einsum("k,kij->ij", self.weights, self.covariances)

    def log_joint(self, x: Tensor) -> Tensor:
        """log π_c + log N(x; m_c, C_c), (N, K), of the observed values of samples (N, D)."""
        return log_joint_of_mixture(x, self.weights.log(), self.means, self.covariances)

    def split(self) -> "list[MixtureMoments]":
        """Each component as a mixture of its own: weights (1,), means (1, D) and covariances (1, D, D)."""
        one = torch.ones_like(self.weights[:1])
        parts = zip(self.means.split(1), self.covariances.split(1), strict=True)
        return [MixtureMoments(one, mean, covariance) for mean, covariance in parts]


def adds_nothing(network: nn.Module) -> bool:
    """Whether the last layer of a network is zero, as initially beside a linear path."""
    *_, last = network.children()
    return not any(bool(parameter.any()) for parameter in last.parameters())


def log_joint_of_mixture(x: Tensor, log_weights: Tensor, means: Tensor, covariances: Tensor) -> Tensor:
    """log π_c + log N(x; m_c, C_c), (N, K), of samples (N, D), for log π (K,), m (K, D) and C (K, D, D); in float64.

    Of samples with missing values, that of the observed ones.
    """
    if find_missing(x) is not None:
        return log_weights.double() + ObservedCells(x.double()).log_density(means.double(), covariances.double())
    factor = torch.linalg.cholesky(covariances.double())
    centered = (x.double() - means.double().unsqueeze(1)).mT  # (K, D, N)
    squares = torch.linalg.solve_triangular(factor, centered, upper=False).square().sum(1).T
    log_determinant = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    log_joint: Tensor = log_weights.double() - log_determinant - 0.5 * (squares + x.shape[1] * LOG_2PI)
    log_joint.masked_fill_(~log_joint.isfinite(), -math.inf)  # squares of values beyond 1e150 overflow
    return log_joint


class LatentMixture(NamedTuple):
    """The same mixture as z | c ~ N(m_c, S_c), x = b + W z + ε, ε ~ N(0, diag ψ); and q(z|x) = N(v + V x, diag).

    Attributes
    ----------
    means : Tensor of shape (K, L)
        m_c; their mean by π is zero.
    covariances : Tensor of shape (K, L, L)
        S_c; their mean by π is the identity.
    decoder_weight : Tensor of shape (D, L)
        W.
    decoder_bias : Tensor of shape (D,)
        b.
    noise_variance : Tensor of shape (D,)
        ψ.
    encoder_weight : Tensor of shape (L, D)
        V.
    encoder_bias : Tensor of shape (L,)
        v.
    posterior_variance : Tensor of shape (L,)
        Of q(z|x).
    """

    means: Tensor
    covariances: Tensor
    decoder_weight: Tensor
    decoder_bias: Tensor
    noise_variance: Tensor
    encoder_weight: Tensor
    encoder_bias: Tensor
    posterior_variance: Tensor


def make_latent(
    mixture: MixtureMoments,
    latent_dim: int,
    *,
    noise_share: float = NOISE_SHARE,
    has_codes: bool = True,
    is_diagonal: bool = False,
) -> LatentMixture:
    """The mixture, means (K, D), with latent variables: exact for L ≥ D, on its L principal axes for L < D.

    With L > D the further latent variables do not reach x: only the networks can use them. In each component they are
    normal of unit variances around its code, or around zero without ``has_codes``. With ``is_diagonal`` the axes of z
    are those along which the S_c are nearly diagonal; exactly so, of two components.
    """
    D, L = mixture.means.shape[1], latent_dim
    if D == 0:
        return _make_empty(mixture, L, has_codes=has_codes)
    bias = mixture.weights @ mixture.means
    centered = mixture.means - bias
    total = mixture.pooled + torch.einsum("k,ki,kj->ij", mixture.weights, centered, centered)
    if L >= D:
        axes = torch.eye(D, dtype=total.dtype, device=total.device)
        noise = noise_share * _noise_room(mixture)
        within = torch.diag(noise)
    else:
        axes = torch.linalg.eigh(total)[1][:, -L:]
        noise = (total - axes @ axes.T @ total).diagonal().clamp_min(LEAST_VARIANCE)
        within = torch.zeros_like(total)
    factor = torch.linalg.cholesky(axes.T @ (mixture.pooled - within) @ axes)
    weight, inverse = axes @ factor, torch.linalg.solve_triangular(factor, axes.T, upper=False)
    covariances = inverse @ (mixture.covariances - within) @ inverse.T
    rotation = _find_axes(covariances) if is_diagonal else _find_posterior_axes(weight, noise)
    weight, covariances = weight @ rotation, rotation.T @ covariances @ rotation
    means = centered @ inverse.T @ rotation
    encoder, variance = _encode(mixture.weights, means, weight, noise)
    start = LatentMixture(means, covariances, weight, bias, noise, encoder, -encoder @ bias, variance)
    if L <= D:
        return start
    codes = make_codes(len(means), L - D).to(means)
    return _add_dimensions(start, codes if has_codes else torch.zeros_like(codes))


def _make_empty(mixture: MixtureMoments, latent_dim: int, *, has_codes: bool) -> LatentMixture:
    """Latent variables (K, L) that reach nothing, for samples without continuous features."""
    K, none = len(mixture.means), mixture.means.new_zeros
    parts = none(K, 0), none(K, 0, 0), none(0, 0), none(0), none(0), none(0, 0), none(0), none(0)
    codes = make_codes(K, latent_dim).to(mixture.means)
    return _add_dimensions(LatentMixture(*parts), codes if has_codes else torch.zeros_like(codes))


def make_codes(n_components: int, n_dimensions: int) -> Tensor:
    """A point (K, n) for each component, all at one distance from zero, far from each other if they are few.

    Clusters that differ in shape alone, as two spirals, have nearly the same moments, and nothing would draw their
    embeddings apart. q(c|x) is at first as without codes, since all are as far from the embeddings.
    """
    K, n = n_components, n_dimensions
    angles = torch.arange(K, dtype=torch.float64) * (2.0 * torch.pi / K)
    if n == 1:
        return CODE_LENGTH * angles.cos().unsqueeze(-1) if K <= 2 else torch.zeros(K, 1, dtype=torch.float64)
    turns = torch.outer(angles, torch.arange(1, n // 2 + 1, dtype=torch.float64))  # once, twice, … around a circle
    codes = CODE_LENGTH / math.sqrt(n // 2) * torch.cat([turns.cos(), turns.sin()], 1)
    return F.pad(codes, (0, n % 2))


def split_covariances(covariances: Tensor, n_factors: int) -> tuple[Tensor, Tensor]:
    """Slopes A_c (K, n, L) and variances σ²_c (K, L) with S_c = A_cᵀ A_c + diag σ²_c, for covariances (K, L, L).

    Exactly so for n ≥ L factors, the first L of which have the axes of z; otherwise those along the principal axes of
    S_c, and a diagonal that is exact.
    """
    L, n = covariances.shape[-1], min(n_factors, covariances.shape[-1])
    values, vectors = torch.linalg.eigh(covariances)
    rest = FACTORLESS_SHARE * values[:, :1] if n == L else values[:, : L - n].mean(-1, keepdim=True)
    slopes = vectors[..., L - n :].mT * (values[:, L - n :] - rest).clamp_min(0.0).sqrt().unsqueeze(-1)
    if n == L:
        return F.pad(vectors @ slopes, (0, 0, 0, n_factors - n)), rest.expand(-1, L)
    return slopes, covariances.diagonal(dim1=-2, dim2=-1) - slopes.square().sum(-2)


def _noise_room(mixture: MixtureMoments) -> Tensor:
    """The largest ψ (D,) such that no C_c − diag ψ has a negative eigenvalue.

    In proportion to the variance of each feature given the others.
    """
    conditional = torch.linalg.inv(mixture.pooled).diagonal().reciprocal()
    deviations = conditional.sqrt()
    scaled = mixture.covariances / (deviations.unsqueeze(-1) * deviations)
    room: Tensor = torch.linalg.eigvalsh(scaled).min() * conditional
    return room


def _find_posterior_axes(weight: Tensor, noise: Tensor) -> Tensor:
    """Rotation (L, L) of z after which Wᵀ diag(1/ψ) W is diagonal.

    The posterior of z given x is then diagonal, as q(z|x) is, for a component of the pooled covariance.
    """
    rotation: Tensor = torch.linalg.eigh(weight.T @ (weight / noise.unsqueeze(-1)))[1]
    return rotation


def _find_axes(covariances: Tensor) -> Tensor:
    """Rotation (L, L) of z that makes S_c (K, L, L), the mean of which is the identity, nearly diagonal.

    The eigenvectors of Σ_c a_c S_c: if the S_c have the same ones, as two of them always have, for nearly all a.
    """
    numbers = torch.linspace(-1.0, 1.0, len(covariances) + 2, dtype=covariances.dtype)[1:-1] + 0.1
    rotation: Tensor = torch.linalg.eigh(torch.einsum("k,kij->ij", numbers, covariances))[1]
    return rotation


def _add_dimensions(start: LatentMixture, codes: Tensor) -> LatentMixture:
    """The same with further latent variables, around codes (K, n) in each component; q(z|x) knows nothing of them."""
    n_more = codes.shape[1]
    ones = F.pad(torch.zeros_like(start.means), (0, n_more), value=1.0)
    return start._replace(
        means=torch.cat([start.means, codes], 1),
        covariances=F.pad(start.covariances, (0, n_more) * 2) + ones.diag_embed(),
        decoder_weight=F.pad(start.decoder_weight, (0, n_more)),
        encoder_weight=F.pad(start.encoder_weight, (0, 0, 0, n_more)),
        encoder_bias=F.pad(start.encoder_bias, (0, n_more)),
        posterior_variance=torch.cat([start.posterior_variance, 1.0 + codes.square().mean(0)]),
    )


def _encode(weights: Tensor, means: Tensor, decoder_weight: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """The linear map V (L, D) of the least squared error of z, and the variances (L,) that maximize the bound with it.

    These are the reciprocals of the diagonal of the precision Wᵀ diag(1/ψ) W + T⁻¹, T the covariance of z.
    """
    total = (weights.unsqueeze(-1) * means).T @ means
    total = total + torch.eye(len(total), dtype=total.dtype, device=total.device)
    W = decoder_weight
    V = torch.linalg.solve(W @ total @ W.T + torch.diag(noise), W @ total).T
    precision = W.T @ (W / noise.unsqueeze(-1)) + torch.linalg.inv(total)
    return V, precision.diagonal().reciprocal()
