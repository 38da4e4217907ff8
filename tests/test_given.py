"""Initial responsibilities that the user gives, checked and completed, alone and in fits of all estimators."""

import pickle

import numpy as np
import pytest
import sklearn
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.cluster import DBSCAN, KMeans
from sklearn.datasets import make_blobs, make_moons
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import KFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skgmvae import GMVAEClustering, VaDEClustering, VAEEMClustering
from skgmvae.initialization.given import (
    complete_labels,
    fit_clusterer,
    to_responsibilities,
)
from skgmvae.initialization.given_mixture import MixtureInit, fit_mixture_init

each_estimator = pytest.mark.parametrize("Estimator", [GMVAEClustering, VaDEClustering, VAEEMClustering])
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
CENTERS = np.array([[0.0, 0.0], [12.0, 6.0], [24.0, 12.0]])
X, Y = make_blobs(90, centers=CENTERS, random_state=0)


def seeded(seed=0):
    return np.random.RandomState(seed)


# ------------------------------------------------------------------------------------- labels, checked


def test_labels_become_one_hot_rows_and_no_opinion_zeros():
    expected = [[1, 0, 0], [0, 0, 1], [0, 0, 0]]
    for labels in ([0, 2, -1], np.array([0, 2, -1], np.int8), [0.0, 2.0, -1.0]):
        found = to_responsibilities(labels, 3, 3, "labels")
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(to_responsibilities([True, False], 2, 2, "labels"), [[0, 1], [1, 0]])


def test_responsibilities_are_kept_and_rounding_is_undone():
    given = np.array([[0.25, 0.75], [0.0, 0.0], [0.5, 0.5 + 5e-7]], np.float64)
    found = to_responsibilities(given, 3, 2, "labels")
    np.testing.assert_array_equal(found[:2], given[:2])
    np.testing.assert_allclose(found[2].sum(), 1.0, rtol=1e-15)
    assert given[2, 1] == 0.5 + 5e-7, "the user's array is not changed"


WRONG = {
    "too few": ([0, 1], r"of shape \(3,\) or .* \(3, 2\).*3 samples and n_components=2; got shape \(2,\)"),
    "too many components": (np.eye(3), r"of shape \(3, 2\).*got shape \(3, 3\)"),
    "strings": (["a", "b", "a"], "must contain integers from -1 to 1, or responsibilities; got dtype <U1"),
    "objects": (np.array([None, 1, 0], object), "must contain integers from -1 to 1, .*; got dtype object"),
    "not a number": ([0.0, np.nan, 1.0], "must contain finite numbers; got NaN or infinity. Use -1"),
    "infinite": (np.full((3, 2), np.inf), "must contain finite numbers; got NaN or infinity. Use -1"),
    "fractions": ([0.0, 0.5, 1.0], r"integers from -1 \(no label\) to 1.*; got values from 0.0 to 1.0"),
    "label too high": ([0, 1, 2], "to 1, as n_components=2; got values from 0 to 2"),
    "label too low": ([0, 1, -2], "got values from -2 to 1"),
    "negative": ([[1.5, -0.5], [1, 0], [0, 1]], "must not be negative.*got a smallest value of -0.5, and row 0"),
    "sums": ([[1, 0], [0, 0], [0.5, 0.25]], "add up to 1, or to 0.*smallest value of 0, and row 2 adds up to 0.75"),
}  # fmt: skip


@pytest.mark.parametrize("labels, message", WRONG.values(), ids=WRONG)
def test_message_says_what_is_wrong_with_labels(labels, message):
    with pytest.raises(ValueError, match="^start_labels .*" + message):
        to_responsibilities(labels, 3, 2, "start_labels")


# ------------------------------------------------------------------------------ clusterers and functions


def test_a_clusterer_is_fitted_as_a_seeded_copy():
    clusterer = KMeans(3, n_init=1, init="random")
    name, found = fit_clusterer(clusterer, X, 3, seeded())
    assert name == "KMeans" and not hasattr(clusterer, "labels_") and clusterer.random_state is None
    assert adjusted_rand_score(Y, found.argmax(1)) == 1.0
    many = KMeans(8, n_init=1, init="random")
    first, second, other = (fit_clusterer(many, X, 8, seeded(seed))[1] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_every_step_of_a_pipeline_is_seeded_unless_it_has_a_seed():
    seeds = {}

    class Watch(BaseEstimator):
        def __init__(self, name="", random_state=None):
            self.name, self.random_state = name, random_state

        def fit(self, X, y=None):
            seeds[self.name] = self.random_state
            return self

        def transform(self, X):
            return X

        def fit_predict(self, X, y=None):
            return self.fit(X) and np.zeros(len(X), int)

    fit_clusterer(
        make_pipeline(
            Watch("own", 7),
            Watch("drawn"),
        ),
        X,
        2,
        seeded(),
    )
    assert seeds["own"] == 7 and isinstance(seeds["drawn"], int)


def test_noise_has_no_opinion_and_numbers_with_gaps_are_closed():
    class Gaps:
        def fit_predict(self, X):
            return np.repeat([7, -1, 2], 30)

    name, found = fit_clusterer(Gaps(), X, 3, seeded())
    assert name == "Gaps"
    np.testing.assert_array_equal(found, np.repeat([[0, 1, 0], [0, 0, 0], [1, 0, 0]], 30, axis=0))


def test_more_clusters_than_components_are_refused():
    with pytest.raises(ValueError, match=r"KMeans found 5 clusters, more than n_components=3; set n_components=5, or"):
        fit_clusterer(KMeans(5, n_init=1), X, 3, seeded())


def test_a_function_gives_labels_or_responsibilities():
    def by_column(X, n_components, random_state):
        assert n_components == 3 and isinstance(random_state, np.random.RandomState)
        return np.digitize(X[:, 0], [6.0, 18.0])

    name, found = fit_clusterer(by_column, X, 3, seeded())
    assert name == "by_column" and adjusted_rand_score(Y, found.argmax(1)) == 1.0
    soft = np.full((90, 3), 1 / 3)
    np.testing.assert_allclose(fit_clusterer(lambda X, n_components, random_state: soft, X, 3, seeded())[1], soft)
    with pytest.raises(ValueError, match=r"the labels of init_params=<lambda> must .*got shape \(2,\)"):
        fit_clusterer(lambda X, n_components, random_state: [0, 1], X, 3, seeded())


# --------------------------------------------------------------------------------------------- completed


def refuse():
    raise AssertionError("labels for every component need no clusters")


def test_labels_of_all_samples_are_kept():
    given = np.eye(3)[Y]
    assert complete_labels(given, X, refuse) is given


def test_few_labels_spread_along_neighbors_not_by_distance():
    points, y = make_moons(300, noise=0.05, random_state=0)
    known = np.zeros((300, 2))
    for c in range(2):
        known[np.flatnonzero(y == c)[:3], c] = 1.0
    found = complete_labels(known, points, refuse)
    np.testing.assert_allclose(found.sum(1), 1.0)
    given = known.any(1)
    np.testing.assert_array_equal(found[given], known[given])
    assert adjusted_rand_score(y, found.argmax(1)) > 0.95


def test_samples_out_of_reach_of_any_label_belong_to_all_components_alike():
    known = np.zeros((90, 2))
    known[np.flatnonzero(Y == 0)[:2], 0] = known[np.flatnonzero(Y == 1)[:2], 1] = 1.0
    found = complete_labels(known, X * 1e3, refuse)
    np.testing.assert_allclose(found[Y == 2], 0.5)
    assert (found[Y == 0].argmax(1) == 0).all() and (found[Y == 1].argmax(1) == 1).all()


def test_where_a_component_has_no_label_clusters_are_matched():
    known = np.zeros((90, 3))
    known[np.flatnonzero(Y == 0)[:4], 2] = known[np.flatnonzero(Y == 2)[:4], 0] = 1.0
    clusters = np.eye(3)[(Y + 1) % 3]  # numbered otherwise
    found = complete_labels(known, X, lambda: clusters)
    np.testing.assert_array_equal(found, np.eye(3)[2 - Y])
    wrong = known.copy()
    wrong[np.flatnonzero(Y == 1)[0], 2] = 1.0  # one label against the clusters is kept
    np.testing.assert_array_equal(complete_labels(wrong, X, lambda: clusters)[np.flatnonzero(Y == 1)], [
        [0, 0, 1], *[[0, 1, 0]] * 29])  # fmt: skip


def test_no_label_at_all_leaves_the_clusters():
    clusters = np.eye(3)[Y]
    found = complete_labels(np.zeros((90, 3)), X, lambda: clusters)
    assert adjusted_rand_score(Y, found.argmax(1)) == 1.0


# ------------------------------------------------------------------------------- parameters of a mixture

COVARIANCE_TYPES = ("full", "tied", "diag", "spherical")
SUBSETS = [subset for n in range(1, 7) if (subset := [bool(n & bit) for bit in (1, 2, 4)])]


def reference_mixture(covariance_type):
    return GaussianMixture(3, covariance_type=covariance_type, means_init=CENTERS, random_state=0).fit(X)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
@pytest.mark.parametrize("subset", SUBSETS, ids=str)
@pytest.mark.parametrize("scale", [1.0, 1e-9, 1e9])
def test_from_some_parameters_em_goes_on(covariance_type, subset, scale):
    """From centers that are half a unit off, to those of GaussianMixture; in any units."""
    reference = reference_mixture(covariance_type)
    parameters = (np.array([0.5, 0.3, 0.2]), scale * (CENTERS + 0.5), scale**-2 * reference.precisions_)
    given = MixtureInit(*(p if is_given else None for p, is_given in zip(parameters, subset, strict=True)),
                        covariance_type=covariance_type)  # fmt: skip
    assert given.is_given
    mixture = fit_mixture_init(given, scale * X, 3, seeded())
    order = slice(None) if subset[1] else mixture.means_[:, 0].argsort()
    np.testing.assert_allclose(mixture.means_[order] / scale, reference.means_, atol=0.01)
    np.testing.assert_allclose(mixture.weights_[order], reference.weights_, atol=0.01)
    assert adjusted_rand_score(Y, mixture.predict(scale * X)) == 1.0


def test_rough_centers_are_refined():
    """The clusters nearest to these centers would be 2, 189 and 9 samples."""
    touching, y = make_blobs(200, centers=3, n_features=2, random_state=0)
    mixture = fit_mixture_init(MixtureInit(means=[[0, 0], [1, 1], [5, 5]]), touching, 3, seeded())
    assert adjusted_rand_score(y, mixture.predict(touching)) > 0.8


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_all_three_are_the_mixture_of_scikit_learn(covariance_type):
    touching = make_blobs(90, centers=CENTERS / 4, random_state=0)[0]
    reference = GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(touching)
    given = MixtureInit(reference.weights_, reference.means_, reference.precisions_, covariance_type)
    found = fit_mixture_init(given, touching, 3, seeded())
    np.testing.assert_allclose(found.predict_proba(touching), reference.predict_proba(touching), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found.score_samples(touching), reference.score_samples(touching), rtol=1e-6)


def test_nothing_given_is_nothing_and_errors_are_those_of_scikit_learn():
    assert not MixtureInit().is_given
    with pytest.raises(ValueError, match="means"):
        fit_mixture_init(MixtureInit(means=CENTERS[:2]), X, 3, seeded())
    with pytest.raises(ValueError, match="weights"):
        fit_mixture_init(MixtureInit(weights=[0.9, 0.9, 0.9]), X, 3, seeded())
    with pytest.raises(ValueError, match="precision"):
        fit_mixture_init(MixtureInit(precisions=np.eye(2)), X, 3, seeded())


# ------------------------------------------------------------------------------------------ in the fits


@pytest.fixture(scope="module")
def settings(quick):
    return {**quick, "pretrain_iter": 100, "max_iter": 10}


@each_estimator
def test_components_keep_the_numbers_of_the_labels(Estimator, blobs, settings):
    X, y = blobs
    labels = 2 - y  # the smallest group first
    model = Estimator(3, **settings)
    assert model.fit(X, init_labels=labels) is model and model.init_params_ == "init_labels"
    np.testing.assert_array_equal(model.labels_, labels)
    np.testing.assert_array_equal(model.predict(X), labels)
    np.testing.assert_allclose(model.means_, [X[labels == c].mean(0) for c in range(3)], atol=0.5 * X.std(0).max())
    again = Estimator(3, **settings)
    np.testing.assert_array_equal(again.fit_predict(X, init_labels=np.eye(3)[labels]), labels)
    assert again.lower_bounds_ == model.lower_bounds_, "responsibilities are labels"
    np.testing.assert_array_equal(Estimator(3, **settings).fit(X).labels_[y == 0], 0)


@each_estimator
def test_cross_validation_slices_the_labels(Estimator, blobs, settings):
    X, y = blobs
    labels, folds = 2 - y, KFold(2, shuffle=True, random_state=0)
    found = cross_validate(
        Estimator(3, **settings),
        X,
        params={"init_labels": labels},
        cv=folds,
        return_estimator=True,
        return_indices=True,
    )
    for model, train in zip(found["estimator"], found["indices"]["train"], strict=True):
        np.testing.assert_array_equal(model.labels_, labels[train])


@each_estimator
def test_labels_are_routed_where_they_are_asked_for(Estimator, blobs, settings):
    X, y = blobs
    with sklearn.config_context(enable_metadata_routing=True):
        assert Estimator().get_metadata_routing()._serialize() == {"fit": {"init_labels": None}}
        model = Estimator(3, **settings).set_fit_request(init_labels=True)
        pipeline = make_pipeline(StandardScaler(), model).fit(X, init_labels=2 - y)
    np.testing.assert_array_equal(pipeline.predict(X), 2 - y)


@each_estimator
def test_objects_as_parameters_are_cloned_and_pickled_and_saved_as_the_default(Estimator, blobs, settings, tmp_path):
    X, y = blobs
    clusterer = KMeans(3, n_init=3)
    model = Estimator(3, **{**settings, "init_params": clusterer}).fit(X)
    assert model.init_params is clusterer and not hasattr(clusterer, "labels_") and model.init_params_ == "KMeans"
    assert adjusted_rand_score(y, model.labels_) == 1.0
    copied = clone(model)
    assert copied.init_params is not clusterer and isinstance(copied.init_params, KMeans)
    assert copied.fit(X).lower_bounds_ == model.lower_bounds_
    loaded = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    assert isinstance(loaded.init_params, KMeans)
    with pytest.warns(UserWarning, match=r"init_params=KMeans\(.*is not kept in the file"):
        model.save(tmp_path / "model")
    read = Estimator.load(tmp_path / "model")
    assert read.init_params == Estimator().init_params == "auto" and read.init_params_ == "KMeans"
    np.testing.assert_allclose(read.predict_proba(X), model.predict_proba(X))


@each_estimator
def test_parameters_of_a_mixture_give_the_numbers(Estimator, blobs, settings):
    X, y = blobs
    means = np.array([X[y == 2 - c].mean(0) for c in range(3)])
    model = Estimator(3, means_init=means, **settings).fit(X)
    assert model.init_params_ == "given mixture"
    np.testing.assert_array_equal(model.labels_, 2 - y)
    by_weights = Estimator(3, weights_init=[0.5, 0.3, 0.2], **settings).fit(X)
    np.testing.assert_array_equal(np.bincount(by_weights.labels_), [60, 40, 20])  # by size, as no means are given


@each_estimator
def test_noise_of_a_clusterer_is_filled_in(Estimator, blobs, settings):
    X, _ = blobs
    scaled = StandardScaler().fit_transform(X)
    clusterer = DBSCAN(eps=0.2, min_samples=4)
    assert (clusterer.fit_predict(scaled) == -1).any()

    def cluster(X, n_components, random_state):
        labels = clusterer.fit_predict(StandardScaler().fit_transform(X))
        return np.where(labels < n_components, labels, -1)

    model = Estimator(3, **{**settings, "init_params": cluster}).fit(X)
    assert model.init_params_ == "cluster" and np.isfinite(model.lower_bound_)


@each_estimator
def test_wrong_labels_are_refused_and_leave_the_estimator_as_it_was(Estimator, blobs, settings):
    X, _ = blobs
    model = Estimator(3, **settings)
    with pytest.raises(
        ValueError, match=r"^init_labels must be integers from -1 .* to 2, as n_components=3; got values"
    ):
        model.fit(X, init_labels=np.arange(len(X)))
    with pytest.raises(ValueError, match=r"^init_labels must be labels of shape \(120,\)"):
        model.fit(X, init_labels=[0, 1])
    assert not hasattr(model, "net_")


@each_estimator
def test_many_samples_keep_their_labels_too(Estimator, blobs, settings, monkeypatch):
    monkeypatch.setattr("skgmvae.initialization.representations.MAX_INIT_ROWS", 60)
    X, y = blobs
    labels = np.where(np.arange(len(X)) % 2, 2 - y, -1)
    model = Estimator(3, **settings).fit(X, init_labels=labels)
    np.testing.assert_array_equal(model.labels_, 2 - y)


@each_estimator
def test_a_few_labels_help_where_there_are_clusters_of_no_shape(Estimator, settings):
    points, y = make_moons(300, noise=0.1, random_state=0)
    y = y ^ (points[:, 0] > 0.5)  # classes that no clustering finds by itself
    known = np.full(300, -1)
    known[::4] = y[::4]
    few = {**settings, "latent_dim": 2, "pretrain_iter": 60, "max_iter": 40, "init_clamp": 1, "init_params": "auto"}
    without = Estimator(2, **few).fit(points)
    by_labels = Estimator(2, **few).fit(points, init_labels=known)
    unknown = known == -1
    assert (by_labels.labels_[unknown] == y[unknown]).mean() > 0.8
    best_without = max((without.labels_ == y)[unknown].mean(), (without.labels_ != y)[unknown].mean())
    assert (by_labels.labels_[unknown] == y[unknown]).mean() > best_without + 0.1


def test_what_clusters_may_write_into_its_samples(blobs, settings):
    X = blobs[0].copy()

    def overwrite(X, n_components, random_state):
        X[:] = 0.0
        return np.arange(len(X)) % n_components

    model = VaDEClustering(3, **{**settings, "init_params": overwrite}).fit(X)
    np.testing.assert_array_equal(X, blobs[0])
    np.testing.assert_array_equal(model.labels_, model.predict(X))


@pytest.mark.parametrize(
    ("init_params", "message"),
    [
        (KMeans, "init_params is the class KMeans; pass an instance"),
        (
            lambda X: X,
            r"is called with \(X, n_components=…, random_state=…\), which it does not accept",
        ),
    ],
    ids=["a class", "another signature"],
)
def test_what_cannot_be_called_is_said(init_params, message, blobs, settings):
    with pytest.raises(TypeError, match=message):
        VaDEClustering(3, **{**settings, "init_params": init_params}).fit(blobs[0])


def test_labels_are_the_only_initialization_and_of_a_new_mixture(blobs, settings):
    X, y = blobs
    with pytest.raises(ValueError, match="init_labels and means_init both set the initial responsibilities"):
        VaDEClustering(3, means_init=X[:3], **settings).fit(X, init_labels=y)
    model = VaDEClustering(3, warm_start=True, **settings).fit(X)
    with pytest.raises(ValueError, match="init_labels initialize a new fit, and warm_start=True continues"):
        model.fit(X, init_labels=y)
    with pytest.raises(ValueError, match="must not be masked; use -1"):
        VaDEClustering(3, **settings).fit(X, init_labels=np.ma.masked_equal(y, 2))


def test_without_any_label_the_name_is_that_of_the_strategy(blobs, settings):
    X = blobs[0]
    model = VaDEClustering(3, **{**settings, "init_params": "kmeans"}).fit(X, init_labels=np.full(len(X), -1))
    assert model.init_params_ == "kmeans, without labels from init_labels"


def test_tensors_are_labels_too(blobs, settings):
    X, y = blobs
    model = VaDEClustering(3, **settings)
    labels = model.fit(X, init_labels=y).labels_
    np.testing.assert_array_equal(model.fit(X, init_labels=torch.tensor(y)).labels_, labels)
    halves = torch.eye(3)[torch.tensor(y)].to(torch.bfloat16).requires_grad_()
    np.testing.assert_array_equal(model.fit(X, init_labels=halves).labels_, labels)
