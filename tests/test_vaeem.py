"""The mixture of variational autoencoders against single ones, brute force and a linear model."""

import math

import pytest
import torch
from test_models import K, L, N, draw_noise, draw_rows, log_density, make_autoencoder, make_vaeem, shake, total
from torch.distributions import Bernoulli, Categorical, MixtureSameFamily, MultivariateNormal, Normal, kl_divergence

from skgmvae.models import VAEEM, Autoencoder, Gaussian, VaDE
from skgmvae.models.stacked import (
    StackedLinear,
    draw_stacked_weights,
    make_stacked_conv_body,
    make_stacked_conv_decoder,
)

D = 5


def make_random(seed=0, **options):
    torch.manual_seed(seed)
    return shake(make_vaeem(**options).double(), seed)


def run_single(layers, c, x):
    """The network of component ``c`` alone: linear layers and ReLU by hand."""
    for layer in layers:
        x = x.clamp_min(0.0) if isinstance(layer, torch.nn.ReLU) else x @ layer.weight[c] + layer.bias[c]
    return x


def compute_single_vae(model, c, x, noise):
    """(log-likelihood, KL) per row of component ``c`` as a plain VAE, with torch.distributions."""
    likelihood = model.likelihood
    is_gaussian = isinstance(likelihood, Gaussian)
    inputs = (x - likelihood.location) / likelihood.scale if is_gaussian else x
    features = run_single(model.body, c, inputs)
    mean, log_variance = (run_single([head], c, features) for head in (model.head.mean, model.head.log_variance))
    q = Normal(mean, (0.5 * log_variance).exp())
    output = run_single(model.decoder, c, q.mean + q.stddev * noise)
    if is_gaussian:
        deviation = likelihood.scale * (0.5 * likelihood.log_variance[c]).exp()
        observation = Normal(likelihood.location + likelihood.scale * output, deviation)
    else:
        observation = Bernoulli(logits=output)
    log_likelihood = observation.log_prob(x.expand_as(output)).sum(-1)
    return log_likelihood.mean(0), kl_divergence(q, Normal(0.0, 1.0)).sum(-1)


def seeded_noise(n_draws, n_rows, n_components=K):
    """What the model draws after ``torch.manual_seed(1)``."""
    torch.manual_seed(1)
    noise = torch.randn(n_draws, n_rows, n_components, L, dtype=torch.float64)
    torch.manual_seed(1)
    return noise


def compute_elbos(model, x, noise):
    """ELBO_c (N, K), one component after the other."""
    each = [compute_single_vae(model, c, x, noise[:, :, c]) for c in range(model.n_components)]
    return torch.stack([log_likelihood - kl for log_likelihood, kl in each], -1)


# --------------------------------------------------------------------------------------- bound


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_one_hot_responsibilities_train_independent_single_vaes(likelihood):
    model = make_random(likelihood=likelihood, n_mc_samples=4, learn_weights=False)
    x, labels = draw_rows(N, D, likelihood), torch.tensor([0, 0, 1, 1, 1, 2])
    noise = seeded_noise(4, N)
    terms = model.weighted_terms(x, torch.eye(K, dtype=torch.float64)[labels])
    parts = [compute_single_vae(model, c, x[labels == c], noise[:, labels == c, c]) for c in range(K)]
    for term, expected in zip((terms.log_likelihood, terms.kl_latent), zip(*parts, strict=True), strict=True):
        torch.testing.assert_close(term, torch.cat(expected))

    parameters = [p for p in model.parameters() if p.requires_grad]
    gradients = torch.autograd.grad(total(terms).sum(), parameters)
    for c, (log_likelihood, kl) in enumerate(parts):
        alone = torch.autograd.grad((log_likelihood - kl).sum(), parameters)
        for gradient, expected in zip(gradients, alone, strict=True):
            torch.testing.assert_close(model.blocks(gradient)[c], model.blocks(expected)[c])
            others = [other for other in range(K) if other != c]
            assert not model.blocks(expected)[others].any()


def test_rows_drawn_for_each_component_train_it_alone():
    model, rows, shares = (
        make_random(n_mc_samples=2),
        draw_rows(N * K, D).reshape(N, K, D),
        torch.tensor([0.5, 0.2, 0.3]),
    )
    noise = seeded_noise(2, N)
    terms = model.drawn_terms(rows, shares.double())
    each = [compute_single_vae(model, c, rows[:, c], noise[:, :, c]) for c in range(K)]
    expected = sum(share * (log_likelihood - kl) for share, (log_likelihood, kl) in zip(shares, each, strict=True))
    torch.testing.assert_close(total(terms), expected)


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_one_component_is_a_plain_vae(likelihood):
    torch.manual_seed(0)
    model, x = shake(VAEEM(make_autoencoder(likelihood), 1).double()), draw_rows(N, D, likelihood)
    noise = seeded_noise(1, N, 1)
    log_likelihood, kl = compute_single_vae(model, 0, x, noise[:, :, 0])
    terms = model(x)
    torch.testing.assert_close(terms.log_likelihood, log_likelihood)
    torch.testing.assert_close(terms.kl_latent, kl)
    assert not terms.kl_component.any()
    assert torch.equal(model.log_responsibilities(x), torch.zeros(N, 1, dtype=torch.float64))


def test_responsibilities_are_those_of_a_sum_over_components():
    model, x = make_random(), draw_rows(N, D)
    with torch.no_grad():
        model.weight_logits.copy_(torch.tensor([0.3, -1.0, 0.5]))
        elbos = compute_elbos(model, x, torch.zeros(1, N, K, L))
        products = model.weight_logits.exp() * (elbos - elbos.amax(-1, keepdim=True)).exp()
        torch.testing.assert_close(model.log_responsibilities(x).exp(), products / products.sum(-1, keepdim=True))
        torch.testing.assert_close(model.embed(x), model.log_weights() + elbos)


@pytest.mark.parametrize("min_information", [0.0, 0.5])
def test_e_step_maximizes_the_bound_of_every_row(min_information):
    model, elbos = make_vaeem(min_information=min_information).double(), draw_noise(200, K)

    def bound(u):
        divergence = torch.special.xlogy(u, u * K).sum(-1)
        return (u * elbos).sum(-1) - divergence.clamp_min(min_information)

    u = model.assign(elbos)[0].exp()
    best, dirichlet = bound(u), torch.distributions.Dirichlet(torch.full((K,), 0.5, dtype=torch.float64))
    torch.manual_seed(0)
    for i in range(200):
        other = torch.lerp(u, dirichlet.sample((200,)), 0.5 ** (i % 8))
        assert (bound(other) <= best + 1e-6).all()
    on_the_floor = (torch.special.xlogy(u, u * K).sum(-1) - min_information).abs() < 1e-6
    assert on_the_floor.sum() > 50 if min_information else not on_the_floor.any()


def test_bare_loop_learns_weights_by_gradient():
    model = make_random()
    total(model(draw_rows(N, D))).sum().backward()
    assert model.weight_logits.grad.any()
    assert not make_random(learn_weights=False).weight_logits.requires_grad


# -------------------------------------------------------------------------------- linear components


def make_linear(n_components=2, *, widen=0.0):
    """x | c is a known Gaussian, and q_c(z|x) its posterior, ``widen`` nats wider in log-variance."""
    torch.manual_seed(0)
    autoencoder = make_autoencoder(n_features=4, hidden_layer_sizes=())
    model = shake(VAEEM(autoencoder, n_components).double()).requires_grad_(False)
    model.likelihood.set_variance(torch.full((4,), 0.45))
    layer, mean, log_variance = model.decoder[0], model.head.mean, model.head.log_variance
    for c in range(n_components):
        rows = torch.linalg.qr(draw_noise(4, L, seed=c))[0].T * torch.tensor([[1.5], [0.6]])
        variance = 1.0 / (1.0 + rows.square().sum(1) / 0.45)  # diagonal as the rows are orthogonal
        layer.weight[c] = rows
        mean.weight[c] = rows.T * variance / 0.45
        mean.bias[c] = -layer.bias[c] @ mean.weight[c]
        log_variance.weight[c], log_variance.bias[c] = 0.0, variance.log() + widen
    return model


def compute_exact_law(model):
    """MultivariateNormal of x | c."""
    likelihood, layer = model.likelihood, model.decoder[0]
    slope = layer.weight * likelihood.scale  # (K, L, D)
    noise = torch.diag_embed(likelihood.scale.square() * likelihood.log_variance.exp())
    return MultivariateNormal(likelihood.location + likelihood.scale * layer.bias, slope.mT @ slope + noise)


def compute_exact_log_prob(model, x):
    return MixtureSameFamily(Categorical(logits=model.weight_logits), compute_exact_law(model)).log_prob(x)


def test_density_and_bound_are_exact_at_the_exact_posterior():
    model, x = make_linear(), draw_rows(N, 4)
    exact = compute_exact_log_prob(model, x)
    torch.testing.assert_close(log_density(model, x), exact)
    torch.manual_seed(1)
    bounds = torch.stack([total(model(x)) for _ in range(400)])
    assert ((bounds.mean(0) - exact) < 4.5 * bounds.std(0) / 20.0).all()
    # without noise, E_q[log p(x|z)] is taken too high by ½ Σ_l (1 − σ²_l)
    excess = 0.5 * (1.0 - model.head.log_variance.bias.exp()).sum(-1)
    joint = model.log_weights() + compute_exact_law(model).log_prob(x.unsqueeze(1))
    torch.testing.assert_close(model.embed(x), joint + excess)


def test_the_bound_is_below_the_exact_log_likelihood():
    model = make_linear(widen=1.0)
    x = compute_exact_law(model).mean.repeat(5, 1) + draw_rows(10, 4) / 4.0
    torch.manual_seed(1)
    bounds = torch.stack([total(model(x)).mean() for _ in range(400)])
    assert bounds.mean() < compute_exact_log_prob(model, x).mean() - 4.5 * bounds.std() / 20.0


def test_generates_from_the_exact_law_of_each_component():
    model, n_draws = make_linear(), 4000
    components = torch.arange(2).repeat_interleave(n_draws)
    draws, means = model.generate(components, torch.Generator().manual_seed(0))
    exact = compute_exact_law(model)
    noise = torch.diag_embed(model.likelihood.scale.square() * model.likelihood.log_variance.exp())
    for rows, covariances in ((draws, exact.covariance_matrix), (means, exact.covariance_matrix - noise)):
        for c, covariance in enumerate(covariances):
            variance, drawn = covariance.diagonal(), rows[components == c]
            assert ((drawn.mean(0) - exact.mean[c]).abs() < 4.5 * (variance / n_draws).sqrt()).all()
            error = ((variance.outer(variance) + covariance.square()) / n_draws).sqrt()
            assert ((drawn.T.cov() - covariance).abs() < 4.5 * error).all()


def test_every_row_is_drawn_from_its_component_and_passes_one_decoder(monkeypatch):
    model = make_random()
    with torch.no_grad():
        for layer in model.decoder.children():
            if isinstance(layer, StackedLinear):
                layer.weight.zero_()  # a component's rows are its last bias
                layer.bias.copy_(torch.arange(1.0, K + 1).unsqueeze(1).expand_as(layer.bias))
    n_decoded, decode = [], model.decode
    monkeypatch.setattr(model, "decode", lambda z: (n_decoded.append(z[..., 0].numel()), decode(z))[1])
    components = torch.randperm(300 * K, generator=torch.Generator().manual_seed(0)) % K
    _, means = model.generate(components, torch.Generator().manual_seed(0))
    expected = model.likelihood.mean(torch.arange(1.0, K + 1).repeat_interleave(D).reshape(K, D))
    torch.testing.assert_close(means, expected[components].to(means.dtype))
    assert sum(n_decoded) == 300 * K and max(n_decoded) <= 64 * K
    model.generate(torch.zeros(130, dtype=torch.long), torch.Generator().manual_seed(0))
    assert sum(n_decoded) == (300 + 130) * K


def test_a_seed_draws_the_same_latent_points_under_every_component():
    model = make_random()
    z = torch.randn(70, L, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for c in range(K):
        _, means = model.generate(torch.full((70,), c), torch.Generator().manual_seed(0))
        torch.testing.assert_close(means, model.likelihood.mean(run_single(model.decoder, c, z)))


def test_reconstruction_is_that_of_the_most_probable_component():
    model, x = make_random(), draw_rows(N, D)
    labels = model.log_responsibilities(x).argmax(-1)
    assert len(labels.unique()) > 1
    with torch.no_grad():
        reconstructed = model.reconstruct(x)
        for row, c, result in zip(x, labels.tolist(), reconstructed, strict=True):
            inputs = (row - model.likelihood.location) / model.likelihood.scale
            output = run_single(model.decoder, c, run_single([model.head.mean], c, run_single(model.body, c, inputs)))
            torch.testing.assert_close(result, model.likelihood.location + model.likelihood.scale * output)


# ---------------------------------------------------------------------------------- initialization, networks


def test_initialization_is_the_gaussian_mixture_of_the_embedding():
    torch.manual_seed(0)
    autoencoder, x = shake(make_autoencoder().double()), draw_rows(40, D)
    model = VAEEM(autoencoder, K, learn_weights=False).double()
    with torch.no_grad():
        reconstructed, embedding = autoencoder.reconstruct(x), autoencoder.embed(x)
        responsibilities = (3.0 * draw_noise(40, K)).softmax(-1)
        vade = VaDE(autoencoder, K, learn_weights=False).double()
        vade.initialize_from(embedding, responsibilities)
        model.initialize_from(embedding, responsibilities)
        for head in (autoencoder.head, model.head):
            head.log_variance.weight.zero_()
        # other coordinates, the same reconstructions and the same responsibilities
        tolerance = {"rtol": 1e-4, "atol": 1e-4}  # the weights were copied in float32
        torch.testing.assert_close(model.reconstruct(x), reconstructed, **tolerance)
        torch.testing.assert_close(model.log_responsibilities(x), vade.log_responsibilities(x), **tolerance)
    assert model.initial_responsibilities is responsibilities


def test_networks_of_other_sizes_than_the_autoencoder_begin_at_random():
    model = VAEEM(make_autoencoder(), K, hidden_layer_sizes=(9, 4))
    assert [tuple(layer.weight.shape) for layer in model.body[::2]] == [(K, D, 9), (K, 9, 4)]
    assert [tuple(layer.weight.shape) for layer in model.decoder[::2]] == [(K, L, 4), (K, 4, 9), (K, 9, D)]
    weight = VAEEM(make_autoencoder(), 200, hidden_layer_sizes=(50,)).body[0].weight.detach()
    bound = math.sqrt(6.0 / D)  # He et al. 2015: uniform with variance 2 / inputs
    assert weight.abs().max() < bound and weight.std() == pytest.approx(math.sqrt(2.0 / D), rel=0.01)


@pytest.mark.parametrize("image_shape", [(1, 28, 28), (3, 32, 32), (2, 5, 64)])
def test_grouped_convolutions_keep_components_and_rows_apart_while_training(image_shape):
    torch.manual_seed(0)
    n_features = math.prod(image_shape)
    body, width = make_stacked_conv_body(2, image_shape)
    decoder = make_stacked_conv_decoder(2, L, image_shape)
    for network in (body, decoder):
        draw_stacked_weights(network, torch.Generator())
    for network, x, n_outputs in (
        (body, torch.randn(3, 2, n_features), width),
        (decoder, torch.randn(3, 2, L), n_features),
    ):
        changed = x.clone()
        changed[1:, 0] += 1.0
        changed[:, 1] -= 1.0
        before, after = network.train()(x), network(changed)
        assert before.shape == (3, 2, n_outputs)
        torch.testing.assert_close(after[0, 0], before[0, 0])
        assert not torch.allclose(after[1, 0], before[1, 0]) and not torch.allclose(after[0, 1], before[0, 1])


def test_unit_gaussian_is_half_the_squared_error_in_the_units_of_the_data():
    location = torch.linspace(-9, 9, D, dtype=torch.float64)
    likelihood = Gaussian(location, torch.ones(D, dtype=torch.float64), learns_variance=False).repeat(K)
    x, output = draw_rows(N, D).unsqueeze(1), draw_noise(N, K, D)
    errors = (x - likelihood.mean(output)).square().sum(-1)
    expected = -0.5 * errors - 0.5 * D * math.log(2.0 * math.pi)
    torch.testing.assert_close(likelihood.log_prob(likelihood.standardize(x, torch.float64), output), expected)
    assert not likelihood.scaled_log_variance.requires_grad


def test_reorder_renumbers_the_record_of_seeds():
    model = make_random()
    model.reseeded = [(2, 0), (5, 2)]
    model.reorder(torch.tensor([2, 0, 1]))
    assert model.reseeded == [(2, 1), (5, 0)]


def test_linear_paths_add_nothing_until_they_are_initialized():
    location = torch.zeros(4)
    model = VAEEM(Autoencoder(4, 2, Gaussian(location, location + 1.0), (8,), has_linear_path=True), 3)
    assert not any(parameter.any() for parameter in model.linear.parameters())
