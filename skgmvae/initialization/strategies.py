"""Strategies for the initial responsibilities: by name, or chosen without labels."""

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

# 'auto' on the inputs: criteria for the graph's clusters over those of the mixture
CLEARLY_LESS_CUT = 0.25  # of the mixture's normalized cut …
NEARLY_THE_BOUND = 0.3  # … while their own moments fall short of its bound by at most this, in nats per sample
# for samples beyond those that are clustered
N_LANDMARKS = 5_000  # clustered samples among which nearest neighbors are searched …
N_NEAREST = 5  # … and number of neighbors whose responsibilities are averaged


def propagate(
    points: np.ndarray, responsibilities: np.ndarray, random_state: np.random.RandomState, *, is_random: bool = False
) -> Callable[[np.ndarray], np.ndarray]:
    """A function from further points (n, L) to their responsibilities (n, K).

    The mean over the nearest neighbors among ``N_LANDMARKS`` points: neighbors rather than Gaussians, since the
    clusters of a graph need not be ellipses. With ``is_random``, random responsibilities.
    """
    K = responsibilities.shape[1]
    if is_random:
        return lambda further: random_responsibilities(further, K, random_state)
    few = random_state.choice(len(points), min(N_LANDMARKS, len(points)), replace=False)
    nearest = KNeighborsRegressor(min(N_NEAREST, len(few)), algorithm="brute")
    return nearest.fit(points[few], responsibilities[few]).predict


STRATEGIES: dict[str, Callable[[np.ndarray, int, np.random.RandomState], np.ndarray]] = {
    "graph": graph_responsibilities,
    "gmm": gmm_responsibilities,
    "kmeans": kmeans_responsibilities,
    "random": random_responsibilities,
}


class Views(NamedTuple):
    """Representations of the samples that may be clustered.

    Attributes
    ----------
    embedding : ndarray of shape (N, L)
        Embedding of the autoencoder.
    inputs : ndarray of shape (N, D) or None
        Standardized samples, if they have few enough features for a mixture.
    components : ndarray of shape (N, P) or None
        Principal components of samples with more features, or of the HOG features of images.
    learned : ndarray of shape (N, F) or None
        Contrastive features.
    of_images : bool
        Whether the components are those of HOG features.
    is_trained : bool
        Whether the embedding is that of a trained autoencoder.
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
    """Initial responsibilities by the strategy ``init_params``.

    'contrastive' is the graph of contrastive features. If ``views`` has inputs, 'auto' chooses between graph and
    mixture on them by :func:`graph_or_mixture`. Otherwise it uses the graph of embedding and principal components,
    since the likelihood of a mixture in an embedding is not informative about clusters. All others cluster the
    embedding.

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
    """Choose between graph and full-covariance mixture, without labels.

    The graph, if a component's covariance has more parameters than there are samples per component, or if the clusters
    of the graph cut far less affinity than those of the mixture at nearly the same bound (clusters that are not
    ellipses). Otherwise the mixture, with the clusters of the graph as a further initialization: its bound is at least
    that of the best mixture initialized by k-means.

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
    # a single EM step, which stays close to the clusters of the graph
    fits_nearly = refine_mixture(points, clusters, n_iter=1).lower_bound_ > bound - NEARLY_THE_BOUND
    cut_by_mixture = normalized_cut(affinities, one_hot(responsibilities.argmax(1), K))
    if fits_nearly and normalized_cut(affinities, clusters) < CLEARLY_LESS_CUT * cut_by_mixture:
        return "graph", clusters
    return "gmm", responsibilities


def refine_mixture(points: np.ndarray, responsibilities: np.ndarray, n_iter: int = 20) -> GaussianMixture:
    """A full-covariance mixture after ``n_iter`` EM steps from the responsibilities.

    Bounds are compared after these steps, since those of the initial moments would penalize one-hot responsibilities.
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
