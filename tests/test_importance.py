"""log p(x, c) by importance sampling, against exact cases and quadrature."""

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from test_posteriors import MODELS, D, K, draw_x, make_model, make_posterior
from torch.distributions import MultivariateNormal

from skgmvae import GMVAEClustering, VaDEClustering, VAEEMClustering
from skgmvae.models import density, importance
from skgmvae.models.density import estimate_log_density, estimate_log_posterior
from skgmvae.models.laplace import take_newton_step
from skgmvae.models.points import MANY_FEATURES, make_point_sets
from skgmvae.models.proposals import approximate

ESTIMATORS = {"VaDE": VaDEClustering, "GMVAE": GMVAEClustering, "VAEEM": VAEEMClustering}


@pytest.fixture(params=MODELS)
def name(request):
    return request.param


def make_points(model, seed=0, n_features=D):
    return make_point_sets(*model.noise_shape, n_features, seed)


def compute_exact_joint(model, x):
    """log π_c p(x|c), (N, K), of a model with a linear decoder and a prior that is constant in w."""
    likelihood = model.likelihood
    if not hasattr(model, "autoencoder"):  # a decoder for each component
        weight, bias = model.decoder[0].weight.mT, model.decoder[0].bias
        mean, latent = torch.zeros(model.n_components, model.latent_dim), torch.eye(model.latent_dim)
    else:
        weight, bias = model.autoencoder.decoder[0].weight, model.autoencoder.decoder[0].bias
        if hasattr(model, "prior"):
            mean, log_variance = model.prior(torch.zeros(model.style_dim).double())
            latent = log_variance.exp().diag_embed()
        else:
            mean, latent = model.means, model.covariances()
    mean, latent = mean.double(), latent.double()
    mean = (weight @ mean.unsqueeze(-1)).squeeze(-1) + bias
    covariance = weight @ latent @ weight.mT + likelihood.log_variance.exp().diag_embed()
    scale = likelihood.scale
    normal = MultivariateNormal(likelihood.location + scale * mean, covariance * scale * scale.unsqueeze(-1))
    return model.log_weights() + normal.log_prob(x.unsqueeze(1))


def integrate(model, x, n_nodes=40, width=5.0):
    """log p(x, c), (N, K), by a grid over u that is wide enough for the prior."""
    posterior, n_latent = make_posterior(model, x)
    axis = torch.linspace(-width, width, n_nodes).double()
    grid = torch.cartesian_prod(*[axis] * n_latent).reshape(-1, n_latent)
    points = grid.expand(len(x), -1, -1)
    if posterior.has_own_latents:
        points = points.unsqueeze(2).expand(-1, -1, model.n_components, -1)
    return posterior.log_joint(points).logsumexp(1) + n_latent * torch.log(axis[1] - axis[0])


@pytest.mark.parametrize("n_components", [1, K])
def test_linear_models_have_exact_densities_and_posteriors(name, n_components):
    model = make_model(name, is_linear=True, n_components=n_components, slope=0.0)
    x = draw_x(model, 200)
    exact = compute_exact_joint(model, x)
    for seed, n_features in ((0, D), (1, MANY_FEATURES + 1)):
        log_joint = model.log_joint(x, make_points(model, seed, n_features))
        torch.testing.assert_close(log_joint.logsumexp(-1), exact.logsumexp(-1), atol=1e-9, rtol=0.0)
        torch.testing.assert_close(log_joint.softmax(-1), exact.softmax(-1), atol=1e-9, rtol=0.0)


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_nonlinear_models_are_near_quadrature(name, likelihood):
    """And p(x) is right on average over seeds, whatever the number of points."""
    model = make_model(name, likelihood=likelihood, style_dim=1)
    # less curved; random decoders of each component have posteriors of several modes
    (model.decoder if name == "VAEEM" else model.autoencoder.decoder)[-1].weight *= 0.15 if name == "VAEEM" else 0.5
    x = draw_x(model, 5 if name == "GMVAE" else 20)
    exact = integrate(
        model, x, **({"n_nodes": 48, "width": 5.0} if name == "GMVAE" else {"n_nodes": 200, "width": 7.0})
    )
    estimates = torch.stack([model.log_joint(x, make_points(model, seed)) for seed in range(8)])
    errors = estimates.logsumexp(-1) - exact.logsumexp(-1)
    assert errors.mean().abs() < 0.04 and errors.square().mean().sqrt() < 0.15, (errors.mean(), errors.std())
    ratios = errors.exp().mean(1)  # over equal rows too
    assert (ratios.mean() - 1.0).abs() < 4.5 * ratios.std() / len(ratios) ** 0.5 + 0.005
    posterior_errors = estimates.softmax(-1) - exact.softmax(-1)
    assert posterior_errors.square().mean().sqrt() < 0.03 and posterior_errors.abs().flatten().quantile(0.99) < 0.15


def test_a_row_has_its_score_in_whatever_batch(name):
    model = make_model(name)
    x, points = draw_x(model, 40).float().double(), make_points(model)
    whole = model.log_joint(x, points)
    torch.testing.assert_close(model.log_joint(x[10:13], points), whole[10:13], atol=1e-9, rtol=0.0)
    torch.testing.assert_close(model.log_joint(x.flip(0), points), whole.flip(0), atol=1e-9, rtol=0.0)
    torch.testing.assert_close(model.log_joint(x[[3, 3]], points), whole[[3, 3]], atol=1e-9, rtol=0.0)
    torch.testing.assert_close(model.log_joint(x.float(), points), whole, atol=1e-4, rtol=0.0)
    x[0, :] = 0.0
    assert torch.equal(model.log_joint(x[:1], points), model.log_joint(-x[:1], points))
    others = model.log_joint(x[1:], make_points(model, 1))
    assert ((others - whole[1:]).abs().amax(-1) > 1e-9).double().mean() > 0.5


def test_errors_of_a_mean_score_average_out_over_rows():
    """As those of independent points, not of common ones."""
    model = make_model("VaDE")
    x = draw_x(model, 512)
    scores = torch.stack([model.log_joint(x, make_points(model, seed)).logsumexp(-1) for seed in range(10)])
    of_row, of_mean = scores.std(0).square().mean().sqrt(), scores.mean(1).std()
    assert of_row > 0.01
    assert of_mean < 2.0 * of_row / 512**0.5


def test_more_points_where_weights_spread(monkeypatch):
    """Counted at the model; q(z|x) is in the proposal of further points, so that a missed mode is found."""

    def count(model, x):
        posterior, _ = make_posterior(model, x)
        inner, rows = type(posterior).log_joint, []

        def log_joint(self, u):
            rows.append(u.shape[:2])
            return inner(self, u)

        monkeypatch.setattr(type(posterior), "log_joint", log_joint)
        model.log_joint(x, make_points(model))
        monkeypatch.setattr(type(posterior), "log_joint", inner)
        return rows

    linear, curved = make_model("VaDE", is_linear=True), make_model("VaDE")
    calls = count(linear, draw_x(linear, 50))
    assert sum(rows for rows, _ in calls) == 50 and {size for _, size in calls} == {16}
    for layer in (curved.autoencoder.decoder[0], curved.autoencoder.decoder[-1]):
        layer.weight *= 3.0
    calls = count(curved, draw_x(curved, 50))
    of_size = {S: sum(rows for rows, size in calls if size == S) for S in (16, 64, 256)}
    assert of_size[16] == 50 > of_size[64] >= of_size[256] > 0
    assert all(rows * S <= 50 * 16 for rows, S in calls)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_components_that_are_left_out_have_no_share(name, quick, monkeypatch):
    """Of fitted models, by estimates of all components: neither log p(x) nor p(c|x) depends on what is left out."""
    X = load_digits().data[:300, 18:46]
    options = quick | {"latent_dim": 6, "max_iter": 15, "hidden_layer_sizes": (32,)}
    model = ESTIMATORS[name](8, **options).fit(X).net_.module_
    x, left_out = torch.from_numpy(X[:80]), []

    def approximate_all(posterior, *, refines):
        found = approximate(posterior, refines=refines)
        left_out.append(~found.is_relevant)
        return found._replace(is_relevant=torch.ones_like(found.is_relevant))

    with torch.inference_mode():
        some = torch.stack([model.log_joint(x, make_points(model, seed)) for seed in range(3)])
        monkeypatch.setattr(importance, "approximate", approximate_all)
        whole = torch.stack([model.log_joint(x, make_points(model, seed)) for seed in range(3)])
    assert left_out[0].double().mean() > 0.15
    for log_joint in (some, whole):
        shares = torch.where(left_out[0], log_joint.softmax(-1).mean(0), 0.0).sum(-1)
        assert shares.max() < 1e-3, shares.max()
    gain = some.logsumexp(-1).mean(0) - whole.logsumexp(-1).mean(0)
    assert gain.mean().abs() < 4.0 * gain.std() / len(gain) ** 0.5 + 1e-3, (gain.mean(), gain.std())


def test_components_that_are_left_out_gain_nothing_from_points_that_are_off(name, monkeypatch):
    """Where the proposal misses the posterior of the best component, the shares of the others stay as they are."""
    model = make_model(name)
    x = draw_x(model, 40)

    def approximate_badly(posterior, *, refines):
        found = approximate(posterior, refines=refines)
        best = found.log_joint.argmax(-1, keepdim=True)
        is_relevant = torch.zeros_like(found.is_relevant).scatter(-1, best, True)
        log_joint = torch.where(is_relevant, found.log_joint, found.log_joint.amax(-1, keepdim=True) - 20.0)
        return found._replace(maximum=found.maximum + 8.0, log_joint=log_joint, is_relevant=is_relevant)

    monkeypatch.setattr(importance, "approximate", approximate_badly)
    log_joint = model.log_joint(x, make_points(model))
    assert (log_joint.softmax(-1).amax(-1) > 1.0 - 1e-7).all()


@pytest.mark.parametrize("name", ["GMVAE", "VAEEM"])
def test_steps_that_overshoot_are_shortened_also_where_there_is_but_one(name):
    """As with many features. A proposal at such an end misses the posterior."""
    model = make_model(name)
    with torch.no_grad():
        for parameter in [p for n, p in model.named_parameters() if "decoder" in n and p.dim() > 1]:
            parameter *= 3.0
    posterior, _ = make_posterior(model, draw_x(model, 1000))
    with torch.inference_mode():
        expansion = posterior.expand(posterior.mean)
        full = posterior.value(take_newton_step(expansion, posterior.mean).maximum)
        found = approximate(posterior, refines=False)
        best = found.log_joint.argmax(-1, keepdim=True)
        start, end = (values.gather(-1, best) for values in (expansion.value, posterior.value(found.maximum)))
    assert (full < expansion.value - 1.0).any()
    assert (end >= start - 1e-9).all()


def test_large_networks_keep_what_leaves_no_doubt(name):
    model = make_model(name)
    x, noise = draw_x(model, 100), torch.zeros(1, *model.noise_shape).double()
    fine, coarse = make_points(model), make_points(model, n_features=MANY_FEATURES + 1)
    assert fine.refines and not coarse.refines and [len(each) for each in coarse.sets] == [16]
    of_density = torch.log_softmax(model.log_joint(x, fine), -1)
    of_rows = estimate_log_posterior(model, x, fine, noise)
    # from fewer points where these leave no doubt
    torch.testing.assert_close(of_rows.exp(), of_density.exp(), atol=0.02, rtol=0.0)
    of_bound = model.log_responsibilities(x, noise)
    best = of_bound.topk(2, -1).values
    is_sure = best[:, 0] - best[:, 1] > density.SURE
    short = estimate_log_posterior(model, x, coarse, noise)
    torch.testing.assert_close(short[is_sure], of_bound[is_sure])
    torch.testing.assert_close(short[~is_sure], torch.log_softmax(model.log_joint(x[~is_sure], coarse), -1))
    assert (~is_sure).any()


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
@pytest.mark.parametrize("is_linear", [False, True])
def test_rows_far_from_all_others(name, is_linear, likelihood):
    model = make_model(name, is_linear=is_linear, likelihood=likelihood)
    x = draw_x(model, 8)
    with torch.no_grad():
        for size in (1e6, 1e160, -1e300):
            far = x.clone()
            far[::2, 1] = size
            far[1::4] = size
            points = make_points(model)
            scores = estimate_log_density(model, far, points)
            assert not scores.isnan().any() and (scores < math.inf).all(), (size, scores)
            assert likelihood == "bernoulli" or (scores[::2] < -1e8).all()
            posterior = estimate_log_posterior(model, far, points, torch.zeros(1, *model.noise_shape).double()).exp()
            assert np.allclose(posterior.sum(-1), 1.0), (size, posterior)
            near = estimate_log_density(model, x, points)
            torch.testing.assert_close(scores[3::4], near[3::4], atol=1e-9, rtol=0.0)
