"""The linear path: a model that begins as the Gaussian mixture of its initial clusters, and keeps them."""

import warnings
from functools import partial

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.special import logsumexp, softmax
from scipy.stats import multivariate_normal
from sklearn.datasets import load_iris, make_blobs, make_moons
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from skgmvae import GMVAEClustering, VaDEClustering, VAEEMClustering
from skgmvae.initialization.moments import MAX_SCORED, choose_regularization, estimate_mixture, mixture_log_prob
from skgmvae.models.autoencoder import Autoencoder
from skgmvae.models.gmvae import GMVAE
from skgmvae.models.importance import estimate_log_joint, make_point_sets
from skgmvae.models.likelihoods import Gaussian
from skgmvae.models.linear_path import MixtureMoments, make_codes, make_latent, split_covariances
from skgmvae.models.vade import VaDE
from skgmvae.models.vaeem import VAEEM

ESTIMATORS = (VaDEClustering, partial(VAEEMClustering, linear_path=True), partial(GMVAEClustering, linear_path=True))
IDS = ("VaDE", "VAE-EM", "GMVAE")
COVARIANCE_TYPES = ("full", "tied", "diag", "spherical")


@pytest.fixture(autouse=True)
def _short_fits():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def make_mixture(D=3, K=3, seed=0):
    """Weights, means and covariances that overlap."""
    rng = np.random.default_rng(seed)
    roots = rng.normal(size=(K, D, D)) / np.sqrt(D)
    covariances = 0.3 * roots @ roots.mT + 0.05 * np.eye(D)
    arrays = rng.dirichlet(5.0 * np.ones(K)), rng.normal(size=(K, D)), covariances
    return MixtureMoments(*map(torch.from_numpy, arrays))


def log_joint(x, mixture):
    """log π_c N(x; m_c, C_c), (N, K), by SciPy."""
    weights, means, covariances = (part.numpy() for part in mixture)
    columns = [
        multivariate_normal(m, C, allow_singular=False).logpdf(x) for m, C in zip(means, covariances, strict=True)
    ]
    return np.log(weights) + np.stack(columns, 1)


def draw(mixture, n=400, seed=1):
    """Samples (N, D) of it."""
    rng = np.random.default_rng(seed)
    weights, means, covariances = (part.numpy() for part in mixture)
    return np.concatenate(
        [
            rng.multivariate_normal(*of_one, size=round(n * w))
            for w, *of_one in zip(weights, means, covariances, strict=True)
        ]
    )


def make_model(model_type, mixture, latent_dim, **options):
    """A model in float64, of inputs that are standardized already."""
    D = mixture.means.shape[1]
    generator = torch.Generator().manual_seed(0)
    likelihood = Gaussian(torch.zeros(D).double(), torch.ones(D).double(), has_own_floor=True)
    autoencoder = Autoencoder(D, latent_dim, likelihood, (16,), generator=generator, has_linear_path=True)
    model = model_type(autoencoder, len(mixture.weights), learn_weights=True, generator=generator, **options).double()
    model.initialize_as(mixture)
    return model.eval()


@torch.no_grad()
def estimate(model, x):
    """log p(x, c), (N, K)."""
    (width,) = model.noise_shape
    return model.log_joint(torch.from_numpy(x), make_point_sets(width, x.shape[1], 0)).numpy()


@pytest.mark.parametrize("latent_dim", [3, 5])
@pytest.mark.parametrize("model_type", [VaDE, VAEEM])
def test_the_model_begins_as_the_mixture(model_type, latent_dim):
    mixture = make_mixture()
    x = draw(mixture)
    exact = log_joint(x, mixture)
    model = make_model(model_type, mixture, latent_dim)
    assert_allclose(logsumexp(estimate(model, x), 1), logsumexp(exact, 1), atol=1e-9)
    assert_allclose(softmax(estimate(model, x), 1), softmax(exact, 1), atol=1e-9)
    with torch.no_grad():
        posterior = model.log_responsibilities(torch.from_numpy(x)).exp().numpy()
    # q(z|x) has one Gaussian for all components
    assert np.abs(posterior - softmax(exact, 1)).mean() < 0.05
    assert (posterior.argmax(1) == exact.argmax(1)).mean() > 0.97


def test_vaeem_begins_with_the_posterior_of_each_component():
    """The bound of each component is then its log-density, here by 20,000 draws of q(z|x)."""
    mixture = make_mixture()
    x = draw(mixture, 20)
    model = make_model(VAEEM, mixture, 3, n_mc_samples=20_000)
    with torch.no_grad():
        rows, generator = torch.from_numpy(x), torch.Generator().manual_seed(0)
        log_likelihood, kl = model.component_terms(rows, sampled=True, generator=generator)
    assert_allclose(log_likelihood - kl, log_joint(x, mixture._replace(weights=torch.ones(3))), atol=0.05, rtol=0.005)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_covariances_are_those_that_the_family_allows(covariance_type):
    """Exact for full and tied ones; otherwise the density of what the latent covariances stand for."""
    mixture = make_mixture()
    if covariance_type == "tied":
        mixture = mixture._replace(covariances=mixture.covariances[:1].expand(3, -1, -1))
    model = make_model(VaDE, mixture, 3, covariance_type=covariance_type)
    W, noise = model.autoencoder.linear.decoder.weight.detach(), model.likelihood.log_variance.detach().exp()
    covariances = (W @ model.covariances().detach() @ W.T + noise.diag()).expand(3, -1, -1)
    if covariance_type in ("full", "tied"):
        assert_allclose(covariances, mixture.covariances, atol=1e-10)
    else:  # the pooled covariance is kept, but for the variances' share of a single one
        pooled = torch.einsum("k,kij->ij", mixture.weights, covariances)
        assert_allclose(pooled, mixture.pooled, atol=1e-10)
    x = draw(mixture)
    assert_allclose(estimate(model, x), log_joint(x, mixture._replace(covariances=covariances)), atol=1e-6)


@pytest.mark.parametrize("model_type", [VaDE, GMVAE])
def test_two_components_are_exact_with_diagonal_covariances(model_type):
    """Two covariances have common axes."""
    mixture = make_mixture(K=2)
    options = {"covariance_type": "diag"} if model_type is VaDE else {"style_dim": 2, "prior_width": 8}
    model = make_model(model_type, mixture, 3, **options)
    x = draw(mixture)
    assert_allclose(logsumexp(estimate(model, x), 1), logsumexp(log_joint(x, mixture), 1), atol=1e-9)


@pytest.mark.parametrize("style_dim", [3, 4])
@pytest.mark.parametrize("latent_dim", [3, 5])
def test_a_style_of_as_many_dimensions_holds_the_covariances(latent_dim, style_dim):
    mixture = make_mixture()
    x, options = draw(mixture), {"style_dim": style_dim, "prior_width": 8}
    exact = log_joint(x, mixture)
    model = make_model(GMVAE, mixture, latent_dim, **options)
    assert model.has_full_covariances
    assert_allclose(logsumexp(estimate(model, x), 1), logsumexp(exact, 1), atol=1e-9)
    assert_allclose(softmax(estimate(model, x), 1), softmax(exact, 1), atol=1e-9)
    # by importance sampling of (z, w), which does not know the closed form: shared latent variables, and one component
    rows = torch.from_numpy(x[:50])
    with torch.no_grad():
        posterior, points = model.posterior(rows), make_point_sets(*model.noise_shape, 3, 0)
        sampled = estimate_log_joint(posterior, rows, points)
        own = torch.cat([posterior.restrict(torch.full((50, 1), c)).log_joint(posterior.mean) for c in range(3)], -1)
        assert_allclose(own, posterior.log_joint(posterior.mean), atol=1e-9)
        noise, components = torch.Generator().manual_seed(0), torch.ones(50_000, dtype=torch.long)
        drawn = model.generate(components, noise)[0]
    if latent_dim == 3:  # further dimensions, around codes of their own for each component, need many points
        assert_allclose(sampled, exact[:50], atol=1e-6)
    assert_allclose(drawn.T.cov(), mixture.covariances[1], atol=0.03)
    model.reorder(torch.tensor([2, 0, 1]))
    assert_allclose(softmax(estimate(model, x), 1), softmax(exact, 1)[:, [2, 0, 1]], atol=1e-9)


@pytest.mark.parametrize("n_factors", [1, 3, 4, 6])
def test_covariances_are_split_into_factors_and_a_diagonal(n_factors):
    covariances = make_mixture(D=4).covariances
    slopes, variances = split_covariances(covariances, n_factors)
    assert slopes.shape == (3, n_factors, 4) and (variances > 0.0).all()
    found = slopes.mT @ slopes + variances.diag_embed()
    assert_allclose(found.diagonal(dim1=-2, dim2=-1), covariances.diagonal(dim1=-2, dim2=-1), rtol=1e-9)
    if n_factors >= 4:
        assert_allclose(found, covariances, atol=1e-12)
        assert_allclose(slopes[:, :4], slopes[:, :4].mT, atol=1e-12)  # the axes of w are those of z
    else:
        without = split_covariances(covariances, n_factors)[1].diag_embed() - covariances
        assert torch.linalg.matrix_norm(found - covariances).sum() < torch.linalg.matrix_norm(without).sum()


def test_few_latent_dimensions_keep_the_principal_axes():
    """Means and pooled covariance on these axes, and the variance of every feature."""
    mixture = make_mixture(D=6, K=3)
    start = make_latent(mixture, 2, has_codes=False)
    centered = mixture.means - start.decoder_bias
    total = mixture.pooled + torch.einsum("k,ki,kj->ij", mixture.weights, centered, centered)
    axes = torch.linalg.eigh(total)[1][:, -2:]
    W = start.decoder_weight
    assert_allclose(start.means @ W.T @ axes, centered @ axes, atol=1e-10)
    latent = torch.eye(2).double() + torch.einsum("k,ki,kj->ij", mixture.weights, start.means, start.means)
    assert_allclose((W @ latent @ W.T).diagonal() + start.noise_variance, total.diagonal(), atol=1e-10)


def test_codes_are_equally_far_from_zero_and_from_each_other_if_few():
    for K, n in ((2, 1), (2, 2), (3, 2), (5, 4), (4, 3)):
        codes = make_codes(K, n)
        assert codes.shape == (K, n)
        assert_allclose(codes.norm(dim=1), codes[0].norm())
        assert torch.pdist(codes).min() > 0.9 * codes[0].norm()
    assert_allclose(make_codes(4, 1), 0.0)


def test_estimated_moments_are_those_of_the_samples():
    """With many samples little is added."""
    mixture = make_mixture()
    x = draw(mixture, 20_000)
    posterior = np.exp(log_joint(x, mixture))
    responsibilities = torch.from_numpy(posterior / posterior.sum(1, keepdims=True))
    found = estimate_mixture(torch.from_numpy(x), responsibilities, np.random.RandomState(0))
    for part, true in zip(found, mixture, strict=True):
        assert_allclose(part, true, atol=0.05)


def test_densities_of_several_mixtures_at_once():
    mixtures = [make_mixture(seed=seed) for seed in range(3)]
    x = torch.from_numpy(np.stack([draw(mixture, 5) for mixture in mixtures]))
    stacked = MixtureMoments(*map(torch.stack, zip(*mixtures, strict=True)))
    expected = [logsumexp(log_joint(rows.numpy(), mixture), 1) for rows, mixture in zip(x, mixtures, strict=True)]
    assert_allclose(mixture_log_prob(x, stacked), np.stack(expected))
    stacked.covariances[1, 0] = -torch.eye(3)
    found = mixture_log_prob(x, stacked)
    assert_allclose(found[[0, 2]], np.stack(expected)[[0, 2]])
    assert (found[1] == -torch.inf).all()


@pytest.mark.parametrize("n_samples", [23, 5 * MAX_SCORED + 7])
def test_the_choice_of_a_regularization_does_not_depend_on_the_folds_at_a_time(n_samples, monkeypatch):
    """Folds of unequal sizes, and of more samples than are scored."""
    rng = np.random.RandomState(0)
    x, responsibilities = torch.from_numpy(rng.normal(size=(n_samples, 4))), rng.dirichlet([1.0, 1.0], n_samples)
    found = []
    for n_values in (1, 2**30):
        monkeypatch.setattr("skgmvae.initialization.moments.CACHED_VALUES", n_values)
        found.append(choose_regularization(x, torch.from_numpy(responsibilities), np.random.RandomState(0))[0])
    assert found[0] == found[1]


def test_shrinkage_grows_where_samples_are_few():
    """12 samples of 10 features in each of two components of one covariance: near the pooled one."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(24, 10))
    x[12:, 0] += 8.0
    responsibilities = torch.eye(2).double().repeat_interleave(12, 0)
    found = estimate_mixture(torch.from_numpy(x), responsibilities, np.random.RandomState(0))
    assert (found.covariances[0] - found.covariances[1]).abs().max() < 0.5


@pytest.mark.parametrize(("residual", "least"), [(0.3, 1e-5), (0.001, 1e-6)])
def test_the_least_variance_is_added_only_to_nearly_collinear_columns(residual, least):
    """With 1e-5, the density of the latter would be lower by a nat."""
    rng = np.random.RandomState(0)
    Z = rng.randn(600, 3)
    X = np.c_[Z, Z[:, 0] - Z[:, 1] + residual * rng.randn(600)]
    x = torch.from_numpy((X - X.mean(0)) / X.std(0))
    setting = choose_regularization(x, torch.ones(600, 1).double(), np.random.RandomState(0))[0]
    assert setting.added_variance >= least and (setting.added_variance == 1e-6) is (least == 1e-6)
    model = VaDEClustering(1, max_iter=0, random_state=0).fit(X[:300])
    assert model.score(X[300:]) > GaussianMixture(1).fit(X[:300]).score(X[300:]) - 0.2


@pytest.mark.parametrize("make", ESTIMATORS, ids=IDS)
def test_initial_clusters_are_kept(make):
    X, y = make_blobs(300, 4, centers=4, cluster_std=1.5, random_state=3)
    for max_iter in (0, 5):
        model = make(4, max_iter=max_iter, random_state=0).fit(X, init_labels=y)
        assert adjusted_rand_score(y, model.labels_) > 0.97
    assert model.pretrain_history_ == []


def test_clusters_of_equal_moments_are_learned():
    """Two half circles; a mixture of Gaussians gives a third of one to the other."""
    X, y = make_moons(500, noise=0.05, random_state=0)
    options = {"max_subcomponents": 1, "random_state": 0}
    begun, trained = VaDEClustering(2, max_iter=0, **options).fit(X), VaDEClustering(2, **options).fit(X)
    assert adjusted_rand_score(y, begun.labels_) < 0.8
    assert adjusted_rand_score(y, trained.labels_) > 0.95
    assert trained.score(X) > begun.score(X) + 0.2


@pytest.mark.parametrize("make", ESTIMATORS, ids=IDS)
def test_a_wild_value_costs_no_cluster(make):
    X, y = make_blobs(300, 4, centers=3, random_state=1)
    X[7] = X.mean(0) + 1000.0 * X.std(0)
    for max_iter in (0, 5):
        labels = make(3, max_iter=max_iter, random_state=0).fit_predict(X)
        assert adjusted_rand_score(np.delete(y, 7), np.delete(labels, 7)) > 0.97


@pytest.mark.parametrize("make", ESTIMATORS, ids=IDS)
def test_clusters_along_a_direction_of_low_variance(make):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 600)
    X = np.c_[10.0 * rng.normal(size=600), y + 0.1 * rng.normal(size=600)] @ [[0.8, 0.6], [-0.6, 0.8]]
    for max_iter in (0, 5):
        labels = make(3, max_iter=max_iter, random_state=0).fit_predict(X)
        assert adjusted_rand_score(y, labels) > 0.97


def test_clusters_among_noise_columns():
    X, y = make_blobs(600, 3, centers=3, random_state=2)
    X = np.c_[X, np.random.default_rng(0).normal(size=(600, 60))]
    assert adjusted_rand_score(y, VaDEClustering(3, max_iter=2, random_state=0).fit_predict(X)) > 0.97


@pytest.mark.parametrize("make", ESTIMATORS, ids=IDS)
def test_saving_and_continuing(make, tmp_path):
    X = load_iris().data
    model = make(3, max_iter=3, warm_start=True, random_state=0).fit(X)
    model.save(tmp_path / "model")
    loaded = type(model).load(tmp_path / "model")
    assert loaded._fitted_architecture.linear_path
    assert np.array_equal(loaded.predict_proba(X), model.predict_proba(X))
    assert np.array_equal(loaded.score_samples(X), model.score_samples(X))
    before = model.score(X)
    assert model.fit(X).score(X) > before - 0.05
    assert adjusted_rand_score(loaded.labels_, loaded.fit(X).labels_) > 0.9
    with pytest.raises(ValueError, match="cannot be continued with linear_path=False"):
        model.set_params(linear_path=False).fit(X)


def test_where_there_is_no_linear_path():
    X, _ = make_blobs(60, 3, centers=2, random_state=0)
    quick = {"max_iter": 0, "pretrain_iter": 1, "random_state": 0}

    def has_path(X, **parameters):
        return VaDEClustering(2, **{**quick, **parameters}).fit(X)._fitted_architecture.linear_path

    assert has_path(X)
    assert not has_path(X, linear_path=False)
    assert not has_path(X, init_params="random")
    assert has_path((X - X.min()) / np.ptp(X))
    assert has_path((X > 0).astype(float))  # a table of flags begins as a latent class model
    assert not has_path((X > 0).astype(float), likelihood="bernoulli")
    assert not has_path(np.random.default_rng(0).normal(size=(60, 101)))
    with pytest.raises(ValueError, match="linear_path=True needs .* got the likelihood 'bernoulli'"):
        has_path(X > 0, linear_path=True, likelihood="bernoulli")
    with pytest.raises(ValueError, match="linear_path"):
        has_path(X, linear_path="always")


@pytest.mark.parametrize("model_type", [VaDE, GMVAE, VAEEM])
def test_the_closed_form_of_a_linear_decoder_is_what_importance_sampling_estimates(model_type):
    mixture = make_mixture(K=2)
    options = {"style_dim": 2, "prior_width": 8} if model_type is GMVAE else {}
    model = make_model(model_type, mixture, 5, **options)
    x = torch.from_numpy(draw(mixture))
    with torch.no_grad():
        sampled = estimate_log_joint(model.posterior(x), x, make_point_sets(*model.noise_shape, x.shape[1], 0))
        assert_allclose(model.log_joint(x, None), sampled, atol=1e-9)
        decoder = model.decoder if model_type is VAEEM else model.autoencoder.decoder
        decoder[-1].bias += 0.1
    with pytest.raises(AttributeError):  # points are needed again
        model.log_joint(x, None)
