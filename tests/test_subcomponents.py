"""Components that are mixtures themselves: found, trained and answered for as wholes."""

import pickle
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import ortho_group
from sklearn.datasets import make_blobs, make_circles, make_moons
from sklearn.metrics import adjusted_rand_score
from skorch.callbacks import Callback

from skgmvae import GMVAEClustering, VaDEClustering, VAEEMClustering
from skgmvae.initialization.ridgelines import hang_together
from skgmvae.initialization.subcomponents import find_division
from skgmvae.models.linear_path import MixtureMoments
from skgmvae.models.subcomponents import join_subcomponents, reorder_clusters, set_weights
from skgmvae.runtime import RandomStream
from skgmvae.training.pretraining import make_autoencoder
from skgmvae.training.state import get_initialization, set_initialization

pytestmark = pytest.mark.filterwarnings("ignore:Training ended after:sklearn.exceptions.ConvergenceWarning")
ESTIMATORS = [VaDEClustering, GMVAEClustering, VAEEMClustering]
each_estimator = pytest.mark.parametrize("Estimator", ESTIMATORS)


def embed(plane, n_features, seed=0):
    """A plane in a random direction among correlated columns."""
    rng = np.random.RandomState(seed)
    X = np.pad(plane, ((0, 0), (0, n_features - 2))) + 0.05 * rng.normal(size=(len(plane), n_features))
    return X @ ortho_group.rvs(n_features, random_state=rng)


def divide(X, labels=None, most=8, seed=0):
    labels = np.zeros(len(X), int) if labels is None else labels
    R = torch.eye(labels.max() + 1, dtype=torch.float64)[torch.from_numpy(labels)]
    points = torch.from_numpy((X - np.nanmean(X, 0)) / np.nanstd(X, 0))
    return find_division(points, R, most, np.random.RandomState(seed))


def test_columns_of_noise_do_not_keep_a_bent_cluster_whole():
    """With 65 parameters in ten columns, no part of a moon of 200 samples seems worth its own Gaussian."""
    plane, y = make_moons(400, noise=0.1, random_state=0)
    rng = np.random.default_rng(0)
    X, other = (np.c_[plane, rng.normal(size=(400, 8))] for _ in range(2))
    division = divide(X, y)
    assert min(division.counts) > 1
    R = torch.eye(2, dtype=torch.float64)[torch.from_numpy(y)]
    one, two = (division.divide(torch.from_numpy((Z - X.mean(0)) / X.std(0)), R) for Z in (X, other))
    assert_allclose(one, two, atol=1e-6)  # which part a sample belongs to does not depend on the noise
    constant = find_division(  # beside the samples of other clusters it may differ
        torch.from_numpy(np.c_[(X - X.mean(0)) / X.std(0), np.ones(400)]), R, 8, np.random.RandomState(0)
    )
    assert (
        min(constant.counts) > 1 and torch.isfinite(constant.divide(torch.from_numpy(np.c_[X, np.ones(400)]), R)).all()
    )


def draw(mixture, n_samples, seed=0):
    rng = np.random.RandomState(seed)
    parts = [
        rng.multivariate_normal(m, C, n_samples)
        for m, C in zip(mixture.means.numpy(), mixture.covariances.numpy(), strict=True)
    ]
    return np.concatenate(parts)


@pytest.fixture(scope="module")
def moons():
    plane, y = make_moons(500, noise=0.02, random_state=0)
    return embed(plane, 5), y


@pytest.fixture(scope="module", params=ESTIMATORS, ids=lambda Estimator: Estimator.__name__)
def fitted(request, moons):
    return request.param(2, random_state=0).fit(moons[0], init_labels=1 - moons[1])


# ------------------------------------------------------------------------------ which clusters are divided


@pytest.mark.parametrize("n_features", [1, 2, 5, 20])
def test_gaussian_clusters_are_not_divided(n_features):
    for seed in range(4):
        rng = np.random.RandomState(seed)
        X = rng.normal(size=(400, n_features)) @ rng.normal(size=(n_features, n_features))
        assert divide(X, seed=seed) is None
    few = make_blobs(60, n_features, centers=3, random_state=0)
    assert divide(*few) is None


@pytest.mark.parametrize("n_features", [2, 6, 12])
@pytest.mark.parametrize("make", [partial(make_moons, noise=0.02), partial(make_circles, noise=0.02, factor=0.5)])
def test_bent_clusters_are_divided_alone_or_beside_others(make, n_features):
    plane, y = make(600, random_state=1)
    X = embed(plane, n_features)
    assert min(divide(X, y).counts) > 1
    other = X.mean(0) + 3.0 + 0.2 * np.random.RandomState(0).normal(size=(200, n_features))
    counts = divide(np.r_[X, other], np.r_[y, np.full(200, 2)]).counts
    assert min(counts[:2]) > 1 and counts[2] == 1
    assert max(divide(X, y, most=3).counts) <= 3


def test_clusters_that_lie_apart_are_not_joined_in_one_component():
    """The number of components has to decide on them, and scores have to say so."""
    for seed in range(3):
        X, _ = make_blobs(500, n_features=4, centers=4, random_state=seed)
        assert divide(X, seed=seed) is None
        scores = [VaDEClustering(K, max_iter=0, random_state=0).fit(X[::2]).score(X[1::2]) for K in (1, 2, 4)]
        assert scores[2] > max(scores[:2]) + 0.3


@pytest.mark.parametrize(("distance", "expected"), [(3.0, True), (8.0, False)])
def test_components_hang_together_where_the_density_between_them_does_not_dip(distance, expected):
    means = torch.tensor([[0.0, 0.0], [distance, 0.0]], dtype=torch.float64)
    covariances = torch.eye(2, dtype=torch.float64).expand(2, 2, 2)
    mixture = MixtureMoments(torch.tensor([0.5, 0.5], dtype=torch.float64), means, covariances)
    points = torch.from_numpy(draw(mixture, 300))
    assert hang_together(mixture, points) is expected
    # few samples may lie apart
    assert hang_together(mixture._replace(weights=torch.tensor([0.95, 0.05], dtype=torch.float64)), points)


def test_components_at_an_angle_hang_together_around_the_corner():
    """Two long ones: halfway between their means there are no samples."""
    long, across = torch.tensor([4.0, 0.001], dtype=torch.float64).diag(), torch.tensor([0.001, 4.0]).double().diag()
    means = torch.tensor([[0.0, 0.0], [3.4, 3.4]], dtype=torch.float64)
    mixture = MixtureMoments(torch.tensor([0.5, 0.5], dtype=torch.float64), means, torch.stack([long, across]))
    t = np.random.RandomState(0).uniform(-3.4, 3.4, 600)
    corner = np.c_[np.minimum(t, 0.0) + 3.4, np.maximum(t, 0.0)]
    assert hang_together(mixture, torch.from_numpy(corner))


def test_samples_that_are_rare_between_components_set_these_apart():
    """At four standard deviations: components of a curve may be as far apart, but with samples between them."""
    weights, covariances = torch.full((2,), 0.5, dtype=torch.float64), torch.eye(2, dtype=torch.float64).expand(2, 2, 2)
    mixture = MixtureMoments(weights, torch.tensor([[0.0, 0.0], [4.0, 0.0]], dtype=torch.float64), covariances)
    assert not hang_together(mixture, torch.from_numpy(draw(mixture, 300)))
    rng = np.random.RandomState(0)
    line = np.c_[rng.uniform(-2.0, 6.0, 300), rng.normal(size=300)]
    assert hang_together(mixture, torch.from_numpy(line))


def test_columns_of_few_values_divide_nothing():
    for seed in range(4):
        rng = np.random.RandomState(seed)
        X = rng.normal(size=(400, 2))
        assert divide(np.c_[X, rng.choice([0.0, 1.0, 2.0, 3.0], 400, p=[0.1, 0.4, 0.4, 0.1])]) is None
        assert divide(np.round(X)) is None


def test_copies_of_samples_are_no_others():
    """In other folds, they would be known already."""
    plane, y = make_moons(60, noise=0.04, random_state=0)
    rows = np.tile(np.arange(60), 8)
    once, eight = divide(plane, y), divide(plane[rows], y[rows])
    assert (None if once is None else once.counts) == (None if eight is None else eight.counts)


def test_where_nothing_is_divided_nothing_changes():
    X, _ = make_blobs(300, n_features=4, centers=3, cluster_std=3.0, random_state=1)
    scores = [VaDEClustering(3, max_subcomponents=most, max_iter=0, random_state=0).fit(X).score(X) for most in (1, 8)]
    assert scores[0] == scores[1]


@pytest.mark.filterwarnings("ignore:X has continuous columns that are zero:UserWarning")
def test_a_model_that_cannot_represent_the_subcomponents_has_none():
    """GMVAE, whose components have axes in common, where others would be narrow in other directions."""
    rng = np.random.RandomState(1)
    y = rng.randint(3, size=400)
    X = rng.normal(size=(400, 4)) + 3.0 * rng.normal(size=(3, 4))[y]
    X[:, 0] = np.maximum(X[:, 0], 0.0)
    models = [GMVAEClustering(3, max_subcomponents=most, max_iter=0, random_state=0).fit(X) for most in (1, 8)]
    assert models[1].score(X) > models[0].score(X) - 0.05


def test_samples_with_missing_values_belong_to_the_subcomponents_of_what_is_observed():
    plane, y = make_moons(600, noise=0.02, random_state=0)
    whole = divide(plane, y)
    holes = plane.copy()
    holes[::7, 1] = np.nan
    division = divide(holes, y)
    assert min(division.counts) > 1
    R = torch.eye(2, dtype=torch.float64)[torch.from_numpy(y)]
    divided = division.divide(torch.from_numpy((holes - np.nanmean(holes, 0)) / np.nanstd(holes, 0)), R)
    assert_allclose(torch.stack([part.sum(1) for part in divided.split(division.counts, 1)], 1), R, atol=1e-12)
    assert (divided[::7].max(1).values > 0.6).float().mean() > 0.5  # x alone tells most of them apart
    far = whole.divide(torch.full((1, 2), 1e200, dtype=torch.float64), R[:1])
    assert_allclose(far.sum(), 1.0)


# ------------------------------------------------------------------------------ components as wholes


@each_estimator
def test_bent_clusters_in_correlated_columns_survive(Estimator, moons):
    X, y = moons
    model = Estimator(2, random_state=0).fit(X)
    assert adjusted_rand_score(y, model.labels_) == 1.0 and model.n_subcomponents_.min() > 1
    plain = Estimator(2, random_state=0, max_subcomponents=1, max_iter=0).fit(X)
    assert_array_equal(plain.n_subcomponents_, [1, 1])
    assert adjusted_rand_score(y, plain.labels_) < 0.8
    assert model.score(X) > plain.score(X) + 1.0


def test_attributes_are_those_of_the_components(fitted, moons):
    X, y = moons
    assert_array_equal(fitted.labels_, 1 - y)  # which the initial labels have numbered
    assert fitted.n_subcomponents_.sum() == fitted.net_.module_.n_components > 2
    assert_allclose(fitted.weights_, [0.5, 0.5], atol=0.02)
    assert fitted.transform(X).shape[1] == len(fitted.get_feature_names_out())
    assert fitted.means_.shape == (2, 5) and fitted.covariances_.shape == (2, 5, 5)
    for c in range(2):
        drawn, labels = fitted.sample(20_000, component=c, random_state=0)
        assert set(labels) == {c}
        assert_allclose(drawn.mean(0), fitted.means_[c], atol=0.03)
        assert_allclose(np.cov(drawn.T), fitted.covariances_[c], atol=0.03)
        assert (fitted.predict(drawn[:500]) == c).mean() > 0.98
    if hasattr(fitted, "latent_means_"):
        assert fitted.latent_means_.shape == (2, fitted.latent_dim_)
        assert fitted.latent_covariances_.shape == (2, fitted.latent_dim_, fitted.latent_dim_)
        assert np.linalg.eigvalsh(fitted.latent_covariances_).min() > 0.0


def test_queries_are_of_the_components(fitted, moons):
    X, _ = moons
    proba = fitted.predict_proba(X)
    assert proba.shape == (500, 2) and set(fitted.sample(100, random_state=0)[1]) == {0, 1}
    assert_allclose(proba.sum(1), 1.0)
    assert_array_equal(proba.argmax(1), fitted.predict(X))
    x, label = X[0], int(fitted.labels_[0])
    samples, labels = fitted.sample(200, given={0: x[0], 1: x[1]}, random_state=0)
    assert_allclose(samples[:, :2], np.tile(x[:2], (200, 1)))
    shares = fitted.predict_proba([[x[0], x[1], np.nan, np.nan, np.nan]])[0]
    assert abs((labels == 0).mean() - shares[0]) < 0.12
    samples, labels = fitted.sample(50, given={0: x[0]}, component=label, random_state=0)
    assert set(labels) == {label} and np.isfinite(samples).all()
    assert np.isfinite(fitted.impute(np.where(np.arange(5) == 2, np.nan, X[:20]))).all()
    table = fitted.describe()
    assert len(table["component"]) == 10 and np.isfinite(fitted.bic(X))


def test_the_posterior_is_that_of_the_explicit_mixture(moons):
    """VaDE at its initialization: a mixture of as many Gaussians as there are subcomponents."""
    X, _ = moons
    model = VaDEClustering(2, max_iter=0, random_state=0).fit(X)
    module = model.net_.module_
    rows = module.likelihood.standardize(torch.from_numpy(X), torch.float64)
    with torch.no_grad():
        linear, W = module.autoencoder.linear, module.autoencoder.linear.decoder.weight
        noise = module.likelihood.log_variance.exp().diag()
        log_joint = torch.stack(
            [
                w.log()
                + torch.distributions.MultivariateNormal(W @ m + linear.decoder.bias, W @ S @ W.T + noise).log_prob(
                    rows
                )
                for w, m, S in zip(module.log_weights().exp(), module.means, module.covariances(), strict=True)
            ],
            1,
        )
    parts = np.exp(log_joint.numpy()).T
    ends = np.cumsum(model.n_subcomponents_)
    of_clusters = np.stack([parts[: ends[0]].sum(0), parts[ends[0] :].sum(0)], 1)
    assert_allclose(model.predict_proba(X), of_clusters / of_clusters.sum(1, keepdims=True), atol=1e-8)
    P, D = ends[-1], 5
    n_parameters = (P - 1) + P * D + P * D * (D + 1) // 2
    assert_allclose(model.bic(X), -2.0 * model.score_samples(X).sum() + n_parameters * np.log(500))


@each_estimator
def test_components_are_ordered_with_their_subcomponents(Estimator):
    plane, y = make_moons((400, 150), noise=0.02, random_state=0)
    X = embed(plane, 4)
    model = Estimator(2, random_state=0, max_iter=2).fit(X)
    assert_array_equal(model.labels_, y)
    assert_array_equal(model.predict(X), y)
    assert_allclose(model.weights_, [400 / 550, 150 / 550], atol=0.02)
    module = model.net_.module_
    before, counts = model.predict_proba(X), model.n_subcomponents_
    reorder_clusters(module, torch.tensor([1, 0]))
    assert module.subcomponents == tuple(counts[::-1])
    assert_allclose(model.predict_proba(X), before[:, ::-1], atol=1e-9)


@each_estimator
def test_equal_weights_are_those_of_components(Estimator):
    plane, _ = make_moons((400, 150), noise=0.02, random_state=0)
    model = Estimator(2, random_state=0, learn_weights=False, max_iter=3).fit(embed(plane, 4))
    assert model.n_subcomponents_.max() > 1
    assert_allclose(model.weights_, [0.5, 0.5])
    module = model.net_.module_
    set_weights(module, torch.arange(1.0, module.n_components + 1.0).log().double())
    assert_allclose(join_subcomponents(module.log_weights(), module.subcomponents).detach().exp(), [0.5, 0.5])


def test_saved_pickled_and_continued(fitted, moons, tmp_path):
    X, _ = moons
    fitted.save(tmp_path / "model")
    for other in (type(fitted).load(tmp_path / "model"), pickle.loads(pickle.dumps(fitted))):
        assert_array_equal(other.n_subcomponents_, fitted.n_subcomponents_)
        assert_array_equal(other.predict_proba(X), fitted.predict_proba(X))
        assert_array_equal(other.score_samples(X), fitted.score_samples(X))
        further = other.set_params(warm_start=True, max_iter=2).fit(X)
        assert adjusted_rand_score(further.labels_, fitted.labels_) == 1.0  # they are numbered anew
        assert adjusted_rand_score(further.partial_fit(X[:200]).predict(X), fitted.labels_) == 1.0
        assert further.net_.module_.n_components == fitted.net_.module_.n_components


@each_estimator
def test_an_initialization_is_stored_and_sent_whole(Estimator, moons):
    """As for a checkpoint, and for other ranks."""
    X, _ = moons
    model = Estimator(2, random_state=0, max_iter=0).fit(X)
    module, random = model.net_.module_, RandomStream(0)
    other = Estimator(2, random_state=1, max_iter=0, max_subcomponents=1).fit(X[:100])
    init = type("Initialization", (), {"model": module, "name": "x", "responsibilities": None, "is_random": False})
    make = partial(remake, other, model)
    again = set_initialization(make, *get_initialization(init, random), random).model
    assert again.subcomponents == module.subcomponents
    for name, tensor in module.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name


def remake(other, model, subcomponents):
    autoencoder = make_autoencoder(model._fitted_architecture)
    return other._make_model(autoencoder, None, subcomponents)


def test_a_killed_fit_goes_on(moons, tmp_path):
    X, _ = moons
    whole = VaDEClustering(2, random_state=0, max_iter=4).fit(X)

    class Kill(Callback):
        def on_train_begin(self, net, **kwargs):
            self.n_ = 0

        def on_epoch_end(self, net, **kwargs):
            self.n_ += 1
            if self.n_ == 2:
                raise RuntimeError("killed")

    options = {"random_state": 0, "max_iter": 4, "checkpoint": tmp_path}
    with pytest.raises(RuntimeError, match="killed"):
        VaDEClustering(2, callbacks=[Kill()], **options).fit(X)
    resumed = VaDEClustering(2, **options).fit(X)
    assert_array_equal(resumed.predict_proba(X), whole.predict_proba(X))


@each_estimator
def test_beside_categories_and_holes(Estimator):
    plane, y = make_moons(400, noise=0.03, random_state=0)
    frame = pd.DataFrame(embed(plane, 4), columns=list("abcd"))
    frame["e"] = np.where(np.random.RandomState(0).rand(400) < 0.8, np.array(["u", "v"])[y], "w")
    frame.loc[::19, "b"] = np.nan
    model = Estimator(2, random_state=0, max_iter=3).fit(frame, init_labels=y)
    assert model.n_subcomponents_.min() > 1
    assert adjusted_rand_score(y, model.predict(frame)) > 0.95
    assert model.sample(5, random_state=0)[0]["e"].isin(["u", "v", "w"]).all()
    assert np.isfinite(model.score_samples(frame)).all()


@pytest.mark.parametrize(
    "options",
    [{"covariance_type": "tied"}, {"linear_path": False}, {"means_init": np.eye(2, 5)}, {"init_params": "random"}],
)
def test_what_asks_for_other_mixtures_has_no_subcomponents(options, moons):
    model = VaDEClustering(2, random_state=0, max_iter=1, pretrain_iter=0, early_stopping=False, **options)
    assert_array_equal(model.fit(moons[0]).n_subcomponents_, [1, 1])
