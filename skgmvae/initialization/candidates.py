"""Candidate partitions of the points by several methods, sharing one neighbor search."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from skgmvae.initialization.genie import cut_with_gini
from skgmvae.initialization.information import merge_cheapest
from skgmvae.initialization.lumbermark import cut_limbs
from skgmvae.initialization.mixture import REGULARIZATION, Mixture, fit_mixture, information_criterion
from skgmvae.initialization.neighbor_graph import Neighbors, connected_graph, find_neighbors, self_tuned_graph
from skgmvae.initialization.partitions import fit_kmeans
from skgmvae.initialization.spanning_tree import spanning_tree
from skgmvae.initialization.spectral import partition_graph
from skgmvae.initialization.views import Views, rounding_variance, whiten

__all__ = ["Candidates", "find_candidates"]

N_NEIGHBORS = 10
N_LINKED = 5  # neighbors in the graph by which partitions are compared
N_KMEANS = 5  # initializations from k-means, and …
N_WHITENED = 5  # … from whitened k-means
SHORT, LONGER = 10, 50  # EM iterations after which the best initializations go on; in small tables the second, …
SHORT_BUDGET = 100_000  # … the number of responsibilities computed in them being about this
N_CONTINUED = 3  # initializations that go on
LIMBS = (0.25, 0.1)  # least sizes, relative to N / K
MANY_FEATURES = 64  # above, covariances are tied or diagonal
LEAST_SAMPLES = 5  # of a component with a tied or diagonal covariance
MORE_COMPONENTS = (1.5, 2.0, 3.0, 4.0)  # times K, and K + 1
MAX_COMPONENTS = 60  # but up to 1.5K in any case
MORE_ITERATIONS = 30  # of EM with more components

Labels = dict[str, NDArray[np.intp]]


class Candidates(NamedTuple):
    """Partitions of the same points.

    Attributes
    ----------
    labels : dict of str to ndarray of shape (N,)
    contenders : tuple of str
        Names of those to choose from; the others only serve as initializations, or where they are certain.
    graph_name, mixture_name : str
        Of the partition of the graph of highest information, and of the mixture of the best criterion.
    mixture : Mixture
    links : csr_array of shape (N, N)
        Graph of few neighbors.
    gap : float
        Ratio of the lengths of the last edge that single linkage removes and of the first that it keeps.
    gain : float
        Nats per sample by which the Bayesian information criterion of more than K components is better.
    is_wide : bool
        Whether a full covariance has more parameters than there are samples per cluster.
    """

    labels: Labels
    contenders: tuple[str, ...]
    graph_name: str
    mixture_name: str
    mixture: Mixture
    links: csr_array
    gap: float
    gain: float
    is_wide: bool


def find_candidates(views: Views, n_clusters: int, random_state: np.random.RandomState) -> Candidates:
    """Partitions by trees, graph, k-means and mixtures; in many features without trees.

    Parameters
    ----------
    views : Views
        Of N samples and D features.
    n_clusters : int
        K, with 1 < K < N − 1.
    random_state : RandomState

    Returns
    -------
    Candidates
    """
    (points, exact), K = views, n_clusters
    N, D = points.shape
    is_wide = _is_wide(N, D, K)
    neighbors = find_neighbors(points, N_NEIGHBORS)
    from_trees, gap = ({}, 1.0) if is_wide else _cut_trees(points, neighbors, K)
    of_graph = partition_graph(connected_graph(points, neighbors, K), K, random_state)
    graph_name = next(iter(of_graph))
    labels = from_trees | of_graph | {"kmeans": fit_kmeans(points, K, random_state, n_init=N_KMEANS)[0]}
    floor = REGULARIZATION + rounding_variance(exact)
    mixtures = _fit_mixtures(exact, labels, K, floor, random_state)
    best = max(mixtures, key=lambda kind: information_criterion(mixtures[kind], D))
    labels |= {f"{kind} mixture": mixture.labels for kind, mixture in mixtures.items()}
    merged, gain = _merge_components(exact, mixtures[best], floor, random_state)
    trees = tuple(name for name in from_trees if name != "single linkage")
    return Candidates(
        labels=labels | merged,
        contenders=(*trees, graph_name, f"{best} mixture", *merged),
        graph_name=graph_name,
        mixture_name=f"{best} mixture",
        mixture=mixtures[best],
        links=self_tuned_graph(neighbors, N_LINKED),
        gap=gap,
        gain=gain,
        is_wide=is_wide,
    )


def _cut_trees(points: NDArray[np.float64], neighbors: Neighbors, n_clusters: int) -> tuple[Labels, float]:
    """Labels by spanning trees, and the gap of single linkage."""
    K, tree, plain = n_clusters, spanning_tree(points, neighbors), spanning_tree(points, neighbors, 0)
    labels = {f"limbs {share}": cut_limbs(tree, K, share, count_leaves=False) for share in LIMBS}
    labels |= {"genie": cut_with_gini(tree, K), "single linkage": cut_with_gini(plain, K, 1.0)}
    lengths = np.sqrt(((points[plain[:, 0]] - points[plain[:, 1]]) ** 2).sum(1))
    kept, cut = np.sort(lengths)[[-K, 1 - K]]
    return labels, float(cut / kept) if kept > 0.0 else np.inf


def _is_wide(n_samples: int, n_features: int, n_clusters: int) -> bool:
    """Whether a component with a full covariance has more parameters than samples."""
    return n_samples / n_clusters < n_features * (n_features + 3) / 2


def _kinds(n_samples: int, n_features: int, n_clusters: int) -> tuple[str, ...]:
    """Kinds of covariance that so many samples and features allow."""
    if n_features == 1:
        return ("diag",)
    if n_features > MANY_FEATURES or n_samples / n_clusters < n_features + 2:
        return ("tied", "diag")
    return ("full", "tied", "diag")


def _fit_mixtures(
    points: NDArray[np.float64],
    labels: Labels,
    n_clusters: int,
    floor: NDArray[np.float64],
    random_state: np.random.RandomState,
) -> dict[str, Mixture]:
    """The mixture of highest bound of each kind, begun from the given labels and from k-means."""
    (N, D), K = points.shape, n_clusters
    given = [found for found in labels.values() if np.bincount(found, minlength=K).min() > 0]
    white = whiten(points)
    drawn = [fit_kmeans(points, K, random_state)[0] for _ in range(N_KMEANS)]
    drawn += [fit_kmeans(white, K, random_state)[0] for _ in range(N_WHITENED)]
    mixtures = {}
    for kind in _kinds(N, D, K):
        # with more parameters than samples per component, a bound that is higher by chance says nothing
        starts = given if given and kind == "full" and _is_wide(N, D, K) else given + drawn
        mixtures[kind] = _best_mixture(points, starts, K, kind, floor)
    return mixtures


def _best_mixture(
    points: NDArray[np.float64],
    starts: list[NDArray[np.intp]],
    n_clusters: int,
    kind: str,
    floor: NDArray[np.float64],
) -> Mixture:
    """The mixture of highest bound, without components of fewer samples than a covariance needs where possible."""
    least = points.shape[1] + 2 if kind == "full" else LEAST_SAMPLES

    def rank(mixture: Mixture) -> tuple[bool, float]:
        return bool(mixture.responsibilities.sum(0).min() >= least), mixture.bound

    n_iter = min(max(SHORT, SHORT_BUDGET // (len(points) * n_clusters)), LONGER)
    short = [fit_mixture(points, start, n_clusters, kind, floor=floor, max_iter=n_iter) for start in starts]
    best = sorted(short, key=rank, reverse=True)[:N_CONTINUED]
    return max((fit_mixture(points, m.responsibilities, n_clusters, kind, floor=floor) for m in best), key=rank)


def _merge_components(
    points: NDArray[np.float64], mixture: Mixture, floor: NDArray[np.float64], random_state: np.random.RandomState
) -> tuple[Labels, float]:
    """Components of a larger mixture merged where they overlap, and by how much its criterion is better.

    Of mixtures of more than K components, that of the best criterion is merged (as Baudry et al. 2010, but by the
    information that two independent draws of a sample's component give about each other).
    """
    (N, D), K = points.shape, mixture.responsibilities.shape[1]
    numbers = sorted({K + 1} | {int(np.ceil(factor * K)) for factor in MORE_COMPONENTS})
    numbers = [m for m in numbers if m <= max(MAX_COMPONENTS, 1.5 * K) and 2 * m * (D + 1) < N]
    if not numbers:
        return {}, -np.inf
    starts = [fit_kmeans(points, m, random_state)[0] for m in numbers]
    larger = [
        fit_mixture(points, start, m, mixture.kind, floor=floor, max_iter=MORE_ITERATIONS)
        for m, start in zip(numbers, starts, strict=True)
    ]
    best = max(larger, key=lambda m: information_criterion(m, D))
    overlap = best.responsibilities.T @ best.responsibilities / N
    labels = merge_cheapest(overlap, K)[best.labels]
    return {"merged mixture": labels}, information_criterion(best, D) - information_criterion(mixture, D)
