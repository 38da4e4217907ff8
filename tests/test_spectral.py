"""Clusters of eigenvectors: directions decide, lengths do not."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from skgmvae.initialization import spectral
from skgmvae.initialization.neighbor_graph import connected_graph, find_neighbors, self_tuned_graph
from skgmvae.initialization.spectral import partition_graph, spectral_clusters


def test_rows_of_eigenvectors_are_compared_by_direction():
    random_state, labels = np.random.RandomState(0), np.arange(300) % 3
    directions = np.linalg.qr(random_state.normal(size=(3, 3)))[0][labels] + 0.05 * random_state.normal(size=(300, 3))
    vectors = directions * 10.0 ** random_state.uniform(-2.0, 0.0, size=(300, 1))  # as the degrees of nodes make them
    further = 100.0 * random_state.normal(size=(300, 2))  # vectors beyond K do not count
    found = spectral_clusters(np.hstack([vectors, further]), 3, random_state)
    assert adjusted_rand_score(found, labels) == 1.0


def test_the_block_model_groups_rows_of_unit_length(monkeypatch):
    def fit(affinities, places, n_clusters, random_state):
        seen.append(places)
        return fit_dcsbm(affinities, places, n_clusters, random_state)

    seen, fit_dcsbm = [], spectral.fit_dcsbm
    monkeypatch.setattr(spectral, "fit_dcsbm", fit)
    points = np.random.RandomState(0).normal(size=(60, 2))
    graph = connected_graph(points, find_neighbors(points, 10), 3)
    assert set(partition_graph(graph, 3, np.random.RandomState(0))) == {"spectral", "refined", "blocks"}
    (places,) = seen
    assert places.shape == (60, 6)
    np.testing.assert_allclose(np.linalg.norm(places, axis=1), 1.0)


@pytest.mark.parametrize(("n_clusters", "expected"), [(4, [0, 1, 2, 3]), (3, [0, 1, 2, 2]), (2, [0, 1, 1, 1])])
def test_the_largest_components_are_clusters_and_the_others_one(n_clusters, expected):
    sizes = [50, 40, 30, 20]
    points = np.concatenate([np.random.RandomState(c).normal(size=(n, 2)) + 90 * c for c, n in enumerate(sizes)])
    found = partition_graph(self_tuned_graph(find_neighbors(points, 5), 5), n_clusters, np.random.RandomState(0))
    assert list(found) == ["components"]
    np.testing.assert_array_equal(found["components"], np.repeat(expected, sizes))
