"""Choice of initial clusters among candidate partitions, without labels."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn import config_context
from sklearn.neighbors import KNeighborsRegressor

from skgmvae.initialization.bootstrap import crosses_as_expected
from skgmvae.initialization.candidates import Candidates, find_candidates
from skgmvae.initialization.comparison import lost_relative_to, mean_agreement, shares_kept
from skgmvae.initialization.partitions import fit_kmeans
from skgmvae.initialization.views import Views, make_views
from skgmvae.runtime import single_thread

__all__ = ["ClusterChoice", "Evidence", "Thresholds", "choose_clusters", "choose_name", "is_table", "weigh"]

MAX_FEATURES, MOST_FEATURES = 100, 1_000  # of any table, and of one of few samples
MAX_SAMPLES = 5_000  # on which candidates are found; the others follow …
N_NEAREST = 5  # … this number of nearest ones among them
LEAST_CLUSTER = 3  # samples that differ; single linkage with smaller clusters is not certain


class Thresholds(NamedTuple):
    """Constants of the rules; round numbers, chosen with the reference labels of the development data in sight.

    Attributes
    ----------
    clear_gap : float
        Ratio of edge lengths from which single linkage is certain.
    hardly_better : float
        Nats per sample by which more components may be better while K Gaussians are believed.
    clearly_less : float
        A partition that loses less than this share of the information lost by a mixture is preferred to it.
    clearly_less_wide, mostly_kept : float
        The same with many features, where the criterion of the mixture says less, if the partition keeps the second
        share of the information: otherwise neighbors say little, too.
    """

    clear_gap: float = 2.0
    hardly_better: float = 0.02
    clearly_less: float = 1 / 3
    clearly_less_wide: float = 3 / 4
    mostly_kept: float = 1 / 2


class Evidence(NamedTuple):
    """What the rules compare with the thresholds.

    Attributes
    ----------
    gap : float
        Of single linkage; 1 where one of its clusters is tiny.
    gain : float
        Of more components.
    ratio : float
        Information lost by the best other partition, relative to that lost by the mixture.
    kept : float
        Share of the information that the partition of the graph keeps.
    is_expected : bool
        Whether the ratio is small, but not for samples drawn from the mixture.
    best : str
        Candidate of the highest sum of information kept and agreement.
    """

    gap: float
    gain: float
    ratio: float
    kept: float
    is_expected: bool
    best: str


DEFAULT = Thresholds()
EMPTY = csr_array((0, 0))


class ClusterChoice(NamedTuple):
    """Initial clusters.

    Attributes
    ----------
    name : str
        Of the candidate chosen.
    labels : ndarray of shape (N,)
    responsibilities : ndarray of shape (N, K)
        Of a mixture, its posterior probabilities; otherwise one-hot labels.
    candidates : dict of str to ndarray
        Labels of all candidates, of the samples they were found on.
    links : csr_array
        Graph of few neighbors of these samples; empty where only k-means was tried.
    is_of_transformed : bool
        Whether it was made among transformed values.
    """

    name: str
    labels: NDArray[np.intp]
    responsibilities: NDArray[np.float64]
    candidates: dict[str, NDArray[np.intp]]
    links: csr_array = EMPTY
    is_of_transformed: bool = False


def is_table(n_samples: int, n_features: int) -> bool:
    """Whether clusters are chosen among the inputs: few features, or not very many of few samples.

    From few samples of many features, networks learn no embedding in which clusters are easier to find.
    """
    return n_features <= (MAX_FEATURES if n_samples > MAX_SAMPLES else MOST_FEATURES)


def choose_clusters(
    X: NDArray[np.float64],
    n_components: int,
    random_state: np.random.RandomState,
    *,
    transformed: NDArray[np.float64] | None = None,
) -> ClusterChoice:
    """Initial clusters of a table, chosen without labels among those of several methods.

    In this order:

    1. Single linkage, where the distances between its clusters are at least twice those within, and no cluster is
       tiny.
    2. The mixture of Gaussians of the best Bayesian information criterion, if more components are hardly better, and
       no other partition loses clearly less of the information that a label gives about that of a neighbor; or if all
       others lose clearly more. Neighbors are looked for in the standardized inputs and, in turn, in coordinates in
       which the mixture's clusters are spherical on average.
    3. With too few samples per cluster for trees in so many features, the partition of the neighbor graph.
    4. Otherwise the candidate of the highest sum of the information kept, relative to the entropy of the labels, and
       of the mean adjusted Rand index with all candidates.

    If columns are transformed for the likelihood, clusters are chosen among the transformed values. But a transform may
    bend clusters, or join them: those chosen among the values themselves are taken if they keep more information, both
    among the neighbors of the values and among those of the transformed values.

    Parameters
    ----------
    X : ndarray of shape (N, D)
        Finite.
    n_components : int
        K.
    random_state : RandomState
    transformed : ndarray of shape (N, D), optional
        The samples after a transform of some of the columns.

    Returns
    -------
    ClusterChoice
        Of N ≤ K + 1 samples, or no more than K that differ, k-means.
    """
    K = n_components
    first = X if transformed is None else transformed  # with no more samples that differ than X has
    views = make_views(first, random_state)
    if K == 1 or len(X) <= K + 1 or len(np.unique(first, axis=0)) <= K:
        labels = fit_kmeans(views.exact, K, random_state)[0]
        return ClusterChoice("kmeans", labels, np.eye(K)[labels], {"kmeans": labels})
    some = None if len(X) <= MAX_SAMPLES else random_state.choice(len(X), MAX_SAMPLES, replace=False)
    choice = _choose(_take(views, some), K, random_state)
    if transformed is not None:
        of_values = make_views(X, random_state)
        other = _choose(_take(of_values, some), K, random_state)
        if _keeps_more(other, choice, K):
            choice, views = other, of_values
        else:
            choice = choice._replace(is_of_transformed=True)
    return choice if some is None else _spread(choice, views.continuous[some], views.continuous)


def _take(views: Views, some: NDArray[np.intp] | None) -> Views:
    return views if some is None else Views._make(view[some] for view in views)


@single_thread()
def _choose(views: Views, n_clusters: int, random_state: np.random.RandomState) -> ClusterChoice:
    # k-means is called so often that its checks would take a tenth of the time
    with config_context(assume_finite=True, skip_parameter_validation=True):
        found = find_candidates(views, n_clusters, random_state)
        name = choose_name(found, weigh(views, found, n_clusters, random_state))
    labels = found.labels[name]
    responsibilities = found.mixture.responsibilities if name == found.mixture_name else np.eye(n_clusters)[labels]
    return ClusterChoice(name, labels, responsibilities, found.labels, found.links)


def _keeps_more(one: ClusterChoice, other: ClusterChoice, n_clusters: int) -> bool:
    """Whether one choice keeps more information than the other among its own neighbors and among the other's."""
    labels = [one.labels, other.labels]
    return all(np.subtract(*shares_kept(choice.links, labels, n_clusters)) > 0.0 for choice in (one, other))


def choose_name(found: Candidates, evidence: Evidence, thresholds: Thresholds = DEFAULT) -> str:
    """The name of the candidate by the four rules of :func:`choose_clusters`."""
    if evidence.gap >= thresholds.clear_gap:
        return "single linkage"
    is_sure = found.is_wide and evidence.kept >= thresholds.mostly_kept
    clearly_less = thresholds.clearly_less_wide if is_sure else thresholds.clearly_less
    is_expected = evidence.ratio >= clearly_less or evidence.is_expected
    if evidence.gain <= thresholds.hardly_better and is_expected:
        return found.mixture_name
    if evidence.ratio * thresholds.clearly_less >= 1.0:  # the mixture loses clearly less than any other
        return found.mixture_name
    return found.graph_name if found.is_wide else evidence.best


def weigh(
    views: Views,
    found: Candidates,
    n_clusters: int,
    random_state: np.random.RandomState,
    thresholds: Thresholds = DEFAULT,
) -> Evidence:
    """The evidence for each kind of candidate.

    Parameters
    ----------
    views : Views
        Of N samples.
    found : Candidates
    n_clusters : int
        K.
    random_state : RandomState
    thresholds : Thresholds

    Returns
    -------
    Evidence
    """
    K, single = n_clusters, found.labels.get("single linkage")
    distinct = np.unique(views.continuous, axis=0, return_index=True)[1]
    is_tiny = single is None or np.bincount(single[distinct], minlength=K).min() < LEAST_CLUSTER
    labels = [found.labels[name] for name in found.contenders]
    kept = shares_kept(found.links, labels, K)
    best = found.contenders[int((kept + mean_agreement(labels, K)).argmax())]
    others = [found.labels[name] for name in found.contenders if name not in (found.mixture_name, "merged mixture")]
    ratio = lost_relative_to(found.labels[found.mixture_name], others, views.continuous, found.links, K)
    gap = 1.0 if is_tiny else found.gap
    is_open = gap < thresholds.clear_gap and found.gain <= thresholds.hardly_better and not found.is_wide
    may_cross = is_open and ratio < thresholds.clearly_less
    is_expected = may_cross and crosses_as_expected(views, found.mixture, K, random_state)
    kept_by_graph = float(kept[found.contenders.index(found.graph_name)])
    return Evidence(gap, found.gain, ratio, kept_by_graph, is_expected, best)


def _spread(choice: ClusterChoice, some: NDArray[np.float64], points: NDArray[np.float64]) -> ClusterChoice:
    """The choice made on some samples for all, by the mean responsibilities of the nearest."""
    nearest = KNeighborsRegressor(N_NEAREST).fit(some, choice.responsibilities)
    responsibilities = np.asarray(nearest.predict(points))
    return choice._replace(labels=responsibilities.argmax(1), responsibilities=responsibilities)
