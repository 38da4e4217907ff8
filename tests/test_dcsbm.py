"""Clusters of a graph by mutual information: against its definition, and on graphs with planted clusters."""

import itertools

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.metrics import adjusted_rand_score, mutual_info_score

from skgmvae.initialization import dcsbm
from skgmvae.initialization.dcsbm import LinkGraph, fit_dcsbm, information, local_search, merge_cheapest, split_merge


def planted(n_clusters=5, size=40, seed=0):
    """A graph in which links within clusters are ten times as frequent, and its clusters."""
    rng, labels = np.random.default_rng(seed), np.repeat(np.arange(n_clusters), size)
    chances = np.where(labels[:, None] == labels, 0.3, 0.03)
    affinities = np.triu(rng.uniform(size=chances.shape) < chances, 1) * rng.uniform(0.5, 1.0, chances.shape)
    return csr_array(affinities + affinities.T), labels


def table_of(links, labels, n_clusters):
    return links.table(labels, n_clusters, links.to_clusters(labels, n_clusters))


def test_information_is_that_of_the_two_labels_of_a_link():
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 5, size=(12, 12))
    counts = np.triu(counts, 1) + np.triu(counts, 1).T
    labels = rng.integers(3, size=12)
    ends = [(i, j) for i, j in itertools.product(range(12), repeat=2) for _ in range(counts[i, j])]
    expected = mutual_info_score(*(labels[list(nodes)] for nodes in zip(*ends, strict=True)))
    links = LinkGraph.of_rows(csr_array(counts.astype(float)))
    np.testing.assert_allclose(information(table_of(links, labels, 3)), expected, rtol=1e-12)
    # an empty cluster neither adds nor takes
    np.testing.assert_allclose(information(table_of(links, labels, 5)), expected, rtol=1e-12)


def test_joined_nodes_keep_the_information_of_their_partitions():
    affinities, labels = planted()
    links, groups = LinkGraph.of_rows(affinities), np.arange(len(labels)) // 8  # 25 groups, none across clusters
    joined = links.join(groups, 25)
    np.testing.assert_allclose(table_of(joined, labels[::8], 5), table_of(links, labels, 5), atol=1e-15)
    again = joined.join(np.arange(25) // 5, 5)  # nodes that already have links to themselves
    np.testing.assert_allclose(table_of(again, np.arange(5), 5), table_of(links, labels, 5), atol=1e-15)


def test_the_union_that_costs_least_is_taken():
    table = np.random.default_rng(0).uniform(size=(6, 6))
    table = (table + table.T) / table.sum() / 2

    def joined(pair):
        which = np.array([min(pair) if c == max(pair) else c for c in range(6)])
        return np.unique(which, return_inverse=True)[1]

    def left(which):
        one_hot = np.eye(5)[which]
        return information(one_hot.T @ table @ one_hot)

    costs = dcsbm._merge_costs(table)
    assert np.isinf(costs.diagonal()).all()
    for pair in itertools.combinations(range(6), 2):
        np.testing.assert_allclose(costs[pair], information(table) - left(joined(pair)), rtol=1e-9)
    cheapest = min(itertools.combinations(range(6), 2), key=lambda pair: costs[pair])
    np.testing.assert_array_equal(merge_cheapest(table, 5), joined(cheapest))
    assert sorted(set(merge_cheapest(table, 2))) == [0, 1]


@pytest.mark.parametrize("groups_of", [1, 4])
def test_a_climb_mends_labels_and_gains(groups_of):
    affinities, labels = planted()
    links = LinkGraph.of_rows(affinities).join(np.arange(200) // groups_of, 200 // groups_of)
    truth = labels[::groups_of]
    wrong = truth.copy()
    some = np.random.default_rng(0).permutation(len(truth))[: len(truth) // 4]
    wrong[some] = np.random.default_rng(1).integers(5, size=len(some))
    mended, reached = local_search(links, wrong, 5, np.random.RandomState(0))
    np.testing.assert_allclose(reached, information(table_of(links, mended, 5)), rtol=1e-12)
    assert reached >= information(table_of(links, truth, 5)) > information(table_of(links, wrong, 5)) + 0.05
    assert adjusted_rand_score(truth, mended) > 0.97
    again, as_before = local_search(links, mended, 5, np.random.RandomState(1))
    assert as_before == reached
    np.testing.assert_array_equal(again, mended)


def test_splitting_and_joining_leaves_a_partition_that_a_climb_cannot():
    affinities, labels = planted()
    links = LinkGraph.of_rows(affinities)
    points = np.eye(5)[labels] + np.random.default_rng(0).normal(0, 0.2, (200, 5))
    # two clusters in one, and one in halves
    stuck = np.where(labels == 4, 3, labels)
    stuck[np.flatnonzero(labels == 0)[::2]] = 4
    climbed, reached = local_search(links, stuck, 5, np.random.RandomState(0))
    assert adjusted_rand_score(labels, climbed) < 0.9
    left, found = split_merge(links, points, stuck, 5, np.random.RandomState(0))
    assert found > reached + 0.01
    assert adjusted_rand_score(labels, left) > 0.97


@pytest.mark.parametrize("max_groups", [400, 50])
def test_planted_clusters_are_found_by_single_rows_and_by_groups(max_groups, monkeypatch):
    monkeypatch.setattr(dcsbm, "MAX_GROUPS", max_groups)
    affinities, labels = planted()
    points = np.eye(5)[labels] + np.random.default_rng(0).normal(0, 0.5, (200, 5))
    found = fit_dcsbm(affinities, points, 5, np.random.RandomState(0))
    assert adjusted_rand_score(labels, found) > 0.97
    np.testing.assert_array_equal(found, fit_dcsbm(affinities, points, 5, np.random.RandomState(0)))


def test_equal_rows_are_no_reason_for_a_warning(recwarn):
    affinities = csr_array(np.ones((600, 600)) - np.eye(600))
    points = np.repeat(np.eye(6), 100, axis=0)
    labels = fit_dcsbm(affinities, points, 4, np.random.RandomState(0))
    assert labels.shape == (600,) and set(labels) <= set(range(4))
    assert not recwarn.list


def test_the_search_ends_when_the_best_was_found_several_times(monkeypatch):
    affinities, _ = planted()
    found, searches = iter([1.0, 3.0, 2.0, 3.0, 3.0, 1.0, 3.0]), []

    def search(links, points, labels, K, random_state):
        searches.append(next(found))
        return np.full(len(labels), len(searches) % K), searches[-1]

    monkeypatch.setattr(dcsbm, "split_merge", search)
    monkeypatch.setattr(dcsbm, "local_search", lambda links, labels, K, random_state: (labels, 0.0))
    labels = fit_dcsbm(affinities, np.arange(200.0)[:, None], 3, np.random.RandomState(0))
    assert (labels == 2).all() and len(searches) == 7


def test_of_several_groupings_the_one_of_the_most_information_is_kept(monkeypatch):
    affinities, labels = planted()
    monkeypatch.setattr(dcsbm, "MAX_GROUPS", 50)
    monkeypatch.setattr(dcsbm, "local_search", lambda links, found, *_: (found, information(table_of(links, found, 5))))
    rng, n_searches = np.random.default_rng(0), []
    hidden = iter([rng.integers(5, size=50), None, rng.integers(5, size=50), rng.integers(5, size=50)])

    def search(links, points, n_clusters, n_tries, random_state):
        n_searches.append(n_tries)
        found = next(hidden)
        return points.round().astype(int).ravel() if found is None else found

    monkeypatch.setattr(dcsbm, "_best_search", search)
    points = labels[:, None] + rng.uniform(-0.3, 0.3, (len(labels), 1))
    found = fit_dcsbm(affinities, points, 5, np.random.RandomState(0))
    np.testing.assert_array_equal(found, labels)
    assert n_searches == [dcsbm.MAX_SEARCHES // dcsbm.N_GROUPINGS] * dcsbm.N_GROUPINGS
