"""Evidence for each number of components: from all samples, from folds, and from halves."""

import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import scale
from sklearn.utils import _safe_indexing, check_array
from sklearn.utils.validation import _check_method_params

from skgmvae.data.arrays import Floats
from skgmvae.initialization.complete_cases import CompleteCases
from skgmvae.model_selection._density import find_density
from skgmvae.model_selection._dip import least_dip
from skgmvae.model_selection._folds import held_out
from skgmvae.model_selection._mixed import (
    MixedTable,
    are_distinct,
    find_mixed,
    read_mixed,
    score_mixed,
)
from skgmvae.model_selection._partitions import SAMPLES_PER_CLUSTER, Partitions, find_partitions
from skgmvae.model_selection._reader import fit_reader, is_transformed, standardize
from skgmvae.model_selection._rule import Numbers, combine
from skgmvae.model_selection._separation import description_length, information_lost, lost_whitened, separation
from skgmvae.model_selection._tables import make_points

__all__ = ["Evidence", "Samples", "Search", "evaluate_fold", "examine", "examine_samples", "prepare"]

Values = dict[str, dict[int, float]]  # by criterion and number of clusters
OF_CONTINUOUS = ("separation", "information_lost", "dip", "description_length")  # without such columns, not known
LEAST_COMPLETE = 2  # clusters for which the complete samples have to be enough
N_NEAREST = 5  # samples that give one that was not partitioned its label


class Search(NamedTuple):
    """What is searched.

    Attributes
    ----------
    estimator : estimator
        A clusterer, or a pipeline that ends in one.
    prefix : str
        Of the names of the clusterer's parameters.
    numbers : tuple of int
        Ascending.
    X, y : array-like
        All samples.
    fit_params : dict
        Of ``fit``.
    is_fitted_to_folds : bool
        Whether scores are those of the estimator, rather than of the mixtures it is initialized with.
    """

    estimator: Any
    prefix: str
    numbers: tuple[int, ...]
    X: Any
    y: Any
    fit_params: Mapping[str, Any]
    is_fitted_to_folds: bool


class Evidence(NamedTuple):
    """Evidence from a set of samples.

    Attributes
    ----------
    labels : dict of int to ndarray of shape (N,)
        Clusters, by their number.
    values : dict of str to dict of int to float
    """

    labels: dict[int, NDArray[np.intp]]
    values: Values


class Samples(NamedTuple):
    """Samples as the clusterer at the end of a pipeline gets them.

    Attributes
    ----------
    points : ndarray of shape (N, D')
        Of columns that are log-normal or have heavy tails, standardized transformed values.
    table : MixedTable or None
        If some columns have no normal distribution.
    log_jacobian : float
        Mean log-determinant of the transform from points to samples, if there is one.
    missing : ndarray of shape (N, D') or None
        Of the points, which were drawn; None where none are, or where columns have categories.
    """

    points: Floats
    table: MixedTable | None
    log_jacobian: float = 0.0
    missing: NDArray[np.bool_] | None = None


def prepare(estimator: Any, X: Any, y: Any = None, further: Any = None, *, warns: bool = False) -> list[Samples]:
    """X, and further samples, as the clusterer at the end of a pipeline gets them.

    ``warns``: of what a fit of the estimator would warn of.
    """
    parts = [X] if further is None else [X, further]
    if isinstance(estimator, Pipeline) and len(estimator) > 1:
        steps = clone(estimator[:-1]).fit(X, y)
        parts = [steps.transform(part) for part in parts]
    last = estimator[-1] if isinstance(estimator, Pipeline) else estimator
    points = make_points(parts, getattr(last, "categorical_features", None))
    reader = fit_reader(last, parts[0], warns=warns)
    table = None if reader is None else read_mixed(reader, parts[0])
    tables = [table, *(None if table is None else table.read(part) for part in parts[1:])]
    if reader is None or table is not None or not is_transformed(reader):
        own = [Samples(*pair) for pair in zip(points, tables, strict=True)]
        return own if table is not None else [_mark_missing(*pair) for pair in zip(own, parts, strict=True)]
    standardized = [standardize(reader, part) for part in parts]
    points = make_points([part.numpy() for part in standardized], None)
    jacobians = [float(reader.net_.module_.likelihood.log_jacobian(part).mean()) for part in standardized]
    own = [Samples(of_part, None, jacobian) for of_part, jacobian in zip(points, jacobians, strict=True)]
    return [_mark_missing(*pair) for pair in zip(own, standardized, strict=True)]


def _mark_missing(samples: Samples, part: Any) -> Samples:
    """With the cells that are missing in the table of numbers (N, D') from which the points were made."""
    missing = np.isnan(check_array(part, dtype=np.float64, ensure_all_finite="allow-nan", ensure_min_samples=0))
    return samples._replace(missing=missing) if missing.any() and missing.shape == samples.points.shape else samples


def examine(X: Floats, numbers: Sequence[int], random_state: np.random.RandomState) -> Evidence:
    """Separation, lost information, dips, description length and mixtures of the partitions of all samples."""
    partitions = find_partitions(X, numbers, random_state)
    labels = {K: _spread(partitions, X, K) for K in partitions.by_number}
    return Evidence(labels, _compare(partitions, random_state))


def examine_samples(
    samples: Samples, searched: Sequence[int], more: Sequence[int], random_state: np.random.RandomState
) -> Evidence:
    """:func:`examine`; of tables with categories or counts, for the continuous columns, beside mixtures of all.

    Of the searched numbers, and of more that are not chosen.
    """
    numbers = (*searched, *more)
    if samples.table is None:
        return _examine_complete(samples, numbers, random_state)
    table = samples.table
    found = find_mixed(table, numbers, random_state)
    N, G = table.samples.continuous.shape
    of_continuous = Evidence({}, {name: {} for name in OF_CONTINUOUS})
    if G > 0:
        of_continuous = examine(table.samples.continuous, numbers, random_state)
    evidence = Numbers.read(of_continuous.values, numbers)
    first = searched[int(combine(numbers, evidence)[: len(searched)].argmax())]
    clusters = of_continuous.labels.get(first, np.zeros(N, dtype=np.intp))[found.rows]
    distinct = {K: float(are_distinct(found.table, fit, clusters)) for K, fit in found.fits.items()}
    return Evidence(found.labels, {**of_continuous.values, "bic": found.bic(), "distinct": distinct})


def _examine_complete(samples: Samples, numbers: Sequence[int], random_state: np.random.RandomState) -> Evidence:
    """:func:`examine` for the complete samples, if they can stand for all; each of the others follows its nearest."""
    if samples.missing is None:
        return examine(samples.points, numbers, random_state)
    points = scale(samples.points, with_mean=False)
    cases = CompleteCases(np.where(samples.missing, np.nan, points), random_state)
    has_enough = cases.are_enough(LEAST_COMPLETE) and len(cases.indices) >= SAMPLES_PER_CLUSTER * max(numbers)
    if not has_enough or not cases.stand_for_all(max(numbers)):
        return examine(samples.points, numbers, random_state)
    evidence = examine(samples.points[cases.indices], numbers, random_state)
    labels = {K: cases.assign(np.eye(K)[found]).argmax(1) for K, found in evidence.labels.items()}
    return evidence._replace(labels=labels)


def _compare(partitions: Partitions, random_state: np.random.RandomState) -> Values:
    edges, links = partitions.edges, partitions.links
    found = {K: partition.labels for K, partition in partitions.by_number.items()}
    # a mixture may leave a component without samples: that is no partition into K
    found = {K: labels for K, labels in found.items() if np.bincount(labels, minlength=K).min() > 0}
    density, misfit, is_tied, bic = find_density(partitions, random_state)
    M = density.responsibilities.shape[1]
    return {
        "separation": {K: separation(labels, edges, density) for K, labels in found.items()},
        "information_lost": {K: information_lost(links, labels, K) for K, labels in found.items()},
        "dip": {K: least_dip(partitions.points, labels, edges) for K, labels in found.items()},
        "description_length": {K: description_length(links, labels, K) for K, labels in found.items()},
        "bic": bic,
        "misfit": {M: misfit},
        "tied": {M: float(is_tied)},
        "lost_whitened": {M: lost_whitened(partitions.exact, found[M], M)} if M in found else {},
    }


def _spread(partitions: Partitions, X: Floats, n_clusters: int) -> NDArray[np.intp]:
    """Labels of all samples, from those that were partitioned."""
    rows, labels = partitions.rows, partitions.by_number[n_clusters].labels
    if len(rows) == len(X):
        return labels
    scaled = scale(X, with_mean=False)
    spread: NDArray[np.intp] = KNeighborsClassifier(N_NEAREST).fit(scaled[rows], labels).predict(scaled)
    spread[rows] = labels
    return spread


def evaluate_fold(
    search: Search, train: NDArray[np.intp], test: NDArray[np.intp], random_state: np.random.RandomState
) -> Values:
    """:func:`examine` for the training samples of a fold, and scores of the held-out ones.

    Of mixtures of all columns, which take longer, only the criterion and the scores.
    """
    X_train, X_test = (_safe_indexing(search.X, rows) for rows in (train, test))
    y_train = None if search.y is None else _safe_indexing(search.y, train)
    samples, further = prepare(search.estimator, X_train, y_train, X_test)
    if samples.table is not None and further.table is not None:
        mixed = find_mixed(samples.table, search.numbers, random_state)
        values: Values = {"bic": mixed.bic()}
        score = {K: partial(score_mixed, mixed.table, fit, further.table) for K, fit in mixed.fits.items()}
    else:
        partitions = find_partitions(samples.points, search.numbers, random_state)
        values = _compare(partitions, random_state)
        rest = partitions.rows, samples.points, further.points, further.log_jacobian
        score = {K: partial(held_out, each, *rest) for K, each in partitions.by_number.items()}
    if search.is_fitted_to_folds:
        given = _check_method_params(search.X, dict(search.fit_params), train)
        score = {K: partial(_fit_and_score, search, K, X_train, y_train, X_test, given) for K in score}
    scores = {K: compute() for K, compute in score.items()}
    values["log_likelihood"] = {K: pair[0] for K, pair in scores.items()}
    values["icl"] = {K: pair[1] for K, pair in scores.items()}
    return values


def _fit_and_score(
    search: Search, n_components: int, X_train: Any, y_train: Any, X_test: Any, given: Mapping[str, Any]
) -> tuple[float, float]:
    """Held-out log-likelihood of the estimator, and the same less the entropy of its responsibilities."""
    model = clone(search.estimator).set_params(**{f"{search.prefix}n_components": n_components})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X_train, y_train, **given)
    log_likelihood = float(model.score_samples(X_test).mean())
    responsibilities = model.predict_proba(X_test)
    terms = responsibilities * np.log(np.maximum(responsibilities, np.finfo(np.float64).tiny))
    return log_likelihood, log_likelihood + float(terms.sum(1).mean())
