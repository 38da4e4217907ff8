"""Partitions of a graph's nodes, and their moves."""

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.special import rel_entr

from skgmvae.initialization.dcsbm import _find_moves
from skgmvae.initialization.links import Links, make_partition, move

N = 9
LABELS = np.array([0, 0, 0, 1, 1, 1, 3, 3, 1], dtype=np.intp)  # cluster 2 is empty


@pytest.fixture(params=["sparse", "dense"])
def links(request):
    """A complete graph with affinities of nodes to themselves, of total weight one."""
    weights = np.random.RandomState(0).randint(1, 50, size=(N, N)).astype(float)
    weights += weights.T
    within = weights.diagonal() / weights.sum()
    between = weights / weights.sum()
    np.fill_diagonal(between, 0.0)
    return Links(csr_array(between) if request.param == "sparse" else between, within)


def dense(links):
    between = links.between.toarray() if isinstance(links.between, csr_array) else links.between
    return between + np.diag(links.within)


def check_partition(partition, links, n_clusters):
    one_hot = np.eye(n_clusters)[partition.labels]
    table = one_hot.T @ dense(links) @ one_hot
    np.testing.assert_allclose(partition.table, table, atol=1e-15)
    np.testing.assert_allclose(partition.to_clusters, (dense(links) - np.diag(links.within)) @ one_hot, atol=1e-15)
    independent = np.outer(table.sum(0), table.sum(0))
    assert partition.information == pytest.approx(rel_entr(table, independent).sum(), abs=1e-12)


def test_a_partition_sums_the_affinities_of_its_clusters(links):
    check_partition(make_partition(links, LABELS, 4), links, 4)


@pytest.mark.parametrize("nodes", [[0], [0, 4, 5], [2, 7, 8]])
def test_a_move_equals_the_partition_made_anew(links, nodes):
    before = make_partition(links, LABELS, 4)
    moved = move(links, before, np.array(nodes), np.array([3, 0, 2])[: len(nodes)])
    check_partition(moved, links, 4)
    np.testing.assert_array_equal(moved.labels[nodes], [3, 0, 2][: len(nodes)])
    np.testing.assert_array_equal(before.labels, LABELS)


def test_moves_stay_out_of_empty_clusters_and_are_only_those_that_gain(links):
    partition = make_partition(links, LABELS, 4)
    nodes, to = _find_moves(links, partition, links.mean_affinity())
    table, shares = partition.table + links.mean_affinity(), partition.table.sum(1)
    gains = {}
    for node in range(N):
        for c in np.flatnonzero(shares > 0.0):
            gradient = np.log(table[c] / np.maximum(shares[c] * shares, np.finfo(float).tiny))
            gains[node, c] = 2.0 * partition.to_clusters[node] @ gradient + links.within[node] * gradient[c]
    best = {node: max((0, 1, 3), key=lambda c: gains[node, c]) for node in range(N)}
    better = {node: c for node, c in best.items() if c != LABELS[node]}
    assert better and dict(zip(nodes.tolist(), to.tolist(), strict=True)) == better


def test_groups_of_nodes_have_the_information_of_their_nodes():
    between = np.random.RandomState(1).uniform(size=(N, N))
    links = Links.of_samples(csr_array((between + between.T) * (1.0 - np.eye(N))))
    groups, of_groups = np.array([0, 0, 1, 2, 2, 3, 4, 4, 3]), np.array([0, 0, 1, 2, 2])
    joined = Links(links.between, np.arange(9.0)).join(groups, 5)  # with affinities of nodes to themselves
    np.testing.assert_allclose(joined.within - np.bincount(groups, np.arange(9.0)), links.join(groups, 5).within)
    assert not joined.between.diagonal().any()
    found = make_partition(links.join(groups, 5), of_groups, 3)
    check_partition(found, links.join(groups, 5), 3)
    np.testing.assert_allclose(found.table, make_partition(links, of_groups[groups], 3).table)


def test_the_mean_affinity_is_that_of_the_links_there_are():
    weights = np.zeros((4, 4))
    weights[0, 1] = weights[1, 0] = 3.0
    weights[2, 3] = weights[3, 2] = 1.0
    of_samples = Links.of_samples(csr_array(weights))
    assert of_samples.mean_affinity() == pytest.approx(0.25)
    assert of_samples.join(np.arange(4), 4).mean_affinity() == pytest.approx(0.25)
    assert Links(np.zeros((2, 2)), np.full(2, 0.5)).mean_affinity() == 1.0
