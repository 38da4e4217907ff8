"""Evidence from held-out samples and from halves, of the mixtures that initialize an estimator."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import KNeighborsClassifier

from skgmvae.data.arrays import Floats
from skgmvae.initialization.mixture import fit_mixture, information_criterion, log_joint
from skgmvae.initialization.views import make_views, rounding_variance
from skgmvae.model_selection._density import mixture_kinds
from skgmvae.model_selection._partitions import Partition, Partitions, find_partitions

__all__ = ["chance_stability", "correct_stability", "held_out", "measure_stability"]

N_NEAREST = 5  # samples that give one of the other half its label


def held_out(
    partition: Partition, rows: NDArray[np.intp], X: Floats, X_test: Floats, log_jacobian: float = 0.0
) -> tuple[float, float]:
    """Mean held-out log-likelihood of the initial mixture, and the integrated completed likelihood, nats per sample.

    The mixture begins with the partition; its kind of covariance is that of the best information criterion. The second
    is the first less the entropy of the responsibilities: high for clusters that are separate.

    Parameters
    ----------
    partition : Partition
        Of the samples ``X[rows]``.
    rows : ndarray of shape (n,)
    X : ndarray of shape (N, D)
    X_test : ndarray of shape (N', D)
    log_jacobian : float, default=0.0
        Mean log-determinant of a transform from these values to the data, at the held-out samples.

    Returns
    -------
    log_likelihood, icl : float
        In the units of the data.
    """
    varies = np.ptp(X, axis=0) > 0.0
    if not varies.any():
        return 0.0, 0.0
    location, scale = X[:, varies].mean(0), X[:, varies].std(0)
    points, further = ((part[:, varies] - location) / scale for part in (X[rows], X_test))
    N, D = points.shape
    K = partition.responsibilities.shape[1]
    rounding = rounding_variance(points)
    kinds = mixture_kinds(N, D, K)
    mixtures = [fit_mixture(points, partition.responsibilities, K, kind, rounding=rounding) for kind in kinds]
    best = max(mixtures, key=lambda mixture: information_criterion(mixture, D))
    joint = log_joint(best, points, further, rounding=rounding)
    total = logsumexp(joint, axis=1)
    log_likelihood = total.mean() - np.log(scale).sum() - log_jacobian
    responsibilities = np.exp(joint - total[:, None])
    entropy = -(responsibilities * (joint - total[:, None])).sum(1).mean()
    return float(log_likelihood), float(log_likelihood - entropy)


def measure_stability(X: Floats, numbers: Sequence[int], random_state: np.random.RandomState) -> dict[int, float]:
    """Agreement of the partitions of two random halves, by the number of clusters.

    Each half's samples get a label of the other half's partition by their nearest samples there; the adjusted Rand
    index with their own is averaged over both halves (prediction strength; Tibshirani & Walther 2005).
    """
    points = make_views(X, random_state).continuous
    order = random_state.permutation(len(points))
    halves = [points[np.sort(order[: len(order) // 2])], points[np.sort(order[len(order) // 2 :])]]
    found: list[Partitions] = [find_partitions(half, numbers, random_state) for half in halves]
    values = {}
    for K in numbers:
        if K in found[0].by_number and K in found[1].by_number:
            pairs = [(found[i], halves[i], found[1 - i], halves[1 - i]) for i in (0, 1)]
            values[K] = float(np.mean([_agree(*pair, K) for pair in pairs]))
    return values


def _agree(one: Partitions, of_one: Floats, other: Partitions, of_other: Floats, n_clusters: int) -> float:
    labels, own = (found.by_number[n_clusters].labels for found in (one, other))
    nearest = KNeighborsClassifier(min(N_NEAREST, len(labels))).fit(of_one[one.rows], labels)
    return float(adjusted_rand_score(own, nearest.predict(of_other[other.rows])))


def chance_stability(X: Floats, numbers: Sequence[int], random_state: np.random.RandomState) -> dict[int, float]:
    """:func:`measure_stability` of as many samples of one Gaussian with the same covariance.

    What even data without clusters reach: the boundary between two halves of an elongated cloud is stable.
    """
    points = make_views(X, random_state).continuous
    # sums of the samples with normal weights have their covariance
    drawn = random_state.standard_normal((len(points), len(points))) @ (points / np.sqrt(len(points)))
    return measure_stability(drawn, numbers, random_state)


def correct_stability(observed: Sequence[dict[int, float]], null: Sequence[dict[int, float]]) -> list[dict[int, float]]:
    """(s − s₀) / (1 − s₀), s₀ the mean stability of the null; 0 for a single cluster, which is stable anyway."""
    corrected = []
    for values in observed:
        expected = {K: float(np.mean([drawn[K] for drawn in null if K in drawn] or [np.nan])) for K in values}
        one = {K: (s - expected[K]) / (1.0 - expected[K]) if expected[K] < 1.0 else 0.0 for K, s in values.items()}
        corrected.append(one)
    return corrected
