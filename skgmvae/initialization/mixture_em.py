"""EM of several mixtures of the same samples at a time, on sufficient statistics.

Arrays have the samples as last axis, so that sums and maxima over the few components are of long rows.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skgmvae.initialization.sufficient_statistics import LEAST_COUNT, maximize

__all__ = ["Fitted", "Iterations", "log_density"]


class Fitted(NamedTuple):
    """One of the mixtures.

    Attributes
    ----------
    responsibilities : ndarray of shape (N, K)
    bound : float
        Mean log-likelihood, in nats.
    weights : ndarray of shape (N, K)
        Of the samples in means and covariances.
    """

    responsibilities: NDArray[np.float64]
    bound: float
    weights: NDArray[np.float64]


class Iterations(NamedTuple):
    """What is the same for all mixtures.

    Attributes
    ----------
    features : ndarray of shape (N, F)
    total : ndarray of shape (D, D)
        Mean of x xᵀ.
    kind : {'full', 'tied', 'diag'}
    dof : float
        Degrees of freedom of t-distributions; infinite of Gaussians.
    regularization : float
    """

    features: NDArray[np.float64]
    total: NDArray[np.float64]
    kind: str
    dof: float
    regularization: float

    def run(self, responsibilities: NDArray[np.float64], max_iter: int, tolerance: float) -> list[Fitted]:
        """The S mixtures after EM from responsibilities (K, S, N), each until its own bound rises by less."""
        S = responsibilities.shape[1]
        weights, bounds, places = responsibilities, np.full(S, -np.inf), np.arange(S)
        found: dict[int, Fitted] = {}
        for i in range(max_iter):
            before, (bounds, responsibilities, weights) = bounds, self._step(responsibilities, weights)
            is_over = (bounds - before < tolerance) | (i == max_iter - 1)
            for s in np.flatnonzero(is_over):
                R, W = (np.ascontiguousarray(values[:, s].T) for values in (responsibilities, weights))
                found[int(places[s])] = Fitted(R, float(bounds[s]), W)
            if is_over.all():
                break
            if is_over.any():
                bounds, places = bounds[~is_over], places[~is_over]
                responsibilities, weights = responsibilities[:, ~is_over], weights[:, ~is_over]
        return [found[s] for s in range(S)]

    def _step(
        self, responsibilities: NDArray[np.float64], weights: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Bounds (S,), and the next responsibilities and weights (K, S, N)."""
        (K, S, N), D, dof = weights.shape, len(self.total), self.dof
        coefficients, log_determinants, precisions = maximize(
            self.features, weights.reshape(K * S, N), self.regularization, self.kind, self.total, S
        )
        squares = (coefficients @ self.features.T).reshape(K, S, N)
        counts = responsibilities.sum(2) + LEAST_COUNT
        log_scale = np.log(counts / counts.sum(0)) - 0.5 * log_determinants.reshape(K, S)
        if math.isfinite(dof):
            np.maximum(squares, 0.0, out=squares)  # rounding
        bounds, after = _expect(log_scale[..., None] + log_density(squares, D, dof))
        bounds -= 0.5 * (precisions * self.total).sum((1, 2))
        return bounds, after, after if math.isinf(dof) else after * (dof + D) / (dof + squares)


def log_density(squares: NDArray[np.float64], n_features: int, dof: float) -> NDArray[np.float64]:
    """Of squared Mahalanobis distances; log |Σ| / 2 is to be subtracted."""
    D = n_features
    if math.isinf(dof):
        return -0.5 * (squares + D * math.log(2.0 * math.pi))
    constant = math.lgamma((dof + D) / 2.0) - math.lgamma(dof / 2.0) - 0.5 * D * math.log(dof * math.pi)
    return np.asarray(constant - 0.5 * (dof + D) * np.log1p(squares / dof))


def _expect(log_joint: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean log-likelihoods (S,) and responsibilities (K, S, N), from one exponential per entry."""
    largest = log_joint.max(0)
    ratios = np.exp(log_joint - largest)
    total = ratios.sum(0)
    return (largest + np.log(total)).mean(1), ratios / total
