"""Gaussian mixtures fitted from given clusters, quick enough to be begun from many.

EM on sufficient statistics: with features φ(x) = (1, x, x xᵀ) the log joint is φ(x) times a matrix of one column per
component, and the moments are the responsibilities times φ(x). Both are matrix products, much quicker than a loop over
components.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skgmvae.initialization.partitions import members

__all__ = [
    "COVARIANCE_TYPES",
    "REGULARIZATION",
    "Mixture",
    "fit_mixture",
    "information_criterion",
    "log_joint",
    "n_parameters",
]

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
    responsibilities : ndarray of shape (N, K)
        Of the samples it was fitted to.
    bound : float
        Mean log-likelihood of these samples, in nats.
    """

    kind: str
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
    """(1, x, x_i x_j for i ≤ j) for full covariances, (1, x, x²) for diagonal ones, and (1, x) for tied ones.

    The quadratic term of tied ones is the same for all components: it is added to the log-likelihood.
    """
    ones = np.ones((len(points), 1))
    if kind == "tied":
        return np.hstack([ones, points])
    if kind == "diag":
        return np.hstack([ones, points, points**2])
    i, j = np.triu_indices(points.shape[1])
    return np.hstack([ones, points, points[:, i] * points[:, j]])


def information_criterion(mixture: Mixture, n_features: int) -> float:
    """Bayesian information criterion in nats per sample, the higher the better."""
    N, K = mixture.responsibilities.shape
    penalty = n_parameters(mixture.kind, K, n_features) * math.log(N) / (2.0 * N)
    return float(mixture.bound - penalty)


def _moments(
    features: NDArray[np.float64], responsibilities: NDArray[np.float64], n_features: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Counts (K,), and means (K, D) and mean squares and products (K, F − D − 1) of the features."""
    D, sums = n_features, responsibilities.T @ features
    counts = sums[:, 0] + LEAST_COUNT
    return counts, sums[:, 1 : D + 1] / counts[:, None], sums[:, D + 1 :] / counts[:, None]


def _maximize(
    features: NDArray[np.float64],
    responsibilities: NDArray[np.float64],
    floor: NDArray[np.float64],
    kind: str,
    total: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The matrix (F, K) of log π + log N as a linear function of the features, and the precision of tied ones.

    Parameters
    ----------
    total : ndarray of shape (D, D)
        Mean of x xᵀ over all samples, of which the tied covariance is what lies within components.
    """
    D = len(floor)
    counts, means, squares = _moments(features, responsibilities, D)
    shares, precision = counts / counts.sum(), np.zeros((D, D))
    if kind == "diag":
        variances = np.maximum(squares - means**2, 0.0) + floor
        linear, quadratic = means / variances, -0.5 / variances
        log_determinants = np.log(variances).sum(1)
    elif kind == "tied":
        covariance = total - (means.T * shares) @ means + np.diag(floor)
        precision = np.linalg.inv(covariance)
        linear, quadratic = means @ precision, np.empty((len(counts), 0))
        log_determinants = np.full(len(counts), np.linalg.slogdet(covariance)[1])
    else:
        i, j = np.triu_indices(D)
        covariances = np.empty((len(counts), D, D))
        covariances[:, i, j] = covariances[:, j, i] = squares - means[:, i] * means[:, j]
        covariances += np.diag(floor)
        precisions, log_determinants = np.linalg.inv(covariances), np.linalg.slogdet(covariances)[1]
        linear = np.einsum("kij,kj->ki", precisions, means)
        quadratic = np.where(i == j, -0.5, -1.0) * precisions[:, i, j]
    constant = np.log(shares) - 0.5 * (log_determinants + D * np.log(2.0 * np.pi) + (means * linear).sum(1))
    return np.hstack([constant[:, None], linear, quadratic]).T, precision


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
    bound, total = -np.inf, points.T @ points / len(points)
    for _ in range(max_iter):
        coefficients, precision = _maximize(features, responsibilities, floor, kind, total)
        before, (bound, responsibilities) = bound, _expect(features @ coefficients)
        bound -= 0.5 * float((precision * total).sum())
        if bound - before < TOLERANCE:
            break
    return Mixture(kind, responsibilities, bound)


def log_joint(
    mixture: Mixture, points: NDArray[np.float64], at: NDArray[np.float64], *, floor: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """log π_c + log N(x | c) of other points, under the mixture that one more M-step makes of the responsibilities.

    Parameters
    ----------
    mixture : Mixture
    points : ndarray of shape (N, D)
        It was fitted to.
    at : ndarray of shape (n, D)
    floor : ndarray of shape (D,), optional
        As in :func:`fit_mixture`.

    Returns
    -------
    ndarray of shape (n, K)
    """
    floor = np.full(points.shape[1], REGULARIZATION) if floor is None else floor
    total = points.T @ points / len(points)
    features = _features(points, mixture.kind)
    coefficients, precision = _maximize(features, mixture.responsibilities, floor, mixture.kind, total)
    return np.asarray(_features(at, mixture.kind) @ coefficients - 0.5 * ((at @ precision) * at).sum(1)[:, None])


def _expect(log_joint: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """Mean log-likelihood and responsibilities, from one exponential per entry."""
    largest = log_joint.max(1, keepdims=True)
    ratios = np.exp(log_joint - largest)
    total = ratios.sum(1, keepdims=True)
    return float((largest + np.log(total)).mean()), ratios / total
