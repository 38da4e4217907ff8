"""A parametric bootstrap: the partitions of samples drawn from a mixture."""

import math

import numpy as np
from numpy.typing import NDArray

from skgmvae.initialization.candidates import cut_trees
from skgmvae.initialization.comparison import N_LINKED, Losses, lost_relative_to
from skgmvae.initialization.mixture import REGULARIZATION, Mixture, fit_mixture
from skgmvae.initialization.neighbor_graph import N_NEIGHBORS, connected_graph, find_neighbors, self_tuned_graph
from skgmvae.initialization.rules import DEFAULT
from skgmvae.initialization.spectral import partition_graph
from skgmvae.initialization.views import Views

__all__ = ["crosses_as_expected", "draw_samples"]

MAX_DRAWN = 2_000  # samples of the mixture, …
N_DRAWS = 5  # … drawn so often, …
N_ITER = 10  # … and iterations of EM on them
LEAST_TYPICAL = 1 / 6  # ratio in most draws, where that among the points can speak against a mixture


def draw_samples(
    points: NDArray[np.float64], mixture: Mixture, n_samples: int, random_state: np.random.RandomState
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Samples from a mixture that was fitted to the points, with their components.

    Parameters
    ----------
    points : ndarray of shape (N, D)
    mixture : Mixture
    n_samples : int
    random_state : RandomState

    Returns
    -------
    samples : ndarray of shape (n_samples, D)
    components : ndarray of shape (n_samples,)
    """
    (N, K), D, dof = mixture.weights.shape, points.shape[1], mixture.dof
    counts = mixture.weights.sum(0) + np.finfo(np.float64).tiny
    means, covariances = mixture.weights.T @ points / counts[:, None], np.empty((K, D, D))
    for c, (weights, mean, count) in enumerate(zip(mixture.weights.T, means, counts, strict=True)):
        residuals = points - mean
        covariances[c] = (residuals.T * weights) @ residuals / count
    if mixture.kind == "tied":
        covariances[:] = np.tensordot(counts / counts.sum(), covariances, 1)
    if mixture.kind == "diag":
        covariances *= np.eye(D)
    factors = np.linalg.cholesky(covariances + REGULARIZATION * np.eye(D))
    shares = mixture.responsibilities.sum(0) / N
    components = random_state.choice(K, n_samples, p=shares / shares.sum())
    noise = random_state.normal(size=(n_samples, D))
    if math.isfinite(dof):
        noise /= np.sqrt(random_state.chisquare(dof, (n_samples, 1)) / dof)
    return means[components] + np.einsum("nij,nj->ni", factors[components], noise), components


def crosses_as_expected(
    views: Views, mixture: Mixture, losses: Losses, n_clusters: int, random_state: np.random.RandomState
) -> bool:
    """Whether other partitions of samples that are drawn from the mixture would lose as little, relative to it.

    Where clusters cross each other, a partition across them loses less information than they do themselves. It speaks
    against the mixture only if it loses less than it would of each of several draws, and less than half as much as on
    average (as McLachlan 1987 tests the number of components). Where only the neighbors of the points speak against it,
    they must be able to tell: along clusters that are long and thin, partitions of most draws lose next to nothing.

    Parameters
    ----------
    views : Views
    mixture : Mixture
        Of the exact view.
    losses : Losses
        By which other partitions speak against it. If they do so in both views, the larger ratio is compared with that
        of the draws, otherwise the one among the points.
    n_clusters : int
        K.
    random_state : RandomState

    Returns
    -------
    bool
    """
    K, in_both_views = n_clusters, losses.larger < DEFAULT.clearly_less

    def ratio_of(points: NDArray[np.float64], labels: NDArray[np.intp]) -> float:
        losses = _find_losses(points, labels, K, random_state)
        return losses.larger if in_both_views else losses.among_points

    N = min(len(views.exact), MAX_DRAWN)
    some = random_state.permutation(len(views.exact))[:N]
    observed = ratio_of(views.continuous[some], mixture.labels[some])
    ratios = []
    for _ in range(N_DRAWS):
        samples, components = draw_samples(views.exact, mixture, N, random_state)
        again = fit_mixture(samples, components, K, mixture.kind, dof=mixture.dof, max_iter=N_ITER)
        ratios.append(ratio_of(samples, again.labels))
    cannot_tell = not in_both_views and float(np.median(ratios)) < LEAST_TYPICAL
    return cannot_tell or observed >= min(min(ratios), 0.5 * float(np.mean(ratios)))


def _find_losses(
    points: NDArray[np.float64], mixture: NDArray[np.intp], n_clusters: int, random_state: np.random.RandomState
) -> Losses:
    K, neighbors = n_clusters, find_neighbors(points, N_NEIGHBORS)
    trees = cut_trees(points, neighbors, K)[0]
    others = [labels for name, labels in trees.items() if name != "single linkage"]
    of_graph = partition_graph(connected_graph(points, neighbors, K), K, random_state)
    others.append(next(iter(of_graph.values())))
    return lost_relative_to(mixture, others, points, self_tuned_graph(neighbors, N_LINKED), K)
