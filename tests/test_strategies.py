"""Which representation a strategy clusters, what it returns, and how further samples follow."""

import numpy as np
import pytest
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score

from skgmvae.initialization import strategies
from skgmvae.initialization.strategies import STRATEGIES, Representations, choose_responsibilities, propagate

NOTHING = np.random.RandomState(9).normal(size=(150, 2))  # without clusters


@pytest.fixture(scope="module")
def blobs():
    return make_blobs([70, 50, 30], 3, centers=None, cluster_std=0.5, random_state=0)


@pytest.mark.parametrize("name", STRATEGIES)
def test_strategies_give_distributions_that_the_generator_decides(name, blobs):
    X, y = blobs
    first, again = (STRATEGIES[name](X, 3, np.random.RandomState(4)) for _ in range(2))
    assert first.shape == (150, 3) and (first >= 0.0).all()
    np.testing.assert_allclose(first.sum(1), 1.0)
    np.testing.assert_array_equal(first, again)
    assert (adjusted_rand_score(y, first.argmax(1)) == 1.0) is (name != "random")


@pytest.mark.parametrize("K", [1, 7])
def test_samples_too_few_for_a_graph_are_clustered_by_kmeans(K):
    X = np.arange(8.0)[:, None] ** 2
    found = STRATEGIES["graph"](X, K, np.random.RandomState(0))
    np.testing.assert_array_equal(found, STRATEGIES["kmeans"](X, K, np.random.RandomState(0)))


def test_a_graph_is_made_of_more_samples_than_two_beyond_k(monkeypatch):
    monkeypatch.setattr(strategies, "kmeans_responsibilities", lambda *arguments: "kmeans")
    X = np.arange(6.0)[:, None]
    assert isinstance(STRATEGIES["graph"](X, 5, np.random.RandomState(0)), str)
    assert STRATEGIES["graph"](X, 4, np.random.RandomState(0)).shape == (6, 4)


@pytest.mark.parametrize(
    ("init_params", "where", "options", "name"),
    [
        ("contrastive", "learned", {}, "graph of contrastive features"),
        ("kmeans", "embedding", {}, "kmeans"),
        ("auto", "inputs", {"components": NOTHING}, "* of the inputs"),
        ("auto", "components", {}, "graph of embedding and inputs"),
        ("auto", "components", {"of_images": True}, "graph of embedding and oriented gradients"),
        ("auto", "components", {"is_trained": False}, "graph of the inputs"),
        ("auto", "components", {"is_trained": False, "of_images": True}, "graph of the oriented gradients"),
    ],
)
def test_strategies_look_where_their_names_say(init_params, where, options, name, blobs):
    X, y = blobs
    points = Representations(**{"embedding": X if options == {} else NOTHING, **options, where: X})
    if where != "embedding" and name.startswith("graph of the"):
        points = points._replace(embedding=NOTHING)
    found, responsibilities = choose_responsibilities(init_params, points, 3, np.random.RandomState(0))
    assert found == name or (name.startswith("*") and found.endswith(name[1:]))
    if options != {"of_images": True}:
        assert adjusted_rand_score(y, responsibilities.argmax(1)) == 1.0


def test_representations_that_are_missing_are_named():
    points = Representations(NOTHING)
    with pytest.raises(ValueError, match="'contrastive' needs contrastive features"):
        choose_responsibilities("contrastive", points, 3, np.random.RandomState(0))
    with pytest.raises(ValueError, match="'auto' needs inputs or principal components"):
        choose_responsibilities("auto", points, 3, np.random.RandomState(0))


def test_initializations_of_a_mixture_compete_on_some_of_many_samples(blobs, monkeypatch):
    class Spy(strategies.GaussianMixture):
        def fit(self, X, y=None):
            seen.append((X, self.reg_covar))
            return super().fit(X)

    seen, (X, y) = [], blobs
    monkeypatch.setattr(strategies, "GaussianMixture", Spy)
    monkeypatch.setattr(strategies, "MAX_MIXTURE_ROWS", 100)
    found = STRATEGIES["gmm"](X, 3, np.random.RandomState(0))
    ((rows, reg_covar),) = seen
    assert len(np.unique(rows, axis=0)) == len(rows) == 100
    assert reg_covar == pytest.approx(1e-3 * rows.var(0).mean())
    assert found.shape == (150, 3) and adjusted_rand_score(y, found.argmax(1)) == 1.0
    STRATEGIES["gmm"](X[:100] * 1e-3, 3, np.random.RandomState(0))
    assert len(seen[1][0]) == 100 and seen[1][1] == pytest.approx(max(1e-6, 1e-9 * X[:100].var(0).mean()))


@pytest.mark.parametrize(("K", "n_init"), [(1, 10), (50, 10), (51, 9), (250, 2), (251, 1), (900, 1)])
def test_many_components_have_fewer_initializations(K, n_init):
    assert strategies._count_inits(K) == n_init


def test_further_samples_have_the_mean_responsibilities_of_their_five_nearest(monkeypatch):
    random_state = np.random.RandomState(0)
    points, further = random_state.normal(size=(60, 2)), random_state.normal(size=(20, 2))
    responsibilities = random_state.dirichlet(np.ones(4), size=60)
    distances = ((further[:, None] - points) ** 2).sum(-1)
    nearest = distances.argsort(1)[:, :5]
    expected = responsibilities[nearest].mean(1)
    found = propagate(points, responsibilities, np.random.RandomState(1))(further)
    np.testing.assert_allclose(found, expected)
    few = propagate(points[:3], responsibilities[:3], np.random.RandomState(1))(further)
    np.testing.assert_allclose(few, np.tile(responsibilities[:3].mean(0), (20, 1)))
    monkeypatch.setattr(strategies, "N_LANDMARKS", 5)
    of_landmarks = propagate(points, responsibilities, np.random.RandomState(1))(further)
    some = np.random.RandomState(1).choice(60, 5, replace=False)
    np.testing.assert_allclose(of_landmarks, np.tile(responsibilities[some].mean(0), (20, 1)))


def test_further_samples_of_random_responsibilities_have_random_ones_too():
    assign = propagate(NOTHING, np.full((150, 4), 0.25), np.random.RandomState(0), is_random=True)
    found = assign(NOTHING[:7])
    assert found.shape == (7, 4)
    np.testing.assert_allclose(found.sum(1), 1.0)
    assert found.std() > 0.05
