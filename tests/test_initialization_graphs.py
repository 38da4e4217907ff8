"""Neighbor graphs, spanning trees, and the partitions made from them."""

import numpy as np
import pytest
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree
from sklearn.metrics import adjusted_rand_score, mutual_info_score
from sklearn.neighbors import NearestNeighbors

from skgmvae.initialization import nearest as nearest_module
from skgmvae.initialization.dcsbm import fit_dcsbm, local_search, split_merge
from skgmvae.initialization.genie import cut_with_gini, gini_index
from skgmvae.initialization.information import information_kept, link_information, merge_cheapest
from skgmvae.initialization.links import Links, make_partition
from skgmvae.initialization.lumbermark import cut_limbs
from skgmvae.initialization.nearest import nearest
from skgmvae.initialization.neighbor_graph import MAX_NEIGHBORS, connected_graph, find_neighbors, self_tuned_graph
from skgmvae.initialization.spanning_tree import _sparse_tree, spanning_tree
from skgmvae.initialization.spectral import laplacian_eigenvectors, partition_graph

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture
def points():
    return np.random.RandomState(0).normal(size=(200, 3))


def rings(n=600):
    random_state = np.random.RandomState(0)
    angle, labels = random_state.uniform(0, 2 * np.pi, n), np.arange(n) % 2
    radius = np.where(labels == 0, 1.0, 2.0) + 0.05 * random_state.normal(size=n)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1), labels


def brute_force_reachability(points, k):
    distances = np.sqrt(((points[:, None] - points) ** 2).sum(-1))
    core = np.sort(distances, axis=1)[:, k]
    return np.maximum(np.maximum(distances, core[:, None]), core), distances


# ---------------------------------------------------------------- neighbor_graph
def test_affinities_are_those_of_zelnik_manor_and_perona(points):
    graph = self_tuned_graph(find_neighbors(points, 10), 4).toarray()
    distances = np.sqrt(((points[:, None] - points) ** 2).sum(-1))
    scales = np.sort(distances, axis=1)[:, 4]
    expected = np.exp(-(distances**2) / np.outer(scales, scales))
    is_edge = (distances <= scales[:, None]) | (distances <= scales)
    np.fill_diagonal(is_edge, False)
    np.testing.assert_allclose(graph, np.where(is_edge, expected, 0.0), atol=1e-12)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_cuda)])
def test_a_device_finds_the_neighbors_that_scikit_learn_finds(monkeypatch, points, device):
    monkeypatch.setattr(nearest_module, "DISTANCES", 7 * len(points))  # several parts, the last one smaller
    X, others = 1e6 + points, 1e6 + np.random.RandomState(1).normal(size=(11, 3))  # differences of large numbers
    search = NearestNeighbors(n_neighbors=10, algorithm="kd_tree").fit(X)
    there, queries = (torch.from_numpy(some).to(device) for some in (X, others))
    for found, expected in (
        (nearest(there, there, 10, is_same=True), search.kneighbors()),
        (nearest(queries, there, 10), search.kneighbors(others)),
        (find_neighbors(X, 10, torch.device(device)), search.kneighbors()),
    ):
        distances, indices = (np.asarray(some.cpu() if isinstance(some, torch.Tensor) else some) for some in found)
        np.testing.assert_allclose(distances, expected[0], atol=1e-9)
        np.testing.assert_array_equal(indices, expected[1])


def test_neighbors_grow_until_there_are_few_components():
    few = np.repeat(np.arange(6.0), 20)[:, None] * 100 + np.random.RandomState(0).normal(size=(120, 1))
    many = np.repeat([0.0, 1e3], MAX_NEIGHBORS + 20)[:, None] + np.random.RandomState(0).normal(size=(200, 1))
    counts = []
    for X in (few, many):
        graph = connected_graph(X, find_neighbors(X, 10), 1)
        counts.append(connected_components(graph, directed=False, return_labels=False))
    assert counts == [1, 2]  # groups larger than MAX_NEIGHBORS stay apart


# ---------------------------------------------------------------- spanning_tree
@pytest.mark.parametrize("k", [0, 5])
def test_the_tree_is_of_least_weight(points, k):
    reachability, _ = brute_force_reachability(points, k)
    edges = spanning_tree(points, find_neighbors(points, 10), k)
    weights = reachability[edges[:, 0], edges[:, 1]]
    assert weights.sum() == pytest.approx(minimum_spanning_tree(csr_array(reachability)).sum())
    assert (np.diff(weights) > -1e-6).all()


def test_the_tree_of_many_points_spans_components():
    points = np.concatenate([np.random.RandomState(c).normal(size=(100, 2)) + 50 * c for c in range(3)])
    core = find_neighbors(points, 10).distances[:, 4] ** 2
    edges = _sparse_tree(points, core, find_neighbors(points, 10))
    exact = spanning_tree(points, find_neighbors(points, 10))
    reachability, _ = brute_force_reachability(points, 5)
    weight, least = (reachability[e[:, 0], e[:, 1]].sum() for e in (edges, exact))
    assert len(edges) == 299
    assert least <= weight * (1 + 1e-12) and weight < 1.01 * least
    assert adjusted_rand_score(cut_with_gini(edges, 3), np.repeat(range(3), 100)) == 1.0


# ---------------------------------------------------------------- genie, lumbermark
def test_gini_index_is_the_mean_absolute_difference():
    sizes = np.array([1, 1, 2, 5, 5, 9])
    expected = np.abs(sizes[:, None] - sizes).sum() / 2 / (len(sizes) - 1) / sizes.sum()
    counts = dict(zip(*(a.tolist() for a in np.unique(sizes, return_counts=True)), strict=True))
    assert gini_index(counts) == pytest.approx(expected)
    assert gini_index({4: 3}) == 0.0


def test_without_a_constraint_genie_is_single_linkage(points):
    edges = spanning_tree(points, find_neighbors(points, 10), 0)
    expected = fcluster(linkage(points, "single"), 7, "maxclust")
    assert adjusted_rand_score(cut_with_gini(edges, 7, 1.0), expected) == 1.0


def test_the_constraint_keeps_outliers_from_being_clusters():
    points = np.concatenate([np.random.RandomState(c).normal(size=(50, 2)) + 8 * c for c in range(3)])
    points = np.concatenate([points, [[60.0, 0.0], [0.0, 60.0]]])
    edges = spanning_tree(points, find_neighbors(points, 10), 0)
    expected = np.repeat(range(3), 50)
    assert adjusted_rand_score(cut_with_gini(edges, 3, 0.3)[:150], expected) == 1.0
    assert adjusted_rand_score(cut_with_gini(edges, 3, 1.0)[:150], expected) < 0.1


def test_limbs_are_cut_where_both_sides_are_large():
    #  0-1-2-3-4 ---- 5-6-7-8-9 -- 10: the longest edge leads to a single node
    path = np.stack([np.arange(10), np.arange(1, 11)], axis=1)
    lengths = np.ones(10)
    lengths[4], lengths[9] = 5.0, 9.0
    labels = cut_limbs(path[np.argsort(lengths)], 2, 0.5, count_leaves=True)
    np.testing.assert_array_equal(labels == labels[0], np.arange(11) < 5)
    assert cut_limbs(path, 8, 0.9, count_leaves=True).max() < 7  # no further edge leaves three nodes on both sides


# ---------------------------------------------------------------- information, dcsbm
def random_table(n=7):
    counts = np.random.RandomState(0).randint(1, 100, size=(n, n))
    return (counts + counts.T) / (counts + counts.T).sum(), counts + counts.T


def test_link_information_is_the_mutual_information_of_both_ends():
    table, counts = random_table()
    assert link_information(table) == pytest.approx(mutual_info_score(None, None, contingency=counts))
    assert information_kept(np.diag([0.2, 0.3, 0.5])) == pytest.approx(1.0)
    assert information_kept(np.array([[1.0, 0.0], [0.0, 0.0]])) == 0.0


@pytest.mark.parametrize("n", [7, 70])
def test_the_cheapest_pair_is_merged(n):
    table, left = random_table(n)[0], []
    if n > 64:  # most clusters have no links
        table = np.where((np.add.outer(range(n), range(n)) % 5 == 0) | np.eye(n, dtype=bool), table, 0.0)
        table /= table.sum()
    pairs = [(a, b) for b in range(n) for a in range(b)]
    for a, b in pairs:
        joined = np.eye(n)
        joined[b, a], joined[b, b] = 1.0, 0.0
        left.append(link_information(joined.T @ table @ joined))
    merged = merge_cheapest(table, n - 1)
    a, b = pairs[int(np.argmax(left))]
    assert merged[a] == merged[b] and merged.max() == n - 2


def test_searches_raise_the_information_and_add_up():
    points, _ = rings()
    graph, random_state = self_tuned_graph(find_neighbors(points, 10), 10), np.random.RandomState(0)
    for links in (Links.of_samples(graph), Links.of_samples(graph).join(np.arange(600) // 3, 200)):
        n = len(links.within)
        start = make_partition(links, random_state.randint(4, size=n), 4)
        moved = local_search(links, start, random_state)
        split = split_merge(links, points[:n], moved, random_state)
        assert start.information < moved.information <= split.information
        again = make_partition(links, split.labels, 4)
        np.testing.assert_allclose(split.table, again.table, atol=1e-12)
        np.testing.assert_allclose(split.to_clusters, again.to_clusters, atol=1e-12)


def test_empty_clusters_are_not_filled_by_moves():
    points, labels = rings()
    links = Links.of_samples(self_tuned_graph(find_neighbors(points, 10), 10))
    found = local_search(links, make_partition(links, labels.astype(np.intp), 3), np.random.RandomState(0))
    np.testing.assert_array_equal(found.labels, labels)


def test_blocks_of_a_planted_graph_are_found():
    random_state, labels = np.random.RandomState(0), np.repeat(range(4), [40, 80, 120, 160])
    degrees = random_state.uniform(0.3, 1.0, 400)
    rate = np.where(labels[:, None] == labels, 0.3, 0.01) * np.outer(degrees, degrees)
    graph = np.triu(random_state.uniform(size=(400, 400)) < rate, 1).astype(float)
    graph = csr_array(graph + graph.T + 1e-6 * (1 - np.eye(400)))
    vectors = laplacian_eigenvectors(graph, 8, random_state)[1]
    assert adjusted_rand_score(fit_dcsbm(graph, vectors, 4, random_state).labels, labels) > 0.95


# ---------------------------------------------------------------- spectral
def test_eigenvectors_include_those_of_every_component():
    points = np.concatenate([np.random.RandomState(c).normal(size=(40, 2)) + 50 * c for c in range(3)])
    graph = self_tuned_graph(find_neighbors(points, 5), 5)
    values, vectors = laplacian_eigenvectors(graph, 6, np.random.RandomState(0))
    degrees = graph.sum(0)
    dense = np.eye(120) - graph.toarray() / np.sqrt(np.outer(degrees, degrees))
    np.testing.assert_allclose(values, np.linalg.eigvalsh(dense)[:6], atol=1e-8)
    np.testing.assert_allclose(dense @ vectors, vectors * values, atol=1e-8)


def test_partitions_come_in_order_of_information():
    points, labels = rings()
    graph = connected_graph(points, find_neighbors(points, 10), 1)
    found, links = partition_graph(graph, 2, np.random.RandomState(0)), Links.of_samples(graph)
    information = [make_partition(links, of_name, 2).information for of_name in found.values()]
    assert information == sorted(information, reverse=True)
    assert adjusted_rand_score(next(iter(found.values())), labels) == 1.0
