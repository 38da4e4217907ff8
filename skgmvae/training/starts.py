"""Responsibilities to begin with, from points in the inputs or in an embedding, without labels."""

import functools
import math
import warnings
from collections.abc import Callable

import numpy as np
from scipy.sparse import csr_array, diags_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import LinearOperator, eigsh
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KNeighborsRegressor, NearestNeighbors
from sklearn.preprocessing import normalize

TINY, EPSILON = np.finfo(np.float64).tiny, np.finfo(np.float64).eps
N_NEIGHBORS = 10
MAX_NEIGHBORS = 80  # pieces of the graph that hold more rows than this are groups of their own
MAX_STARTS = 10  # of k-means and of a mixture, of which the best is taken …
MAX_SPECTRAL_STARTS = 30  # of k-means on eigenvectors, where there is no gap
MAX_CENTRES = 500  # … while those of all starts are no more than these
MAX_COUNTS = 3  # of eigenvectors, tried where there is no gap
CLEAR_GAP = 2.0  # ratio of eigenvalues K + 1 and K above which K eigenvectors are enough
# 'auto' on the inputs: what speaks for the graph's clusters against the mixture's
CLEARLY_LESS_CUT = 0.5  # of the mixture's normalised cut …
NEARLY_THE_BOUND = 0.3  # … while their own moments fall short of its bound by this at most, in nats per row
MAX_MIXTURE_ROWS = 20_000  # rows on which a mixture's starts compete before all rows are assigned
# beyond the rows that a start is made on
N_LANDMARKS = 5_000  # of these, among which the nearest are looked for …
N_NEAREST = 5  # … and so many of them give a further row its responsibilities


def _one_hot(labels: np.ndarray, n_components: int) -> np.ndarray:
    return np.eye(n_components)[labels]


def _n_starts(n_components: int, at_most: int = MAX_STARTS) -> int:
    """Fewer where there are many components: the choice of their first centres would take most of the time."""
    return max(1, min(at_most, MAX_CENTRES // n_components))


def kmeans_responsibilities(
    points: np.ndarray, n_components: int, random_state: np.random.RandomState, max_starts: int = MAX_STARTS
) -> np.ndarray:
    """One-hot labels of k-means, the best of ``max_starts``, of fewer where there are many components."""
    kmeans = KMeans(n_components, n_init=_n_starts(n_components, max_starts), random_state=random_state)
    return _one_hot(kmeans.fit_predict(points), n_components)


def gmm_responsibilities(points: np.ndarray, n_components: int, random_state: np.random.RandomState) -> np.ndarray:
    """Responsibilities of a full-covariance Gaussian mixture, the best of as many starts by lower bound.

    The starts compete on at most ``MAX_MIXTURE_ROWS`` rows, drawn without replacement.
    """
    rows = points
    if len(points) > MAX_MIXTURE_ROWS:
        rows = points[random_state.choice(len(points), MAX_MIXTURE_ROWS, replace=False)]
    reg_covar = max(1e-6, 1e-3 * float(rows.var(0).mean()))
    n_starts = _n_starts(n_components)
    mixture = GaussianMixture(
        n_components, n_init=n_starts, tol=1e-3, max_iter=200, reg_covar=reg_covar, random_state=random_state
    )
    with warnings.catch_warnings():
        # a mixture that stopped early is still a start
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(rows)
    return mixture.predict_proba(points)


def random_responsibilities(points: np.ndarray, n_components: int, random_state: np.random.RandomState) -> np.ndarray:
    """Uniform random numbers, normalised per row."""
    draws = random_state.uniform(size=(len(points), n_components))
    return draws / draws.sum(1, keepdims=True)


def graph_responsibilities(points: np.ndarray, n_components: int, random_state: np.random.RandomState) -> np.ndarray:
    """One-hot labels of spectral clustering on a self-tuning neighbour graph; of k-means for K + 1 rows or less."""
    if n_components == 1 or len(points) <= n_components + 1:
        return kmeans_responsibilities(points, n_components, random_state)
    return partition(neighbor_affinities(points, n_pieces=n_components), points, n_components, random_state)


def partition(
    affinities: csr_array, points: np.ndarray, n_components: int, random_state: np.random.RandomState
) -> np.ndarray:
    """One-hot labels of spectral clustering.

    Eigenvectors of the normalised Laplacian (Ng, Jordan & Weiss 2001), rows scaled to length one, then
    k-means: on K eigenvectors where their eigenvalues stand clearly apart from the next. Without a gap the
    first K or K + 1 often leave two clusters in one: then on a third to a half as many again, of which those
    clusters are taken, and mended by :func:`lessen_cut`, whose normalised cut is the least (found on MNIST and
    digits).

    Parameters
    ----------
    affinities : csr_array of shape (N, N)
        Symmetric. Should it fall into more than K pieces, these go where most of their rows go in the graph of
        half of the points, which reaches farther.
    points : ndarray of shape (N, L)
        What it is the graph of.
    n_components : int
        K < N − 1.
    random_state : RandomState

    Returns
    -------
    responsibilities : ndarray of shape (N, K)
    """
    K, N = n_components, affinities.shape[0]
    n_pieces, piece = connected_components(affinities, directed=False)
    if n_pieces == K:
        return _one_hot(piece, K)
    if n_pieces > K:
        half = random_state.permutation(N)[: N // 2]
        votes = np.zeros((n_pieces, K))
        np.add.at(votes, piece[half], graph_responsibilities(points[half], K, random_state))
        return _one_hot(votes.argmax(1)[piece], K)
    n_vectors = min(K + max(1, K // 2), N - 1)  # one more than K at least, to see the gap
    laplacian, vectors = eigenvectors(affinities, n_vectors, random_state)
    if laplacian[K] > CLEAR_GAP * laplacian[K - 1]:
        return kmeans_responsibilities(normalize(vectors[:, :K]), K, random_state)
    n_counts = min(MAX_COUNTS, _n_starts(K))
    counts = np.unique(np.linspace(n_vectors, min(K + max(1, K // 3), n_vectors), n_counts).astype(int))
    candidates = [
        kmeans_responsibilities(normalize(vectors[:, :n]), K, random_state, MAX_SPECTRAL_STARTS) for n in counts
    ]
    best = min(candidates, key=functools.partial(normalized_cut, affinities))
    return _one_hot(lessen_cut(affinities, best.argmax(1), K, random_state), K)


def eigenvectors(
    affinities: csr_array, n_vectors: int, random_state: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    """The lowest eigenvalues of the normalised Laplacian, ascending, and their vectors (N, ``n_vectors``)."""
    N = affinities.shape[0]
    n_pieces, piece = connected_components(affinities, directed=False)
    degrees = affinities.sum(0)
    scale = diags_array(1.0 / np.sqrt(degrees))
    similarity = scale @ affinities @ scale
    # Lanczos' method misses copies of a multiple eigenvalue: the vectors of eigenvalue 0, one per piece,
    # are known, and the operator sends them to the other end of the spectrum
    known = normalize(_one_hot(piece, n_pieces) * np.sqrt(degrees)[:, None], axis=0)
    operator = LinearOperator((N, N), matvec=lambda v: similarity @ v - 2.0 * (known @ (known.T @ v)), dtype=np.float64)
    values, others = eigsh(operator, k=n_vectors - n_pieces, which="LA", v0=random_state.uniform(-1.0, 1.0, N))
    return np.concatenate([np.zeros(n_pieces), 1.0 - values[::-1]]), np.hstack([known, others[:, ::-1]])


def lessen_cut(
    affinities: csr_array, labels: np.ndarray, n_components: int, random_state: np.random.RandomState
) -> np.ndarray:
    """Labels of smaller normalised cut, by moving rows to clusters that they are linked to.

    A local search, as weighted kernel k-means is one (Dhillon, Guan & Kulis 2007): a random half of the rows
    that would gain by a move make it; should the cut not fall, since they also meet each other, half of that half,
    and so on. It ends where no row would gain. A sweep costs as much as there are affinities, whatever K is.

    Parameters
    ----------
    affinities : csr_array of shape (N, N)
        Symmetric, its diagonal zero, no row empty.
    labels : ndarray of shape (N,)
        To begin with, from 0 to K − 1.
    n_components : int
        K.
    random_state : RandomState

    Returns
    -------
    labels : ndarray of shape (N,)
    """
    cut, rows, to = _find_moves(affinities, labels, n_components)
    while len(rows):
        some = random_state.permutation(len(rows))[: math.ceil(len(rows) / 2)]
        rows, to = rows[some], to[some]
        moved = labels.copy()
        moved[rows] = to
        found = _find_moves(affinities, moved, n_components)
        if found[0] < cut:
            labels, (cut, rows, to) = moved, found
        elif len(rows) == 1:
            break  # a gain within rounding
    return labels


def _find_moves(affinities: csr_array, labels: np.ndarray, n_components: int) -> tuple[float, np.ndarray, np.ndarray]:
    """The normalised cut, the rows that would lessen it by a move, each for itself, and where to."""
    K, N = n_components, len(labels)
    degrees = affinities.sum(0)
    one_hot = csr_array((np.ones(N), labels, np.arange(N + 1)), shape=(N, K))
    links = (affinities @ one_hot).tocsr()  # of each row, to every cluster that it is linked to
    rows, to = np.repeat(np.arange(N), np.diff(links.indptr)), links.indices
    is_own = to == labels[rows]
    own = np.zeros(N)
    own[rows[is_own]] = links.data[is_own]
    volumes, kept = (np.bincount(labels, weights, minlength=K) for weights in (degrees, own))
    share = kept / np.maximum(volumes, TINY)
    rest = volumes[labels] - degrees
    loss = share[labels] - (kept[labels] - 2.0 * own) / np.maximum(rest, TINY)
    loss[np.bincount(labels, minlength=K)[labels] == 1] = math.inf  # the last row of its cluster stays
    gain = (kept[to] + 2.0 * links.data) / (volumes[to] + degrees[rows]) - share[to] - loss[rows]
    gain[is_own] = 0.0
    most = np.maximum.reduceat(gain, links.indptr[:-1])
    moves = np.flatnonzero((gain == most[rows]) & (gain > EPSILON))
    return _cut(volumes, kept), rows[moves], to[moves]


def _cut(volumes: np.ndarray, kept: np.ndarray) -> float:
    """Σ_c (1 − kept_c / volume_c); an empty cluster keeps nothing."""
    return float(np.sum(1.0 - kept / np.maximum(volumes, TINY)))


def normalized_cut(affinities: csr_array, responsibilities: np.ndarray) -> float:
    """Σ_c (share of the affinities of cluster c that leave it), 0 to K (Shi & Malik 2000)."""
    kept = np.einsum("nc,nc->c", responsibilities, affinities @ responsibilities)
    return _cut(responsibilities.T @ affinities.sum(0), kept)


def neighbor_affinities(points: np.ndarray, n_pieces: int, n_neighbors: int = N_NEIGHBORS) -> csr_array:
    """Symmetric affinities of a neighbour graph with at most ``n_pieces`` connected components, if that can be had.

    exp(−d²_ij / (s_i s_j)), s_i the distance to the last neighbour (Zelnik-Manor & Perona 2004). Neighbours
    are doubled until the graph has so few pieces, since each would take an eigenvector, and so a cluster,
    for itself; but only up to ``MAX_NEIGHBORS``: groups of more rows need not be strung together.

    Parameters
    ----------
    points : ndarray of shape (N, L)
    n_pieces : int
    n_neighbors : int, default=10

    Returns
    -------
    csr_array of shape (N, N)
    """
    N = len(points)
    n_neighbors = min(n_neighbors, N - 1)
    # without X, kneighbors leaves each point out of its own neighbours
    distances, neighbors = NearestNeighbors(n_neighbors=n_neighbors).fit(points).kneighbors()
    scales = np.maximum(distances[:, -1], TINY**0.25)
    affinities = np.exp(-(distances / scales[:, None]) * (distances / scales[neighbors]))
    # rounding must not cut an edge that the graph needs to hold together
    affinities = np.maximum(affinities, np.finfo(np.float32).tiny)
    indptr = np.arange(0, N * n_neighbors + 1, n_neighbors)
    graph = csr_array((affinities.ravel(), neighbors.ravel(), indptr), shape=(N, N))
    graph = graph.maximum(graph.T).tocsr()
    may_grow = n_neighbors < min(N - 1, MAX_NEIGHBORS)
    if may_grow and connected_components(graph, directed=False, return_labels=False) > n_pieces:
        return neighbor_affinities(points, n_pieces, 2 * n_neighbors)
    return graph


def spread(
    points: np.ndarray, responsibilities: np.ndarray, random_state: np.random.RandomState, *, is_random: bool = False
) -> Callable[[np.ndarray], np.ndarray]:
    """A function that gives further points (n, L) their responsibilities (n, K).

    The mean over the nearest among ``N_LANDMARKS`` of the points: neighbours rather than Gaussians, since the
    clusters of a graph need not be ellipses. With ``is_random``, random ones like those of the points.
    """
    K = responsibilities.shape[1]
    if is_random:
        return lambda further: random_responsibilities(further, K, random_state)
    few = random_state.choice(len(points), min(N_LANDMARKS, len(points)), replace=False)
    nearest = KNeighborsRegressor(min(N_NEAREST, len(few)), algorithm="brute")
    return nearest.fit(points[few], responsibilities[few]).predict


STARTS: dict[str, Callable[[np.ndarray, int, np.random.RandomState], np.ndarray]] = {
    "graph": graph_responsibilities,
    "gmm": gmm_responsibilities,
    "kmeans": kmeans_responsibilities,
    "random": random_responsibilities,
}


def choose_start(
    init_params: str,
    embedding: np.ndarray,
    inputs: np.ndarray | None,
    n_components: int,
    random_state: np.random.RandomState,
) -> tuple[str, np.ndarray]:
    """The start named ``init_params``, made in the embedding; for 'auto', one of graph and mixture.

    With inputs at hand, 'auto' chooses on them by :func:`graph_or_mixture`. In an embedding it takes the
    graph: there a mixture's likelihood says little about clusters (on four of five MNIST embeddings it
    preferred the mixture of lower accuracy).

    Parameters
    ----------
    init_params : {'auto', 'graph', 'gmm', 'kmeans', 'random'}
    embedding : ndarray of shape (N, L)
    inputs : ndarray of shape (N, D) or None
        Standardised rows; None where starts on the inputs are not to be tried.
    n_components : int
    random_state : RandomState

    Returns
    -------
    name : str
    responsibilities : ndarray of shape (N, K)
    """
    if init_params != "auto":
        return init_params, STARTS[init_params](embedding, n_components, random_state)
    if inputs is None:
        return "graph on the embedding", graph_responsibilities(embedding, n_components, random_state)
    name, responsibilities = graph_or_mixture(inputs, n_components, random_state)
    return f"{name} on the inputs", responsibilities


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
    clusters = partition(affinities, points, K, random_state)
    responsibilities = gmm_responsibilities(points, K, random_state)
    bound = refine_mixture(points, responsibilities).lower_bound_
    from_graph = refine_mixture(points, clusters)
    if from_graph.lower_bound_ > bound:
        bound, responsibilities = from_graph.lower_bound_, from_graph.predict_proba(points)
    # a single step, which does not leave the graph's clusters
    fits_nearly = refine_mixture(points, clusters, n_iter=1).lower_bound_ > bound - NEARLY_THE_BOUND
    cut_by_mixture = normalized_cut(affinities, _one_hot(responsibilities.argmax(1), K))
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
        centred = points - means[c]
        covariance = (responsibilities[:, c, None] * centred).T @ centred / counts[c]
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
