"""GMVAE: each term against brute force and quadrature, λ and M, and what its estimator alone has."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture
from test_models import log_density
from torch.distributions import Categorical, Independent, Normal, kl_divergence

from skgmvae import GMVAEClustering
from skgmvae._auto import choose_settings, set_settings
from skgmvae._configuration import make_fit_config
from skgmvae.data.training_data import TrainingData
from skgmvae.datasets import make_circle_arcs
from skgmvae.models import GMVAE, Autoencoder, Bernoulli, Gaussian, VaDE
from skgmvae.training.config import TrainConfig
from skgmvae.training.objective import NegativeELBO
from skgmvae.training.pretraining import make_autoencoder

N, K, L, W, D, M = 6, 3, 2, 3, 5, 4
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def make_gmvae(n_features=D, latent_dim=L, style_dim=W, seed=0, **options):
    torch.manual_seed(seed)
    likelihood = Gaussian(torch.zeros(n_features).double(), torch.full((n_features,), 2.0).double())
    likelihood.set_variance(torch.full((n_features,), 0.5))
    autoencoder = Autoencoder(n_features, latent_dim, likelihood, (7,))
    model = GMVAE(autoencoder, K, style_dim, 7, **{"learn_weights": True, **options}).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        model.prior.head.mean.weight.mul_(3.0)  # means that depend on w
    return model


def draw_rows(n_rows=N, n_features=D, seed=0):
    return 2.0 * torch.randn(n_rows, n_features, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def to_normal(mean, log_variance):
    return Independent(Normal(mean, torch.exp(0.5 * log_variance)), 1)


def split_prior(model, w):
    """One Normal per component, from the prior network's raw outputs rather than its reshaping."""
    hidden = torch.tanh(model.prior.hidden[0](w))
    means, log_variances = model.prior.head.mean(hidden), model.prior.head.log_variance(hidden)
    L = model.latent_dim
    return [to_normal(means[..., c * L : (c + 1) * L], log_variances[..., c * L : (c + 1) * L]) for c in range(K)]


def test_terms_equal_brute_force_over_components_and_draws():
    model, x = make_gmvae(n_mc_samples=M), draw_rows()
    torch.manual_seed(3)
    terms = model(x)

    torch.manual_seed(3)
    noise = torch.randn(M, N, L + W, dtype=torch.float64)
    features = model.autoencoder.body(x / 2.0)
    q_z, q_w = to_normal(*model.autoencoder.head(features)), to_normal(*model.style_head(features))
    pi = torch.softmax(model.weight_logits, -1)
    expected = {name: torch.zeros(N, dtype=torch.float64) for name in terms._fields}
    for m in range(M):
        z = q_z.mean + q_z.stddev * noise[m, :, :L]
        w = q_w.mean + q_w.stddev * noise[m, :, L:]
        components = split_prior(model, w)
        joint = torch.stack([pi[c] * components[c].log_prob(z).exp() for c in range(K)], -1)
        posterior = joint / joint.sum(-1, keepdim=True)
        x_given_z = Normal(2.0 * model.autoencoder.decoder(z), 2.0 * np.sqrt(0.5))
        variance = model.autoencoder.likelihood.log_variance.exp()
        x_given_z = Normal(x_given_z.mean, 2.0 * variance.sqrt())
        expected["log_likelihood"] += x_given_z.log_prob(x).sum(-1) / M
        expected["kl_latent"] += sum(posterior[:, c] * kl_divergence(q_z, components[c]) for c in range(K)) / M
        expected["kl_component"] += kl_divergence(Categorical(posterior), Categorical(pi.expand(N, K))) / M
    standard = to_normal(torch.zeros(W, dtype=torch.float64), torch.zeros(W, dtype=torch.float64))
    expected["kl_style"] = kl_divergence(q_w, standard.expand((N,)))
    for name, value in expected.items():
        torch.testing.assert_close(getattr(terms, name), value)


def test_clamped_responsibilities_stand_in_for_the_posterior():
    model, x = make_gmvae(n_mc_samples=M), draw_rows()
    clamped = torch.log_softmax(draw_rows(N, K, seed=5), -1)
    torch.manual_seed(3)
    terms = model(x, clamped)
    prior = Categorical(logits=model.weight_logits.expand(N, K))
    torch.testing.assert_close(terms.kl_component, kl_divergence(Categorical(logits=clamped), prior))
    torch.manual_seed(3)
    noise = torch.randn(M, N, L + W, dtype=torch.float64)
    q_z, q_w = model.encode(x / 2.0)
    components = split_prior(model, q_w[0] + torch.exp(0.5 * q_w[1]) * noise[..., L:])
    divergences = torch.stack([kl_divergence(to_normal(*q_z), component) for component in components], -1)
    torch.testing.assert_close(terms.kl_latent, (clamped.exp() * divergences).sum(-1).mean(0))


def test_labels_are_learned_by_the_gradient_of_their_cross_entropy():
    """Of the posterior by the expected log-densities; with labels, and where the training says so."""
    model, x = make_gmvae(), draw_rows()
    labels = torch.randn(N, K, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).log_softmax(-1)

    def differentiate(learns_labels, log_responsibilities):
        model.learns_labels = learns_labels
        terms = model(x, log_responsibilities, generator=torch.Generator().manual_seed(0))
        means = model.prior.head.mean.bias
        return terms.kl_latent.detach(), torch.autograd.grad(terms.kl_latent.sum(), means)[0]

    value, plain = differentiate(False, labels)
    same_value, gradient = differentiate(True, labels)
    assert torch.equal(value, same_value)

    (mean, log_variance), q_w = model.encode(model.autoencoder.standardize(x))
    noise = torch.randn(N, L + W, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    w = model._draw((mean, log_variance), q_w, noise)[1]
    prior_mean, prior_log_variance = model.prior(w)
    q = to_normal(mean.unsqueeze(1), log_variance.unsqueeze(1))
    log_posterior = (model.log_weights() - kl_divergence(q, to_normal(prior_mean, prior_log_variance))).log_softmax(-1)
    cross_entropy = -(labels.exp() * log_posterior).sum()
    expected = torch.autograd.grad(cross_entropy, model.prior.head.mean.bias)[0]
    torch.testing.assert_close(gradient - plain, expected)
    assert torch.equal(differentiate(True, None)[1], differentiate(False, None)[1])


@pytest.mark.parametrize("has_linear_path", [False, True])
def test_a_prior_beside_a_linear_path_learns_slowly(has_linear_path):
    """Its hidden units are divided by the square root of their number."""
    likelihood = Gaussian(torch.zeros(D).double(), torch.ones(D).double())
    model = GMVAE(Autoencoder(D, L, likelihood, (7,), has_linear_path=has_linear_path), K, W, 16).double()
    w, scale = torch.randn(N, W, dtype=torch.float64), 0.25 if has_linear_path else 1.0
    expected = model.prior.head.mean(scale * model.prior.hidden(w)).unflatten(-1, (K, L))
    torch.testing.assert_close(model.prior(w)[0], expected)
    components = torch.arange(N) % K
    torch.testing.assert_close(model.prior.take(w.unsqueeze(1), components)[0][:, 0], expected[range(N), components])


def test_bounds_stay_below_quadrature_and_the_estimate_reaches_it():
    model = make_gmvae(n_features=1, latent_dim=1, style_dim=1, seed=2, n_mc_samples=20_000)
    x = torch.linspace(0, 2, 5, dtype=torch.float64).unsqueeze(1)
    grid = torch.linspace(-7, 7, 701, dtype=torch.float64).unsqueeze(1)
    step = grid[1, 0] - grid[0, 0]
    with torch.no_grad():
        # p(z) = ∫ p(w) Σ_c π_c N(z; μ_c(w), σ²_c(w)) dw, then p(x) = ∫ p(z) p(x|z) dz on a wider grid
        wide = 6.0 * grid
        pi = torch.softmax(model.weight_logits, -1)
        density = sum(
            pi[c] * split_prior(model, grid.unsqueeze(1))[c].log_prob(wide.unsqueeze(0)).exp() for c in range(K)
        )
        p_z = (Normal(0.0, 1.0).log_prob(grid).exp() * density).sum(0) * step
        torch.testing.assert_close((p_z.sum() * 6.0 * step).item(), 1.0, rtol=1e-3, atol=0)
        conditional = model.autoencoder.log_likelihood(x / 2.0, wide.unsqueeze(1)).exp()
        log_likelihood = torch.log((p_z.unsqueeze(1) * conditional).sum(0) * 6.0 * step)

        torch.manual_seed(0)
        terms = model(x)
        bound = NegativeELBO().per_row(terms)
        assert (bound < log_likelihood).all()
        estimates = torch.stack([log_density(model, x, seed) for seed in range(20)])
    torch.testing.assert_close(estimates.mean(0), log_likelihood, rtol=0, atol=0.05)


def test_prior_that_does_not_look_at_w_is_that_of_vade():
    model = make_gmvae()
    vade = VaDE(model.autoencoder, K, covariance_type="diag").double()
    with torch.no_grad():
        for layer in (model.prior.head.mean, model.prior.head.log_variance):
            layer.weight.zero_()
        for layer in (model.style_head.mean, model.style_head.log_variance):
            layer.weight.zero_()
            layer.bias.zero_()
        vade.means.copy_(model.prior.head.mean.bias.view(K, L))
        vade.log_diagonal.copy_(-0.5 * model.prior.head.log_variance.bias.view(K, L))
        vade.weight_logits.copy_(model.weight_logits)
        x = model.generate(torch.arange(N) % K, torch.Generator().manual_seed(0))[0]
        one, other = (torch.stack([log_density(m, x, seed) for seed in range(20)]) for m in (model, vade))
    spread = torch.hypot(one.exp().std(0), other.exp().std(0)) / 20**0.5
    assert ((one.exp().mean(0) - other.exp().mean(0)).abs() < 4.5 * spread).all()


def compute_gradient(model, x, min_information, weigh_component=1.0):
    torch.manual_seed(1)
    terms = model(x)
    if weigh_component == 0.0:
        terms = terms._replace(kl_component=torch.zeros_like(terms.kl_component))
        min_information = 0.0
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(NegativeELBO(min_information)(terms), parameters, allow_unused=True)
    return torch.cat([gradient.flatten() for gradient in gradients if gradient is not None])


def test_component_term_has_no_gradient_below_the_floor_and_its_own_above():
    model, x = make_gmvae(n_mc_samples=2, learn_weights=False), draw_rows(40)
    torch.manual_seed(1)
    kl = model(x).kl_component.detach()
    without, full = compute_gradient(model, x, 0.0, weigh_component=0.0), compute_gradient(model, x, 0.0)
    torch.testing.assert_close(compute_gradient(model, x, 1.01 * float(kl.max())), without)
    torch.testing.assert_close(compute_gradient(model, x, 0.99 * float(kl.min())), full)
    between = compute_gradient(model, x, float(kl.median()))
    assert (between - without).norm() > 1e-3 and (between - full).norm() > 1e-3


def test_more_draws_shrink_the_variance_of_the_gradient_in_proportion():
    x, variances = draw_rows(), {}
    for n_draws in (1, 10):
        model = make_gmvae(n_mc_samples=n_draws)
        torch.manual_seed(2)
        parameters = list(model.parameters())
        gradients = [
            torch.cat([g.flatten() for g in torch.autograd.grad(NegativeELBO()(model(x)), parameters)])
            for _ in range(200)
        ]
        variances[n_draws] = torch.stack(gradients).var(0).sum()
    assert 7.0 < variances[1] / variances[10] < 14.0


def test_initialization_has_the_moments_of_its_groups_whatever_w():
    model = make_gmvae()
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(300) % K
    embedding = torch.randn(300, L, generator=generator) * torch.tensor([0.5, 2.0]) + 10.0 * labels.unsqueeze(1)
    model.initialize_from(embedding, torch.eye(K)[labels])
    means, log_variances = model.prior(torch.zeros(1, W, dtype=torch.float64))
    groups = [embedding[labels == c].double() for c in range(K)]
    torch.testing.assert_close(means[0], torch.stack([group.mean(0) for group in groups]), rtol=0, atol=0.3)
    variances = torch.stack([group.var(0) for group in groups])
    torch.testing.assert_close(log_variances[0], variances.log(), rtol=0, atol=0.3)
    assert NegativeELBO().per_row(model(draw_rows())).isfinite().all()
    q_w = model.encode(draw_rows())[1]
    assert not q_w[0].any() and not q_w[1].any()  # q(w|x) = p(w)


def test_generated_rows_follow_w():
    model = make_gmvae(n_features=4)
    n_draws = 20_000
    components = torch.arange(K).repeat_interleave(n_draws)
    with torch.no_grad():
        for w in (torch.zeros(1, W, dtype=torch.float64), torch.full((1, W), 1.5, dtype=torch.float64)):
            z_given_c = split_prior(model, w)
            at_center = 2.0 * model.autoencoder.decoder(torch.cat([component.mean for component in z_given_c]))
            torch.testing.assert_close(model.traverse(torch.arange(K), w.expand(K, W)), at_center)
            style = w.expand(len(components), W)
            _, means = model.generate(components, torch.Generator().manual_seed(0), style)
            torch.manual_seed(0)
            expected = torch.stack(
                [2.0 * model.autoencoder.decoder(component.sample((n_draws,))).mean((0, 1)) for component in z_given_c]
            )
            error = means.view(K, n_draws, 4).std(1) * (2.0 / n_draws) ** 0.5
            assert ((means.view(K, n_draws, 4).mean(1) - expected).abs() < 5.0 * error).all()


# --------------------------------------------------------------------------------------- estimator


@pytest.fixture(scope="module")
def fitted(blobs, quick):
    return GMVAEClustering(3, style_dim=2, **{**quick, "pretrain_iter": 20, "max_iter": 20}).fit(blobs[0])


def test_a_style_has_as_many_dimensions_as_the_covariances_need(blobs):
    X = blobs[0]
    for columns, given, expected in ((X[:, :1], {}, 2), (X, {}, X.shape[1]), (X, {"latent_dim": 3}, 3)):
        for further, dimensions in (({}, expected), ({"linear_path": False}, 2), ({"style_dim": 5}, 5)):
            model = GMVAEClustering(3, max_iter=0, pretrain_iter=0, random_state=0, **given, **further).fit(columns)
            assert model.style_dim_ == model.net_.module_.style_dim == dimensions


@pytest.mark.parametrize(("style_dim", "n_parameters"), [(1, 3 * 8), (2, 3 * 10), ("auto", 3 * 10), (5, 3 * 10)])
def test_criteria_count_the_factors_of_a_mixture(style_dim, n_parameters):
    """Of four features: one factor and a diagonal, or a whole covariance."""
    X = load_iris().data
    model = GMVAEClustering(3, style_dim=style_dim, max_iter=0, max_subcomponents=1, random_state=0).fit(X)
    expected = -2.0 * model.score_samples(X).sum() + 2.0 * (2 + 3 * 4 + n_parameters)
    assert model.aic(X) == pytest.approx(expected)


def test_sample_with_a_given_style(fitted):
    X, y = fitted.sample(30, component=1, w=0.0, random_state=0)
    assert X.shape == (30, fitted.n_features_in_) and (y == 1).all()
    np.testing.assert_array_equal(fitted.sample(30, component=1, w=[0.0, 0.0], random_state=0)[0], X)
    np.testing.assert_array_equal(fitted.sample(30, component=1, w=np.zeros((30, 2)), random_state=0)[0], X)
    assert not np.array_equal(fitted.sample(30, component=1, w=2.0, random_state=0)[0], X)
    centers = fitted.traverse(np.linspace([-2, 0], [2, 0], 5), component=1)
    assert centers.shape == (5, fitted.n_features_in_) and np.unique(centers, axis=0).shape[0] == 5


def test_unusable_styles(fitted):
    for w in ([0.0, 0.0, 0.0], np.zeros((4, 2))):
        with pytest.raises(ValueError, match=r"shape \(2,\) or \(30, 2\), as style_dim_=2; got"):
            fitted.sample(30, w=w)
    for w in (0.0, [0.0, 0.0], np.zeros((4, 3))):  # [0, 0]: one point or two
        with pytest.raises(ValueError, match=r"shape \(n_points, 2\), as style_dim_=2; got"):
            fitted.traverse(w, component=0)
    with pytest.raises(ValueError, match="w must be finite; got 1 values that are not"):
        fitted.sample(30, w=[np.inf, 0.0])
    with pytest.raises(ValueError, match="w must be finite; got 1 values that are not"):
        fitted.traverse([[np.nan, 0.0]], component=0)
    with pytest.raises(ValueError, match="component must be an integer from 0 to 2; got 3"):
        fitted.traverse(np.zeros((2, 2)), component=3)


def test_finds_arcs_where_a_gaussian_mixture_does_not():
    X, y = make_circle_arcs(1500, random_state=0)
    gmvae = GMVAEClustering(5, max_iter=10, random_state=0).fit(X)
    assert gmvae.init_params_ == "single linkage of the inputs"
    assert adjusted_rand_score(y, gmvae.labels_) > 0.9
    assert adjusted_rand_score(y, GaussianMixture(5, random_state=0).fit_predict(X)) < 0.8


def test_random_initialization_keeps_the_random_weights(blobs, quick):
    settings = {**quick, "pretrain_iter": 0, "max_iter": 0, "init_params": "random"}
    model = GMVAEClustering(4, **settings).fit(blobs[0]).net_.module_
    bound = 1.0 / np.sqrt(model.prior.hidden[0].out_features)  # torch's own initialization is uniform
    bias = model.prior.head.mean.bias.detach()
    assert bias.abs().max() <= bound and bias.abs().max() > 0.5 * bound
    assert (model.autoencoder.likelihood.log_variance <= np.log(0.1) + 1e-6).all()
    settings["init_params"] = "kmeans"
    initialized = GMVAEClustering(4, **settings).fit(blobs[0]).net_.module_
    assert initialized.prior.head.mean.bias.detach().abs().max() > 2.0 * bound


@pytest.mark.parametrize("experiment, shape", [("synthetic", None), ("mnist", (1, 28, 28)), ("svhn", (3, 32, 32))])
def test_settings_of_the_paper(experiment, shape):
    estimator = GMVAEClustering.from_paper(experiment, n_components=16, max_iter=0)
    assert estimator.n_components == 16 and estimator.image_shape == shape and estimator.max_iter == 0
    X = np.random.default_rng(0).uniform(size=(40, 2 if shape is None else int(np.prod(shape)))).astype(np.float32)
    set_settings(estimator, choose_settings(estimator, *X.shape), is_new=True)
    config = make_fit_config(estimator, TrainingData.from_rows(X), TrainConfig(0, 10, 1e-3), [])
    assert config.init.image_shape == shape and config.training.n_clamped == 0 == estimator.init_clamp
    model = estimator._make_model(make_autoencoder(config.architecture))
    hidden, latent, noise = (120, 2, 2) if shape is None else (500, 200, 150)
    assert model.prior.hidden[0].weight.shape == (hidden, noise)
    assert model.prior.head.mean.weight.shape == (16 * latent, hidden)
    assert model.style_head.mean.weight.shape == (noise, hidden)
    assert isinstance(model.autoencoder.likelihood, Gaussian if shape is None else Bernoulli)
    with pytest.raises(ValueError, match="must be one of synthetic, mnist, svhn; got 'cifar'"):
        GMVAEClustering.from_paper("cifar")
