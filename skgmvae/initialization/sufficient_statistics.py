"""Sufficient statistics of mixtures: the features of the samples, and the components that maximize their likelihood.

With features φ(x) = (1, x, x xᵀ) the squared Mahalanobis distances are φ(x) times a matrix of one column per component,
and the moments are weights of the samples times φ(x). Both are matrix products, much quicker than a loop over
components.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEAST_COUNT", "make_features", "maximize", "mean_product"]

LEAST_COUNT = 10.0 * np.finfo(np.float64).eps


def make_features(points: NDArray[np.float64], kind: str, rounding: NDArray[np.float64]) -> NDArray[np.float64]:
    """(1, x, x_i x_j for i ≤ j) for full covariances, (1, x, x²) for diagonal ones, and (1, x) for tied ones.

    The quadratic term of tied ones is the same for all components: it is added to the log-likelihood of Gaussians.
    Squares are those expected when a column is given noise of the variance of its rounding.
    """
    ones = np.ones((len(points), 1))
    if kind == "tied":
        return np.hstack([ones, points])
    if kind == "diag":
        return np.hstack([ones, points, points**2 + rounding])
    i, j = _upper(points.shape[1])
    return np.hstack([ones, points, points[:, i] * points[:, j] + np.where(i == j, rounding[i], 0.0)])


@lru_cache(8)
def _upper(n_features: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Indices of the upper triangle of a matrix (D, D)."""
    return np.triu_indices(n_features)


def mean_product(points: NDArray[np.float64], rounding: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of x xᵀ over the samples, (D, D), with the noise of :func:`make_features`."""
    return np.asarray(points.T @ points / len(points) + np.diag(rounding))


def _moments(
    features: NDArray[np.float64], responsibilities: NDArray[np.float64], n_features: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Counts (K,), means (K, D), mean squares and products (K, F − D − 1), for responsibilities (K, N)."""
    D, sums = n_features, responsibilities @ features
    counts = sums[:, 0] + LEAST_COUNT
    return counts, sums[:, 1 : D + 1] / counts[:, None], sums[:, D + 1 :] / counts[:, None]


def maximize(
    features: NDArray[np.float64],
    weights: NDArray[np.float64],
    regularization: float,
    kind: str,
    total: NDArray[np.float64],
    n_mixtures: int = 1,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Squared Mahalanobis distances as a linear function (KS, F) of the features, log |Σ| (KS,), and tied precisions.

    Parameters
    ----------
    features : ndarray of shape (N, F)
    weights : ndarray of shape (KS, N)
        Of the samples in the components of S mixtures: the first component of each, then the second, and so on.
    regularization : float
    kind : {'full', 'tied', 'diag'}
    total : ndarray of shape (D, D)
        Mean of x xᵀ over all samples, of which the tied covariance is what lies within components.
    n_mixtures : int
        S. The precisions (S, D, D) are zero if they are not tied.
    """
    D, S = len(total), n_mixtures
    counts, means, squares = _moments(features, weights, D)
    precision = np.zeros((S, D, D))
    if kind == "diag":
        variances = np.maximum(squares - means**2, 0.0) + regularization
        linear, quadratic = means / variances, 1.0 / variances
        log_determinants = np.log(variances).sum(1)
    elif kind == "tied":
        K, of_mixtures = len(counts) // S, means.reshape(-1, S, D).swapaxes(0, 1)
        shares = counts.reshape(K, S).T
        shares = shares / shares.sum(1, keepdims=True)
        between = (of_mixtures.mT * shares[:, None]) @ of_mixtures
        covariances = total - between + regularization * np.eye(D)
        precision = np.linalg.inv(covariances)
        linear = (of_mixtures @ precision).swapaxes(0, 1).reshape(-1, D)
        quadratic, log_determinants = np.empty((len(counts), 0)), np.tile(np.linalg.slogdet(covariances)[1], K)
    else:
        i, j = _upper(D)
        covariances = np.empty((len(counts), D, D))
        covariances[:, i, j] = covariances[:, j, i] = squares - means[:, i] * means[:, j]
        covariances += regularization * np.eye(D)
        precisions, log_determinants = np.linalg.inv(covariances), np.linalg.slogdet(covariances)[1]
        linear = np.einsum("kij,kj->ki", precisions, means)
        quadratic = np.where(i == j, 1.0, 2.0) * precisions[:, i, j]
    constant = (means * linear).sum(1)
    return np.hstack([constant[:, None], -2.0 * linear, quadratic]), log_determinants, precision
