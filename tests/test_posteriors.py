"""Posteriors of the latent variables: their joint densities and expansions, against automatic derivatives."""

import pytest
import torch
from test_models import shake
from torch import nn

from skgmvae.models import GMVAE, VAEEM, Autoencoder, Bernoulli, Gaussian, VaDE
from skgmvae.models.own_posteriors import VAEEMPosterior
from skgmvae.models.posteriors import GMVAEPosterior, VaDEPosterior

MODELS = {"VaDE": VaDE, "GMVAE": GMVAE, "VAEEM": VAEEM}
n, K, L, W, D = 6, 5, 2, 3, 4


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def make_model(name, *, likelihood="gaussian", is_linear=False, n_components=K, latent_dim=L, style_dim=W, slope=1.0):
    """A model in float64 of random weights; ``slope`` is that of GMVAE's prior in w."""
    torch.manual_seed(0)
    location, scale = torch.linspace(-9.0, 9.0, D).double(), torch.linspace(0.5, 3.0, D).double()
    observation = Bernoulli() if likelihood == "bernoulli" else Gaussian(location, scale)
    autoencoder = Autoencoder(D, latent_dim, observation, () if is_linear else (7,))
    options = {"style_dim": style_dim, "prior_width": 8} if name == "GMVAE" else {}
    model = shake(MODELS[name](autoencoder, n_components, learn_weights=True, **options).double())
    model.requires_grad_(False)
    if likelihood == "gaussian":
        model.likelihood.set_variance(torch.linspace(0.2, 0.6, D).double().expand(model.likelihood.log_variance.shape))
    if name == "GMVAE":
        for layer in (model.prior.head.mean, model.prior.head.log_variance):
            layer.weight *= slope
    return model.eval()


def draw_x(model, n_rows=n, seed=3):
    """Samples of the model."""
    components = torch.arange(n_rows) % model.n_components
    return model.generate(components, torch.Generator().manual_seed(seed))[0]


def make_posterior(model, x):
    """The posterior of samples, and the width of its latent variables; q is not asked here."""
    width = model.noise_shape[0]
    standardized = model.likelihood.standardize(x, torch.float64)
    if isinstance(model, VAEEM):
        standardized = standardized.unsqueeze(1).expand(-1, model.n_components, -1)
        nothing = torch.zeros(len(x), model.n_components, width).double()
        return VAEEMPosterior(model, standardized, nothing, nothing), width
    nothing = torch.zeros(len(x), 1, width).double()
    kind = GMVAEPosterior if isinstance(model, GMVAE) else VaDEPosterior
    return kind(model, standardized, nothing, nothing), width


def make_log_joint(model, posterior, i, c):
    """log p(x_i, u, c) as a function of u."""
    mask = torch.zeros(len(posterior.mean), dtype=torch.bool)
    mask[i] = True
    one = posterior.take(mask)

    def log_joint(u):
        points = u.expand(1, 1, model.n_components, -1) if posterior.has_own_latents else u.expand(1, 1, -1)
        return one.log_joint(points)[0, 0, c]

    return log_joint


@pytest.fixture(params=MODELS)
def name(request):
    return request.param


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
@pytest.mark.parametrize("each_has_own", [False, True])
def test_values_and_gradients_of_expansions(name, likelihood, each_has_own):
    model = make_model(name, likelihood=likelihood)
    posterior, width = make_posterior(model, draw_x(model))
    u = draw(n, K if each_has_own or posterior.has_own_latents else 1, width)
    expansion = posterior.expand(u)
    assert expansion.value.shape == (n, K) and expansion.gradient.shape == (n, K, width)
    assert expansion.precision.shape == (n, K, width, width)
    assert (torch.linalg.eigvalsh(expansion.precision) > 0.0).all()
    for i, c in ((0, 0), (1, 4), (5, 2)):
        log_joint, point = make_log_joint(model, posterior, i, c), u[i, c if u.shape[1] > 1 else 0]
        torch.testing.assert_close(expansion.value[i, c], log_joint(point))
        torch.testing.assert_close(expansion.gradient[i, c], torch.func.grad(log_joint)(point))


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_pairs_of_a_sample_and_a_component(name, likelihood):
    """A pair has the values and expansions of its component, in whatever order and however often a sample occurs."""
    model = make_model(name, likelihood=likelihood)
    posterior, width = make_posterior(model, draw_x(model))
    u = draw(n, K, width)
    expansion, values = posterior.expand(u), posterior.value(u)
    torch.testing.assert_close(values, expansion.value)
    rows, components = torch.tensor([5, 0, 0, 2, 5, 5]), torch.tensor([2, 4, 0, 1, 2, 3])
    pairs, of_pairs = posterior.take_pairs(rows, components), u[rows, components].unsqueeze(1)
    torch.testing.assert_close(pairs.value(of_pairs).squeeze(1), values[rows, components])
    for found, whole in zip(pairs.expand(of_pairs), expansion, strict=True):
        torch.testing.assert_close(found.squeeze(1), whole[rows, components])
    if posterior.has_own_latents:
        points = draw(n, 3, K, width)
        found = pairs.log_joint(points[rows, :, components].unsqueeze(2))
        torch.testing.assert_close(found.squeeze(-1), posterior.log_joint(points)[rows, :, components])


@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")  # of torch's own code, once
@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_second_derivatives_of_linear_decoders(name, likelihood):
    """Exact; those of the prior in w are expectations over z | w, here over points of its moments up to the third."""
    model = make_model(name, likelihood=likelihood, is_linear=True)
    posterior, width = make_posterior(model, draw_x(model))
    u = draw(n, K if posterior.has_own_latents else 1, width)
    precision = posterior.expand(u).precision
    for i, c in ((0, 0), (1, 4), (5, 2)):
        log_joint, point = make_log_joint(model, posterior, i, c), u[i, c if u.shape[1] > 1 else 0]
        hessian = torch.func.hessian(log_joint)(point)
        if name == "GMVAE":
            mean, log_variance = (moment[c] for moment in model.prior(point[L:]))
            steps = (0.5 * log_variance).exp().diag_embed() * L**0.5
            points = torch.cat([torch.cat([mean + steps, mean - steps]), point[L:].expand(2 * L, -1)], 1)

            def log_likelihood(v, i=i):
                return model.autoencoder.log_likelihood(posterior.standardized[i : i + 1], v[None, :L])[0]

            def log_prior(v, log_joint=log_joint, log_likelihood=log_likelihood):
                return log_joint(v) - log_likelihood(v)

            hessian = torch.func.hessian(log_likelihood)(point)
            hessian = hessian + torch.stack([torch.func.hessian(log_prior)(v) for v in points]).mean(0)
        torch.testing.assert_close(precision[i, c], -hessian)


def test_joint_densities_are_those_of_the_generative_process(name):
    """log π_c + log p(u | c) + log p(x | u, c), in the units of the data, by torch.distributions."""
    S = 7
    model = make_model(name)
    x = draw_x(model)
    posterior, width = make_posterior(model, x)
    u = draw(n, S, K, width) if posterior.has_own_latents else draw(n, S, width)
    log_joint = posterior.log_joint(u)
    assert log_joint.shape == (n, S, K)

    normal, likelihood = torch.distributions.Normal, model.likelihood
    z = u[..., :L]
    output = model.decode(z) if name == "VAEEM" else model.autoencoder.decoder(z.flatten(0, 1)).unflatten(0, (n, S))
    noise = likelihood.scale * (0.5 * likelihood.log_variance).exp()
    observed = x[:, None, None] if name == "VAEEM" else x[:, None]
    exact = normal(likelihood.location + likelihood.scale * output, noise).log_prob(observed).sum(-1)
    exact = exact if name == "VAEEM" else exact.unsqueeze(-1)
    if name == "VaDE":
        prior = torch.distributions.MultivariateNormal(model.means, model.covariances()).log_prob(z.unsqueeze(-2))
    elif name == "VAEEM":
        prior = normal(0.0, 1.0).log_prob(z).sum(-1)
    else:
        mean, log_variance = model.prior(u[..., L:])
        prior = normal(mean, (0.5 * log_variance).exp()).log_prob(z.unsqueeze(-2)).sum(-1)
        prior = prior + normal(0.0, 1.0).log_prob(u[..., L:]).sum(-1, keepdim=True)
    torch.testing.assert_close(log_joint, exact + prior + nn.functional.log_softmax(model.weight_logits, -1))
