"""Initial responsibilities by strategy: shapes, determinism, what each takes in which case, and degenerate samples."""

import numpy as np
import pytest
import torch
from scipy.sparse.csgraph import connected_components
from sklearn.cluster import kmeans_plusplus
from sklearn.datasets import make_blobs, make_circles, make_moons
from sklearn.metrics import adjusted_rand_score

from skgmvae.initialization import strategies
from skgmvae.initialization.choice import choose_clusters
from skgmvae.initialization.neighbor_graph import N_NEIGHBORS, connected_graph, find_neighbors
from skgmvae.initialization.strategies import (
    N_LANDMARKS,
    STRATEGIES,
    Representations,
    choose_responsibilities,
    joint_graph_responsibilities,
    propagate,
)


def find_responsibilities(name, points, n_components, seed=0):
    return STRATEGIES[name](points, n_components, np.random.RandomState(seed))


def choose(name, points, n_components, seed=0):
    return choose_responsibilities(name, points, n_components, np.random.RandomState(seed))


def check_responsibilities(responsibilities, n_samples, n_components):
    assert responsibilities.shape == (n_samples, n_components)
    assert (responsibilities >= 0).all()
    np.testing.assert_allclose(responsibilities.sum(1), 1.0, rtol=1e-12)


def blobs(n_samples=90, n_components=3, seed=0):
    centers = 12.0 * np.arange(n_components)[:, None] * [1.0, 0.5]
    return make_blobs(n_samples, centers=centers, random_state=seed)


# ------------------------------------------------------------------------------------- each strategy


@pytest.mark.parametrize("name", STRATEGIES)
def test_rows_sum_to_one_and_the_seed_decides(name):
    points, y = blobs()
    responsibilities = find_responsibilities(name, points, 3)
    check_responsibilities(responsibilities, 90, 3)
    np.testing.assert_array_equal(find_responsibilities(name, points, 3), responsibilities)
    if name == "random":
        assert any((find_responsibilities(name, points, 3, seed) != responsibilities).any() for seed in range(1, 4))
        assert set(np.unique(responsibilities)) == {0.0, 1.0} and responsibilities.any(0).all()
        # each sample belongs to the nearest of three samples
        centers, _ = kmeans_plusplus(points, 3, random_state=np.random.RandomState(0))
        nearest = np.linalg.norm(points[:, None] - centers, axis=-1).argmin(1)
        np.testing.assert_array_equal(responsibilities.argmax(1), nearest)
    else:
        assert adjusted_rand_score(y, responsibilities.argmax(1)) == 1.0


@pytest.mark.parametrize(
    "points, y",
    [make_moons(300, noise=0.05, random_state=0), make_circles(300, noise=0.04, factor=0.4, random_state=0)],
    ids=["moons", "circles"],
)
def test_graph_separates_what_kmeans_cannot(points, y):
    assert adjusted_rand_score(y, find_responsibilities("kmeans", points, 2).argmax(1)) < 0.6
    assert adjusted_rand_score(y, find_responsibilities("graph", points, 2).argmax(1)) > 0.95


def test_graph_takes_every_disconnected_blob_and_splits_one_where_components_are_left():
    # eigenvalue 0 of the Laplacian has multiplicity 7, of which Lanczos' method alone finds a part
    points, y = blobs(200, 7)
    assert connected_components(connected_graph(points, find_neighbors(points, N_NEIGHBORS), 8))[0] == 7
    assert adjusted_rand_score(y, find_responsibilities("graph", points, 7).argmax(1)) == 1.0
    for seed in range(3):
        eight = find_responsibilities("graph", points, 8, seed).argmax(1)
        assert len(np.unique(eight)) == 8
        assert all(len(np.unique(y[eight == c])) == 1 for c in range(8)), "a component across two blobs"


def test_more_pieces_than_components_are_merged_by_more_neighbors():
    # two groups of three pieces of 15 samples each
    centers = np.array([[0, 0], [60, 0], [0, 60], [900, 0], [960, 0], [900, 60]])
    points, piece = make_blobs([15] * 6, centers=centers, random_state=0)
    assert connected_components(connected_graph(points, find_neighbors(points, N_NEIGHBORS), 6))[0] == 6
    assert adjusted_rand_score(piece // 3, find_responsibilities("graph", points, 2).argmax(1)) == 1.0


# of other draws, 0 among them, the choice prefers a partition by trees, though the mixture alone has an index of 0.86
@pytest.mark.parametrize("seed", [1, 2])
def test_auto_finds_crossing_ellipses_where_the_graph_fails(seed):
    rng = np.random.default_rng(seed)
    points = np.vstack([rng.normal(0, [5.0, 0.2], (150, 2)), rng.normal(0, [0.2, 5.0], (150, 2))])
    y = np.repeat([0, 1], 150)
    by_graph = adjusted_rand_score(y, find_responsibilities("graph", points, 2).argmax(1))
    name, responsibilities = choose("auto", Representations(points, points), 2)
    assert name.endswith("mixture of the inputs")
    assert adjusted_rand_score(y, responsibilities.argmax(1)) > max(0.8, by_graph)


@pytest.mark.parametrize("n_components, n_inits", [(1, 10), (50, 10), (51, 9), (200, 2), (1000, 1)])
def test_many_components_get_fewer_initializations(n_components, n_inits, monkeypatch):
    asked = []

    def fit_kmeans(points, n_clusters, random_state, *, n_init):
        asked.append((n_clusters, n_init))
        return np.zeros(len(points), dtype=int), None

    monkeypatch.setattr(strategies, "fit_kmeans", fit_kmeans)
    find_responsibilities("kmeans", np.zeros((3, 2)), n_components)
    assert asked == [(n_components, n_inits)]


def test_mixture_that_does_not_converge_is_taken_without_a_warning(monkeypatch):
    fit = strategies.GaussianMixture.fit
    monkeypatch.setattr(strategies.GaussianMixture, "fit", lambda self, X: fit(self.set_params(max_iter=1), X))
    points = np.random.default_rng(0).normal(size=(60, 2))
    check_responsibilities(find_responsibilities("gmm", points, 3), 60, 3)


def test_initializations_of_a_mixture_compete_on_some_samples_and_all_are_assigned(monkeypatch):
    monkeypatch.setattr(strategies, "MAX_MIXTURE_ROWS", 60)
    sizes, fit = [], strategies.GaussianMixture.fit
    monkeypatch.setattr(strategies.GaussianMixture, "fit", lambda self, X: (sizes.append(len(X)), fit(self, X))[1])
    points, y = blobs()
    responsibilities = find_responsibilities("gmm", points, 3)
    check_responsibilities(responsibilities, 90, 3)
    assert sizes == [60] and adjusted_rand_score(y, responsibilities.argmax(1)) == 1.0


def few_rows(n_rows):
    return np.random.default_rng(0).normal(size=(n_rows, 2))


DEGENERATE = {
    "N = K": few_rows(3),
    "N = K + 1": few_rows(4),
    "N = K + 2": few_rows(5),
    "one feature": few_rows(30)[:, :1],
    "duplicates": np.repeat(few_rows(4), 20, axis=0),
    "duplicates and one other": np.vstack([np.zeros((40, 2)), np.ones((1, 2)), few_rows(3)]),
    "all equal": np.full((30, 2), 7.0),
    "huge units": 1e12 * few_rows(30),
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # fewer distinct samples than components
@pytest.mark.parametrize("points", DEGENERATE.values(), ids=DEGENERATE)
@pytest.mark.parametrize("name", [*STRATEGIES, "auto", "contrastive"])
def test_degenerate_samples_still_have_responsibilities(name, points):
    of_all = Representations(points, inputs=points, learned=points)
    check_responsibilities(choose(name, of_all, 3)[1], len(points), 3)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("points", DEGENERATE.values(), ids=DEGENERATE)
def test_degenerate_samples_have_joint_graphs(points):
    for is_trained in (True, False):
        of_two = Representations(points, components=points, is_trained=is_trained)
        check_responsibilities(choose("auto", of_two, 3)[1], len(points), 3)


# ------------------------------------------------------------------------- what is taken in which case


def test_named_strategies_look_at_the_embedding_alone():
    points, _ = blobs()
    nothing = np.zeros((90, 2))
    for name in STRATEGIES:
        chosen, responsibilities = choose(name, Representations(points, nothing, nothing, nothing), 3)
        assert chosen == name
        np.testing.assert_array_equal(responsibilities, find_responsibilities(name, points, 3))


def test_auto_takes_the_choice_among_candidates_in_the_inputs_where_it_has_them():
    points, y = make_blobs(120, centers=3, cluster_std=1.0, random_state=4)
    nothing = np.zeros((120, 2))
    for dtype in (np.float64, np.float32):
        X = points.astype(dtype)
        name, responsibilities = choose("auto", Representations(nothing, X, nothing, nothing), 3)
        expected = choose_clusters(X.astype(np.float64), 3, np.random.RandomState(0))
        assert name == f"{expected.name} of the inputs"
        np.testing.assert_array_equal(responsibilities, expected.responsibilities)
        assert adjusted_rand_score(y, responsibilities.argmax(1)) > 0.8
        of_two = Representations(nothing, np.exp(X), transformed=X)
        name, responsibilities = choose("auto", of_two, 3)
        assert name == f"{expected.name} of the transformed inputs"
        np.testing.assert_array_equal(responsibilities, expected.responsibilities)


def test_auto_joins_the_graphs_of_embedding_and_components_and_looks_at_no_untrained_embedding():
    # each view keeps two of four blobs together
    points, y = make_blobs(200, centers=[[0, 0], [0, 9], [9, 0], [9, 9]], random_state=0)
    rng = np.random.default_rng(0)
    one, other = (np.column_stack([points[:, i], rng.normal(size=(200, 8))]) for i in (0, 1))
    assert max(adjusted_rand_score(y, find_responsibilities("graph", view, 4).argmax(1)) for view in (one, other)) < 0.8
    name, responsibilities = choose("auto", Representations(one, components=other), 4)
    assert name == "graph of embedding and inputs"
    assert adjusted_rand_score(y, responsibilities.argmax(1)) > 0.95
    name, of_images = choose("auto", Representations(one, components=other, of_images=True), 4)
    assert name == "graph of embedding and oriented gradients"
    np.testing.assert_array_equal(of_images, responsibilities)
    for of_images, expected in ((False, "graph of the inputs"), (True, "graph of the oriented gradients")):
        untrained = Representations(np.zeros((200, 1)), components=points, of_images=of_images, is_trained=False)
        name, responsibilities = choose("auto", untrained, 4)
        assert name == expected and adjusted_rand_score(y, responsibilities.argmax(1)) == 1.0


def test_contrastive_takes_the_graph_of_the_contrastive_features():
    points, y = blobs()
    nothing = np.zeros((90, 2))
    name, responsibilities = choose("contrastive", Representations(nothing, nothing, nothing, points), 3)
    assert name == "graph of contrastive features"
    np.testing.assert_array_equal(responsibilities, find_responsibilities("graph", points, 3))
    assert adjusted_rand_score(y, responsibilities.argmax(1)) == 1.0


def test_what_a_strategy_needs_is_asked_for():
    points, _ = blobs()
    with pytest.raises(ValueError, match="'contrastive' needs contrastive features"):
        choose("contrastive", Representations(points, points, points), 3)
    with pytest.raises(ValueError, match="'auto' needs inputs or principal components"):
        choose("auto", Representations(points), 3)


def test_a_joint_graph_is_the_sum_of_its_graphs(monkeypatch):
    seen = []
    partition = strategies.partition_mainland

    def watch(points, graph, *rest):
        seen.append(graph)
        return partition(points, graph, *rest)

    monkeypatch.setattr(strategies, "partition_mainland", watch)
    views = [few_rows(60), few_rows(60)[::-1].copy()]
    check_responsibilities(joint_graph_responsibilities(views, 3, np.random.RandomState(0)), 60, 3)
    graphs = [connected_graph(view, find_neighbors(view, N_NEIGHBORS), 3) for view in views]
    np.testing.assert_allclose(seen[0].toarray(), (graphs[0] + graphs[1]).toarray())
    assert connected_components(seen[0])[0] <= 3


# ------------------------------------------------------------------------------------- further samples


def test_further_points_have_the_mean_responsibilities_of_the_nearest():
    points, _ = blobs()
    responsibilities = np.random.default_rng(0).dirichlet(np.ones(3), 90)
    further = points + 0.01
    found = propagate(points, responsibilities, np.random.RandomState(0))(torch.from_numpy(further)).numpy()
    check_responsibilities(found, 90, 3)
    nearest = np.linalg.norm(further[:, None] - points, axis=2).argsort(1)[:, : strategies.N_NEAREST]
    np.testing.assert_allclose(found, responsibilities[nearest].mean(1))


def test_many_points_leave_some_landmarks(monkeypatch):
    monkeypatch.setattr(strategies, "N_LANDMARKS", 30)
    points, y = blobs()
    regressors = []
    fit = strategies.KNeighborsRegressor.fit
    monkeypatch.setattr(
        strategies.KNeighborsRegressor, "fit", lambda self, X, y: (regressors.append(len(X)), fit(self, X, y))[1]
    )
    assign = propagate(points, np.eye(3)[y], np.random.RandomState(0))
    assert regressors == [30] < [N_LANDMARKS]
    np.testing.assert_array_equal(assign(torch.from_numpy(points)).argmax(1), y)


def test_fewer_points_than_neighbors():
    points = np.array([[0.0], [1.0]])
    found = propagate(points, np.eye(2), np.random.RandomState(0))(torch.tensor([[0.1], [5.0]]))
    np.testing.assert_allclose(found, 0.5)
