"""Strategies of initialization: responsibilities by the name of a method, or by a choice among several."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import kmeans_plusplus
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import pairwise_distances_argmin
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KNeighborsRegressor
from torch import Tensor

from skgmvae.data.arrays import Array, Floats
from skgmvae.initialization.choice import choose_clusters
from skgmvae.initialization.mixed_columns import choose_mixed
from skgmvae.initialization.mixed_samples import Preparation
from skgmvae.initialization.nearest import nearest
from skgmvae.initialization.neighbor_graph import N_NEIGHBORS, connected_graph, find_neighbors
from skgmvae.initialization.partitions import fit_kmeans
from skgmvae.initialization.spectral import partition_mainland

__all__ = ["STRATEGIES", "MixedPoints", "Representations", "choose_responsibilities", "propagate"]

MAX_INITS = 10  # of k-means and of a mixture, of which the best is taken …
MAX_CENTERS = 500  # … while those of all initializations are no more than these
MAX_MIXTURE_ROWS = 20_000  # samples on which initializations of a mixture compete before all are assigned
N_LANDMARKS = 5_000  # samples among which the nearest of further ones are looked for …
N_NEAREST = 5  # … and this many of them give a further one its responsibilities
MOST_NAMED = 10  # columns whose numbers are in the name of an initialization


class MixedPoints(NamedTuple):
    """Standardized samples (N, F) of a table with columns of several kinds, and its likelihood."""

    points: Tensor
    likelihood: Any


class Representations(NamedTuple):
    """Points of the samples in the representations at hand.

    Attributes
    ----------
    embedding : ndarray of shape (N, L)
        Of the autoencoder.
    inputs : ndarray of shape (N, D) or None
        The samples themselves, where they are narrow enough for a choice among candidates.
    components : ndarray of shape (N, P) or None
        Principal components of wider ones, or of the oriented gradients of images.
    learned : ndarray of shape (N, F) or None
        Contrastive features.
    of_images : bool
        Whether the components are those of oriented gradients.
    is_trained : bool
        Whether the embedding is that of a trained autoencoder.
    mixed : MixedPoints or None
        The samples, if their columns are of several kinds.
    transformed : ndarray of shape (N, D) or None
        The inputs, if some columns are transformed for the likelihood.
    device : torch.device or None
        Where neighbors of many samples are searched for; None: on the CPU.
    """

    embedding: Array
    inputs: Array | None = None
    components: Array | None = None
    learned: Array | None = None
    of_images: bool = False
    is_trained: bool = True
    mixed: MixedPoints | None = None
    transformed: Array | None = None
    device: torch.device | None = None

    def take(self, some: NDArray[np.intp]) -> "Representations":
        """Of some of the samples."""
        arrays: dict[str, Any] = {
            name: value for name, value in self._asdict().items() if isinstance(value, np.ndarray)
        }
        return self._replace(**{name: value[some] for name, value in arrays.items()})


def choose_responsibilities(
    init_params: str, points: Representations, n_components: int, random_state: np.random.RandomState
) -> tuple[str, Floats]:
    """Responsibilities by the strategy ``init_params``, made in the embedding; 'auto' and 'contrastive' look elsewhere.

    'auto' chooses among candidates in the inputs where it has them (:func:`choose_clusters`). Otherwise it takes the
    graph of neighbors in the embedding and among the principal components together: in an embedding, the likelihood of
    a mixture says little about clusters. 'contrastive' is the graph of neighbors among contrastive features.

    Parameters
    ----------
    init_params : {'auto', 'graph', 'gmm', 'kmeans', 'contrastive', 'random'}
    points : Representations
    n_components : int
    random_state : RandomState

    Returns
    -------
    name : str
    responsibilities : ndarray of shape (N, K)
    """
    K, device = n_components, points.device
    if init_params == "contrastive":
        if points.learned is None:
            raise ValueError("'contrastive' needs contrastive features.")
        return "graph of contrastive features", joint_graph_responsibilities([points.learned], K, random_state, device)
    if init_params == "graph":
        return init_params, graph_responsibilities(points.embedding, K, random_state, device)
    if init_params != "auto":
        return init_params, STRATEGIES[init_params](points.embedding, K, random_state)
    if points.mixed is not None:
        prepare = Preparation(*points.mixed)
        return choose_mixed(prepare(points.mixed.points, random_state), K, random_state)
    if points.inputs is not None:
        X = points.inputs.astype(np.float64, order="C")
        transformed = None if points.transformed is None else points.transformed.astype(np.float64, order="C")
        choice = choose_clusters(X, K, random_state, transformed=transformed)
        where = "transformed inputs" if choice.is_of_transformed else "inputs"
        return f"{choice.name} of {_name_columns(choice.columns, where)}", choice.responsibilities
    if points.components is None:
        raise ValueError("'auto' needs inputs or principal components.")
    others = "oriented gradients" if points.of_images else "inputs"
    if not points.is_trained:
        return f"graph of the {others}", joint_graph_responsibilities([points.components], K, random_state, device)
    views = [points.embedding, points.components]
    return f"graph of embedding and {others}", joint_graph_responsibilities(views, K, random_state, device)


def _name_columns(columns: NDArray[np.bool_] | None, where: str) -> str:
    """Which columns (D,) are meant: those that are, or those that are not, if they are few."""
    if columns is None:
        return f"the {where}"
    name = f"{columns.sum()} of the {len(columns)} {where}"
    for which, some in (("", columns), ("all but ", ~columns)):
        if some.sum() <= MOST_NAMED:
            return f"{name} ({which}{', '.join(map(str, np.flatnonzero(some)))})"
    return name


def kmeans_responsibilities(points: Array, n_components: int, random_state: np.random.RandomState) -> Floats:
    """One-hot labels of k-means, the best of ``MAX_INITS``, of fewer where there are many components."""
    n_init = _count_inits(n_components)
    return np.eye(n_components)[fit_kmeans(points, n_components, random_state, n_init=n_init)[0]]


def graph_responsibilities(
    points: Array, n_components: int, random_state: np.random.RandomState, device: torch.device | None = None
) -> Floats:
    """One-hot labels of the clusters of a self-tuned neighbor graph; of k-means for K + 1 samples or fewer."""
    return joint_graph_responsibilities([points], n_components, random_state, device)


def joint_graph_responsibilities(
    views: Sequence[Array], n_components: int, random_state: np.random.RandomState, device: torch.device | None = None
) -> Floats:
    """As :func:`graph_responsibilities`, on the sum of the graphs of several views (N, L_i) of the same samples."""
    K = n_components
    if K == 1 or len(views[0]) <= K + 1:
        return kmeans_responsibilities(np.hstack(list(views)), K, random_state)
    graphs = [connected_graph(view, find_neighbors(view, N_NEIGHBORS, device), K, device) for view in views]
    graph = sum(graphs[1:], graphs[0]).tocsr()
    found = partition_mainland(views[0], graph, K, random_state)
    labels = next(iter(found.values()))  # of the highest link information
    return np.eye(K)[labels]


def gmm_responsibilities(points: Array, n_components: int, random_state: np.random.RandomState) -> Floats:
    """Responsibilities of a full-covariance Gaussian mixture, the best of as many initializations by lower bound.

    These compete on at most ``MAX_MIXTURE_ROWS`` samples, drawn without replacement.
    """
    rows = points
    if len(points) > MAX_MIXTURE_ROWS:
        rows = points[random_state.choice(len(points), MAX_MIXTURE_ROWS, replace=False)]
    reg_covar = max(1e-6, 1e-3 * float(rows.var(0).mean()))
    options = {"tol": 1e-3, "max_iter": 200, "reg_covar": reg_covar, "random_state": random_state}
    mixture = GaussianMixture(n_components, n_init=_count_inits(n_components), **options)
    with warnings.catch_warnings():
        # a mixture that stopped early still is an initialization
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(rows)
    responsibilities: Floats = mixture.predict_proba(points)
    return responsibilities


def random_responsibilities(points: Array, n_components: int, random_state: np.random.RandomState) -> Floats:
    """Labels of the nearest of K random points, drawn far from each other (k-means++, Arthur and Vassilvitskii 2007).

    Random responsibilities, as in the VAE-EM paper, make all components alike, and they then seldom part.
    """
    points = np.ascontiguousarray(points)
    centers, _ = kmeans_plusplus(points, n_components, random_state=random_state)
    responsibilities: Floats = np.eye(n_components)[pairwise_distances_argmin(points, centers)]
    return responsibilities


def _count_inits(n_components: int) -> int:
    """Fewer initializations of many components: choosing their first centers would take most of the time."""
    return max(1, min(MAX_INITS, MAX_CENTERS // n_components))


STRATEGIES: dict[str, Callable[[Array, int, np.random.RandomState], Floats]] = {
    "graph": graph_responsibilities,
    "gmm": gmm_responsibilities,
    "kmeans": kmeans_responsibilities,
    "random": random_responsibilities,
}


def propagate(
    points: Array, responsibilities: Floats, random_state: np.random.RandomState
) -> Callable[[Tensor], Tensor]:
    """A function that gives further points (n, L), on any device, their responsibilities (n, K).

    The mean over the nearest among ``N_LANDMARKS`` of the points: neighbors rather than Gaussians, since clusters need
    not be ellipses.
    """
    few = random_state.choice(len(points), min(N_LANDMARKS, len(points)), replace=False)
    n_neighbors = min(N_NEAREST, len(few))
    on_cpu = KNeighborsRegressor(n_neighbors, algorithm="brute").fit(points[few], responsibilities[few])

    def assign(further: Tensor) -> Tensor:
        if further.device.type != "cuda":
            return torch.from_numpy(on_cpu.predict(further.numpy(force=True)))
        landmarks, known = (torch.from_numpy(some[few]).to(further) for some in (points, responsibilities))
        return known[nearest(further, landmarks, n_neighbors)[1]].mean(1)

    return assign
