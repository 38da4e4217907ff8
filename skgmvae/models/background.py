"""A broad, heavy-tailed density beside the components, for samples that none of them explains."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from skgmvae.functional import LOG_2PI
from skgmvae.models.counts import draw_gamma
from skgmvae.models.missing import complete_normal, estimate_normal, find_missing, mask_covariance

__all__ = ["Background"]

JOINT_FREEDOM, FEATURE_FREEDOM = 3.0, 2.0  # degrees of freedom of the t-distributions
ADDED_VARIANCE = 0.01  # of the standardized features


class Background(nn.Module):
    """The mean of two densities of standardized samples, with the weight 1 / (N + 1) of a sample not seen.

    One is a multivariate t-distribution around the mean of all samples, with their covariance as its scale; the other a
    product of t-distributions of the features. Without it a single sample far from all components, whose log-density
    falls with the square of its distance, can decide on a mean score.

    Of a table with columns that are not continuous, both are multiplied by the distributions of these in all samples.

    Parameters
    ----------
    n_features : int
    n_heads : int, default=0
        Of the features, the last ones, that are inputs of columns that are not continuous; their mean and covariance
        only serve to complete samples.
    """

    __call__: Callable[..., Tensor]  # forward
    double_buffers = ("log_weight", "mean", "scale", "factor", "outputs")  # not cast with the networks

    log_weight: Tensor
    mean: Tensor
    scale: Tensor
    factor: Tensor
    outputs: Tensor | None

    def __init__(self, n_features: int, n_heads: int = 0) -> None:
        super().__init__()
        D, self.n_gaussian = n_features, n_features - n_heads
        outputs = torch.zeros(n_heads, dtype=torch.float64, device="cpu") if n_heads else None
        self.register_buffer("outputs", outputs)  # of the heads, in all samples
        self.register_buffer("log_weight", torch.tensor(-math.inf, dtype=torch.float64, device="cpu"))
        self.register_buffer("mean", torch.zeros(D, dtype=torch.float64, device="cpu"))
        self.register_buffer("scale", torch.ones(D, dtype=torch.float64, device="cpu"))
        self.register_buffer("factor", torch.eye(D, dtype=torch.float64, device="cpu"))

    def fit(self, points: Tensor) -> "Background":
        """Be that of standardized samples (N, D)."""
        if find_missing(points) is None:
            mean = points.mean(0)
            centered = points - mean
            covariance = centered.T @ centered / len(points)
        else:
            mean, covariance = estimate_normal(points)
        covariance.diagonal().add_(ADDED_VARIANCE)
        self.mean.copy_(mean)
        self.scale.copy_(covariance.diagonal().sqrt())
        self.factor.copy_(torch.linalg.cholesky(covariance))
        self.log_weight.fill_(-math.log(len(points) + 1.0))
        return self

    def forward(self, points: Tensor) -> Tensor:
        """Log-density (N,) of the observed continuous cells of standardized samples (N, D)."""
        points = points[:, : self.n_gaussian]
        missing = find_missing(points)
        if missing is not None:
            return self._log_marginal(points, missing)
        mean, scale, factor = self._of_gaussian()
        centered = points.to(mean) - mean
        D, nu = len(mean), JOINT_FREEDOM
        whitened = torch.linalg.solve_triangular(factor, centered.T, upper=False)
        joint = _log_t(whitened.square().sum(0), nu, D) - factor.diagonal().log().sum()
        of_features = _log_t((centered / scale).square(), FEATURE_FREEDOM, 1) - scale.log()
        return torch.logaddexp(joint, of_features.sum(-1)) - math.log(2.0)

    def _of_gaussian(self) -> tuple[Tensor, Tensor, Tensor]:
        """Mean (G,), scale (G,) and the factor (G, G) of the covariance of the continuous features."""
        G = self.n_gaussian
        return self.mean[:G], self.scale[:G], self.factor[:G, :G]

    def _log_marginal(self, points: Tensor, missing: Tensor) -> Tensor:
        """Log-density (N,) of the observed cells of standardized samples (N, G)."""
        joint, of_features, _ = self._marginalize(points, missing)
        return torch.logaddexp(joint, of_features) - math.log(2.0)

    def _marginalize(self, points: Tensor, missing: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-densities of the observed cells of (N, G) under the two parts, and their squared norms in the first."""
        mean, scale, factor = self._of_gaussian()
        centered = (points.to(mean) - mean).masked_fill(missing, 0.0)
        factor = torch.linalg.cholesky(mask_covariance(factor @ factor.T, ~missing))
        whitened = torch.linalg.solve_triangular(factor, centered.unsqueeze(-1), upper=False).squeeze(-1)
        squares, n_observed = whitened.square().sum(-1), (~missing).sum(-1)
        log_determinant = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        joint = _log_t(squares, JOINT_FREEDOM, n_observed) - log_determinant
        of_features = _log_t((centered / scale).square(), FEATURE_FREEDOM, 1) - scale.log()
        return joint, of_features.masked_fill(missing, 0.0).sum(-1), squares

    def expect(self, points: Tensor) -> Tensor:
        """Continuous features (N, G) of standardized samples (N, D), missing ones E[x_m | x_o] under the background."""
        points = points[:, : self.n_gaussian].to(self.mean)
        missing = points.isnan()
        joint, of_features, _ = self._marginalize(points, missing)
        mean, _, factor = self._of_gaussian()
        of_joint = complete_normal(points, missing, mean, factor @ factor.T)
        return torch.where(missing, torch.lerp(mean.expand_as(points), of_joint, _share(joint, of_features)), points)

    def draw_given(self, points: Tensor, generator: torch.Generator) -> Tensor:
        """Continuous features (N, G) of standardized samples (N, D), missing ones drawn given the observed ones."""
        points = points[:, : self.n_gaussian].to(self.mean)
        missing = points.isnan()
        joint, of_features, squares = self._marginalize(points, missing)
        mean, scale, factor = self._of_gaussian()
        covariance = factor @ factor.T
        options: dict[str, Any] = {"generator": generator, "dtype": mean.dtype, "device": mean.device}
        normal = mean + torch.randn(points.shape, **options) @ factor.T
        # a draw less its own conditional mean has the conditional covariance
        residual = normal - complete_normal(normal.masked_fill(missing, math.nan), missing, mean, covariance)
        n_observed = (~missing).sum(-1)
        spread = (JOINT_FREEDOM + squares) / _draw_chi_square(JOINT_FREEDOM + n_observed, generator)
        of_joint = complete_normal(points, missing, mean, covariance) + spread.sqrt().unsqueeze(-1) * residual
        chi_square = _draw_chi_square(torch.full_like(points, FEATURE_FREEDOM), generator)
        t = torch.randn(points.shape, **options) * (FEATURE_FREEDOM / chi_square).sqrt()
        is_joint = torch.rand(len(points), 1, **options) < _share(joint, of_features)
        return torch.where(missing, torch.where(is_joint, of_joint, mean + scale * t), points)

    def complete(self, points: Tensor, missing: Tensor) -> Tensor:
        """Standardized samples (N, D), the missing values conditional means under mean and covariance of all."""
        covariance = self.factor @ self.factor.T
        covariance.diagonal().sub_(0.99 * ADDED_VARIANCE)
        return complete_normal(points, missing, self.mean, covariance)

    def mix(self, log_density: Tensor, points: Tensor, own: Tensor | None = None) -> Tensor:
        """Log-density (N,) of the mixture with the components, whose log-density (N,) is given.

        ``own`` (N,) is that of the background, where it is known.
        """
        own = self(points) if own is None else own
        of_components = torch.log1p(-self.log_weight.exp()).to(log_density) + log_density
        return torch.logaddexp(of_components, (self.log_weight + own).to(log_density))


def _share(joint: Tensor, of_features: Tensor) -> Tensor:
    """Posterior probability (N, 1) of the first of two densities, from their logarithms (N,)."""
    return torch.sigmoid(joint - of_features).unsqueeze(-1)


def _draw_chi_square(freedom: Tensor, generator: torch.Generator) -> Tensor:
    """Draws (...) of chi-square distributions of these degrees of freedom (...)."""
    return 2.0 * draw_gamma(0.5 * freedom.double(), generator)


def _log_t(squares: Tensor, nu: float, n_dimensions: int | Tensor) -> Tensor:
    """Log-density of a t-distribution of unit scale at points of these squared norms (...)."""
    if isinstance(n_dimensions, Tensor):
        n = n_dimensions.to(squares)
        constants = torch.lgamma(0.5 * (nu + n)) - math.lgamma(0.5 * nu)
        constants = constants - 0.5 * n * (LOG_2PI - math.log(2.0) + math.log(nu))
        return constants - 0.5 * (nu + n) * torch.log1p(squares / nu)
    D = n_dimensions
    constant = math.lgamma(0.5 * (nu + D)) - math.lgamma(0.5 * nu) - 0.5 * D * (LOG_2PI - math.log(2.0) + math.log(nu))
    return constant - 0.5 * (nu + D) * torch.log1p(squares / nu)
