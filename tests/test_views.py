"""Which columns are related, and where thresholds lie."""

import numpy as np
import pytest

from skgmvae.initialization import choice
from skgmvae.initialization.choice import choose_clusters
from skgmvae.initialization.neighbor_graph import connected_graph, find_neighbors
from skgmvae.initialization.partitions import split_in_two
from skgmvae.initialization.spanning_tree import _bridges
from skgmvae.initialization.views import _are_related, _are_rounded, find_heaped, make_views


def make_signs(n, n_neighbors, n_unequal):
    """±1 for n samples, and neighbors of which ``n_unequal`` per hundred have the other sign."""
    signs = np.where(np.arange(n) % 2 == 0, 1.0, -1.0)
    indices = np.tile(np.arange(n)[:, None], (1, n_neighbors))
    links = np.arange(n * n_neighbors).reshape(n, n_neighbors)
    indices[links % 100 < n_unequal] ^= 1
    return signs[:, None], indices


@pytest.mark.parametrize(
    ("n", "n_neighbors", "n_unequal", "is_related"),
    [
        (100, 1, 20, True),  # autocorrelation 0.6, four standard errors are 0.57
        (100, 1, 22, False),  # 0.56
        (2000, 10, 44, True),  # 0.12, four standard errors are 0.04: the least is 0.1
        (2000, 10, 46, False),  # 0.08
    ],
)
def test_columns_are_related_from_a_tenth_and_from_four_standard_errors(n, n_neighbors, n_unequal, is_related):
    columns, indices = make_signs(n, n_neighbors, n_unequal)
    np.testing.assert_array_equal(_are_related(columns, indices), [is_related])


def test_columns_of_at_most_twenty_values_or_of_one_frequent_value_are_heaped():
    n = 1000
    columns = {
        "twenty values": (np.arange(n) % 20, True),
        "twenty-one values": (np.arange(n) % 21, False),
        "a fifth zeros": (np.maximum(np.arange(n) - 199, 0), True),
        "fewer zeros": (np.maximum(np.arange(n) - 198, 0), False),
    }
    X = np.stack([x for x, _ in columns.values()], axis=1).astype(float)
    np.testing.assert_array_equal(find_heaped(X), [is_heaped for _, is_heaped in columns.values()])
    np.testing.assert_array_equal(find_heaped(np.arange(60.0)[:, None] % 12), [True])
    np.testing.assert_array_equal(find_heaped(np.arange(60.0)[:, None] % 13), [False])


def test_columns_of_many_even_values_are_rounded_ones():
    columns = np.stack([np.arange(600) % 5, np.arange(600) % 6, np.arange(600) % 2], axis=1)
    np.testing.assert_array_equal(_are_rounded(columns), [False, True, False])


def test_constant_columns_are_left_out():
    X = np.random.RandomState(0).normal(size=(50, 3))
    X[:, 1] = 7.0
    assert make_views(X, np.random.RandomState(0)).exact.shape == (50, 2)
    constant = make_views(np.ones((50, 3)), np.random.RandomState(0))
    assert constant.exact.shape == constant.continuous.shape == (50, 1) and not constant.exact.any()


# ---------------------------------------------------------------- small tables, large tables
@pytest.mark.parametrize(("n", "is_kmeans"), [(4, True), (5, False)])
def test_up_to_one_sample_more_than_components_are_clustered_by_kmeans(n, is_kmeans):
    X = np.array([[0.0, 0.0], [0.0, 1.0], [9.0, 0.0], [9.0, 3.0], [-9.0, 9.0]])[:n]
    found = choose_clusters(X, 3, np.random.RandomState(0))
    assert (list(found.candidates) == ["kmeans"]) is is_kmeans


def test_candidates_are_found_on_different_samples_of_a_large_table(monkeypatch):
    def choose(views, n_clusters, random_state):
        seen.append(views)
        return plain(views, n_clusters, random_state)

    seen, plain = [], choice._choose
    monkeypatch.setattr(choice, "_choose", choose)
    monkeypatch.setattr(choice, "MAX_SAMPLES", 100)
    X = np.random.RandomState(0).normal(size=(101, 2))
    choose_clusters(X, 2, np.random.RandomState(0))
    assert len(np.unique(seen[0].exact, axis=0)) == len(seen[0].exact) == 100
    choose_clusters(X[:100], 2, np.random.RandomState(0))
    assert len(seen[1].exact) == 100


def test_few_points_are_all_neighbors():
    points = np.arange(5.0)[:, None] ** 2
    graph = connected_graph(points, find_neighbors(points, 10), 1)
    assert graph.nnz == 5 * 4


# ---------------------------------------------------------------- pieces
def test_two_groups_are_split_apart():
    random_state = np.random.RandomState(0)
    points, labels = random_state.normal(size=(90, 2)), np.arange(90) < 30
    points[labels] += [9.0, -9.0]
    for _ in range(10):
        is_second = split_in_two(points, random_state)
        assert (is_second == labels).all() or (is_second != labels).all()
    assert not split_in_two(np.ones((5, 2)), random_state).any()


def test_a_bridge_leads_to_the_nearest_point_of_the_other_side():
    for seed in range(5):
        random_state = np.random.RandomState(seed)
        piece = np.repeat(np.arange(2, dtype=np.int32), 40)
        points = random_state.normal(size=(80, 2)) + np.outer(piece, [30.0, 10.0])
        ((a, b),) = _bridges(points, piece, 2)
        assert piece[a] != piece[b]
        distances = ((points[:, None] - points) ** 2).sum(-1)
        others = np.flatnonzero(piece != piece[b])
        assert a == others[distances[b, others].argmin()]
        centers = np.stack([points[piece == c].mean(0) for c in range(2)])
        one_side = np.flatnonzero(piece == piece[a])
        first = one_side[((points[one_side] - centers[piece[b]]) ** 2).sum(1).argmin()]
        other_side = np.flatnonzero(piece == piece[b])
        assert b == other_side[distances[first, other_side].argmin()]


@pytest.mark.parametrize(("n_duplicates", "is_continuous"), [(40, False), (41, True)])
def test_tables_of_heaped_columns_are_made_continuous_where_a_tenth_of_the_samples_is_equal(
    n_duplicates, is_continuous
):
    X = np.stack([np.arange(400) % 20, np.arange(400) // 20], axis=1).astype(float)
    X[:n_duplicates] = X[-1]
    assert find_heaped(X).all()
    views = make_views(X, np.random.RandomState(0))
    assert (len(np.unique(views.continuous, axis=0)) == 400) is is_continuous
    assert len(np.unique(views.exact, axis=0)) == 400 - n_duplicates
