"""The models: one contract test for all of them, then each against brute force and exact cases."""

import copy

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal, Normal, kl_divergence
from torch.overrides import TorchFunctionMode

from skgmvae.models import GMVAE, VAEEM, Autoencoder, Bernoulli, Gaussian, VaDE, own_draws
from skgmvae.models.importance import make_point_sets
from skgmvae.models.networks import make_conv_body, make_conv_decoder, make_mlp, make_mlp_body

K, L, N = 3, 2, 6
COVARIANCE_TYPES = ("full", "tied", "diag", "spherical")
IMAGE_SHAPES = {"mlp": None, "conv": (1, 8, 8)}


def make_autoencoder(likelihood="gaussian", n_features=5, hidden_layer_sizes=(7,), image_shape=None):
    location, scale = (torch.linspace(low, high, n_features, dtype=torch.float64) for low, high in ((-9, 9), (0.5, 3)))
    observation = Bernoulli() if likelihood == "bernoulli" else Gaussian(location, scale)
    if likelihood == "gaussian":
        observation.set_variance(torch.ones(n_features))
    return Autoencoder(n_features, L, observation, hidden_layer_sizes, image_shape)


def make_vade(likelihood="gaussian", n_features=5, image_shape=None, **options):
    return VaDE(make_autoencoder(likelihood, n_features, image_shape=image_shape), K, **options)


def make_gmvae(likelihood="gaussian", n_features=5, image_shape=None, style_dim=3, **options):
    return GMVAE(make_autoencoder(likelihood, n_features, image_shape=image_shape), K, style_dim, 7, **options)


def make_vaeem(likelihood="gaussian", n_features=5, image_shape=None, **options):
    autoencoder = make_autoencoder(likelihood, n_features, image_shape=image_shape)
    model = VAEEM(autoencoder, K, image_shape=image_shape, **options)
    if likelihood == "gaussian":
        model.likelihood.set_variance(torch.ones(n_features))
    return model


# a new model joins here: likelihood, n_features, image_shape, n_mc_samples, min_information -> Model
MODELS = {"VaDE": make_vade, "GMVAE": make_gmvae, "VAEEM": make_vaeem}


def shake(model, seed=0):
    """Random values in every parameter, so that no symmetry of the initial ones hides a fault."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, dtype=torch.float64, generator=generator))
    return model


def draw_rows(n_rows, n_features, likelihood="gaussian", seed=0):
    generator = torch.Generator().manual_seed(seed)
    if likelihood == "bernoulli":
        return torch.rand(n_rows, n_features, dtype=torch.float64, generator=generator).round()
    return 4.0 * torch.randn(n_rows, n_features, dtype=torch.float64, generator=generator)


def draw_noise(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def make_points(model, n_features=5, seed=0):
    return make_point_sets(*model.noise_shape, n_features, seed)


def log_density(model, x, seed=0):
    return model.log_joint(x, make_points(model, x.shape[1], seed)).logsumexp(-1)


def total(terms):
    return terms.log_likelihood - terms.kl_latent - terms.kl_style - terms.kl_component


# ------------------------------------------------------------------------------------------ contract


@pytest.fixture(params=MODELS)
def make_model(request):
    def make(likelihood="gaussian", n_features=5, seed=0, **options):
        torch.manual_seed(seed)
        return shake(MODELS[request.param](likelihood, n_features, **options).double())

    return make


@pytest.mark.parametrize("min_information", [0.0, 0.8])
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_terms_of_the_bound_are_per_row_and_reach_every_parameter(make_model, likelihood, min_information):
    model = make_model(likelihood, n_mc_samples=4, min_information=min_information)
    terms = model(draw_rows(N, 5, likelihood))
    assert terms._fields == ("log_likelihood", "kl_latent", "kl_style", "kl_component")
    for name, term in terms._asdict().items():
        assert term.shape == (N,) and term.dtype == torch.float64 and term.isfinite().all(), name
    assert (terms.kl_component >= 0.0).all() and (terms.kl_style >= 0.0).all()

    total(terms).sum().backward()
    for name, parameter in model.named_parameters():
        assert not parameter.requires_grad or (parameter.grad is not None and parameter.grad.any()), name
        assert parameter.grad is None or parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("image_shape", IMAGE_SHAPES.values(), ids=IMAGE_SHAPES)
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_inference_is_deterministic_normalized_and_row_by_row(make_model, likelihood, image_shape):
    model = make_model(likelihood, 64, image_shape=image_shape).eval()
    x, noise = draw_rows(N, 64, likelihood), draw_noise(5, *model.noise_shape)
    state = torch.get_rng_state()
    with torch.no_grad():
        for method, arguments, shape in (
            ("embed", (), (N, model.embedding_dim)),
            ("reconstruct", (), (N, 64)),
            ("log_responsibilities", (noise,), (N, K)),
            ("log_joint", (make_points(model, 64),), (N, K)),
        ):
            whole = getattr(model, method)(x, *arguments)
            assert whole.shape == shape and whole.dtype == torch.float64 and whole.isfinite().all(), method
            torch.testing.assert_close(getattr(model, method)(x[2:4], *arguments), whole[2:4])
        responsibilities = model.log_responsibilities(x, noise).exp()
    torch.testing.assert_close(responsibilities.sum(-1), torch.ones(N, dtype=torch.float64))
    torch.testing.assert_close(model.log_weights().exp().sum().item(), 1.0)
    assert torch.equal(torch.get_rng_state(), state)


def test_reorder_renumbers_components_and_keeps_the_density(make_model):
    model, x = make_model(), draw_rows(N, 5)
    noise, order = draw_noise(5, *model.noise_shape), torch.tensor([2, 0, 1])
    with torch.no_grad():
        own = model.generate(torch.arange(N) % K, torch.Generator().manual_seed(0))[0]
        before = model.log_responsibilities(x, noise), model.log_weights(), log_density(model, own)
        model.reorder(order)
        torch.testing.assert_close(model.log_responsibilities(x, noise), before[0][:, order])
        torch.testing.assert_close(model.log_weights(), before[1][order])
        torch.testing.assert_close(log_density(model, own), before[2], atol=0.3, rtol=0.0)


@pytest.mark.parametrize("image_shape", IMAGE_SHAPES.values(), ids=IMAGE_SHAPES)
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_generate_is_seeded_by_its_generator_alone(make_model, likelihood, image_shape):
    model = make_model(likelihood, 64, image_shape=image_shape).eval()
    components = torch.tensor([0, 0, 1, 2])
    state = torch.get_rng_state()
    with torch.no_grad():
        draws, means = model.generate(components, torch.Generator().manual_seed(1))
        again, _ = model.generate(components, torch.Generator().manual_seed(1))
        other, _ = model.generate(components, torch.Generator().manual_seed(2))
    assert draws.shape == means.shape == (4, 64) and draws.isfinite().all() and means.isfinite().all()
    assert torch.equal(draws, again) and not torch.equal(draws, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_initialize_from_survives_a_component_without_rows(make_model):
    model, x = make_model(), draw_rows(N, 5)
    responsibilities = torch.zeros(N, K, dtype=torch.float64)
    responsibilities[:4, 0] = responsibilities[4:, 1] = 1.0
    with torch.no_grad():
        model.initialize_from(draw_noise(N, L), responsibilities)
        assert all(parameter.isfinite().all() for parameter in model.parameters())
        assert total(model(x)).isfinite().all()
        assert model.log_responsibilities(x, draw_noise(5, *model.noise_shape)).isfinite().all()


class GuardlessIndexing(TorchFunctionMode):
    """Indexing from Python asks for a real CUDA device; the operators beneath do not."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func not in (torch.Tensor.__getitem__, torch.Tensor.__setitem__):
            return func(*args, **(kwargs or {}))
        tensor, index, *value = args
        if isinstance(index, int):
            return tensor.select(0, index)
        # only whole slices and index tensors: any other slice fails for want of a device
        indices = [None if isinstance(i, slice) else i for i in (index if isinstance(index, tuple) else (index,))]
        operators = torch.ops.aten
        return operators.index_put_(tensor, indices, *value) if value else operators.index(tensor, indices)


@pytest.mark.parametrize("image_shape", IMAGE_SHAPES.values(), ids=IMAGE_SHAPES)
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_forward_and_inference_leave_no_tensor_off_the_cuda_device(make_model, likelihood, image_shape, monkeypatch):
    if image_shape is not None and torch.backends.cuda.is_built() and not torch.cuda.is_available():
        pytest.skip("a CUDA build without a driver cannot choose a convolution")
    model = make_model(likelihood, 64, image_shape=image_shape, n_mc_samples=2, min_information=0.5)
    model.float().eval()  # batch norm's training mode needs a real device
    fake = FakeTensorMode()

    def to_fake_cuda(tensor):
        return FakeTensor(fake, tensor.to("meta"), torch.device("cuda:0"))

    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            setattr(module, name, nn.Parameter(to_fake_cuda(parameter.data), requires_grad=False))
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, to_fake_cuda(buffer))

    with fake, GuardlessIndexing(), torch.no_grad():
        # sizes that depend on values, which a tensor without values lacks
        monkeypatch.setattr(own_draws, "lay_out", lambda labels, K: (labels, [(4, labels)]))
        monkeypatch.setattr("skgmvae.models.likelihood.find_missing", lambda x: None)
        x = torch.empty(N, 64, device="cuda")
        noise = torch.empty(5, *model.noise_shape, device="cuda")
        components = torch.empty(4, dtype=torch.long, device="cuda")
        outputs = [*model(x), model.embed(x), model.reconstruct(x), model.log_responsibilities(x, noise)]
        outputs += [model.log_weights(), *model.generate(components, None)]
    assert {output.device.type for output in outputs} == {"cuda"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_the_same_densities_as_the_cpu(make_model):
    model, x = make_model(n_mc_samples=2, min_information=0.5), draw_rows(N, 5)
    noise, order = draw_noise(5, *model.noise_shape), torch.tensor([2, 0, 1])
    embedding, responsibilities = draw_noise(N, L), draw_noise(N, K).softmax(-1)
    with torch.no_grad():
        model.initialize_from(embedding, responsibilities)
    results = []
    for device in ("cpu", "cuda"):
        there = copy.deepcopy(model).to(device)
        rows, renumbered = x.to(device), order.to(device)
        with torch.no_grad():
            there.reorder(renumbered)
            there.generate(renumbered, torch.Generator(device))
            density = log_density(there, rows).cpu()
            results.append([there.log_responsibilities(rows, noise.to(device)).cpu(), density])
        total(there(rows)).sum().backward()
        with torch.no_grad():
            there.initialize_from(embedding.to(device), responsibilities.to(device))
        assert log_density(there, rows).isfinite().all()
    torch.testing.assert_close(results[0], results[1])


def test_noise_is_drawn_from_the_generator_alone(make_model):
    model, x = shake(make_model(n_mc_samples=2)).train(), draw_rows(N, 5)
    state = torch.get_rng_state()

    def draw(seed):
        generator = torch.Generator().manual_seed(seed)
        return [*model(x, generator=generator), model.residual_squares(x, generator)]

    with torch.no_grad():
        first, again, other = draw(0), draw(0), draw(1)
    assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0]) and not torch.equal(first[-1], other[-1])
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", MODELS)
def test_first_weights_are_drawn_from_the_generator_alone(name):
    def make(seed):
        generator = torch.Generator().manual_seed(seed)
        autoencoder = Autoencoder(5, L, Bernoulli(), (7,), None, generator)
        models = {
            "VaDE": lambda: VaDE(autoencoder, K, generator=generator),
            "GMVAE": lambda: GMVAE(autoencoder, K, 3, 7, generator=generator),
            "VAEEM": lambda: VAEEM(autoencoder, K, hidden_layer_sizes=(6,), generator=generator),
        }
        return nn.utils.parameters_to_vector(models[name]().parameters()).detach()

    state = torch.get_rng_state()
    first, again, other = make(0), make(0), make(1)
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.isfinite().all(), "a layer without weights"
    assert torch.equal(torch.get_rng_state(), state)


# --------------------------------------------------------------------------------------- likelihoods


@pytest.mark.parametrize("has_gradient", [True, False])
def test_bernoulli_equals_torch_distributions(has_gradient):
    output, x = draw_noise(2, N, 4, seed=1) * torch.tensor([1.0, 10.0, 30.0, 100.0]), draw_rows(N, 4, "bernoulli")
    reference = torch.distributions.Bernoulli(logits=output)
    with torch.set_grad_enabled(has_gradient):
        log_prob = Bernoulli().log_prob(x, output)
    torch.testing.assert_close(log_prob, reference.log_prob(x.expand_as(output)).sum(-1), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(Bernoulli().mean(output), reference.mean)


def make_gaussian(location, scale, log_variance):
    likelihood = Gaussian(torch.tensor(location).double(), torch.tensor(scale).double()).double()
    with torch.no_grad():
        likelihood.set_variance(torch.tensor(log_variance).exp())
    return likelihood.requires_grad_(False)


def test_gaussian_is_the_density_in_the_units_of_the_data():
    location, scale, log_variance = np.array([1e6, -3.0]), np.array([20.0, 0.1]), np.array([-1.0, 0.5])
    likelihood = make_gaussian(location, scale, log_variance)
    output = draw_noise(4, 2, seed=1)
    x = torch.from_numpy(location + scale * draw_noise(4, 2, seed=2).numpy())
    reference = scipy.stats.norm(location + scale * output.numpy(), scale * np.exp(0.5 * log_variance))

    log_prob = likelihood.log_prob(likelihood.standardize(x, torch.float64), output)
    np.testing.assert_allclose(log_prob, reference.logpdf(x.numpy()).sum(-1))
    np.testing.assert_allclose(likelihood.mean(output), reference.mean())
    float32 = likelihood.log_prob(likelihood.standardize(x, torch.float32), output.float())
    np.testing.assert_allclose(float32, log_prob, rtol=1e-5)


def test_gaussian_integrates_to_one_over_the_data():
    likelihood = make_gaussian([5.0], [3.0], [-0.7])
    output = torch.tensor([[0.4]], dtype=torch.float64)

    def density(x):
        row = torch.tensor([[x]], dtype=torch.float64)
        return likelihood.log_prob(likelihood.standardize(row, torch.float64), output).exp().item()

    assert scipy.integrate.quad(density, -20.0, 30.0, epsabs=1e-12)[0] == pytest.approx(1.0, abs=1e-10)


@pytest.mark.parametrize("likelihood", [Bernoulli(), make_gaussian([5.0, 0.0], [3.0, 0.2], [-0.7, 1.0])])
def test_draws_have_the_mean_and_variance_of_the_likelihood(likelihood):
    n_draws, output = 4000, torch.tensor([0.4, -1.2], dtype=torch.float64)
    draws = likelihood.draw(output.expand(n_draws, 2), torch.Generator().manual_seed(0))
    mean = likelihood.mean(output)
    if isinstance(likelihood, Bernoulli):
        assert ((draws == 0) | (draws == 1)).all()
        variance = mean * (1.0 - mean)
    else:
        variance = likelihood.scale.square() * likelihood.log_variance.exp()
        # the variance of a normal sample variance is 2 σ⁴ / n
        assert ((draws.var(0) - variance).abs() < 4.5 * variance * (2.0 / n_draws) ** 0.5).all()
    assert ((draws.mean(0) - mean).abs() < 4.5 * (variance / n_draws).sqrt()).all()


# ------------------------------------------------------------------------------------------ networks


def trace_shapes(network, n_inputs, layer_type):
    """Shapes that the layers of ``layer_type`` hand on, without the rows."""
    shapes, x = [], torch.zeros(2, n_inputs)
    for layer in network.eval():
        x = layer(x)
        if isinstance(layer, layer_type):
            shapes.append(tuple(x.shape[1:]))
    return shapes, tuple(x.shape[1:])


PAPER_SHAPES = {
    (1, 28, 28): [(16, 23, 23), (32, 18, 18), (64, 9, 9)],
    (3, 32, 32): [(64, 16, 16), (128, 8, 8), (246, 4, 4)],
}


@pytest.mark.parametrize("image_shape", PAPER_SHAPES)
def test_convolutions_have_the_shapes_of_the_paper_and_the_decoder_mirrors_them(image_shape):
    n_features, shapes = int(np.prod(image_shape)), PAPER_SHAPES[image_shape]
    body, width = make_conv_body(image_shape)
    assert width == 500
    assert trace_shapes(body, n_features, nn.Conv2d) == (shapes, (500,))
    mirrored = [*reversed(shapes[:-1]), image_shape]
    assert trace_shapes(make_conv_decoder(10, image_shape), 10, nn.ConvTranspose2d) == (mirrored, (n_features,))


@pytest.mark.parametrize("image_shape", [(1, 8, 8), (3, 17, 23), (2, 5, 64), (1, 3, 3)])
def test_convolutions_take_any_size_back_to_itself(image_shape):
    n_features = int(np.prod(image_shape))
    body, width = make_conv_body(image_shape)
    sides, output = trace_shapes(body, n_features, nn.Conv2d)
    assert output == (width,)
    returned, output = trace_shapes(make_conv_decoder(10, image_shape), 10, nn.ConvTranspose2d)
    assert output == (n_features,)
    assert [shape[1:] for shape in returned] == [shape[1:] for shape in (*reversed(sides[:-1]), image_shape)]


def test_mlp_has_the_sizes_asked_for_and_no_hidden_layer_is_linear():
    body, width = make_mlp_body(4, (8, 6))
    assert (trace_shapes(body, 4, nn.Linear), width) == (([(8,), (6,)], (6,)), 6)
    assert trace_shapes(make_mlp(2, (6, 8), 4), 2, nn.Linear) == ([(6,), (8,), (4,)], (4,))
    assert [type(layer) for layer in make_mlp(2, (), 4)] == [nn.Linear]
    assert make_mlp_body(4, ())[1] == 4


def test_autoencoder_alone_reconstructs_at_the_posterior_mean():
    autoencoder, x = shake(make_autoencoder().double()), draw_rows(N, 5)
    likelihood = autoencoder.likelihood
    with torch.no_grad():
        mean = autoencoder.reconstruct(x)
        reference = Normal(mean, likelihood.scale * (0.5 * likelihood.log_variance).exp()).log_prob(x).sum(-1)
        terms = autoencoder(x)
    torch.testing.assert_close(terms.log_likelihood, reference)
    assert not any(term.any() for term in terms[1:])


# ---------------------------------------------------------------------------------------------- VaDE


def make_random_vade(seed=0, **options):
    torch.manual_seed(seed)
    return shake(make_vade(**options).double(), seed)


def let_components_overlap(model):
    """Wide components, so that some rows are not settled among them."""
    with torch.no_grad():
        model.log_diagonal.sub_(0.5 if model.covariance_type == "tied" else 2.5)
        model.means.mul_(0.5)
        if model.below_diagonal is not None:
            model.below_diagonal.mul_(0.2)
    return model


def compute_expected_log_prior(model, x):
    """g and H by torch.distributions: g_c = E_q[log N_c] = −KL(q ‖ N_c) − H(q)."""
    mean, log_variance = model.autoencoder.encode(model.autoencoder.standardize(x))
    q = MultivariateNormal(mean.unsqueeze(1), torch.diag_embed(log_variance.exp()).unsqueeze(1))
    factor = model.precision_factor()
    components = MultivariateNormal(model.means, precision_matrix=(factor.mT @ factor).expand(K, L, L))
    return -kl_divergence(q, components) - q.entropy(), q.entropy().squeeze(1)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_vade_bound_equals_its_closed_form_and_so_does_its_gradient(covariance_type):
    model, x = make_random_vade(covariance_type=covariance_type, n_mc_samples=3), draw_rows(N, 5)
    torch.manual_seed(1)
    terms = model(x)
    g, entropy = compute_expected_log_prior(model, x)
    log_joint = torch.log_softmax(model.weight_logits, -1) + g
    closed_form = terms.log_likelihood + log_joint.logsumexp(-1) + entropy
    torch.testing.assert_close(total(terms), closed_form)
    prior, bayes = (Categorical(logits=logits) for logits in (model.weight_logits.expand(N, K), log_joint))
    torch.testing.assert_close(terms.kl_component, kl_divergence(bayes, prior))
    torch.testing.assert_close(model.log_responsibilities(x), bayes.logits)

    parameters = list(model.parameters())
    expected = torch.autograd.grad(closed_form.sum(), parameters, retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(total(terms).sum(), parameters), expected)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_vade_gradient_on_the_information_floor_is_that_of_the_constrained_optimum(covariance_type):
    minimum = 0.4  # below −log π_c for every c: each row can reach it
    model = let_components_overlap(make_random_vade(seed=7, covariance_type=covariance_type, min_information=minimum))
    x = draw_rows(40, 5) * torch.linspace(0.01, 1.5, 40, dtype=torch.float64).unsqueeze(1)  # from central to far away
    torch.manual_seed(1)
    terms = model(x)
    g, entropy = compute_expected_log_prior(model, x)
    log_weights = torch.log_softmax(model.weight_logits, -1)
    assert (log_weights < -minimum).all()

    def divergence_at(temperature):
        q = torch.log_softmax(log_weights + g / temperature, -1)
        return (q.exp() * (q - log_weights)).sum(-1)

    with torch.no_grad():  # T per row by a search of its own: a bisection in 1/T
        low, high = torch.ones(40, 1, dtype=torch.float64), torch.full((40, 1), 1e7, dtype=torch.float64)
        for _ in range(60):
            middle = (low + high) / 2
            enough = (divergence_at(1 / middle) >= minimum).unsqueeze(-1)
            low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
        settled = divergence_at(torch.ones(1)) >= minimum
        T = torch.where(settled.unsqueeze(-1), torch.ones_like(high), 1 / high).squeeze(-1)
    assert settled.any() and not settled.all()

    bound = T * (log_weights + g / T.unsqueeze(-1)).logsumexp(-1) - (1 - T) * minimum
    closed_form = terms.log_likelihood + bound + entropy
    hinged = terms.log_likelihood - terms.kl_latent - terms.kl_component.clamp_min(minimum)
    torch.testing.assert_close(hinged, closed_form)
    parameters = list(model.parameters())
    expected = torch.autograd.grad(closed_form.sum(), parameters, retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(hinged.sum(), parameters), expected, rtol=1e-5, atol=1e-6)


def test_vade_rows_on_the_information_floor_stay_on_the_active_side_in_float32():
    # one rounding below λ and the objective's max(λ, ·) would drop the row's gradient with respect to π
    model = let_components_overlap(make_random_vade(min_information=0.4)).float()
    terms = model(draw_rows(2000, 5))
    assert (terms.kl_component >= 0.4).all()
    assert (terms.kl_component < 0.4001).sum() > 50


def make_linear_vade(n_components, **options):
    """One linear layer each way, its columns orthogonal: x | c is a Gaussian known in closed form."""
    torch.manual_seed(0)
    autoencoder = make_autoencoder(n_features=4, hidden_layer_sizes=())
    model = shake(VaDE(autoencoder, n_components, **options).double()).requires_grad_(False)
    columns = torch.linalg.qr(draw_noise(4, L))[0] * torch.tensor([1.5, 0.6])
    autoencoder.decoder[0].weight.copy_(columns)
    autoencoder.likelihood.set_variance(torch.full((autoencoder.likelihood.scale.shape), -0.8).exp())
    if model.below_diagonal is not None:
        model.below_diagonal.fill_(1.5)
    return model


def compute_exact_components(model):
    """N(location + scale (W m_c + b), scale (W S_c Wᵀ + V) scale), the exact law of x | c."""
    layer, likelihood, factor = model.autoencoder.decoder[0], model.autoencoder.likelihood, model.precision_factor()
    slope = likelihood.scale.unsqueeze(-1) * layer.weight
    mean = likelihood.location + likelihood.scale * layer.bias + model.means @ slope.T
    noise = torch.diag(likelihood.scale.square() * likelihood.log_variance.exp())
    covariance = slope @ torch.linalg.inv(factor.mT @ factor) @ slope.T + noise
    return MultivariateNormal(mean, covariance.expand(len(mean), *noise.shape))


def compute_exact_log_prob(model, x):
    return MixtureSameFamily(Categorical(logits=model.weight_logits), compute_exact_components(model)).log_prob(x)


def set_posterior(model, prior_mean, prior_variance):
    """Make q(z|x) the exact posterior under the prior N(prior_mean, diag prior_variance)."""
    decoder, likelihood, head = model.autoencoder.decoder[0], model.autoencoder.likelihood, model.autoencoder.head
    noise_variance = likelihood.log_variance[0].exp()
    # precision S⁻¹ + Wᵀ W / v, diagonal as W has orthogonal columns; the mean is affine in x
    variance = 1.0 / (1.0 / prior_variance + decoder.weight.square().sum(0) / noise_variance)
    head.log_variance.weight.zero_()
    head.log_variance.bias.copy_(variance.log())
    head.mean.weight.copy_(variance.unsqueeze(-1) * decoder.weight.T / noise_variance)
    head.mean.bias.copy_(variance * prior_mean / prior_variance - head.mean.weight @ decoder.bias)


def test_vade_bound_is_below_the_exact_log_likelihood():
    model = make_linear_vade(2)
    set_posterior(model, model.means.mean(0), torch.ones(L))
    model.autoencoder.head.log_variance.bias.add_(1.0)  # too wide: a gap
    x = compute_exact_components(model).mean.repeat(5, 1) + draw_rows(10, 4) / 4.0
    torch.manual_seed(1)
    bounds = torch.stack([total(model(x)).mean() for _ in range(400)])
    assert bounds.mean() < compute_exact_log_prob(model, x).mean() - 4.5 * bounds.std() / 20.0


@pytest.mark.parametrize("covariance_type", ["diag", "spherical"])
def test_vade_bounds_are_exact_at_the_exact_posterior(covariance_type):
    n_repeats = 500
    model, x = make_linear_vade(1, covariance_type=covariance_type), draw_rows(N, 4)
    set_posterior(model, model.means[0], model.covariances()[0].diagonal())
    exact = compute_exact_log_prob(model, x)
    torch.testing.assert_close(log_density(model, x), exact)
    torch.manual_seed(1)
    bounds = torch.stack([total(model(x)) for _ in range(n_repeats)])
    assert ((bounds.mean(0) - exact).abs() < 4.5 * bounds.std(0) / n_repeats**0.5).all()


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_vade_generates_from_the_exact_law_of_each_component(covariance_type):
    n_draws = 4000
    model = make_linear_vade(2, covariance_type=covariance_type)
    components = torch.arange(2).repeat_interleave(n_draws)
    draws, means = model.generate(components, torch.Generator().manual_seed(0))
    exact = compute_exact_components(model)
    noise = model.autoencoder.likelihood.scale.square() * model.autoencoder.likelihood.log_variance.exp()
    for rows, covariances in ((draws, exact.covariance_matrix), (means, exact.covariance_matrix - noise.diag())):
        for c, covariance in enumerate(covariances):
            variance = covariance.diagonal()
            drawn = rows[components == c]
            assert ((drawn.mean(0) - exact.mean[c]).abs() < 4.5 * (variance / n_draws).sqrt()).all()
            # Var[S_ij] = (Σ_ii Σ_jj + Σ_ij²) / n
            error = ((variance.outer(variance) + covariance.square()) / n_draws).sqrt()
            assert ((drawn.T.cov() - covariance).abs() < 4.5 * error).all()


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_vade_is_initialized_with_the_moments_of_its_groups(covariance_type):
    reg_covar, counts = 0.01, np.array([25, 15, 0])
    labels = np.repeat(np.arange(K), counts)
    embedding = draw_noise(40, L).numpy() @ np.array([[1.0, 0.7], [0.0, 0.4]]) + 5.0 * labels[:, None]
    model = make_random_vade(covariance_type=covariance_type, reg_covar=reg_covar).requires_grad_(False)
    model.weight_logits.requires_grad_(True)
    model.initialize_from(torch.from_numpy(embedding), torch.from_numpy(np.eye(K)[labels]))

    groups = [embedding[labels == c] for c in (0, 1)]
    scatter = np.stack([*(np.cov(group.T, ddof=0) for group in groups), np.zeros((L, L))])
    pooled = np.average(scatter, axis=0, weights=counts)
    n = counts[:, None, None]
    drawn = pooled[None] if covariance_type == "tied" else (n * scatter + (L + 1) * pooled) / (n + L + 1)
    posterior_variance = 0.01 * np.trace(pooled) / L + reg_covar
    drawn = drawn + (posterior_variance + reg_covar) * np.eye(L)
    if covariance_type in ("diag", "spherical"):
        drawn = drawn * np.eye(L)
    if covariance_type == "spherical":
        drawn = np.trace(drawn, axis1=1, axis2=2)[:, None, None] / L * np.eye(L)
    np.testing.assert_allclose(model.covariances(), drawn, atol=1e-12)
    np.testing.assert_allclose(model.means, [*(group.mean(0) for group in groups), embedding.mean(0)])
    np.testing.assert_allclose(model.log_weights().exp().detach(), np.array([25, 15, 1]) / 41)


def test_vade_with_fixed_weights_keeps_them_uniform():
    model = make_vade(learn_weights=False).double()
    model.initialize_from(draw_noise(N, L), torch.eye(K, dtype=torch.float64)[[0, 0, 0, 0, 1, 2]])
    total(model(draw_rows(N, 5))).sum().backward()
    assert model.weight_logits.grad is None
    torch.testing.assert_close(model.log_weights().exp(), torch.full((K,), 1 / K).double())
