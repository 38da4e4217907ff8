"""Initial responsibilities without labels: shapes, determinism, the cases each is there for, and degenerate rows."""

import warnings

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.stats import multivariate_normal
from skgmvae.initialization.graph import neighbor_affinities, normalized_cut
from sklearn.datasets import make_blobs, make_circles, make_moons
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score
from sklearn.preprocessing import normalize

from skgmvae.initialization import candidates, dcsbm, graph, strategies
from skgmvae.initialization.dcsbm import LinkGraph
from skgmvae.initialization.strategies import STRATEGIES, Views, choose_responsibilities, refine_mixture


def find_responsibilities(name, points, n_components, seed=0):
    return STRATEGIES[name](points, n_components, np.random.RandomState(seed))


def one_hot(labels, n_components):
    return np.eye(n_components)[labels]


def check_responsibilities(responsibilities, n_rows, n_components):
    assert responsibilities.shape == (n_rows, n_components)
    assert (responsibilities >= 0).all()
    np.testing.assert_allclose(responsibilities.sum(1), 1.0, rtol=1e-12)


def blobs(n_samples=90, n_components=3, seed=0):
    centers = 12.0 * np.arange(n_components)[:, None] * [1.0, 0.5]
    return make_blobs(n_samples, centers=centers, random_state=seed)


@pytest.mark.parametrize("name", STRATEGIES)
def test_rows_sum_to_one_and_the_seed_decides(name):
    points, y = blobs()
    responsibilities = find_responsibilities(name, points, 3)
    check_responsibilities(responsibilities, 90, 3)
    np.testing.assert_array_equal(find_responsibilities(name, points, 3), responsibilities)
    if name == "random":
        assert np.abs(find_responsibilities(name, points, 3, seed=1) - responsibilities).max() > 0.1
        assert responsibilities.std() > 0.1 and responsibilities.max() < 0.999, "neither constant nor one-hot"
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
    assert connected_components(neighbor_affinities(points, 8))[0] == 7
    assert adjusted_rand_score(y, find_responsibilities("graph", points, 7).argmax(1)) == 1.0
    for seed in range(3):
        eight = find_responsibilities("graph", points, 8, seed).argmax(1)
        assert len(np.unique(eight)) == 8
        assert all(len(np.unique(y[eight == c])) == 1 for c in range(8)), "a component across two blobs"


def test_more_pieces_than_components_are_merged_by_more_neighbors():
    # two groups of three pieces of 15 rows each
    centers = np.array([[0, 0], [60, 0], [0, 60], [900, 0], [960, 0], [900, 60]])
    points, piece = make_blobs([15] * 6, centers=centers, random_state=0)
    assert connected_components(neighbor_affinities(points, 6))[0] == 6
    assert connected_components(neighbor_affinities(points, 2))[0] <= 2
    assert adjusted_rand_score(piece // 3, find_responsibilities("graph", points, 2).argmax(1)) == 1.0


def test_far_groups_of_many_rows_are_put_together_without_ever_more_neighbors(monkeypatch):
    # two groups of three rings around one center each: neither neighbors nor centers tell which belong together
    angle, radius = 2 * np.pi * np.arange(900) / 150, np.repeat([1.0, 3.0, 5.0, 1.0, 3.0, 5.0], 150)
    center = np.repeat([[0.0, 0.0], [40.0, 0.0]], 450, axis=0)
    points = center + radius[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
    monkeypatch.setattr(graph, "MAX_NEIGHBORS", 10)
    affinities = neighbor_affinities(points, 2)
    assert connected_components(affinities)[0] == 6
    assert affinities.nnz < 900 * 2 * 10
    assert adjusted_rand_score(np.arange(900) // 450, find_responsibilities("graph", points, 2).argmax(1)) == 1.0


@pytest.mark.parametrize("n_components, n_inits", [(1, 10), (50, 10), (51, 9), (200, 2), (1000, 1)])
def test_many_components_get_fewer_initializations(n_components, n_inits, monkeypatch):
    asked = []

    class Recorder:
        def __init__(self, n_clusters, *, n_init, random_state):
            asked.append((n_clusters, n_init))

        def fit_predict(self, points):
            return np.zeros(len(points), dtype=int)

    monkeypatch.setattr(candidates, "KMeans", Recorder)
    find_responsibilities("kmeans", np.zeros((3, 2)), n_components)
    assert asked == [(n_components, n_inits)]


def test_affinities_are_symmetric_self_tuning_and_positive():
    points = np.random.default_rng(0).normal(size=(40, 2))
    points[0] = 1e3  # so far away that its affinities would round to zero
    n_neighbors = 4
    affinities = neighbor_affinities(points, 3, n_neighbors)
    assert abs(affinities - affinities.T).max() == 0.0
    assert affinities.data.min() > 0.0 and affinities.data.max() <= 1.0
    assert affinities.diagonal().max() == 0.0

    distances = np.linalg.norm(points[:, None] - points, axis=-1)
    scales = np.sort(distances, axis=1)[:, n_neighbors]
    near = distances <= scales[:, None]
    expected = np.exp(-(distances**2) / np.outer(scales, scales)) * (near | near.T) * (1 - np.eye(40))
    np.testing.assert_allclose(affinities.toarray(), expected, rtol=1e-9, atol=1e-30)


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


@pytest.mark.parametrize("points", DEGENERATE.values(), ids=DEGENERATE)
@pytest.mark.parametrize("name", [*STRATEGIES, "auto"])
def test_degenerate_rows_still_give_responsibilities(name, points):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # k-means on fewer distinct rows than components
        responsibilities = choose_responsibilities(name, Views(points, points), 3, np.random.RandomState(0))[1]
    check_responsibilities(responsibilities, len(points), 3)


def mixture_bound(points, responsibilities, **options):
    return refine_mixture(points, responsibilities, **options).lower_bound_


def test_bound_is_that_of_a_full_covariance_mixture():
    # at labels of far blobs EM stands still, so the bound is the mean log-density of the labels' moments
    points, y = blobs()
    reg_covar = 1e-3 * points.var(0).mean()
    components = [
        np.log(np.mean(y == c))
        + multivariate_normal(
            points[y == c].mean(0), np.cov(points[y == c].T, bias=True) + reg_covar * np.eye(2)
        ).logpdf(points)
        for c in range(3)
    ]
    expected = np.logaddexp.reduce(components).mean()
    np.testing.assert_allclose(mixture_bound(points, one_hot(y, 3)), expected, rtol=1e-9)


def test_bound_prefers_the_true_labels_and_bears_an_empty_component():
    points, y = blobs()
    truth = mixture_bound(points, one_hot(y, 3))
    shuffled = mixture_bound(points, one_hot(np.random.default_rng(0).permutation(y), 3), n_iter=1)
    two_of_three = mixture_bound(points, one_hot(np.minimum(y, 1), 3))
    assert truth > two_of_three + 0.1 and truth > shuffled + 0.1
    assert np.isfinite(two_of_three)
    # a fourth component that takes no row costs nothing
    np.testing.assert_allclose(mixture_bound(points, one_hot(y, 4)), truth, atol=1e-6)


@pytest.mark.parametrize("winner", ["graph", "gmm"])
def test_auto_takes_the_mixture_of_the_better_bound_on_the_inputs(winner, monkeypatch):
    points, y = blobs()
    good = one_hot(y, 3)
    # a local optimum: two blobs in one component, the third cut in halves
    bad = one_hot(np.where(y < 2, 0, 1 + (points[:, 0] > np.median(points[y == 2, 0]))), 3)
    assert mixture_bound(points, good) > mixture_bound(points, bad) + 0.1
    monkeypatch.setattr(strategies, "partition", lambda *arguments: good if winner == "graph" else bad)
    monkeypatch.setattr(strategies, "gmm_responsibilities", lambda *arguments: bad if winner == "graph" else good)
    name, responsibilities = choose_responsibilities(
        "auto", Views(np.zeros((90, 1)), points), 3, np.random.RandomState(0)
    )
    assert name == "gmm on the inputs"
    np.testing.assert_array_equal(responsibilities.argmax(1), y)


def test_auto_takes_the_graph_where_it_cuts_far_less_and_among_components():
    for points, y in (
        make_moons(300, noise=0.06, random_state=0),
        make_circles(300, factor=0.5, noise=0.05, random_state=0),
    ):
        by_mixture = find_responsibilities("gmm", points, 2)
        nothing = np.zeros((300, 1))
        for views in (Views(nothing, points), Views(nothing, components=points, is_trained=False)):
            name, responsibilities = choose_responsibilities("auto", views, 2, np.random.RandomState(0))
            assert name == "graph on the inputs"
            assert adjusted_rand_score(y, responsibilities.argmax(1)) > 0.95
            assert mixture_bound(points, responsibilities) < mixture_bound(points, by_mixture) + 1e-6


def test_auto_does_not_trust_covariances_of_more_parameters_than_rows():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(120, 12)) + 6.0 * np.repeat(np.eye(12)[:3], 40, axis=0)
    assert (
        choose_responsibilities("auto", Views(points, points), 3, np.random.RandomState(0))[0] == "graph on the inputs"
    )
    assert (
        choose_responsibilities("auto", Views(points[:, :4], points[:, :4]), 3, np.random.RandomState(0))[0]
        == "gmm on the inputs"
    )


def test_normalized_cut_counts_what_leaves_each_cluster():
    affinities = np.random.default_rng(0).uniform(size=(8, 8))
    affinities = affinities + affinities.T
    labels = np.array([0, 0, 1, 1, 1, 2, 2, 2])
    expected = sum(affinities[np.ix_(labels == c, labels != c)].sum() / affinities[labels == c].sum() for c in range(3))
    np.testing.assert_allclose(normalized_cut(csr_array(affinities), one_hot(labels, 3)), expected)


def test_without_a_gap_the_graph_takes_clusters_whose_links_tell_most():
    # overlapping blobs in more rows than there are groups of rows in a search
    points, y = make_blobs(900, n_features=4, centers=8, cluster_std=2.6, random_state=1)
    affinities = neighbor_affinities(points, 8)
    eigenvalues, vectors = graph.eigenvectors(affinities, 12, np.random.RandomState(0))
    assert eigenvalues[8] < graph.CLEAR_GAP * eigenvalues[7]
    links = LinkGraph.of_rows(affinities)

    def information(labels):
        return dcsbm.information(links.table(labels, 8, links.to_clusters(labels, 8)))

    found = graph.partition(affinities, [points], 8, np.random.RandomState(0)).argmax(1)
    by_kmeans = [find_responsibilities("kmeans", normalize(vectors[:, :n]), 8).argmax(1) for n in range(8, 13)]
    assert information(found) > max(map(information, [y, *by_kmeans]))
    assert adjusted_rand_score(y, found) > 0.65


def test_auto_joins_the_graphs_of_embedding_and_components_and_looks_at_no_untrained_embedding():
    # each view keeps two of four blobs together
    points, y = make_blobs(200, centers=[[0, 0], [0, 9], [9, 0], [9, 9]], random_state=0)
    rng = np.random.default_rng(0)
    one, other = (np.column_stack([points[:, i], rng.normal(size=(200, 8))]) for i in (0, 1))
    assert max(adjusted_rand_score(y, find_responsibilities("graph", view, 4).argmax(1)) for view in (one, other)) < 0.8
    name, responsibilities = choose_responsibilities("auto", Views(one, components=other), 4, np.random.RandomState(0))
    assert name == "graph on embedding and inputs"
    of_images = Views(one, components=other, of_images=True)
    assert (
        choose_responsibilities("auto", of_images, 4, np.random.RandomState(0))[0]
        == "graph on embedding and image gradients"
    )
    assert adjusted_rand_score(y, responsibilities.argmax(1)) > 0.95
    joint = graph.join_affinities([one, other], 4)
    np.testing.assert_allclose(joint.toarray(), (neighbor_affinities(one, 4) + neighbor_affinities(other, 4)).toarray())
    untrained = Views(np.zeros((200, 1)), components=points, is_trained=False)
    name, responsibilities = choose_responsibilities("auto", untrained, 4, np.random.RandomState(0))
    assert name == "graph on the inputs"
    assert adjusted_rand_score(y, responsibilities.argmax(1)) == 1.0


def test_auto_finds_crossing_ellipses_where_the_graph_fails():
    rng = np.random.default_rng(0)
    points = np.vstack([rng.normal(0, [5.0, 0.2], (150, 2)), rng.normal(0, [0.2, 5.0], (150, 2))])
    y = np.repeat([0, 1], 150)
    by_graph = adjusted_rand_score(y, find_responsibilities("graph", points, 2).argmax(1))
    name, responsibilities = choose_responsibilities("auto", Views(points, points), 2, np.random.RandomState(0))
    assert name == "gmm on the inputs"
    assert adjusted_rand_score(y, responsibilities.argmax(1)) > max(0.8, by_graph)


def test_named_initialization_is_made_in_the_embedding():
    points, _ = blobs()
    name, responsibilities = choose_responsibilities(
        "kmeans", Views(points, np.zeros((90, 2))), 3, np.random.RandomState(0)
    )
    assert name == "kmeans"
    np.testing.assert_array_equal(responsibilities, find_responsibilities("kmeans", points, 3))


def test_mixture_that_does_not_converge_is_taken_without_a_warning(monkeypatch):
    class Stubborn(candidates.GaussianMixture):
        def set_params(self, **params):
            return super().set_params(max_iter=1)

    monkeypatch.setattr(candidates, "GaussianMixture", Stubborn)
    points = np.random.default_rng(0).normal(size=(60, 2))
    check_responsibilities(find_responsibilities("gmm", points, 3), 60, 3)
