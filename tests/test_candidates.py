"""Candidate partitions: what the number of samples per component allows, and which initializations compete."""

import numpy as np
import pytest
from sklearn.datasets import load_iris, make_blobs
from sklearn.metrics import adjusted_rand_score
from sklearn.preprocessing import StandardScaler

from skgmvae.initialization import mixture_search
from skgmvae.initialization.candidates import find_candidates
from skgmvae.initialization.choice import choose_clusters, is_table
from skgmvae.initialization.directions import split_directions
from skgmvae.initialization.mixture import Mixture, fit_from_each, fit_mixture, information_criterion
from skgmvae.initialization.mixture_search import (
    _best_mixture,
    _degrees_of_freedom,
    _kinds,
    find_larger,
    fit_mixtures,
    is_wide,
    merge_components,
)
from skgmvae.initialization.neighbor_graph import find_neighbors, self_tuned_graph
from skgmvae.initialization.views import Views, make_views, whiten


@pytest.mark.parametrize(
    ("n_samples", "n_features", "n_clusters", "wide"),
    [
        # D + D (D + 1) / 2 parameters of a mean and a covariance: 2, 9, 20 and 65 of 1, 3, 5 and 10 features
        (6, 1, 3, False),
        (5, 1, 3, True),
        (27, 3, 3, False),
        (26, 3, 3, True),
        (40, 5, 2, False),
        (39, 5, 2, True),
        (260, 10, 4, False),
        (259, 10, 4, True),
    ],
)
def test_tables_are_wide_where_a_component_has_more_parameters_than_samples(n_samples, n_features, n_clusters, wide):
    assert is_wide(n_samples, n_features, n_clusters) is wide


@pytest.mark.parametrize(
    ("n_samples", "n_features", "n_clusters", "kinds"),
    [
        (10_000, 1, 2, ("diag",)),
        (8, 2, 2, ("full", "tied", "diag")),
        (7, 2, 2, ("diag",)),
        (36, 10, 3, ("full", "tied", "diag")),
        (35, 10, 3, ("diag",)),
        (10_000, 64, 2, ("full", "tied", "diag")),
        (10_000, 65, 2, ("tied", "diag")),
        (10_000, 100, 2, ("tied", "diag")),
        (10_000, 101, 2, ("diag",)),
    ],
)
def test_covariances_need_two_samples_more_than_features(n_samples, n_features, n_clusters, kinds):
    assert _kinds(n_samples, n_features, n_clusters) == kinds


def test_components_have_heavy_tails_unless_tied_wide_or_of_few_values():
    points, rounding = np.random.RandomState(0).randn(40, 2), np.array([0.0, 0.1])
    points[:, 1] = points[:, 1].round()
    assert _degrees_of_freedom(points, "full", rounding, wide=False) == (np.inf, 4.0)
    assert _degrees_of_freedom(points, "diag", rounding, wide=False) == (np.inf, 4.0)
    assert _degrees_of_freedom(points, "full", rounding, wide=True) == (np.inf,)
    assert _degrees_of_freedom(points, "tied", rounding, wide=False) == (np.inf,)
    assert _degrees_of_freedom(points[:, 1:], "diag", rounding[1:], wide=False) == (np.inf,)
    # values that repeat, of no rounding
    assert _degrees_of_freedom(points, "full", np.zeros(2), wide=False) == (np.inf,)


@pytest.mark.parametrize("seed", range(3))
def test_components_do_not_shrink_to_repeated_values(seed):
    """Iris in tenths of a centimeter; a mixture of t-distributions had an index of .45."""
    X, y = load_iris(return_X_y=True)
    found = choose_clusters(StandardScaler().fit_transform(X), 3, np.random.RandomState(seed))
    assert adjusted_rand_score(y, found.labels) > 0.85


@pytest.mark.parametrize(("n", "wide"), [(18, False), (17, True)])
def test_wide_tables_have_no_trees_and_no_drawn_initializations_of_full_covariances(n, wide, monkeypatch):
    def fit(points, starts, n_clusters, kind, *others):
        counts[kind] = len(starts)
        return _best_mixture(points, starts, n_clusters, kind, *others)

    counts, random_state = {}, np.random.RandomState(0)
    monkeypatch.setattr(mixture_search, "_best_mixture", fit)
    X = make_blobs([n - n // 2, n // 2], 3, centers=None, cluster_std=0.5, random_state=1)[0]
    found = find_candidates(make_views(X, random_state), 2, random_state)
    assert found.is_wide is wide
    assert ("genie" in found.labels) is ("single linkage" in found.labels) is not wide
    assert (counts["full"] < counts["tied"]) is wide and counts["full"] <= counts["tied"] == counts["diag"]


def test_a_direction_splits_the_samples_whatever_its_variance():
    """Twelve directions of unit variance, clusters in one of them."""
    random_state = np.random.RandomState(0)
    y = random_state.randint(3, size=400)
    white = random_state.normal(size=(400, 12))
    white[:, 0] = (y - y.mean()) / y.std() + 0.1 * white[:, 0]
    splits = split_directions(whiten(white), 3, random_state)
    assert adjusted_rand_score(y, splits[0]) > 0.9 and len(splits) == 3
    assert split_directions(white[:119], 3, random_state) == []
    assert len(split_directions(white[:120], 3, random_state)) == 3
    assert split_directions(white[:, :1], 3, random_state) == []


def test_labels_that_leave_a_cluster_empty_begin_no_mixture():
    X, labels = make_blobs([60, 60], 2, centers=[[-9.0, 0.0], [9.0, 0.0]], random_state=0)
    given = {"good": labels.astype(np.intp), "one cluster": np.zeros(120, dtype=np.intp)}
    mixtures = fit_mixtures(X / X.std(0), given, 2, link(X), np.zeros(2), np.random.RandomState(0))
    assert set(mixtures) == {"full", "full t", "tied", "diag", "diag t"}
    for mixture in mixtures.values():
        np.testing.assert_array_equal(mixture.labels == mixture.labels[0], labels == labels[0])


@pytest.fixture
def fits(monkeypatch):
    """Fits: counts per component, and max_iter; the bound falls with the smallest count."""

    def fit(points, starts, n_components, kind, dof, rounding, max_iter=None):
        found = []
        for labels in starts:
            responsibilities = labels if labels.ndim == 2 else np.eye(n_components)[labels]
            counts = responsibilities.sum(0)
            calls.append((counts.tolist(), max_iter))
            found.append(Mixture(kind, dof, responsibilities, -float(counts.min()), responsibilities))
        return found

    calls = []
    monkeypatch.setattr(mixture_search, "fit_from_each", fit)
    return calls


def test_partitions_that_differ_in_numbers_alone_begin_one_mixture(fits):
    """K-means finds the given partition too."""
    X, labels = make_blobs([70, 50], 2, centers=[[-9.0, 0.0], [9.0, 0.0]], random_state=0)
    given = {"one": labels.astype(np.intp), "other": 1 - labels.astype(np.intp)}
    families = fit_mixtures(X / X.std(0), given, 2, link(X), np.full(2, 1e-5), np.random.RandomState(0))
    short = [sorted(counts) for counts, max_iter in fits if max_iter is not None]
    assert short.count([50.0, 70.0]) == len(families)


NO_LINKS = None  # where all bounds differ


def link(points):
    return self_tuned_graph(find_neighbors(points, 5), 5)


def label(n_samples, n_few):
    return (np.arange(n_samples) < n_few).astype(np.intp)


@pytest.mark.parametrize(("kind", "least"), [("full", 6), ("tied", 5), ("diag", 5)])
def test_mixtures_with_a_tiny_component_are_second_to_any_other(fits, kind, least):
    """The bound is highest where a component has fewest samples; four features."""
    points, rounding = np.zeros((100, 4)), np.zeros(4)
    starts = [label(100, n) for n in (1, least - 1, least, least + 1, 50)]
    best = _best_mixture(points, starts, 2, kind, np.inf, NO_LINKS, rounding)
    assert best.responsibilities.sum(0).min() == least
    assert [min(counts) for counts, max_iter in fits if max_iter is None] == [least, least + 1, 50]
    assert _best_mixture(points, starts[:2], 2, kind, np.inf, NO_LINKS, rounding).responsibilities.sum(0).min() == 1


@pytest.mark.parametrize(("difference", "chosen"), [(0.001, 1), (0.5, 0)])
def test_of_mixtures_of_nearly_equal_bounds_that_whose_clusters_have_links_within_is_best(
    difference, chosen, monkeypatch
):
    """The first has the higher bound, and clusters that are those of no neighbors."""
    y, random = np.arange(100) % 2, np.random.RandomState(0)
    X = np.c_[8.0 * y, np.zeros(100)] + random.randn(100, 2)
    starts = [label(100, 50), y]
    bounds = {start.tobytes(): -1.0 - i * difference for i, start in enumerate(starts)}

    def fit(points, starts, n_components, kind, dof, rounding, max_iter=None):
        responsibilities = [labels if labels.ndim == 2 else np.eye(2)[labels] for labels in starts]
        return [Mixture(kind, dof, R, bounds[R.argmax(1).tobytes()], R) for R in responsibilities]

    monkeypatch.setattr(mixture_search, "fit_from_each", fit)
    best = _best_mixture(X, starts, 2, "full", np.inf, link(X), np.zeros(2))
    np.testing.assert_array_equal(best.labels, starts[chosen])


@pytest.mark.parametrize(("n_samples", "n_iter"), [(100, 50), (1000, 50), (2000, 25), (5000, 10), (9000, 10)])
def test_large_tables_have_fewer_iterations_before_initializations_are_compared(fits, n_samples, n_iter):
    _best_mixture(np.zeros((n_samples, 2)), [label(n_samples, 40)], 2, "full", np.inf, NO_LINKS, np.zeros(2))
    assert [max_iter for _, max_iter in fits] == [n_iter, None]


@pytest.mark.parametrize(
    ("n_samples", "most", "numbers"),
    [(1000, 60, [5, 6, 8, 12, 16]), (1000, 12, [5, 6, 8, 12]), (1000, 2, [5, 6]), (25, 60, [5, 6]), (24, 60, [5])],
)
def test_larger_mixtures_have_up_to_four_times_k_components_and_enough_samples(monkeypatch, n_samples, most, numbers):
    """K = 4; of one feature, m components need more than 4 m samples."""

    def fit(points, starts, n_components, *args, max_iter, **options):
        fitted.append((n_components, len(starts), max_iter))
        return fit_from_each(points, starts, n_components, *args, max_iter=max_iter, **options)

    fitted, random_state, rounding = [], np.random.RandomState(0), np.full(1, 1e-5)
    monkeypatch.setattr(mixture_search, "fit_from_each", fit)
    monkeypatch.setattr(mixture_search, "MAX_COMPONENTS", most)
    points = random_state.normal(size=(n_samples, 1))
    mixture = fit_mixture(points, np.arange(n_samples) % 4, 4, "diag")
    labels, gain = merge_components(points, mixture, rounding, np.random.RandomState(0))
    assert fitted == [(m, 1, 30) for m in numbers]
    assert set(labels) == {"merged mixture"} and labels["merged mixture"].max() < 4
    assert np.isfinite(gain)
    fitted.clear()
    best, of_more = find_larger(points, mixture, rounding, np.random.RandomState(0), n_starts=3)
    assert fitted == [(m, 3, 30) for m in numbers]
    assert of_more == information_criterion(best, 1) - information_criterion(mixture, 1)


def test_without_samples_for_more_components_nothing_is_merged():
    points = np.random.RandomState(0).normal(size=(20, 1))
    mixture = fit_mixture(points, np.arange(20) % 4, 4, "diag")
    assert merge_components(points, mixture, np.full(1, 1e-5), np.random.RandomState(0)) == ({}, -np.inf)


@pytest.mark.parametrize(("distance", "is_better"), [(0.0, False), (4.0, True)])
def test_components_that_overlap_are_merged_and_the_gain_is_that_of_the_criterion(distance, is_better):
    """Two clusters far apart, each of one Gaussian or of two."""
    random_state, y = np.random.RandomState(0), np.arange(600) % 2
    points = random_state.normal(size=(600, 2)) + np.outer(y, [60.0, 0.0])
    points[::3, 1] += distance
    points = (points - points.mean(0)) / points.std(0)
    mixture = fit_mixture(points, y, 2, "full")
    labels, gain = merge_components(points, mixture, np.full(2, 1e-5), random_state)
    assert (gain > 0.05) is is_better
    assert adjusted_rand_score(y, labels["merged mixture"]) == 1.0


def three_blobs_and(others):
    X, y = make_blobs(450, 3, centers=3, cluster_std=1.5, random_state=1)
    return np.vstack([X, others]), np.r_[y, np.full(len(others), 3)]


@pytest.mark.parametrize("n_repeated", [11, 60])
def test_samples_that_are_repeated_often_are_no_cluster_of_the_graph(n_repeated):
    """They have no links to others; those of a blob are repeated."""
    X, y = three_blobs_and(np.zeros((0, 3)))
    X, y = np.vstack([X, np.tile(X[y == 0][:1], (n_repeated, 1))]), np.r_[y, np.zeros(n_repeated, dtype=int)]
    for K in (2, 3):
        found = find_candidates(Views(X, X), K, np.random.RandomState(0))
        assert np.bincount(found.labels[found.graph_name]).min() >= 149
    assert adjusted_rand_score(y, found.labels[found.graph_name]) > 0.9


def test_a_few_samples_that_are_almost_equal_follow_their_neighbors():
    clump = np.full((11, 3), 30.0) + 1e-6 * np.random.RandomState(0).normal(size=(11, 3))
    X, y = three_blobs_and(clump)
    found = find_candidates(Views(X, X), 3, np.random.RandomState(0))
    labels = found.labels[found.graph_name]
    assert adjusted_rand_score(y[y < 3], labels[y < 3]) > 0.9
    assert len(np.unique(labels[y == 3])) == 1


@pytest.mark.parametrize(
    ("n_samples", "n_features", "expected"),
    [(5000, 1000, True), (5000, 1001, False), (5001, 100, True), (5001, 101, False)],
)
def test_tables_of_few_samples_may_have_more_features(n_samples, n_features, expected):
    assert is_table(n_samples, n_features) is expected
