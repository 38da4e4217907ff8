"""Mixtures of several families, each the best from many initializations, and larger ones with components merged."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from skgmvae.initialization.comparison import shares_kept
from skgmvae.initialization.directions import split_directions
from skgmvae.initialization.information import merge_cheapest
from skgmvae.initialization.mixture import (
    Mixture,
    fit_from_each,
    has_samples_for,
    information_criterion,
    is_wide,
    n_parameters,
)
from skgmvae.initialization.partitions import fit_kmeans
from skgmvae.initialization.views import whiten

__all__ = ["MERGED", "MORE_COMPONENTS", "find_larger", "fit_mixtures", "merge_components"]

MERGED = "merged mixture"  # a candidate's name
N_KMEANS = 5  # initializations from k-means, and …
N_WHITENED = 5  # … from whitened k-means
HEAVY = 4.0  # degrees of freedom of components with heavy tails
SHORT, LONGER = 10, 50  # EM iterations after which the best initializations go on; in small tables the second, …
SHORT_BUDGET = 100_000  # … the number of responsibilities computed in them being about this
N_CONTINUED = 3  # initializations that go on
MANY_FEATURES, MORE_FEATURES = 64, 100  # above, covariances are tied or diagonal, and diagonal only
LEAST_SAMPLES = 5  # of a component with a tied or diagonal covariance
N_DEVIATIONS = 2.0  # of the noise of a bound, by which mixtures may differ to count as equally good
MORE_COMPONENTS = (1.5, 2.0, 3.0, 4.0)  # times K, and K + 1
MAX_COMPONENTS = 60  # but up to 1.5K in any case
MORE_ITERATIONS = 30  # of EM with more components

Labels = dict[str, NDArray[np.intp]]


def _kinds(n_samples: int, n_features: int, n_clusters: int) -> tuple[str, ...]:
    """Kinds of covariance that so many samples and features allow."""
    if n_features == 1 or n_features > MORE_FEATURES or n_samples / n_clusters < n_features + 2:
        return ("diag",)
    return ("tied", "diag") if n_features > MANY_FEATURES else ("full", "tied", "diag")


def _degrees_of_freedom(
    points: NDArray[np.float64], kind: str, rounding: NDArray[np.float64], wide: bool
) -> tuple[float, ...]:
    """Of a kind of covariances, infinite for Gaussians; columns of few values have no tails.

    The tails of t-distributions with tied covariances would take the place of a cluster that is wider than the others.
    In wide tables, they would hide that K ellipses are too few. Where most values of a column are repeated, they would
    cover the samples that do not share a value, and a component would shrink to those that do.
    """
    is_rounded = rounding > 0.0
    is_repeated = np.array([2 * len(np.unique(column)) < len(points) for column in points.T])
    has_no_tails = bool(is_rounded.all() or (is_repeated & ~is_rounded).any())
    return (math.inf,) if wide or kind == "tied" or has_no_tails else (math.inf, HEAVY)


def fit_mixtures(
    points: NDArray[np.float64],
    labels: Labels,
    n_clusters: int,
    links: csr_array,
    rounding: NDArray[np.float64],
    random_state: np.random.RandomState,
) -> dict[str, Mixture]:
    """The best mixture of each family, begun from given labels, from k-means and along split directions.

    It is that of highest bound, or of those hardly below, that whose labels keep most information.

    Parameters
    ----------
    points : ndarray of shape (N, D)
    labels : dict of str to ndarray of shape (N,)
        Those of fewer than K clusters begin no mixture.
    n_clusters : int
        K.
    links : csr_array of shape (N, N)
        Graph of few neighbors.
    rounding : ndarray of shape (D,)
        Variance of the rounding of each column.
    random_state : RandomState

    Returns
    -------
    dict of str to Mixture
        By name.
    """
    (N, D), K = points.shape, n_clusters
    given = [found for found in labels.values() if np.bincount(found, minlength=K).min() > 0]
    white = whiten(points)
    drawn = [fit_kmeans(points, K, random_state)[0] for _ in range(N_KMEANS)]
    drawn += [fit_kmeans(white, K, random_state)[0] for _ in range(N_WHITENED)]
    drawn += split_directions(white, K, random_state)
    given, drawn = _distinct(given, []), _distinct(drawn, given)
    mixtures = []
    for kind in _kinds(N, D, K):
        # with more parameters than samples per component, a bound that is higher by chance says nothing
        starts = given if given and kind == "full" and is_wide(N, D, K) else given + drawn
        dofs = _degrees_of_freedom(points, kind, rounding, is_wide(N, D, K))
        mixtures += [_best_mixture(points, starts, K, kind, dof, links, rounding) for dof in dofs]
    return {mixture.name: mixture for mixture in mixtures}


def _distinct(starts: list[NDArray[np.intp]], others: list[NDArray[np.intp]]) -> list[NDArray[np.intp]]:
    """The partitions (N,) without those that differ from an earlier one, or from another list's, in numbers alone."""
    seen, kept = {_canonical(labels) for labels in others}, []
    for labels in starts:
        if (key := _canonical(labels)) not in seen:
            seen.add(key)
            kept.append(labels)
    return kept


def _canonical(labels: NDArray[np.intp]) -> bytes:
    """The labels (N,), clusters numbered by their first samples."""
    _, firsts, of_samples = np.unique(labels, return_index=True, return_inverse=True)
    return bytes(firsts.argsort().argsort()[of_samples].data)


def _best_mixture(
    points: NDArray[np.float64],
    starts: list[NDArray[np.intp]],
    n_clusters: int,
    kind: str,
    dof: float,
    links: csr_array,
    rounding: NDArray[np.float64],
) -> Mixture:
    """The best mixture, without components of fewer samples than a covariance needs where possible."""
    least = points.shape[1] + 2 if kind == "full" else LEAST_SAMPLES

    def rank(mixture: Mixture) -> tuple[bool, float]:
        return bool(mixture.responsibilities.sum(0).min() >= least), mixture.bound

    n_iter = min(max(SHORT, SHORT_BUDGET // (len(points) * n_clusters)), LONGER)
    short = fit_from_each(points, starts, n_clusters, kind, dof=dof, rounding=rounding, max_iter=n_iter)
    best = [mixture.responsibilities for mixture in sorted(short, key=rank, reverse=True)[:N_CONTINUED]]
    found = sorted(fit_from_each(points, best, n_clusters, kind, dof=dof, rounding=rounding), key=rank, reverse=True)
    # a bound rises by chance with p parameters, about as half a χ² of p degrees of freedom
    noise = math.sqrt(n_parameters(kind, n_clusters, points.shape[1]) / 2.0) / len(points)
    equal = [one for one in found if rank(one) >= (rank(found[0])[0], found[0].bound - N_DEVIATIONS * noise)]
    if len(equal) == 1:
        return found[0]
    return equal[int(shares_kept(links, [one.labels for one in equal], n_clusters).argmax())]


def find_larger(
    points: NDArray[np.float64],
    mixture: Mixture,
    rounding: NDArray[np.float64],
    random_state: np.random.RandomState,
    n_starts: int = 1,
) -> tuple[Mixture | None, float]:
    """The mixture of the best criterion among those of more than K components, and by how much it is better.

    Each number of components begins from k-means, ``n_starts`` times; None where there are too few samples.
    """
    (N, D), K = points.shape, mixture.responsibilities.shape[1]
    numbers = sorted({K + 1} | {int(np.ceil(factor * K)) for factor in MORE_COMPONENTS})
    numbers = [m for m in numbers if m <= max(MAX_COMPONENTS, 1.5 * K) and has_samples_for(m, N, D)]
    if not numbers:
        return None, -np.inf
    larger: list[Mixture] = []
    for m in numbers:
        starts = [fit_kmeans(points, m, random_state)[0] for _ in range(n_starts)]
        larger += fit_from_each(
            points, starts, m, mixture.kind, dof=mixture.dof, rounding=rounding, max_iter=MORE_ITERATIONS
        )
    best = max(larger, key=lambda m: information_criterion(m, D))
    return best, information_criterion(best, D) - information_criterion(mixture, D)


def merge_components(
    points: NDArray[np.float64], mixture: Mixture, rounding: NDArray[np.float64], random_state: np.random.RandomState
) -> tuple[Labels, float]:
    """Components of a larger mixture merged where they overlap, and by how much its criterion is better.

    Of mixtures of more than K components, that of the best criterion is merged (as Baudry et al. 2010, but by the
    information that two independent draws of a sample's component give about each other).
    """
    best, gain = find_larger(points, mixture, rounding, random_state)
    if best is None:
        return {}, gain
    overlap = best.responsibilities.T @ best.responsibilities / len(points)
    labels = merge_cheapest(overlap, mixture.responsibilities.shape[1])[best.labels]
    return {MERGED: labels}, gain
