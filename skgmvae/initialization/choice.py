"""Choice of initial clusters among candidate partitions, without labels."""

import copy
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn import config_context
from sklearn.neighbors import KNeighborsRegressor

from skgmvae.initialization.bootstrap import crosses_as_expected
from skgmvae.initialization.candidates import Candidates, find_candidates
from skgmvae.initialization.column_choice import choose_columns
from skgmvae.initialization.comparison import lost_relative_to, mean_agreement, shares_kept
from skgmvae.initialization.copies import are_copies
from skgmvae.initialization.mixture_search import MERGED, find_larger
from skgmvae.initialization.partitions import fit_kmeans
from skgmvae.initialization.relevance import find_relevant
from skgmvae.initialization.rules import DEFAULT, Evidence, Thresholds, choose_name
from skgmvae.initialization.views import Views, make_views, rounding_variance
from skgmvae.runtime import single_thread

__all__ = ["ClusterChoice", "choose_clusters", "is_table", "weigh"]

MAX_FEATURES, MOST_FEATURES = 100, 1_000  # of any table, and of one of few samples
MAX_SAMPLES = 5_000  # on which candidates are found; the others follow …
N_NEAREST = 5  # … this number of nearest ones among them
LEAST_CLUSTER = 3  # samples that differ; single linkage with smaller clusters is not certain …
LEAST_SHARE = 0.02  # … nor, in a single column, where a tail is as long, with smaller ones relative to N / K
N_IN_DOUBT = 10  # initializations of each larger mixture, where another partition speaks against the one of K
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
    columns : ndarray of shape (D,), optional
        Of bool: in which of the columns. None: in all that vary.
    """

    name: str
    labels: NDArray[np.intp]
    responsibilities: NDArray[np.float64]
    candidates: dict[str, NDArray[np.intp]]
    links: csr_array = EMPTY
    is_of_transformed: bool = False
    columns: NDArray[np.bool_] | None = None


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
    leaves_out: bool = True,
) -> ClusterChoice:
    """Initial clusters of a table, chosen without labels among those of several methods.

    Columns that depend on no other one, and have one mode, are left out
    (:func:`~skgmvae.initialization.relevance.find_relevant`), if the others show clusters; those with several modes,
    too, if the others show clusters that lose far less information. In this order:

    1. Single linkage, where the distances between its clusters are at least twice those within, and no cluster is
       tiny.
    2. The mixture of Gaussians of the best Bayesian information criterion, if more components are hardly better (the
       search for these is longer where another partition loses less than three quarters of the information), and no
       other partition loses clearly less of the information that a label gives about that of a neighbor; or if all
       others lose clearly more. Neighbors are looked for in the standardized inputs and, in turn, in coordinates in
       which the mixture's clusters are spherical on average. If only the first speak against a mixture whose clusters
       are not apart in the second, samples drawn from it decide
       (:func:`~skgmvae.initialization.bootstrap.crosses_as_expected`). With few samples for so many features, the
       second view counts only where it speaks strongly for the mixture
       (:func:`~skgmvae.initialization.rules.choose_name`).
    3. With too few samples per cluster for trees in so many features, the partition of the neighbor graph.
    4. Otherwise the candidate of the highest sum of the information kept, relative to the entropy of the labels, and
       of the mean adjusted Rand index with all candidates.

    Copies of a sample count once, unless samples are equal by rounding.

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
    leaves_out : bool, default=True
        Whether columns may be left out.

    Returns
    -------
    ClusterChoice
        Of N ≤ K + 1 samples, or no more than K that differ, k-means.
    """
    K = n_components
    first = X if transformed is None else transformed  # with no more samples that differ than X has
    distinct, index, inverse, counts = np.unique(first, True, True, True, axis=0)
    if are_copies(distinct, counts) and len(distinct) > K + 1:
        of_each = None if transformed is None else transformed[index]
        of_distinct = choose_clusters(X[index], K, random_state, transformed=of_each, leaves_out=leaves_out)
        each = inverse.ravel()
        return of_distinct._replace(
            labels=of_distinct.labels[each], responsibilities=of_distinct.responsibilities[each]
        )
    if leaves_out and K > 1 and not np.all(relevance := find_relevant(first)):

        def choose(columns: NDArray[np.bool_]) -> ClusterChoice:
            of_some = None if transformed is None else transformed[:, columns]
            choice = choose_clusters(X[:, columns], K, random_state, transformed=of_some, leaves_out=False)
            return choice if columns[np.ptp(X, axis=0) > 0.0].all() else choice._replace(columns=columns)

        return choose_columns(first, choose, relevance, K)
    views = make_views(first, random_state)
    if K == 1 or len(X) <= K + 1 or len(distinct) <= K:
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
    least = max(LEAST_CLUSTER, LEAST_SHARE * len(distinct) / K if found.is_line else 0.0)
    is_tiny = single is None or np.bincount(single[distinct], minlength=K).min() < least
    labels = [found.labels[name] for name in found.contenders]
    kept = shares_kept(found.links, labels, K)
    best = found.contenders[int((kept + mean_agreement(labels, K)).argmax())]
    others = [found.labels[name] for name in found.contenders if name not in (found.mixture_name, MERGED)]
    losses = lost_relative_to(found.labels[found.mixture_name], others, views.continuous, found.links, K)
    gap = 1.0 if is_tiny else found.gap
    gain = found.gain
    if not found.is_wide and gain <= thresholds.hardly_better and losses.larger < thresholds.in_doubt:
        rounding, of_search = rounding_variance(views.exact), copy.deepcopy(random_state)  # shifts no later draws
        gain = max(gain, find_larger(views.exact, found.mixture, rounding, of_search, N_IN_DOUBT)[1])
    kept_by_graph = float(kept[found.contenders.index(found.graph_name)])
    evidence = Evidence(gap, gain, losses, kept_by_graph, is_expected=False, best=best)
    if_expected = evidence._replace(is_expected=True)
    is_open = not found.is_wide and choose_name(found, evidence, thresholds) != found.mixture_name
    if is_open and choose_name(found, if_expected, thresholds) == found.mixture_name:
        is_expected = crosses_as_expected(views, found.mixture, losses, K, random_state)
        return if_expected if is_expected else evidence
    return evidence


def _spread(choice: ClusterChoice, some: NDArray[np.float64], points: NDArray[np.float64]) -> ClusterChoice:
    """The choice made on some samples for all, by the mean responsibilities of the nearest."""
    nearest = KNeighborsRegressor(N_NEAREST).fit(some, choice.responsibilities)
    responsibilities = np.asarray(nearest.predict(points))
    return choice._replace(labels=responsibilities.argmax(1), responsibilities=responsibilities)
