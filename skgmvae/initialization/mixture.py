"""Mixtures of Gaussians or t-distributions fitted from given clusters, quick enough to be begun from many.

EM on sufficient statistics (:mod:`skgmvae.initialization.sufficient_statistics`).
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skgmvae.initialization.mixture_em import Iterations, log_density
from skgmvae.initialization.partitions import members
from skgmvae.initialization.sufficient_statistics import LEAST_COUNT, make_features, maximize, mean_product

__all__ = [
    "COVARIANCE_TYPES",
    "REGULARIZATION",
    "Mixture",
    "count_covariances",
    "fit_from_each",
    "fit_mixture",
    "has_samples_for",
    "information_criterion",
    "is_wide",
    "log_joint",
    "n_parameters",
]

COVARIANCE_TYPES = ("full", "tied", "diag")
REGULARIZATION = 1e-5  # of covariances, for points of unit variance
MAX_ITER = 100
VALUES_AT_ONCE = 2**16  # responsibilities of the mixtures that are fitted at the same time
TOLERANCE = 1e-3  # nats per sample; EM that goes on leaves clusters that overlap for a slightly higher bound


class Mixture(NamedTuple):
    """A fitted mixture.

    Attributes
    ----------
    kind : {'full', 'tied', 'diag'}
    dof : float
        Degrees of freedom of t-distributions; infinite of Gaussians.
    responsibilities : ndarray of shape (N, K)
        Of the samples it was fitted to.
    bound : float
        Mean log-likelihood of these samples, in nats.
    weights : ndarray of shape (N, K)
        Of the samples in means and covariances: the responsibilities, less in heavy tails.
    """

    kind: str
    dof: float
    responsibilities: NDArray[np.float64]
    bound: float
    weights: NDArray[np.float64]

    @property
    def name(self) -> str:
        """Its kind, and a t for heavy tails."""
        return self.kind if math.isinf(self.dof) else f"{self.kind} t"

    @property
    def labels(self) -> NDArray[np.intp]:
        """The most probable component of each sample."""
        return np.asarray(self.responsibilities.argmax(1))


def n_parameters(kind: str, n_components: int, n_features: int) -> int:
    """Number of free parameters of weights, means and covariances."""
    K, D = n_components, n_features
    return K - 1 + K * D + count_covariances(kind, K, D)


def count_covariances(kind: str, n_components: int, n_features: int, n_factors: int | None = None) -> int:
    """Parameters of the covariances; of full ones with fewer factors than features, with these.

    W factors, up to their rotation, and a diagonal have D (W + 1) − W (W − 1) / 2.
    """
    K, D = n_components, n_features
    W = D if n_factors is None else min(n_factors, D)
    counts = {
        "full": K * min(D * (D + 1) // 2, D * (W + 1) - W * (W - 1) // 2),
        "tied": D * (D + 1) // 2,
        "diag": K * D,
        "spherical": K,
    }
    return counts[kind]


def has_samples_for(n_components: int, n_samples: int, n_features: int) -> bool:
    """Whether there are more than two samples per feature, and two more, for each component."""
    return 2 * n_components * (n_features + 1) < n_samples


def is_wide(n_samples: int, n_features: int, n_components: int) -> bool:
    """Whether a component with a full covariance has more parameters than samples."""
    return n_samples / n_components < n_features * (n_features + 3) / 2


def information_criterion(mixture: Mixture, n_features: int) -> float:
    """Bayesian information criterion in nats per sample, the higher the better."""
    N, K = mixture.responsibilities.shape
    penalty = n_parameters(mixture.kind, K, n_features) * math.log(N) / (2.0 * N)
    return float(mixture.bound - penalty)


def fit_mixture(
    points: NDArray[np.float64], labels: NDArray[np.intp] | NDArray[np.float64], *args: Any, **options: Any
) -> Mixture:
    """The mixture of :func:`fit_from_each` from one start: labels (N,) or responsibilities (N, K)."""
    return fit_from_each(points, [labels], *args, **options)[0]


def fit_from_each(
    points: NDArray[np.float64],
    starts: Sequence[NDArray[np.intp] | NDArray[np.float64]],
    n_components: int,
    kind: str = "full",
    *,
    dof: float = math.inf,
    regularization: float = REGULARIZATION,
    rounding: NDArray[np.float64] | None = None,
    max_iter: int = MAX_ITER,
    tolerance: float = TOLERANCE,
) -> list[Mixture]:
    """The mixtures after EM from each of some labels (N,) or responsibilities (N, K).

    Small ones are fitted at the same time: a step of each takes longer to call than to compute.

    Parameters
    ----------
    points : ndarray of shape (N, D)
        Of about unit variance and zero mean.
    starts : sequence of ndarray of shape (N,) or (N, K)
    n_components : int
        K.
    kind : {'full', 'tied', 'diag'}, default='full'
        Of covariances, as scikit-learn's ``covariance_type``.
    dof : float, default=inf
        Degrees of freedom of t-distributions (Peel & McLachlan 2000), not with tied covariances; infinite of Gaussians.
    regularization : float
        Added to the variances.
    rounding : ndarray of shape (D,), optional
        Variance of the rounding of each column, none by default. The samples are fitted as if noise of this variance
        were added to them, on average over the noise: a column of few values then says no more about the clusters than
        its values do (dequantization, Theis et al. 2016).
    max_iter : int
    tolerance : float
        EM ends before ``max_iter`` where the mean log-likelihood rises by less, in nats.

    Returns
    -------
    list of Mixture
    """
    N, D = points.shape
    rounding = np.zeros(D) if rounding is None else rounding
    features, total = make_features(points, kind, rounding), mean_product(points, rounding)
    iterations = Iterations(features, total, kind, dof, regularization)
    n_at_once, found = max(1, VALUES_AT_ONCE // (N * n_components)), []
    for first in range(0, len(starts), n_at_once):
        given = [_as_responsibilities(start, n_components) for start in starts[first : first + n_at_once]]
        found += iterations.run(np.stack(given, axis=1), max_iter, tolerance)
    return [Mixture(kind, dof, *fitted) for fitted in found]


def _as_responsibilities(start: NDArray[np.intp] | NDArray[np.float64], n_components: int) -> NDArray[np.float64]:
    """Of shape (K, N)."""
    if start.ndim == 2:
        return np.asarray(start, dtype=np.float64).T
    return np.asarray(members(start.astype(np.intp), n_components).toarray().T)


def log_joint(
    mixture: Mixture,
    points: NDArray[np.float64],
    at: NDArray[np.float64],
    *,
    regularization: float = REGULARIZATION,
    rounding: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """log π_c + log N(x | c) of other points, under the mixture that one more M-step makes of the responsibilities.

    Parameters
    ----------
    mixture : Mixture
    points : ndarray of shape (N, D)
        It was fitted to.
    at : ndarray of shape (n, D)
    regularization, rounding
        As in :func:`fit_mixture`; the rounding is also that of ``at``.

    Returns
    -------
    ndarray of shape (n, K)
    """
    D, counts = points.shape[1], mixture.responsibilities.sum(0) + LEAST_COUNT
    rounding = np.zeros(D) if rounding is None else rounding
    kind, total = mixture.kind, mean_product(points, rounding)
    features = make_features(points, kind, rounding)
    coefficients, log_determinants, (precision,) = maximize(features, mixture.weights.T, regularization, kind, total)
    of_tied = ((at @ precision) * at).sum(1)[:, None] + precision.diagonal() @ rounding
    squares = make_features(at, kind, rounding) @ coefficients.T + of_tied
    log_scale = np.log(counts / counts.sum()) - 0.5 * log_determinants
    return np.asarray(log_scale + log_density(np.maximum(squares, 0.0), D, mixture.dof))
