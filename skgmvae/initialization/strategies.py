"""The start: responsibilities to begin with, by name or chosen without labels."""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KNeighborsRegressor

from skgmvae.initialization.candidates import (
    gmm_responsibilities,
    kmeans_responsibilities,
    one_hot,
    random_responsibilities,
)
from skgmvae.initialization.graph import (
    graph_responsibilities,
    joint_responsibilities,
    neighbor_affinities,
    normalized_cut,
    partition,
)

# 'auto' on the inputs: what speaks for the graph's clusters against the mixture's
CLEARLY_LESS_CUT = 0.25  # of the mixture's normalized cut …
NEARLY_THE_BOUND = 0.3  # … while their own moments fall short of its bound by this at most, in nats per row
# beyond the rows that a start is made on
N_LANDMARKS = 5_000  # of these, among which the nearest are looked for …
N_NEAREST = 5  # … and so many of them give a further row its responsibilities


def propagate(
    points: np.ndarray, responsibilities: np.ndarray, random_state: np.random.RandomState, *, is_random: bool = False
) -> Callable[[np.ndarray], np.ndarray]:
    """A function that gives further points (n, L) their responsibilities (n, K).

    The mean over the nearest among ``N_LANDMARKS`` of the points: neighbors rather than Gaussians, since the
    clusters of a graph need not be ellipses. With ``is_random``, random ones like those of the points.
    """
    K = responsibilities.shape[1]
    if is_random:
        return lambda further: random_responsibilities(further, K, random_state)
    few = random_state.choice(len(points), min(N_LANDMARKS, len(points)), replace=False)
    nearest = KNeighborsRegressor(min(N_NEAREST, len(few)), algorithm="brute")
    predict: Callable[[np.ndarray], np.ndarray] = nearest.fit(points[few], responsibilities[few]).predict
    return predict


STRATEGIES: dict[str, Callable[[np.ndarray, int, np.random.RandomState], np.ndarray]] = {
    "graph": graph_responsibilities,
    "gmm": gmm_responsibilities,
    "kmeans": kmeans_responsibilities,
    "random": random_responsibilities,
}


class Views(NamedTuple):
    """Where a start may look for clusters.

    Attributes
    ----------
    embedding : ndarray of shape (N, L)
        Of the autoencoder.
    inputs : ndarray of shape (N, D) or None
        Standardized rows, where these are narrow enough for a mixture of their own.
    components : ndarray of shape (N, P) or None
        Principal components of wider ones, or of what images show.
    learned : ndarray of shape (N, F) or None
        Features learned by contrast.
    of_images : bool
        Whether the components are those of image gradients.
    is_trained : bool
        Whether the embedding is one to look at.
    """

    embedding: np.ndarray
    inputs: np.ndarray | None = None
    components: np.ndarray | None = None
    learned: np.ndarray | None = None
    of_images: bool = False
    is_trained: bool = True


def choose_responsibilities(
    init_params: str, views: Views, n_components: int, random_state: np.random.RandomState
) -> tuple[str, np.ndarray]:
    """The start named ``init_params``, made in the embedding; for 'auto', one of graph and mixture.

    'contrastive' is the graph, of neighbors among learned features.

    With narrow inputs at hand, 'auto' chooses on them by :func:`graph_or_mixture`. Otherwise it takes the graph, of
    neighbors in the embedding and among the principal components: in an embedding, a mixture's likelihood says little
    about clusters.

    Parameters
    ----------
    init_params : {'auto', 'graph', 'gmm', 'kmeans', 'contrastive', 'random'}
    views : Views
    n_components : int
    random_state : RandomState

    Returns
    -------
    name : str
    responsibilities : ndarray of shape (N, K)
    """
    embedding, inputs, components, learned, of_images, is_trained = views
    if init_params == "contrastive":
        if learned is None:
            raise ValueError("'contrastive' needs learned features.")
        return "graph on contrastive features", graph_responsibilities(learned, n_components, random_state)
    if init_params != "auto":
        return init_params, STRATEGIES[init_params](embedding, n_components, random_state)
    if inputs is not None:
        name, responsibilities = graph_or_mixture(inputs, n_components, random_state)
        return f"{name} on the inputs", responsibilities
    if components is None:
        raise ValueError("'auto' needs inputs or principal components.")
    others = "image gradients" if of_images else "inputs"
    if not is_trained:
        return f"graph on the {others}", graph_responsibilities(components, n_components, random_state)
    responsibilities = joint_responsibilities([embedding, components], n_components, random_state)
    return f"graph on embedding and {others}", responsibilities


def graph_or_mixture(
    points: np.ndarray, n_components: int, random_state: np.random.RandomState
) -> tuple[str, np.ndarray]:
    """The better of graph and full-covariance mixture, without labels.

    The graph, if a component's covariance has more parameters than there are rows per component, or if the
    graph's clusters cut far fewer affinities than the mixture's at nearly the same bound (clusters that are
    no ellipses). Otherwise the mixture, for which the graph's clusters are one start more: its bound is at least
    that of the best begun in the usual ways.

    Parameters
    ----------
    points : ndarray of shape (N, L)
    n_components : int
    random_state : RandomState

    Returns
    -------
    name : {'graph', 'gmm'}
    responsibilities : ndarray of shape (N, K)
    """
    K, (N, L) = n_components, points.shape
    if K == 1 or N <= K + 1 or N / K < L * (L + 3) / 2:
        return "graph", graph_responsibilities(points, K, random_state)
    affinities = neighbor_affinities(points, n_pieces=K)
    clusters = partition(affinities, [points], K, random_state)
    responsibilities = gmm_responsibilities(points, K, random_state)
    bound = refine_mixture(points, responsibilities).lower_bound_
    from_graph = refine_mixture(points, clusters)
    if from_graph.lower_bound_ > bound:
        bound, responsibilities = from_graph.lower_bound_, from_graph.predict_proba(points)
    # a single step, which does not leave the graph's clusters
    fits_nearly = refine_mixture(points, clusters, n_iter=1).lower_bound_ > bound - NEARLY_THE_BOUND
    cut_by_mixture = normalized_cut(affinities, one_hot(responsibilities.argmax(1), K))
    if fits_nearly and normalized_cut(affinities, clusters) < CLEARLY_LESS_CUT * cut_by_mixture:
        return "graph", clusters
    return "gmm", responsibilities


def refine_mixture(points: np.ndarray, responsibilities: np.ndarray, n_iter: int = 20) -> GaussianMixture:
    """A full-covariance mixture after ``n_iter`` steps of EM from the responsibilities.

    Comparing refined bounds rather than those of the bare moments keeps one-hot starts from being
    punished for their hard edges.
    """
    K, L = responsibilities.shape[1], points.shape[1]
    counts = responsibilities.sum(0) + 10.0 * np.finfo(np.float64).eps
    means = responsibilities.T @ points / counts[:, None]
    reg_covar = max(1e-6, 1e-3 * float(points.var(0).mean()))
    precisions = np.empty((K, L, L))
    for c in range(K):
        centered = points - means[c]
        covariance = (responsibilities[:, c, None] * centered).T @ centered / counts[c]
        precisions[c] = np.linalg.inv(covariance + reg_covar * np.eye(L))
    mixture = GaussianMixture(
        K,
        max_iter=n_iter,
        tol=0.0,
        reg_covar=reg_covar,
        init_params="random",  # the cheapest; the next three lines replace it
        weights_init=counts / counts.sum(),
        means_init=means,
        precisions_init=precisions,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return mixture.fit(points)
