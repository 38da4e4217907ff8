"""A mixture of products: in a component the continuous columns are normal, and the others independent."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from skgmvae.initialization.moments import regularize, sum_up
from skgmvae.initialization.regularization import Regularization
from skgmvae.models.linear_path import log_joint_of_mixture

__all__ = ["ProductFit", "ProductMixture"]

MAX_ITERATIONS = 100  # of EM
TOLERANCE = 1e-4  # nats per sample
SETTING = Regularization(1.0, 1e-3)


class ProductFit(NamedTuple):
    """Responsibilities (n, K), and the information criterion (BIC), in nats per sample; higher is better."""

    name: str
    is_diagonal: bool
    responsibilities: Tensor
    value: float


class ProductMixture:
    """EM of Σ_c π_c N(continuous) Π p(others | c) on standardized samples (n, F).

    Parameters
    ----------
    points : Tensor of shape (n, F)
    likelihood : Columns
    """

    def __init__(self, points: Tensor, likelihood: Any) -> None:
        self.points, self.likelihood = points, likelihood
        self.n_gaussian = points.shape[1] - likelihood.n_heads

    @property
    def kinds(self) -> tuple[bool, ...]:
        """Whether covariances are diagonal, of the kinds that differ."""
        return (True, False) if self.n_gaussian > 1 else (True,)

    def fit(self, name: str, responsibilities: Tensor, is_diagonal: bool, max_iter: int = MAX_ITERATIONS) -> ProductFit:
        """EM from responsibilities (n, K)."""
        R, last = responsibilities.double(), -math.inf
        for _ in range(max_iter):
            log_joint = self.log_joint(R, self.points, is_diagonal)
            value = float(torch.logsumexp(log_joint, -1).mean())
            R = torch.softmax(log_joint, -1)
            if value - last < TOLERANCE:
                break
            last = value
        n, K = R.shape
        G = self.n_gaussian
        n_parameters = K * (self.likelihood.n_heads + G + (G if is_diagonal else G * (G + 1) // 2)) + K - 1
        return ProductFit(name, is_diagonal, R, value - 0.5 * n_parameters * math.log(n) / n)

    def find_dependence(self, fit: ProductFit) -> float:
        """The dependence between columns in the density of a fit (total correlation), in nats per sample.

        It is how much better the joint density is than the product of its marginal ones. A density may fit well because
        it has the shapes of single columns, such as skewness or groups that no other column knows of: it has none then.
        """
        R = fit.responsibilities
        joint = torch.logsumexp(self.log_joint(R, self.points, fit.is_diagonal), -1)
        marginal = torch.logsumexp(self._log_joint_of_columns(R), 1).sum(-1)
        parts, everybody = self.points.split(self.likelihood.sizes, -1), R.new_ones(len(R), 1)
        for head, x in ((self.likelihood.binary, parts[1]), (self.likelihood.categorical, parts[2])):
            marginal += head.log_prob(x, head.estimate(x, everybody))  # whatever the components, their mean
        return max(0.0, float((joint - marginal).mean()))  # less would be a misfit

    def _log_joint_of_columns(self, responsibilities: Tensor) -> Tensor:
        """log p(column, c), (n, K, J), of the J columns that are continuous or counts."""
        G, n_counts = self.n_gaussian, self.likelihood.sizes[-1]
        x = self.points.unsqueeze(1)
        weights, means, covariances = regularize(sum_up(self.points[:, :G], responsibilities), SETTING, is_tied=False)
        variances = covariances.diagonal(dim1=-2, dim2=-1)
        normal = -0.5 * ((x[..., :G] - means).square() / variances + variances.log() + math.log(2.0 * math.pi))
        log_rates = self.likelihood.estimate_heads(self.points, responsibilities)
        first_count, first_rate = self.points.shape[1] - n_counts, log_rates.shape[1] - n_counts
        counts = self.likelihood.counts.log_prob_of_each(x[..., first_count:], log_rates[:, first_rate:])
        return torch.cat([normal, counts], -1) + weights.log().unsqueeze(-1)

    def predict(self, fit: ProductFit, points: Tensor) -> Tensor:
        """Responsibilities (N, K) of other samples (N, F)."""
        return torch.softmax(self.log_joint(fit.responsibilities, points, fit.is_diagonal), -1)

    def log_joint(self, responsibilities: Tensor, at: Tensor, is_diagonal: bool) -> Tensor:
        """log p(x, c), (N, K), of samples (N, F), with the parameters of responsibilities (n, K)."""
        G = self.n_gaussian
        weights, means, covariances = regularize(sum_up(self.points[:, :G], responsibilities), SETTING, is_tied=False)
        if is_diagonal:
            covariances = covariances.diagonal(dim1=-2, dim2=-1).diag_embed()
        log_normals = log_joint_of_mixture(at[:, :G], weights.log(), means, covariances)
        return log_normals + self.log_prob_of_others(responsibilities, at)

    def log_prob_of_others(self, responsibilities: Tensor, at: Tensor) -> Tensor:
        """log p(others | c), (N, K), of the columns that are not continuous, of samples (N, F)."""
        estimated = self.likelihood.estimate_heads(self.points, responsibilities)
        outputs = torch.nn.functional.pad(estimated, (self.n_gaussian, 0))
        log_prob: Tensor = self.likelihood.log_prob_of_heads(at, torch.zeros_like(outputs[:1]), outputs).double()
        return log_prob
