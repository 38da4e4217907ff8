"""Laplace approximations of the posterior p(u, c | x) of a model's latent variables u, and proposals made of them."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from skgmvae.functional import LOG_2PI

__all__ = [
    "Expansion",
    "NewtonStep",
    "Proposal",
    "add_expansions",
    "expand_likelihood",
    "expand_normal",
    "take_newton_step",
]


class Expansion(NamedTuple):
    """A log-density to second order around a point u: value + gᵀd − ½ dᵀH d at u + d.

    Attributes
    ----------
    value : Tensor of shape (...)
    gradient : Tensor of shape (..., U)
        g.
    precision : Tensor of shape (..., U, U)
        H, positive semidefinite.
    """

    value: Tensor
    gradient: Tensor
    precision: Tensor


class Proposal(NamedTuple):
    """Σ_j ρ_j N(u; m_j, (C_j C_jᵀ)⁻¹): a mixture of normals for each sample.

    Attributes
    ----------
    log_shares : Tensor of shape (..., J)
        log ρ_j.
    means : Tensor of shape (..., J, U)
    factors : Tensor of shape (..., J, U, U)
        C_j, the lower-triangular factors of the precisions.
    """

    log_shares: Tensor
    means: Tensor
    factors: Tensor

    def draw(self, uniform: Tensor) -> Tensor:
        """Points (..., S, U) from numbers (..., S, 1 + U) that are uniform in (0, 1); the first selects j.

        The normals share the unit interval by size: the points do not depend on how they are numbered.
        """
        noise = torch.special.ndtri(uniform[..., 1:]).mT.unsqueeze(-3)  # (..., 1, U, S)
        steps = torch.linalg.solve_triangular(self.factors.mT, noise.expand(*self._batch, -1, -1), upper=True)
        points = (self.means.unsqueeze(-1) + steps).movedim(-1, -3)  # (..., S, J, U)
        if points.shape[-2] == 1:
            only: Tensor = points.squeeze(-2)
            return only
        log_shares, order = self.log_shares.sort(-1, descending=True)
        bounds = log_shares.exp().cumsum(-1)[..., None, :-1]
        place = (uniform[..., :1] > bounds).sum(-1)
        chosen = order.gather(-1, place)
        index = chosen[..., None, None].expand(*chosen.shape, 1, points.shape[-1])
        drawn: Tensor = points.gather(-2, index).squeeze(-2)
        return drawn

    def log_joint(self, points: Tensor) -> Tensor:
        """log ρ_j N(u; m_j, ·), (..., S, J) at points (..., S, U)."""
        centered = points.unsqueeze(-3) - self.means.unsqueeze(-2)  # (..., J, S, U)
        squares = (centered @ self.factors).square().sum(-1)
        normalizers = _log_determinant(self.factors) - 0.5 * points.shape[-1] * LOG_2PI + self.log_shares
        return (normalizers.unsqueeze(-1) - 0.5 * squares).mT

    def mix(self, mean: Tensor, deviation: Tensor, share: float) -> "Proposal":
        """The mixture with a diagonal normal, mean (..., U) and standard deviations (..., U), of this share."""
        n_more = mean.new_full((*self.log_shares.shape[:-1], 1), math.log(share))
        return Proposal(
            torch.cat([self.log_shares + math.log1p(-share), n_more], -1),
            torch.cat([self.means, mean.unsqueeze(-2)], -2),
            torch.cat([self.factors, deviation.reciprocal().diag_embed().unsqueeze(-3)], -3),
        )

    @property
    def _batch(self) -> tuple[int, ...]:
        return tuple(self.log_shares.shape)


class NewtonStep(NamedTuple):
    """The maximum of an expansion, and the integral of its exponential.

    Attributes
    ----------
    maximum : Tensor of shape (..., U)
    factor : Tensor of shape (..., U, U)
        C with H = C Cᵀ.
    log_maximum : Tensor of shape (...)
        The expansion at its maximum.
    log_integral : Tensor of shape (...)
    """

    maximum: Tensor
    factor: Tensor
    log_maximum: Tensor
    log_integral: Tensor


def take_newton_step(expansion: Expansion, start: Tensor) -> NewtonStep:
    """From the point (..., U) that a log-density was expanded around to the maximum of the expansion."""
    factor = _factorize(expansion.precision)
    half = torch.linalg.solve_triangular(factor, expansion.gradient.unsqueeze(-1), upper=False)  # C⁻¹ g
    step = torch.linalg.solve_triangular(factor.mT, half, upper=True).squeeze(-1)
    log_maximum = expansion.value + 0.5 * half.square().sum((-2, -1))
    log_integral = log_maximum + 0.5 * start.shape[-1] * LOG_2PI - _log_determinant(factor)
    return NewtonStep(start + step, factor, log_maximum, log_integral)


def expand_likelihood(log_likelihood: Tensor, slope: Tensor, curvature: Tensor, jacobian: Tensor) -> Expansion:
    """log p(x|z) around z by its derivatives with respect to the decoder's output (Gauss–Newton).

    Parameters
    ----------
    log_likelihood : Tensor of shape (...)
    slope, curvature : Tensor of shape (..., k, D)
        Of the likelihood, see ``likelihoods``.
    jacobian : Tensor of shape (..., k or 1, L, D)
        Of the decoder.
    """
    # one product for all expansions around the same point, if its L·L·D numbers are fewer than those of k Jacobians
    if jacobian.shape[-3] == 1 < slope.shape[-2] >= jacobian.shape[-2]:
        shared = jacobian.squeeze(-3)
        squares = (shared.unsqueeze(-2) * shared.unsqueeze(-3)).flatten(-3, -2)  # (..., L·L, D)
        precision = (curvature @ squares.mT).unflatten(-1, (shared.shape[-2], -1))
        return Expansion(log_likelihood, slope @ shared.mT, precision)
    gradient = (jacobian @ slope.unsqueeze(-1)).squeeze(-1)
    return Expansion(log_likelihood, gradient, (jacobian * curvature.unsqueeze(-2)) @ jacobian.mT)


def expand_normal(residual: Tensor, factor: Tensor) -> Expansion:
    """log N(u; m, (AᵀA)⁻¹) around u, exactly, from A (u − m) (..., U) and A (..., U, U)."""
    log_determinant = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    value = log_determinant - 0.5 * (residual.square().sum(-1) + residual.shape[-1] * LOG_2PI)
    return Expansion(value, -(factor.mT @ residual.unsqueeze(-1)).squeeze(-1), factor.mT @ factor)


def add_expansions(one: Expansion, other: Expansion) -> Expansion:
    """The sum of two log-densities around the same point; their axes broadcast."""
    return Expansion(one.value + other.value, one.gradient + other.gradient, one.precision + other.precision)


def _factorize(precision: Tensor) -> Tensor:
    """Lower-triangular factor (..., U, U); where rounding has cost definiteness, of a more diagonal matrix."""
    factor, failures = torch.linalg.cholesky_ex(precision)
    if bool(failures.any()):
        heavier = precision + precision.abs().sum(-1).clamp_min(torch.finfo(precision.dtype).tiny).diag_embed()
        factor = torch.where((failures > 0)[..., None, None], torch.linalg.cholesky_ex(heavier)[0], factor)
    positive_definite: Tensor = factor
    return positive_definite


def _log_determinant(factor: Tensor) -> Tensor:
    """log of the product of the diagonal, (...), of triangular matrices (..., U, U)."""
    log_determinant: Tensor = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return log_determinant
