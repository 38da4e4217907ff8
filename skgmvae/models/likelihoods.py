"""Likelihoods p(x | z) of the decoder's output, in the units of the data; of the cells that are not NaN."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skgmvae.functional import LOG_2PI, log_normal, reparameterize
from skgmvae.models.likelihood import Likelihood
from skgmvae.models.transforms import Transform

__all__ = ["ROUNDING", "Bernoulli", "Gaussian"]

ROUNDING = 5e-7  # by which values may leave [0, 1], as those of a MinMaxScaler do
MIN_LOG_VARIANCE = -9.0  # a residual 1/90 of a feature's standard deviation; keeps densities finite
SOFTPLUS_THRESHOLD = 40.0  # above it log(1 + exp(x)) is x in float64
LARGEST = {torch.float64: 1e100}  # input of networks in queries, whose squares, and products with weights, stay finite
LARGEST_SINGLE = 1e15
LOG_VARIANCE_PACE = 10.0  # factor by which an optimizer step changes the log-variance more than a weight


class Bernoulli(Likelihood):
    """x_d | z ~ Bernoulli(sigmoid(output_d)), for values in [0, 1].

    For values strictly between 0 and 1 this is the cross-entropy of the literature, not a normalized
    density.
    """

    learns_variance = False
    neutral = 0.5

    def repeat(self, n_copies: int) -> "Bernoulli":
        """The same for stacked outputs (..., N, K, D); there is nothing to repeat."""
        return self

    def standardize(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Network input (N, D) for samples (N, D)."""
        return _limit(x, dtype).to(dtype)

    def log_prob(self, x: Tensor, output: Tensor) -> Tensor:
        """log p(x | z), shape (..., N), of standardized rows (N, D) under outputs (..., N, D)."""
        x = x if x.shape == output.shape else x.expand_as(output)
        missing = self.find_missing(x)
        if missing is not None:
            cells = -F.binary_cross_entropy_with_logits(output, x.masked_fill(missing, 0.0), reduction="none")
            return cells.masked_fill(missing, 0.0).sum(-1)
        if torch.is_grad_enabled():
            return -F.binary_cross_entropy_with_logits(output, x, reduction="none").sum(-1)
        # the same value with half as many passes over memory; its gradient would need more of them
        return (x * output).sum(-1) - F.softplus(output, threshold=SOFTPLUS_THRESHOLD).sum(-1)

    def supports(self, x: Tensor) -> Tensor:
        """Whether all values of samples (N, D) can be observed, (N,)."""
        return (((x >= -ROUNDING) & (x <= 1.0 + ROUNDING)) | x.isnan()).all(-1)

    def differentiate(self, x: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
        """d log p(x|z) / d output, and the Fisher information: (..., D) from rows and outputs (..., D)."""
        probability = torch.sigmoid(output)
        return _mask(x - probability, probability * (1.0 - probability), self.find_missing(x))

    def mean(self, output: Tensor) -> Tensor:
        """E[x | z] in the units of the data, (..., D) for outputs (..., D)."""
        return torch.sigmoid(output)

    def variance(self, output: Tensor) -> Tensor:
        """Var[x | z], (..., D) for outputs (..., D)."""
        probability = torch.sigmoid(output)
        return probability * (1.0 - probability)

    def draw(self, output: Tensor, generator: torch.Generator) -> Tensor:
        """A draw of x | z in the units of the data, (..., D) for outputs (..., D)."""
        return torch.bernoulli(torch.sigmoid(output), generator=generator)


class Gaussian(Likelihood):
    """x | z ~ N(location + scale · output, scale² · diag exp(log_variance)), of some features transformed x.

    Parameters
    ----------
    location, scale : Tensor of shape (D,)
        Constants of the internal standardization. Kept in float64, so that features with a large
        offset lose no digits before they are centered.
    learns_variance : bool, default=True
        If False, the variance is scale².
    n_copies : int, optional
        Number of stacked outputs (..., N, K, D), each with its own variance.
    has_own_floor : bool, default=False
        Whether an initial variance may lie below the usual floor, and is then its own.
    transform : Transform, optional
        After which features are normal; location and scale are those of transformed features.
    """

    double_buffers = ("location", "scale", "log_scale_sum")  # not cast with the networks

    location: Tensor
    scale: Tensor
    log_scale_sum: Tensor
    least_log_variance: Tensor | None

    def __init__(
        self,
        location: Tensor,
        scale: Tensor,
        *,
        learns_variance: bool = True,
        n_copies: int | None = None,
        has_own_floor: bool = False,
        transform: Transform | None = None,
    ) -> None:
        super().__init__()
        self.learns_variance = learns_variance
        self.transform = transform
        self.register_buffer("location", location)
        self.register_buffer("scale", scale)
        self.register_buffer("log_scale_sum", scale.log().sum())
        # not trained until the variance has been set from residuals: the autoencoder is trained with the squared error,
        # under which no feature can dominate
        shape = (len(location),) if n_copies is None else (n_copies, len(location))
        self.scaled_log_variance = nn.Parameter(torch.zeros(shape, dtype=torch.float32), requires_grad=False)
        floor = torch.full(shape, MIN_LOG_VARIANCE, dtype=torch.float32) if has_own_floor else None
        self.register_buffer("least_log_variance", floor)

    def repeat(self, n_copies: int) -> "Gaussian":
        """The same for stacked outputs (..., N, K, D), with a variance for each."""
        return Gaussian(
            self.location,
            self.scale,
            learns_variance=self.learns_variance,
            n_copies=n_copies,
            has_own_floor=self.least_log_variance is not None,
            transform=self.transform,
        )

    @property
    def gaussian(self) -> "Gaussian":
        """The likelihood itself."""
        return self

    @property
    def is_log(self) -> Tensor | None:
        """Which features are modeled by their logarithms, (D,); None if none is transformed."""
        return None if self.transform is None else self.transform.is_log

    @property
    def log_variance(self) -> Tensor:
        """log of the variance per standardized feature, shape (D,) or (K, D), not below a floor."""
        log_variance = LOG_VARIANCE_PACE * self.scaled_log_variance
        if self.least_log_variance is None:
            return log_variance.clamp_min(MIN_LOG_VARIANCE)
        return torch.maximum(log_variance, self.least_log_variance)

    def set_variance(self, variance: Tensor) -> None:
        """Set the initial variance per standardized feature, (D,) or (K, D), and learn it from now on."""
        with torch.no_grad():
            log_variance = variance.log()
            if self.least_log_variance is None:
                log_variance = log_variance.clamp_min(MIN_LOG_VARIANCE)
            else:
                self.least_log_variance.copy_(log_variance.clamp_max(MIN_LOG_VARIANCE))
            self.scaled_log_variance.copy_(log_variance / LOG_VARIANCE_PACE)
        self.scaled_log_variance.requires_grad_(True)

    def standardize(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """Network input (x − location) / scale, (N, D), for samples (N, D)."""
        if self.transform is not None:
            x = self.transform(x)
        return _limit((x - self.location) / self.scale, dtype).to(dtype)

    def restore(self, standardized: Tensor) -> Tensor:
        """Samples (..., D) in the units of the data, of standardized ones."""
        x = self.location + self.scale * standardized
        return x if self.transform is None else self.transform.invert(x)

    def log_prob(self, x: Tensor, output: Tensor) -> Tensor:
        """log p(x | z), shape (..., N), of standardized rows (N, D) under outputs (..., N, D)."""
        missing = self.find_missing(x)
        # the density in the units of the data: the Jacobian of the standardization is 1 / Π scale
        if missing is None:
            return log_normal(x, output, self.log_variance) - self.log_jacobian(x).to(x.dtype)
        log_variance = self.log_variance
        squares = (x.masked_fill(missing, 0.0) - output).square() * torch.exp(-log_variance)
        cells = -0.5 * (squares + log_variance + LOG_2PI)
        return cells.masked_fill(missing, 0.0).sum(-1) - self.log_jacobian(x).to(x.dtype)

    def log_jacobian(self, x: Tensor) -> Tensor:
        """log abs(d x / d standardized x) of the observed cells of standardized samples (N, D), (N,) or ()."""
        missing = self.find_missing(x)
        if missing is None and self.transform is None:
            return self.log_scale_sum
        cells = self.scale.log()
        if self.transform is not None:
            cells = cells + self.transform.log_slope(self.location + self.scale * x)
        cells = cells.expand_as(x)
        return (cells if missing is None else cells.masked_fill(missing, 0.0)).sum(-1)

    def supports(self, x: Tensor) -> Tensor:
        """Whether all values of samples (N, D) can be observed, (N,): any real number, or any positive one."""
        if self.transform is None:
            return torch.ones(len(x), dtype=torch.bool, device=x.device)
        return self.transform.supports(x)

    def differentiate(self, x: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
        """d log p(x|z) / d output, and the Fisher information: (..., D) from rows and outputs (..., D)."""
        precision = torch.exp(-self.log_variance)
        return _mask((x - output) * precision, precision.expand_as(output), self.find_missing(x))

    def variance(self, output: Tensor) -> Tensor:
        """Var[x | z] in the units of the data, (..., D) for outputs (..., D)."""
        variance = (self.scale.square() * self.log_variance.exp()).expand_as(output)
        if self.transform is None:
            return variance
        return self.transform.variance(self.location + self.scale * output, variance)

    def mean(self, output: Tensor, variance: Tensor | None = None) -> Tensor:
        """E[x | z] in the units of the data, (..., D) for outputs (..., D).

        ``variance`` (..., D) of the standardized features takes the place of that of the likelihood.
        """
        location = self.location + self.scale * output
        if self.transform is None:
            return location
        variance = self.log_variance.exp() if variance is None else variance
        return self.transform.mean(location, self.scale.square() * variance)

    def draw(self, output: Tensor, generator: torch.Generator) -> Tensor:
        """A draw of x | z in the units of the data, (..., D) for outputs (..., D)."""
        noise = torch.randn(output.shape, generator=generator, dtype=output.dtype, device=output.device)
        return self.restore(reparameterize(output, self.log_variance, noise))


def _mask(slope: Tensor, curvature: Tensor, missing: Tensor | None) -> tuple[Tensor, Tensor]:
    """Derivatives (..., D), zero where cells are missing."""
    if missing is None:
        return slope, curvature
    return slope.masked_fill(missing, 0.0), curvature.masked_fill(missing, 0.0)


def _limit(x: Tensor, dtype: torch.dtype) -> Tensor:
    """The values (N, D), in queries within limits; in training, one beyond them is a divergence."""
    if torch.is_grad_enabled():
        return x
    largest = LARGEST.get(dtype, LARGEST_SINGLE)
    return x.clamp(-largest, largest)
