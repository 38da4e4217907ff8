"""Gaussian mixtures fitted from given clusters, quick enough to be begun from many.

EM on sufficient statistics: with features φ(x) = (1, x, x xᵀ) the log joint is φ(x) times a matrix of one column per
component, and the moments are the responsibilities times φ(x). Both are matrix products.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skgmvae.initialization.partitions import members

__all__ = ["COVARIANCE_TYPES", "REGULARIZATION", "Mixture", "fit_mixture", "information_criterion", "n_parameters"]

COVARIANCE_TYPES = ("full", "tied", "diag")
REGULARIZATION = 1e-5  # of covariances, for points of unit variance
MAX_ITER = 100
TOLERANCE = 1e-3  # nats per sample; EM that goes on leaves clusters that overlap for a slightly higher bound
LEAST_COUNT = 10.0 * np.finfo(np.float64).eps


class Mixture(NamedTuple):
    """A fitted mixture of Gaussians.

    Attributes
    ----------
    kind : {'full', 'tied', 'diag'}
    coefficients : ndarray of shape (F, K)
        The log joint of a sample is its features times these.
    responsibilities : ndarray of shape (N, K)
        Of the samples it was fitted to.
    bound : float
        Mean log-likelihood of these samples, in nats.
    """

    kind: str
    coefficients: NDArray[np.float64]
    responsibilities: NDArray[np.float64]
    bound: float

    @property
    def labels(self) -> NDArray[np.intp]:
        """The most probable component of each sample."""
        return np.asarray(self.responsibilities.argmax(1))


def n_parameters(kind: str, n_components: int, n_features: int) -> int:
    """Number of free parameters of weights, means and covariances."""
    K, D = n_components, n_features
    of_covariances = {"full": K * D * (D + 1) // 2, "tied": D * (D + 1) // 2, "diag": K * D}
    return K - 1 + K * D + of_covariances[kind]


def _features(points: NDArray[np.float64], kind: str) -> NDArray[np.float64]:
    """(1, x, x²) for diagonal covariances, else (1, x, x_i x_j for i ≤ j)."""
    N, D = points.shape
    if kind == "diag":
        return np.hstack([np.ones((N, 1)), points, points**2])
    i, j = np.triu_indices(D)
    return np.hstack([np.ones((N, 1)), points, points[:, i] * points[:, j]])


def information_criterion(mixture: Mixture, n_features: int) -> float:
    """Bayesian information criterion in nats per sample, the higher the better."""
    N, K = mixture.responsibilities.shape
    penalty = n_parameters(mixture.kind, K, n_features) * math.log(N) / (2.0 * N)
    return float(mixture.bound - penalty)


def _moments(
    features: NDArray[np.float64], responsibilities: NDArray[np.float64], floor: NDArray[np.float64], kind: str
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Counts (K,), means (K, D) and covariances (K, D, D), or variances (K, D) of diagonal ones."""
    D, sums = len(floor), responsibilities.T @ features
    counts = sums[:, 0] + LEAST_COUNT
    means, second = sums[:, 1 : D + 1] / counts[:, None], sums[:, D + 1 :] / counts[:, None]
    if kind == "diag":
        return counts, means, np.maximum(second - means**2, 0.0) + floor
    covariances = np.empty((len(counts), D, D))
    i, j = np.triu_indices(D)
    covariances[:, i, j] = covariances[:, j, i] = second - means[:, i] * means[:, j]
    if kind == "tied":
        covariances[:] = np.einsum("k,kij->ij", counts / counts.sum(), covariances)
    covariances[:, range(D), range(D)] += floor
    return counts, means, covariances


def _coefficients(
    counts: NDArray[np.float64], means: NDArray[np.float64], covariances: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The matrix (F, K) of log π + log N as a linear function of the features."""
    D, log_weights = means.shape[1], np.log(counts / counts.sum())
    if covariances.ndim == 2:
        linear, quadratic = means / covariances, -0.5 / covariances
        log_determinants = np.log(covariances).sum(1)
    else:
        precisions, log_determinants = np.linalg.inv(covariances), np.linalg.slogdet(covariances)[1]
        linear = np.einsum("kij,kj->ki", precisions, means)
        i, j = np.triu_indices(D)
        quadratic = np.where(i == j, -0.5, -1.0) * precisions[:, i, j]
    constant = log_weights - 0.5 * (log_determinants + D * np.log(2.0 * np.pi) + (means * linear).sum(1))
    return np.hstack([constant[:, None], linear, quadratic]).T


def fit_mixture(
    points: NDArray[np.float64],
    labels: NDArray[np.intp] | NDArray[np.float64],
    n_components: int,
    kind: str = "full",
    *,
    floor: NDArray[np.float64] | None = None,
    max_iter: int = MAX_ITER,
) -> Mixture:
    """A mixture after EM from labels (N,) or responsibilities (N, K).

    Parameters
    ----------
    points : ndarray of shape (N, D)
        Of about unit variance and zero mean.
    labels : ndarray of shape (N,) or (N, K)
    n_components : int
        K.
    kind : {'full', 'tied', 'diag'}, default='full'
        Of covariances, as scikit-learn's ``covariance_type``.
    floor : ndarray of shape (D,), optional
        Added to the variances; :data:`REGULARIZATION` by default.
    max_iter : int
        EM ends before where the mean log-likelihood rises by less than :data:`TOLERANCE`.

    Returns
    -------
    Mixture
    """
    floor = np.full(points.shape[1], REGULARIZATION) if floor is None else floor
    features = _features(points, kind)
    if labels.ndim == 2:
        responsibilities = np.asarray(labels, dtype=np.float64)
    else:
        responsibilities = members(labels.astype(np.intp), n_components).toarray()
    bound, coefficients = -np.inf, np.empty(0)
    for _ in range(max_iter):
        coefficients = _coefficients(*_moments(features, responsibilities, floor, kind))
        before, (bound, responsibilities) = bound, _expect(features @ coefficients)
        if bound - before < TOLERANCE:
            break
    return Mixture(kind, coefficients, responsibilities, bound)


def _expect(log_joint: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """Mean log-likelihood and responsibilities, from one exponential per entry."""
    largest = log_joint.max(1, keepdims=True)
    ratios = np.exp(log_joint - largest)
    total = ratios.sum(1, keepdims=True)
    return float((largest + np.log(total)).mean()), ratios / total
