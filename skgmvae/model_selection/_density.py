"""The density by which clusters are told apart: the mixture of the best BIC, of any number of components."""

import functools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.special import logsumexp
from scipy.stats import chi2

from skgmvae.data.arrays import Floats
from skgmvae.initialization.mixture import Mixture, fit_mixture, information_criterion, log_joint
from skgmvae.initialization.partitions import fit_kmeans
from skgmvae.initialization.views import rounding_variance
from skgmvae.model_selection._partitions import Partitions

__all__ = ["Density", "Mixtures", "find_density", "measure_misfit", "mixture_kinds"]

REGULARIZATION = (
    1e-3  # added to the variances of standardized samples: a smooth density shows clusters better than a close one
)
MORE_COMPONENTS = (16, 20, 24, 30, 36, 48, 60, 72)  # beyond the numbers of clusters, …
MORE_ITERATIONS = 60  # … from k-means, with so many iterations of EM
SAMPLES_PER_COMPONENT = 2  # times D + 1, at least
LEAST_TESTED = 60  # samples per component; with fewer, pieces of a curve pass a test of normality
MANY_FEATURES = 64  # above, no full covariances
N_STEPS = 21  # along a line between two components


class Density(NamedTuple):
    """A smooth density of n samples, its components, and its height between them.

    Attributes
    ----------
    responsibilities : ndarray of shape (n, M)
    of_samples : ndarray of shape (n,)
        Log-densities.
    of_middles : ndarray of shape (E,)
        In the middles of edges between samples.
    of_means : ndarray of shape (M,)
        At the means of the components.
    of_ridges : ndarray of shape (M, M)
        Lowest log-density on the line between two components.
    """

    responsibilities: Floats
    of_samples: Floats
    of_middles: Floats
    of_means: Floats
    of_ridges: Floats


class Mixtures(NamedTuple):
    """What was found when mixtures of several numbers of components were fitted.

    Attributes
    ----------
    density : Density
        Of the one with the lowest Bayesian information criterion.
    misfit : float
        How far its components are from normal distributions, see :func:`measure_misfit`; NaN where they have so few
        samples that the test would reject nothing.
    is_tied : bool
        Whether they share one covariance.
    bic : dict of int to float
        The lowest criterion for each number of components.
    """

    density: Density
    misfit: float
    is_tied: bool
    bic: dict[int, float]


def find_density(partitions: Partitions, random_state: np.random.RandomState) -> Mixtures:
    """The density of the mixture of the best information criterion.

    The density of few Gaussians is smooth, where that of nearest neighbors has many small peaks. The mixtures begin
    with the partitions and with k-means; they may have more components than there are clusters.

    Parameters
    ----------
    partitions : Partitions
    random_state : RandomState

    Returns
    -------
    Mixtures
    """
    points = partitions.exact
    rounding = rounding_variance(points)
    best_by_number: dict[int, tuple[float, Mixture]] = {}
    for mixture in _fit_mixtures(partitions, rounding, random_state):
        bic, m = -2.0 * len(points) * information_criterion(mixture, points.shape[1]), mixture.responsibilities.shape[1]
        if m not in best_by_number or bic < best_by_number[m][0]:
            best_by_number[m] = bic, mixture
    best = min(best_by_number.values(), key=lambda pair: pair[0])[1]

    def log_density(at: Floats) -> Floats:
        return np.asarray(
            logsumexp(log_joint(best, points, at, regularization=REGULARIZATION, rounding=rounding), axis=1)
        )

    means, covariances = _moments(points, best, rounding)
    M = len(means)
    of_ridges = np.full((M, M), -np.inf)
    for i in range(1, M):
        heights = [log_density(_ridge(means[[i, j]], covariances[[i, j]])).min() for j in range(i)]
        of_ridges[i, :i] = of_ridges[:i, i] = heights
    of_middles = log_density(points[partitions.edges].mean(1))
    density = Density(best.responsibilities, log_density(points), of_middles, log_density(means), of_ridges)
    is_tested = len(points) >= LEAST_TESTED * M
    misfit = measure_misfit(points, best.responsibilities, means, covariances) if is_tested else np.nan
    return Mixtures(density, misfit, best.kind == "tied", {m: pair[0] for m, pair in best_by_number.items()})


def measure_misfit(points: Floats, responsibilities: Floats, means: Floats, covariances: Floats) -> float:
    """The largest √n times Kolmogorov–Smirnov distance between the distances from a mean and their distribution.

    In a component that is a normal distribution, squared Mahalanobis distances have a chi-square distribution. Samples
    count by their responsibilities; n is the effective number of samples of the component.

    Parameters
    ----------
    points : ndarray of shape (n, D)
    responsibilities : ndarray of shape (n, M)
    means : ndarray of shape (M, D)
    covariances : ndarray of shape (M, D, D)
    """
    found = [0.0]
    for weights, mean, covariance in zip(responsibilities.T, means, covariances, strict=True):
        whitened = solve_triangular(np.linalg.cholesky(covariance), (points - mean).T, lower=True)
        squares, total = np.square(whitened).sum(0), weights.sum()
        if total > 0.0:
            order = np.argsort(squares)
            after, expected = weights[order].cumsum() / total, chi2.cdf(squares[order], points.shape[1])
            distance = np.maximum(np.abs(after - expected), np.abs(after - weights[order] / total - expected)).max()
            found.append(float(distance * total / np.sqrt(np.square(weights).sum())))
    return max(found)


def mixture_kinds(n_samples: int, n_features: int, n_components: int) -> tuple[str, ...]:
    """Kinds of covariance that so many samples and features allow."""
    if n_features == 1:
        return ("diag",)
    if n_features > MANY_FEATURES or n_samples / n_components < n_features + 2:
        return ("tied", "diag")
    return ("full", "tied", "diag")


def _fit_mixtures(partitions: Partitions, rounding: Floats, random_state: np.random.RandomState) -> Iterator[Mixture]:
    points = partitions.exact
    N, D = points.shape
    fit = functools.partial(fit_mixture, regularization=REGULARIZATION, rounding=rounding)
    for K, partition in partitions.by_number.items():
        starts: list[NDArray[np.intp] | Floats] = [partition.labels]
        if partition.mixture is not None:
            has_empty = np.bincount(partition.labels, minlength=K).min() == 0
            starts = [partition.mixture.responsibilities, *([] if has_empty else starts)]
        for kind in mixture_kinds(N, D, K):
            yield from (fit(points, start, K, kind) for start in starts)
    numbers = [K for K in partitions.by_number if K > 1]
    for m in (*numbers, *(m for m in MORE_COMPONENTS if m > max(numbers, default=1))):
        if SAMPLES_PER_COMPONENT * m * (D + 1) < N:
            labels = fit_kmeans(points, m, random_state)[0]
            for kind in mixture_kinds(N, D, m):
                yield fit(points, labels, m, kind, max_iter=MORE_ITERATIONS)


def _moments(points: Floats, mixture: Mixture, rounding: Floats) -> tuple[Floats, Floats]:
    """Means (M, D) and covariances (M, D, D) of the components."""
    weights = mixture.responsibilities / (mixture.responsibilities.sum(0) + np.finfo(np.float64).tiny)
    means = weights.T @ points
    covariances = np.stack(
        [(w[:, None] * (points - m)).T @ (points - m) for w, m in zip(weights.T, means, strict=True)]
    )
    if mixture.kind == "diag":
        covariances *= np.eye(points.shape[1])
    if mixture.kind == "tied":
        covariances[:] = np.tensordot(mixture.responsibilities.mean(0), covariances, 1)
    return means, covariances + np.diag(REGULARIZATION + rounding)


def _ridge(means: Floats, covariances: Floats) -> Floats:
    """Points (n, D) of the ridgeline of two Gaussians (2, D), on which all modes and saddles of their mixture lie.

    x(α) = ((1 − α) S₀⁻¹ + α S₁⁻¹)⁻¹ ((1 − α) S₀⁻¹ m₀ + α S₁⁻¹ m₁) (Ray & Lindsay 2005).
    """
    shares = np.stack([1.0 - np.linspace(0.0, 1.0, N_STEPS), np.linspace(0.0, 1.0, N_STEPS)], axis=1)
    precisions = np.linalg.inv(covariances)
    linear = np.einsum("kij,kj->ki", precisions, means)
    solved: Floats = np.linalg.solve(np.tensordot(shares, precisions, 1), (shares @ linear)[..., None])[..., 0]
    return solved
