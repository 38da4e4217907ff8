"""Missing values: formulas of the observed cells, and estimators whose answers are conditioned on them."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, multivariate_t, t
from sklearn.datasets import make_blobs, make_circles, make_moons
from sklearn.metrics import adjusted_rand_score
from torch.distributions import MultivariateNormal, Normal

from skgmvae import GMVAEClustering, VaDEClustering, VAEEMClustering
from skgmvae.data.lazy import LazyRows
from skgmvae.data.summary import summarize
from skgmvae.initialization.complete_cases import CompleteCases
from skgmvae.initialization.completion import complete_samples
from skgmvae.models.background import ADDED_VARIANCE, FEATURE_FREEDOM, JOINT_FREEDOM, Background
from skgmvae.models.importance import estimate_log_joint
from skgmvae.models.likelihoods import Bernoulli, Gaussian
from skgmvae.models.missing import ObservedCells, complete_linear, estimate_normal, widen
from skgmvae.models.normals import complete_normal, condition_variance

ESTIMATORS = [GMVAEClustering, VaDEClustering, VAEEMClustering]
each_estimator = pytest.mark.parametrize("Estimator", ESTIMATORS)
N, D = 40, 4
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
RNG = np.random.default_rng(0)
MISSING = RNG.uniform(size=(N, D)) < 0.35
MISSING[0], MISSING[1] = True, False
OBSERVED = [np.flatnonzero(~row) for row in MISSING]


def draw_normal():
    """Samples, mean and covariance of a normal distribution."""
    A = RNG.normal(size=(D, D))
    mean, covariance = RNG.normal(size=D), A @ A.T + 0.1 * np.eye(D)
    return RNG.multivariate_normal(mean, covariance, N), mean, covariance


POINTS, MEAN, COVARIANCE = draw_normal()
HOLES = np.where(MISSING, np.nan, POINTS)


def condition(x, mean, covariance):
    """log N(x_o), E[x | x_o] and Cov[x | x_o] of one sample by the textbook."""
    o, m = np.flatnonzero(~np.isnan(x)), np.flatnonzero(np.isnan(x))
    log_density = multivariate_normal(mean[o], covariance[np.ix_(o, o)]).logpdf(x[o]) if len(o) else 0.0
    slope = covariance[np.ix_(m, o)] @ np.linalg.inv(covariance[np.ix_(o, o)])
    filled, rest = x.copy(), np.zeros((D, D))
    filled[m] = mean[m] + slope @ (x[o] - mean[o])
    rest[np.ix_(m, m)] = covariance[np.ix_(m, m)] - slope @ covariance[np.ix_(o, m)]
    return log_density, filled, rest


def test_conditional_normals_are_those_of_the_textbook(monkeypatch):
    monkeypatch.setattr("skgmvae.models.normals.CHUNK_VALUES", 7 * D**2)  # several chunks
    parts = [condition(x, MEAN, COVARIANCE) for x in HOLES]
    log_density, filled, rest = (np.array(part) for part in zip(*parts, strict=True))
    weights = RNG.uniform(size=N)
    points, mean, covariance = (torch.from_numpy(array) for array in (HOLES, MEAN, COVARIANCE))
    cells = ObservedCells(points)
    found = cells.condition(mean, covariance, torch.from_numpy(weights))
    np.testing.assert_allclose(found.log_density, log_density)
    both = np.stack([log_density, [condition(x, MEAN + 1.0, 2.0 * COVARIANCE)[0] for x in HOLES]], -1)
    means = torch.stack([mean, mean + 1.0])
    np.testing.assert_allclose(cells.log_density(means, torch.stack([covariance, 2.0 * covariance])), both)
    both[:, 1] = [condition(x, MEAN + 1.0, COVARIANCE)[0] for x in HOLES]
    np.testing.assert_allclose(cells.log_density(means, covariance.expand(2, D, D)), both)  # one covariance for all
    np.testing.assert_allclose(found.completed, filled)
    np.testing.assert_allclose(found.covariance, np.einsum("n,nij->ij", weights, rest), atol=1e-10)
    np.testing.assert_allclose(complete_normal(points, points.isnan(), mean, covariance), filled)
    variances = condition_variance(points.isnan(), covariance)
    np.testing.assert_allclose(variances, rest.diagonal(axis1=1, axis2=2), atol=1e-10)
    assert torch.isinf(cells.log_density(mean[None], torch.ones(1, D, D).double())).all()


def test_normal_by_em_has_no_gradient_left_and_is_the_sample_moments_without_holes(monkeypatch):
    # no more regularization than there has to be
    monkeypatch.setattr("skgmvae.models.missing.ADDED_VARIANCE", 0.0)
    monkeypatch.setattr("skgmvae.models.missing.TOLERANCE", 1e-9)
    monkeypatch.setattr("skgmvae.models.missing.MAX_ITER", 500)
    points = torch.from_numpy(HOLES)
    mean = estimate_normal(points)[0].requires_grad_()
    covariance = estimate_normal(points)[1]
    log_density = sum(
        MultivariateNormal(mean[o], covariance[o][:, o]).log_prob(points[n, o])
        for n, o in enumerate(OBSERVED)
        if len(o)
    )
    assert torch.autograd.grad(log_density, mean)[0].abs().amax() < 1e-3
    mean, covariance = estimate_normal(torch.from_numpy(POINTS))
    scatter = np.cov(POINTS.T, ddof=0)
    np.testing.assert_allclose(mean, POINTS.mean(0))
    np.testing.assert_allclose(covariance, (N * scatter + (D + 1) * np.diag(scatter.diagonal())) / (N + D + 1))


def test_linear_models_complete_by_their_posterior_and_widen_it():
    L, K = 3, 2
    weight, bias = torch.randn(K, L, D, dtype=torch.float64), torch.randn(K, D, dtype=torch.float64)
    log_variance = torch.randn(K, D, dtype=torch.float64)
    x = torch.from_numpy(HOLES[1:]).unsqueeze(1).expand(-1, K, -1)
    completed = complete_linear(x, x[:, :1].isnan(), weight, bias, log_variance)
    wider = widen(x[:, :1].isnan(), weight, log_variance)
    for c in range(K):
        W, noise = weight[c].T.numpy(), np.diag(log_variance[c].exp().numpy())
        expected = [condition(row, bias[c].numpy(), W @ W.T + noise)[1] for row in HOLES[1:]]
        np.testing.assert_allclose(completed[:, c], expected)
        for n, o in enumerate(OBSERVED[1:]):
            precisions = [np.eye(L) + W[j].T @ np.linalg.inv(noise[np.ix_(j, j)]) @ W[j] for j in (range(D), o)]
            of_all, of_observed = (precision.diagonal() for precision in precisions)
            np.testing.assert_allclose(wider[n, c].exp(), of_all / of_observed)


@pytest.mark.parametrize("training", [True, False])
def test_likelihoods_are_of_the_observed_cells(training):
    scale, log_variance = torch.tensor([1.0, 2.0, 0.5, 3.0]).double(), torch.tensor([0.1, -1.0, 0.3, 0.0])
    gaussian, bernoulli = Gaussian(torch.ones(D).double(), scale), Bernoulli()
    gaussian.set_variance(log_variance.exp())
    x, output = torch.from_numpy(HOLES), torch.randn(3, N, D, dtype=torch.float64, requires_grad=True)
    binary = torch.where(x.isnan(), x, (x > 0.0).double())
    for likelihood, rows in ((gaussian.double(), x), (bernoulli, binary)):
        likelihood.train(training)
        likelihood.has_missing = training
        log_prob = likelihood.log_prob(rows, output)
        if likelihood is gaussian:
            p = Normal(output, (0.5 * log_variance).exp())
            cells = p.log_prob(x.nan_to_num()) - scale.log()
        else:
            cells = torch.distributions.Bernoulli(logits=output).log_prob(binary.nan_to_num())
        torch.testing.assert_close(log_prob, torch.where(x.isnan(), 0.0, cells).sum(-1))
        slope, curvature = likelihood.differentiate(rows, output)
        torch.testing.assert_close(torch.autograd.grad(log_prob.sum(), output)[0], slope)
        assert not slope[:, MISSING].any() and not curvature[:, MISSING].any() and curvature[:, ~MISSING].all()
        assert likelihood.supports(rows).all()
    assert not bernoulli.supports(x).all()
    standardized = gaussian.standardize(x, torch.float64)
    expected = (scale.log() * ~standardized.isnan()).sum(-1)
    torch.testing.assert_close(gaussian.log_jacobian(standardized), expected)


def test_background_is_its_marginal():
    background = Background(D).fit(torch.from_numpy(POINTS))
    mean, scale = POINTS.mean(0), np.cov(POINTS.T, ddof=0) + ADDED_VARIANCE * np.eye(D)
    for x, o, found in zip(HOLES, OBSERVED, background(torch.from_numpy(HOLES)), strict=True):
        joint = multivariate_t(mean[o], scale[np.ix_(o, o)], df=JOINT_FREEDOM).pdf(x[o]) if len(o) else 1.0
        each = t(FEATURE_FREEDOM, mean[o], np.sqrt(scale.diagonal())[o]).pdf(x[o]).prod()
        np.testing.assert_allclose(found.exp(), 0.5 * (joint + each))


@pytest.mark.parametrize("block", [7, 4096])
def test_summary_is_of_the_observed_values(monkeypatch, block):
    monkeypatch.setattr("skgmvae.data.summary.CHUNK_ROWS", block)
    X = np.column_stack([HOLES, np.where(MISSING[:, 0], np.nan, np.arange(N) % 3.0)])
    X[: N // 2, 1] = np.nan  # no value in the first block
    summary = summarize(X)
    np.testing.assert_array_equal(summary.n_missing, np.isnan(X).sum(0))
    np.testing.assert_allclose(summary.mean, np.nanmean(X, 0))
    np.testing.assert_allclose(summary.scale, np.nanstd(X, 0))
    np.testing.assert_allclose(summary.center, np.nanmedian(X, 0))
    np.testing.assert_array_equal(summary.low, np.nanmin(X, 0))
    np.testing.assert_array_equal(summary.high, np.nanmax(X, 0))
    assert summary.is_integral.tolist() == [False] * 4 + [True] and summary.n_distinct[4] == 3
    assert summary.has_missing and not summarize(POINTS).has_missing


# ------------------------------------------------------------------------------------ estimators


@pytest.fixture(scope="module")
def blobs_with_holes(blobs):
    X, y = blobs
    missing = np.random.default_rng(1).uniform(size=X.shape) < 0.2
    missing[3] = True
    return np.where(missing, np.nan, X), y


def exact(model, X):
    """log π_c + log N(x_o | c), (N, K), of a model that is still a mixture of the samples."""
    parts = zip(model.means_, model.covariances_, strict=True)
    log_normals = np.array([[condition(x, mean, C)[0] for x in X] for mean, C in parts])
    return np.log(model.weights_) + log_normals.T


@each_estimator
@pytest.mark.parametrize("fits_holes", [True, False])
def test_a_linear_model_is_the_marginal_of_its_mixture(Estimator, fits_holes, blobs, blobs_with_holes):
    holes = blobs_with_holes[0]
    model = Estimator(3, max_iter=0, random_state=0).fit(holes if fits_holes else blobs[0])
    log_joint, background = exact(model, holes), model.net_.module_.background
    points = model.net_.module_.likelihood.standardize(torch.from_numpy(holes), torch.float64)
    log_density = background.mix(
        torch.from_numpy(logsumexp(log_joint, 1)) + model.net_.module_.likelihood.log_jacobian(points), points
    ) - model.net_.module_.likelihood.log_jacobian(points)
    np.testing.assert_allclose(model.score_samples(holes), log_density, atol=1e-9)
    expected = np.exp(log_joint - logsumexp(log_joint, 1, keepdims=True))
    np.testing.assert_allclose(model.predict_proba(holes), expected, atol=1e-9)
    assert abs(model.score_samples(holes)[3]) < 1e-12  # nothing is known of it
    np.testing.assert_allclose(model.predict_proba(holes)[3], model.weights_, rtol=1e-12)
    assert np.isfinite(model.transform(holes)).all() and np.isfinite(model.reconstruct(holes)).all()


@each_estimator
def test_clusters_are_found_with_holes(Estimator, blobs_with_holes):
    X, y = blobs_with_holes
    model = Estimator(3, random_state=0, max_iter=20).fit(X)
    complete = ~np.isnan(X).any(1)
    assert (model.labels_[complete] == y[complete]).mean() == 1.0
    assert (model.labels_ == y).mean() > 0.9
    np.testing.assert_array_equal(model.predict(X), model.labels_)
    bounds = model.history_["lower_bound"]
    assert np.isfinite(bounds).all() and max(bounds[1:]) > bounds[0]


def test_clusters_are_those_of_the_observed_values_where_many_are_missing():
    rng = np.random.RandomState(0)
    y = rng.randint(3, size=400)
    deviations = np.array([1.0, 0.4, 0.4])[y, None]
    X = (3.0 * rng.randn(3, 5))[y] + deviations * rng.randn(400, 5)
    for share in (0.1, 0.4):
        holes = np.where(rng.rand(*X.shape) < share, np.nan, X)
        model = VaDEClustering(3, max_iter=0, random_state=0).fit(holes)
        assert ("observed" in model.init_params_) is (share == 0.4)
        assert adjusted_rand_score(y, model.labels_) > 0.9 - share / 4.0
    assert model.init_params_.startswith("full")  # the components differ in size
    tied = VaDEClustering(3, max_iter=0, random_state=0).fit(np.where(np.isnan(holes), np.nan, X / deviations))
    assert tied.init_params_ == "tied mixture of the observed inputs"
    given = VaDEClustering(3, max_iter=0, random_state=0).fit(holes, init_labels=np.where(rng.rand(400) < 0.9, y, -1))
    assert given.init_params_ == "init_labels"


@pytest.mark.parametrize("linear_path", [True, False])
def test_score_with_a_hole_is_the_integral_over_it(linear_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 1))
    X = np.hstack([x, x**2 + 0.3 * rng.normal(size=(200, 1))])
    options = {"early_stopping": False, "hidden_layer_sizes": (16,), "random_state": 0, "latent_dim": 2}
    options |= {"batch_size": 64, "learning_rate": 3e-3}
    model = VaDEClustering(2, max_iter=30, linear_path=linear_path, **options).fit(X)
    axis = np.linspace(-15.0, 30.0, 1001)
    errors = []
    for first in np.linspace(-2.0, 2.0, 21):
        rows = np.column_stack([np.full(len(axis), first), axis])
        integral = np.trapezoid(np.exp(model.score_samples(rows)), axis)
        errors.append(model.score_samples([[first, np.nan]])[0] - np.log(integral))
    # a single score may be off where its posterior has several maxima
    assert abs(np.mean(errors)) < 0.04
    assert np.median(np.abs(errors)) < 0.06


@each_estimator
def test_answers_depend_on_the_observed_values_alone(Estimator, blobs_with_holes):
    X, _ = blobs_with_holes
    model = Estimator(3, random_state=0, max_iter=3, early_stopping=False).fit(X)
    others = np.where(np.isnan(X), -np.nan, X)
    for name in ("score_samples", "predict_proba", "transform", "reconstruct"):
        query = getattr(model, name)
        np.testing.assert_array_equal(query(others), query(X))
        np.testing.assert_allclose(query(X[10:20]), query(X)[10:20], rtol=1e-9, atol=1e-9)


@each_estimator
@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_without_a_linear_path(Estimator, likelihood, quick, blobs_with_holes):
    X, _ = blobs_with_holes
    if likelihood == "bernoulli":
        X = np.where(np.isnan(X), np.nan, np.nan_to_num(X) > np.nanmedian(X, 0))
    model = Estimator(3, **{**quick, "likelihood": likelihood}).fit(X)
    assert np.isfinite(model.history_["lower_bound"]).all() and np.isfinite(model.score_samples(X)).all()
    np.testing.assert_allclose(model.predict_proba(X)[3], model.weights_)


@pytest.mark.parametrize("Estimator", [VaDEClustering, VAEEMClustering])
def test_blocks_of_a_stream_files_and_saved_estimators(
    Estimator, blobs, blobs_with_holes, quick, small_blocks, tmp_path
):
    X, holes = blobs[0], blobs_with_holes[0]
    np.save(tmp_path / "X.npy", holes)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    model = Estimator(3, **quick).partial_fit(X).partial_fit(mapped)
    assert np.isfinite(list(model.history_.values())).all()
    np.testing.assert_allclose(model.score_samples(mapped), model.score_samples(holes))
    model.save(tmp_path / "model.safetensors")
    loaded = Estimator.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded.score_samples(holes), model.score_samples(holes))
    assert isinstance(LazyRows(mapped)[:3], np.ndarray)


@pytest.mark.parametrize(("share", "least"), [(0.1, 0.99), (0.2, 0.95), (0.3, 0.85)])
def test_values_that_are_filled_in_do_not_join_bent_clusters(share, least):
    rng = np.random.default_rng(0)
    moons, y = make_moons(800, noise=0.05, random_state=0)
    X = np.pad(moons, ((0, 0), (0, 3))) + 0.05 * rng.normal(size=(800, 5))
    X = np.where(rng.uniform(size=X.shape) < share, np.nan, X @ np.linalg.qr(rng.normal(size=(5, 5)))[0])
    model = VaDEClustering(2, random_state=0, max_iter=0).fit(X)
    assert adjusted_rand_score(y, model.labels_) > least
    assert model.init_params_.endswith("complete samples")


@pytest.mark.parametrize(
    ("sizes", "share", "n_empty", "are_enough"),
    [
        ((200, 200, 200, 200), 1.0, 0, False),
        ((200, 200, 200, 200), 1.0, 1, False),  # a sample without values has no neighbors
        ((200, 200, 200, 200), 0.95, 0, False),
        ((40, 250, 250, 250), 1.0, 0, False),
        ((200, 200, 200, 200), 0.8, 0, True),
    ],
)
def test_a_cluster_with_next_to_no_complete_samples_is_found(sizes, share, n_empty, are_enough):
    centers = 6.0 * np.array([[1.0, 1, 1, 0], [-1, 1, 1, 0], [1, -1, 1, 0], [-1, -1, -1, 0]])
    X, y = make_blobs(sizes, centers=centers, random_state=0)
    X[(y == 0) & (np.random.default_rng(0).uniform(size=len(y)) < share), 2] = np.nan
    X[len(X) - n_empty :] = np.nan
    model = VaDEClustering(4, random_state=0, max_iter=0).fit(X)
    known = ~np.isnan(X).all(1)
    assert adjusted_rand_score(y[known], model.labels_[known]) > 0.98
    assert model.init_params_.endswith("complete samples") == are_enough


def test_a_bent_cluster_without_complete_samples_is_not_split_for_the_information_of_the_others():
    moons, y = make_moons(800, noise=0.05, random_state=0)
    rng = np.random.default_rng(0)
    X = np.pad(moons, ((0, 0), (0, 3))) + 0.05 * rng.normal(size=(800, 5))
    X = X @ np.linalg.qr(rng.normal(size=(5, 5)))[0]
    X[y == 0, 0] = np.nan
    model = VaDEClustering(2, random_state=0, max_iter=0).fit(X)
    assert not model.init_params_.endswith("complete samples")
    assert adjusted_rand_score(y, model.labels_) > 0.9


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_values_that_the_others_determine_do_not_make_samples_incomplete(share):
    """Rings in a plane of ten columns: hardly any sample has all values, and any two tell the others."""
    X, y = make_circles(800, noise=0.04, factor=0.4, random_state=0)
    X = X @ np.random.default_rng(0).normal(size=(2, 10))
    X[np.random.default_rng(1).uniform(size=X.shape) < share] = np.nan
    model = VaDEClustering(2, random_state=0, max_iter=0).fit(X)
    assert model.init_params_.endswith("complete samples")
    assert adjusted_rand_score(y, model.labels_) > 0.95


@pytest.mark.parametrize("n_columns", [5, 10])
def test_values_that_the_others_nearly_determine_are_drawn(n_columns):
    """At their conditional means, they would lie on planes, and a mixture of these would describe the samples well."""
    X, y = make_circles(800, noise=0.04, factor=0.4, random_state=1)
    rng = np.random.default_rng(1)
    X = X @ np.linalg.qr(rng.normal(size=(n_columns, n_columns)))[0][:2] + 0.05 * rng.normal(size=(800, n_columns))
    X[rng.uniform(size=X.shape) < 0.3] = np.nan
    model = VaDEClustering(2, random_state=0, max_iter=0).fit(X)
    assert adjusted_rand_score(y, model.labels_) > 0.85


def test_values_that_miss_at_random_need_no_more_than_the_complete_samples():
    """More often in some places than in others; nearest samples are compared in the columns of one of them."""
    X = np.random.default_rng(0).normal(size=(600, 3))
    for p in (np.full(600, 0.2), 0.4 * X[:, 0].argsort().argsort() / 600):
        missing = np.random.default_rng(1).uniform(size=X.shape) < p[:, None]
        assert CompleteCases(np.where(missing, np.nan, X), np.random.RandomState(0)).stand_for_all(10)


def test_samples_without_values_share_the_mean_of_the_complete_ones():
    points = RNG.normal(size=(60, 2))
    points[:20, 0], points[20:25] = np.nan, np.nan
    cases = CompleteCases(points, np.random.RandomState(0))
    found = np.eye(2)[(points[25:, 1] > 0.0).astype(int)]
    responsibilities = cases.assign(found)
    np.testing.assert_array_equal(responsibilities[25:], found)
    np.testing.assert_allclose(responsibilities[20:25], np.tile(found.mean(0), (5, 1)))
    gaps = np.abs(points[:20, None, 1] - points[None, 25:, 1])
    np.testing.assert_allclose(responsibilities[:20], found[gaps.argsort(1)[:, :5]].mean(1))


def test_samples_are_completed_by_what_is_observed():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(400, 1))
    X = 100.0 + z * [1.0, -2.0, 30.0] + 0.1 * rng.normal(size=(400, 3)) * [1.0, 2.0, 30.0]
    missing = rng.uniform(size=X.shape) < 0.3
    missing[:, 2] &= ~missing[:, 0]
    completed = complete_samples(np.where(missing, np.nan, X))
    np.testing.assert_array_equal(completed[~missing], X[~missing])
    errors = (completed - X) / X.std(0)
    known = missing & ~missing.all(1, keepdims=True)
    assert np.sqrt((errors[known] ** 2).mean()) < 0.2


def test_contrastive_features_need_complete_images():
    images = np.where(np.arange(16) == 3, np.nan, RNG.uniform(size=(30, 16)))
    images[0] = 0.5
    model = VaDEClustering(2, init_params="contrastive", image_shape=(1, 4, 4))
    with pytest.raises(ValueError, match="needs complete images, and X has missing values; use init_params='auto'"):
        model.fit(images)


# ------------------------------------------------------------------- imputation, and samples with values given


def expect_missing(model, X):
    """E[x_m | x_o] by the posterior and the textbook, of a model that is still a mixture of the samples."""
    parts = zip(model.means_, model.covariances_, strict=True)
    completed = np.array([[condition(x, mean, C)[1] for x in X] for mean, C in parts])
    return np.einsum("nk,knd->nd", model.predict_proba(X), completed)


@each_estimator
def test_a_linear_model_is_exact_by_importance_sampling_too_and_in_its_conditional_means(Estimator, blobs_with_holes):
    X = blobs_with_holes[0]
    model = Estimator(3, max_iter=0, random_state=0).fit(X)
    module, points, x = model.net_.module_, model._points(), torch.from_numpy(X)
    with torch.inference_mode():
        found = estimate_log_joint(module.posterior(x), module.likelihood.standardize(x, torch.float64), points)
        torch.testing.assert_close(found, module.log_joint(x, points), atol=1e-9, rtol=1e-9)
    imputed = model.impute(X)
    np.testing.assert_allclose(imputed, expect_missing(model, X), rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(imputed[~np.isnan(X)], X[~np.isnan(X)])
    np.testing.assert_allclose(imputed[3], model.weights_ @ model.means_)


@each_estimator
def test_linear_models_of_columns_of_several_kinds_have_the_means_of_their_draws(Estimator, monkeypatch):
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=200)
    x = rng.normal(size=(200, 2)) + 3.0 * y[:, None]
    columns = [x, np.exp(0.3 * x[:, :1]), np.sinh(0.5 * x[:, 1:]), rng.poisson(2.0 + 5.0 * y)[:, None]]
    X = np.hstack([*columns, rng.integers(3, size=(200, 1)), (rng.random((200, 1)) < 0.3 + 0.4 * y[:, None])])
    kinds = ["gaussian"] * 2 + ["log_normal", "johnson_su", "poisson", "categorical", "bernoulli"]
    model = Estimator(2, likelihood=kinds, max_iter=0, random_state=0).fit(X)
    some = X[:5].copy()
    some[:, 2:] = np.nan
    exact, draws = model.impute(some), model.impute(some, 4000, random_state=0)
    is_number = [2, 3, 4, 6]
    errors = (draws.mean(0) - exact)[:, is_number] / (draws.std(0)[:, is_number] / np.sqrt(len(draws)))
    assert np.abs(errors).max() < 4.5
    counts = np.array([(draws[..., 5] == level).sum(0) for level in range(3)])
    assert (counts.max(0) - counts[exact[:, 5].astype(int), np.arange(5)] <= 150).all()
    monkeypatch.setattr(type(model.net_.module_), "is_linear", False)
    by_points = model.impute(some)
    np.testing.assert_allclose(by_points[:, is_number], exact[:, is_number], atol=0.02 * X.std())


def test_conditional_means_of_a_network_are_those_of_the_density():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 1))
    X = np.hstack([x, x**2 + 0.3 * rng.normal(size=(300, 1))])
    options = {"early_stopping": False, "hidden_layer_sizes": (32,), "random_state": 0}
    axis = np.linspace(-8.0, 12.0, 501)
    for Estimator in (VaDEClustering, VAEEMClustering):  # with latent variables shared by the components, and not
        model = Estimator(2, max_iter=20, **options).fit(X)
        for first in (-1.5, 0.4):
            density = np.exp(model.score_samples(np.column_stack([np.full(len(axis), first), axis])))
            mean = np.trapezoid(axis * density, axis) / np.trapezoid(density, axis)
            imputed = model.impute([[first, np.nan]])[0, 1]
            spread = np.sqrt(np.trapezoid((axis - mean) ** 2 * density, axis) / np.trapezoid(density, axis))
            assert abs(imputed - mean) < 0.1 * spread  # the background is no part of it
            draws = model.impute([[first, np.nan]], 500, random_state=0)[:, 0, 1]
            assert abs(draws.mean() - mean) < 0.2 * spread and 0.8 < draws.std() / spread < 1.2


@each_estimator
def test_draws_have_the_moments_of_the_conditional_distribution(Estimator, blobs_with_holes):
    X = blobs_with_holes[0][:6]
    model = Estimator(3, max_iter=0, random_state=0).fit(blobs_with_holes[0])
    draws = model.impute(X, 100, random_state=1)
    assert draws.shape == (100, *X.shape)
    missing = np.isnan(X)
    np.testing.assert_array_equal(draws[:, ~missing], np.broadcast_to(X[~missing], (100, (~missing).sum())))
    errors = (draws.mean(0) - expect_missing(model, X))[missing] / (draws.std(0)[missing] / 10.0)
    assert np.abs(errors).max() < 4.0
    np.testing.assert_array_equal(model.impute(X, 2, random_state=1), model.impute(X, 2, random_state=1))
    assert (model.impute(X, 1, random_state=2)[0, 3] != draws[0, 3]).all()


@each_estimator
def test_what_no_component_explains_is_completed_by_the_background(Estimator, blobs):
    X = np.c_[blobs[0], blobs[0][:, :1] + 1e-3 * RNG.normal(size=(len(blobs[0]), 1))]
    model = Estimator(3, max_iter=0, random_state=0).fit(X)
    rows = np.tile(X[0], (2, 1))
    rows[1, 4] += 5.0
    rows[:, 1] = np.nan
    imputed, draws = model.impute(rows), model.impute(rows, 200, random_state=0)
    np.testing.assert_allclose(imputed[0], expect_missing(model, rows)[0])
    module = model.net_.module_
    standardized = module.likelihood.standardize(torch.from_numpy(rows), torch.float64)
    shares, means, _ = module.background.condition(standardized)
    shares = shares.square() / shares.square().sum(1, keepdim=True)
    expected = module.likelihood.restore((shares.unsqueeze(1) @ means).squeeze(1))
    np.testing.assert_allclose(imputed[1], expected[1])
    assert X[:, 1].min() < imputed[1, 1] < X[:, 1].max()
    assert abs(np.median(draws[:, 1, 1]) - imputed[1, 1]) < 0.5 * draws[:, 1, 1].std()
    np.testing.assert_array_equal(draws[:, 1, [0, 2, 3, 4]], np.broadcast_to(rows[1, [0, 2, 3, 4]], (200, 4)))


@each_estimator
def test_the_means_of_what_is_far_from_all_are_those_of_its_draws(Estimator, blobs):
    X = blobs[0]
    model = Estimator(3, max_iter=0, random_state=0).fit(X)
    far = np.array([[1e6, np.nan, np.nan, np.nan]])
    imputed, draws = model.impute(far)[0, 1:], model.impute(far, 2000, random_state=0)[:, 0, 1:]
    assert (np.abs(imputed - np.median(draws, 0)) < 0.2 * draws.std(0)).all()


@each_estimator
def test_samples_given_some_values_are_of_the_conditional_distribution(Estimator, blobs):
    X, _ = blobs
    frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    model = Estimator(3, max_iter=0, random_state=0).fit(frame)
    value = float(np.median(X[:, 1]))
    row = pd.DataFrame([[np.nan, value, np.nan, np.nan]], columns=frame.columns)
    samples, labels = model.sample(400, given={"b": value}, random_state=0)
    shares = np.bincount(labels, minlength=3) / 400
    np.testing.assert_allclose(shares, model.predict_proba(row)[0], atol=0.1)
    assert (samples[:, 1] == value).all() and (np.diff(labels) >= 0).all()
    means = model.impute(row).to_numpy()[0]
    assert np.abs((samples.mean(0) - means)[[0, 2, 3]] / (samples.std(0)[[0, 2, 3]] / 20.0)).max() < 4.0
    for c in range(3):
        samples, labels = model.sample(300, component=c, given={1: value}, random_state=0)
        expected = condition(row.to_numpy()[0], model.means_[c], model.covariances_[c])[1]
        assert (labels == c).all()
        errors = (samples.mean(0) - expected)[[0, 2, 3]] / (samples.std(0)[[0, 2, 3]] / np.sqrt(300))
        assert np.abs(errors).max() < 4.5
    samples = model.sample(3, component=0, given={"b": value, 3: 100.0}, expected=True, random_state=0)[0]
    assert (samples[:, [1, 3]] == [value, 100.0]).all()


def test_frames_keep_their_columns_index_and_kind(blobs_with_holes, quick):
    frame = pd.DataFrame(blobs_with_holes[0], columns=list("abcd"), index=range(100, 220))
    model = VaDEClustering(3, **quick).fit(frame)
    imputed = model.impute(frame)
    assert list(imputed.columns) == list("abcd") and imputed.index.equals(frame.index)
    assert not imputed.isna().to_numpy().any()
    pd.testing.assert_frame_equal(imputed.where(frame.notna()), frame)
    draws = model.impute(frame, 2)
    assert len(draws) == 2 and draws[0].index.equals(frame.index)
    polars = pytest.importorskip("polars")
    other = polars.DataFrame(dict(frame.items())).fill_nan(None)
    np.testing.assert_allclose(model.impute(other).to_numpy(), imputed.to_numpy())
    assert model.impute(other).columns == list("abcd")


WRONG_CALLS = {
    "draws": (lambda m: m.impute(HOLES, 0), "n_draws must be an integer of at least 1, or None for means; got 0"),
    "a name": (lambda m: m.sample(2, given={"b": 1.0}), "names an unknown feature, 'b'; X has the indices 0 to 3"),
    "an index": (lambda m: m.sample(2, given={4: 1.0}), "names an unknown feature, 4"),
    "a value": (lambda m: m.sample(2, given={1: np.nan}), r"given\[1\] must be a finite number; got nan. Leave out"),
    "a component": (lambda m: m.sample(2, component=3, given={1: 1.0}), "component must be an integer from 0 to 2"),
    "no samples": (lambda m: m.sample(0, given={1: 1.0}), "n_samples must be an integer of at least 1; got 0"),
    "style": (lambda m: m.sample(2, given={1: 1.0}, w=0.0), "pass either w or given"),
}


@pytest.mark.parametrize(("call", "message"), WRONG_CALLS.values(), ids=WRONG_CALLS)
def test_calls_that_cannot_be_answered_say_why(call, message, blobs, quick):
    with pytest.raises(ValueError, match=message):
        call(GMVAEClustering(3, **{**quick, "max_iter": 0, "pretrain_iter": 0}).fit(blobs[0]))
