"""A broad, heavy-tailed density beside the components, for samples that none of them explains."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from skgmvae.functional import LOG_2PI
from skgmvae.models.missing import estimate_normal, find_missing
from skgmvae.models.normals import complete_normal, condition_variance, draw_missing, mask_covariance

__all__ = ["Background"]

JOINT_FREEDOM, FEATURE_FREEDOM = 3.0, 2.0  # degrees of freedom of the t-distributions
ADDED_VARIANCE = 0.01  # of the standardized features
NO_BOUND = -1e300  # finite, for files


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
    double_buffers = ("log_weight", "mean", "scale", "factor", "least", "outputs")  # not cast with the networks

    log_weight: Tensor
    mean: Tensor
    scale: Tensor
    factor: Tensor
    least: Tensor
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
        least = torch.full((self.n_gaussian,), NO_BOUND, dtype=torch.float64, device="cpu")
        self.register_buffer("least", least)  # below, the density of a sample in its own units is constant

    def fit(self, points: Tensor, is_log: Tensor | None = None) -> "Background":
        """Be that of standardized samples (N, D), of whose continuous features some are logarithms, ``is_log`` (G,)."""
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
        self.least.fill_(NO_BOUND)
        if is_log is not None:
            lowest = points[:, : self.n_gaussian].nan_to_num(math.inf, math.inf, -math.inf).amin(0)
            is_known = is_log & lowest.isfinite()  # a feature may have no observed value
            self.least.copy_(torch.where(is_known, lowest.to(self.least), self.least))
        return self

    def bound(self, points: Tensor) -> Tensor:
        """Standardized samples (N, D) with the logarithms of the least value in place of lower ones.

        A heavy tail of log x is a density of x without a bound at zero.
        """
        G = self.n_gaussian
        return torch.cat([torch.maximum(points[:, :G], self.least.to(points)), points[:, G:]], -1)

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
        return torch.logaddexp(*self._marginalize(points, missing)) - math.log(2.0)

    def _marginalize(self, points: Tensor, missing: Tensor) -> tuple[Tensor, Tensor]:
        """Log-densities (N,) of the observed cells of standardized samples (N, G) under the two parts."""
        mean, scale, factor = self._of_gaussian()
        centered = (points.to(mean) - mean).masked_fill(missing, 0.0)
        factor = torch.linalg.cholesky(mask_covariance(factor @ factor.T, ~missing))
        whitened = torch.linalg.solve_triangular(factor, centered.unsqueeze(-1), upper=False).squeeze(-1)
        n_observed = (~missing).sum(-1)
        log_determinant = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        joint = _log_t(whitened.square().sum(-1), JOINT_FREEDOM, n_observed) - log_determinant
        of_features = _log_t((centered / scale).square(), FEATURE_FREEDOM, 1) - scale.log()
        return joint, of_features.masked_fill(missing, 0.0).sum(-1)

    def condition(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Posterior probabilities (N, 2) of the two parts, and means and variances (N, 2, G) of the features in each.

        Of standardized samples (N, D), whose missing features are those of normal distributions with the moments of the
        parts: t-distributions of so few degrees of freedom have no variance. Observed features have the variance zero.
        """
        points = points[:, : self.n_gaussian].to(self.mean)
        missing = points.isnan()
        shares = torch.softmax(torch.stack(self._marginalize(points, missing), -1), -1)
        mean, scale, factor = self._of_gaussian()
        covariance = factor @ factor.T
        means = torch.stack([complete_normal(points, missing, mean, covariance), torch.where(missing, mean, points)], 1)
        variances = torch.stack([condition_variance(missing, covariance), scale.square().expand_as(points)], 1)
        return shares, means, variances.masked_fill(~missing.unsqueeze(1), 0.0)

    def draw_given(self, points: Tensor, generator: torch.Generator) -> Tensor:
        """Continuous features (N, G) of standardized samples (N, D), missing ones drawn as :meth:`condition` says."""
        shares, means, variances = self.condition(points)
        mean, _, factor = self._of_gaussian()
        of_joint = draw_missing(points[:, : self.n_gaussian].to(mean), mean, factor @ factor.T, generator)
        noise, uniform = torch.empty_like(of_joint), torch.empty_like(shares[:, :1])
        of_features = means[:, 1] + variances[:, 1].sqrt() * noise.normal_(generator=generator)
        is_joint = uniform.uniform_(generator=generator) < shares[:, :1]
        return torch.where(is_joint, of_joint, of_features)

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
