"""Every formula in float64 against torch.distributions, SciPy, NumPy or a brute-force sum."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Categorical, MultivariateNormal, Normal, kl_divergence

from skgmvae.functional import (
    entropy_normal,
    expected_log_normal,
    kl_categorical,
    kl_normal,
    kl_standard_normal,
    learn_labels,
    log_mean_exp,
    log_normal,
    log_normal_full,
    log_standard_normal,
    mean_over_draws,
    noise_like,
    reparameterize,
    scale_gradient,
    temper_posterior,
    weighted_moments,
    whiten,
)


def draw(*shape, seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(*shape, dtype=torch.float64, generator=generator)


def make_precision_factor(n_factors, latent_dim, seed=0):
    lower = draw(n_factors, latent_dim, latent_dim, seed=seed).tril(-1)
    return lower + torch.diag_embed(draw(n_factors, latent_dim, seed=seed + 1, scale=0.5).exp())


def make_normal(mean, log_variance):
    return Normal(mean, torch.exp(0.5 * log_variance))


def test_diagonal_normal_formulas_equal_torch_distributions():
    mean_q, log_variance_q = draw(5, 4, seed=1), draw(5, 4, seed=2)
    mean_p, log_variance_p = draw(3, 1, 4, seed=3), draw(3, 1, 4, seed=4)
    q, p = make_normal(mean_q, log_variance_q), make_normal(mean_p, log_variance_p)
    standard = Normal(torch.zeros_like(mean_q), torch.ones_like(mean_q))
    x = draw(3, 5, 4, seed=5)

    torch.testing.assert_close(log_normal(x, mean_q, log_variance_q), q.log_prob(x).sum(-1))
    torch.testing.assert_close(log_standard_normal(x), standard.log_prob(x).sum(-1))
    torch.testing.assert_close(entropy_normal(log_variance_q), q.entropy().sum(-1))
    torch.testing.assert_close(
        kl_normal(mean_q, log_variance_q, mean_p, log_variance_p), kl_divergence(q, p).sum(-1).expand(3, 5)
    )
    torch.testing.assert_close(kl_standard_normal(mean_q, log_variance_q), kl_divergence(q, standard).sum(-1))


@pytest.mark.parametrize("n_factors", [3, 1], ids=["factor per component", "shared factor"])
def test_full_normal_formulas_equal_multivariate_normal(n_factors):
    K, L, N = 3, 4, 5
    mean, factor = draw(K, L, seed=6), make_precision_factor(n_factors, L)
    components = MultivariateNormal(mean, precision_matrix=(factor.mT @ factor).expand(K, L, L))

    z = draw(2, N, L, seed=7)
    torch.testing.assert_close(log_normal_full(z, mean, factor), components.log_prob(z.unsqueeze(-2)))
    for c, A in enumerate(factor.expand(K, L, L)):
        torch.testing.assert_close(whiten(z, mean, factor)[:, :, c], (z - mean[c]) @ A.T)

    mean_q, log_variance_q = draw(N, L, seed=8), draw(N, L, seed=9)
    q = MultivariateNormal(mean_q.unsqueeze(1), torch.diag_embed(log_variance_q.exp()).unsqueeze(1))
    # E_q[log p] = −KL(q ‖ p) − H[q]
    expected = -kl_divergence(q, components) - q.entropy()
    torch.testing.assert_close(expected_log_normal(mean_q, log_variance_q, mean, factor), expected)


def test_kl_categorical_equals_torch_distributions():
    log_q, log_p = draw(5, 4, seed=1).log_softmax(-1), draw(4, seed=2).log_softmax(-1)
    expected = kl_divergence(Categorical(logits=log_q), Categorical(logits=log_p.expand(5, 4)))
    torch.testing.assert_close(kl_categorical(log_q, log_p), expected)


def test_log_mean_exp_averages_and_does_not_overflow():
    x = draw(7, 3, seed=1)
    torch.testing.assert_close(log_mean_exp(x, 0), x.exp().mean(0).log())
    torch.testing.assert_close(log_mean_exp(x + 5000.0, 0), x.exp().mean(0).log() + 5000.0)


LOG_WEIGHTS = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64).log()


@pytest.mark.parametrize("scale", [1e-3, 0.3, 5.0])
@pytest.mark.parametrize("min_information", [0.0, 0.2, 0.6, 1.0])
def test_temper_posterior_puts_the_divergence_on_the_floor_and_nowhere_else(min_information, scale):
    g = draw(200, 3, seed=1, scale=scale) + 50.0
    log_q, temperature = temper_posterior(g, LOG_WEIGHTS, min_information)

    log_bayes = torch.log_softmax(LOG_WEIGHTS + g, -1)
    bayes, q = Categorical(logits=log_bayes), Categorical(logits=log_q)
    prior = Categorical(logits=LOG_WEIGHTS.expand(200, 3))
    settled = kl_divergence(bayes, prior) >= min_information
    torch.testing.assert_close(log_q[settled], log_bayes[settled])
    if min_information == 0.0:
        assert settled.all() and temperature is None
        return
    assert (temperature[settled] == 1.0).all()

    best = g.argmax(-1)
    reachable = -LOG_WEIGHTS[best] >= min_information
    lifted = ~settled & reachable
    floor = torch.full_like(g[lifted, 0], min_information)
    torch.testing.assert_close(kl_divergence(q, prior)[lifted], floor, atol=1e-6, rtol=0.0)
    tilted = torch.log_softmax(LOG_WEIGHTS + g[lifted] / temperature[lifted], -1)
    torch.testing.assert_close(log_q[lifted], tilted)

    one_hot = torch.nn.functional.one_hot(best, 3).double()
    torch.testing.assert_close(log_q.exp()[~reachable], one_hot[~reachable])


@pytest.mark.parametrize("min_information", [0.0, 0.2, 0.6, 1.0])
def test_temper_posterior_maximizes_the_hinged_objective_over_the_simplex(min_information):
    g = torch.cat([draw(4, 3, seed=2, scale=scale) for scale in (1e-2, 0.3, 1.0, 3.0)])

    def hinged_objective(q):
        divergence = torch.special.xlogy(q, q / LOG_WEIGHTS.exp()).sum(-1)
        return q @ g.T - divergence.clamp_min(min_information).unsqueeze(-1)

    ticks = torch.linspace(0.0, 1.0, 201, dtype=torch.float64)
    first, second = torch.meshgrid(ticks, ticks, indexing="ij")
    simplex = torch.stack([first, second, 1.0 - first - second], -1).reshape(-1, 3)
    simplex = simplex[simplex[:, 2] > -1e-9].clamp_min(0.0)
    best_on_grid = hinged_objective(simplex).amax(0)

    log_q, _ = temper_posterior(g, LOG_WEIGHTS, min_information)
    attained = hinged_objective(log_q.exp()).diagonal()
    assert (attained >= best_on_grid - 1e-7).all()
    assert (attained <= best_on_grid + 2e-3).all()  # what a grid of step 1/200 can miss


def test_temper_posterior_survives_extreme_float32():
    g = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, -1.0], [1e-30, 0.0, 0.0], [0.0, 1e4, -1e4], [-1e30, 1e30, 0.0]])
    for min_information in (0.1, 0.5, 1.09):
        log_q, temperature = temper_posterior(g, LOG_WEIGHTS.float(), min_information)
        assert not log_q.isnan().any()
        torch.testing.assert_close(log_q.exp().sum(-1), torch.ones(5))
        assert ((temperature > 0) & (temperature <= 1)).all()
        torch.testing.assert_close(log_q[3:].exp(), torch.tensor([[0.0, 1.0, 0.0]]).expand(2, 3))


def test_weighted_moments_equal_numpy():
    z = draw(30, 3, seed=1) + 7.0
    responsibilities = draw(30, 3, seed=2).softmax(-1)
    responsibilities[:, 1] = 0.0
    counts, means, covariances = weighted_moments(z, responsibilities)
    for c in (0, 2):
        weights = responsibilities[:, c].numpy()
        assert counts[c].item() == pytest.approx(math.fsum(weights))
        np.testing.assert_allclose(means[c], np.average(z, axis=0, weights=weights))
        np.testing.assert_allclose(covariances[c], np.cov(z.T, aweights=weights, ddof=0))
    assert counts[1] == 0.0
    np.testing.assert_allclose(means[1], z.mean(0))
    np.testing.assert_array_equal(covariances[1], np.zeros((3, 3)))


def test_scaled_gradient_keeps_the_value():
    x = torch.tensor([0.1, 1.0 / 3.0, 7.0], requires_grad=True)
    scale = torch.tensor([0.3, 1.0, 1e-9])
    scaled = scale_gradient(x * x, scale)
    assert torch.equal(scaled, x * x)
    scaled.sum().backward()
    assert torch.allclose(x.grad, 2.0 * scale * x)


# ------------------------------------------------------------------------------------ whatever the values

moderate = st.floats(-30.0, 30.0)


def tensors(*shape, elements=moderate):
    """Tensors of the shape; the numbers of it may be strategies."""
    sizes = st.tuples(*(st.just(size) if isinstance(size, int) else size for size in shape))
    return sizes.flatmap(
        lambda sizes: st.lists(elements, min_size=math.prod(sizes), max_size=math.prod(sizes)).map(
            lambda values: torch.tensor(values, dtype=torch.float64).reshape(sizes)
        )
    )


def log_distributions(*shape):
    return tensors(*shape).map(lambda logits: torch.log_softmax(logits, -1))


@given(logs=log_distributions(2, st.integers(1, 6)))
def test_divergence_of_categoricals_is_that_of_scipy_and_never_negative(logs):
    log_q, log_p = logs
    divergence = kl_categorical(log_q.unsqueeze(0), log_p).item()
    assert divergence >= -1e-12
    expected = scipy.stats.entropy(log_q.exp().numpy(), log_p.exp().numpy())
    assert divergence == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert kl_categorical(log_p.unsqueeze(0), log_p).item() == pytest.approx(0.0, abs=1e-12)


@given(parameters=tensors(4, st.integers(1, 5), elements=st.floats(-8.0, 8.0)))
def test_divergence_of_normals_is_never_negative_and_zero_only_of_equals(parameters):
    mean_q, log_variance_q, mean_p, log_variance_p = parameters
    divergence = kl_normal(mean_q, log_variance_q, mean_p, log_variance_p).item()
    assert divergence >= -1e-12
    assert kl_normal(mean_q, log_variance_q, mean_q, log_variance_q).item() == pytest.approx(0.0, abs=1e-12)
    precision = torch.exp(-log_variance_p)
    assert kl_normal(mean_q, log_variance_q, mean_p, log_variance_p, precision).item() == divergence
    zero = torch.zeros_like(mean_p)
    standard = kl_normal(mean_q, log_variance_q, zero, zero).item()
    assert kl_standard_normal(mean_q, log_variance_q).item() == pytest.approx(standard, rel=1e-12, abs=1e-12)


@given(parameters=tensors(3, 1, elements=st.floats(-3.0, 3.0)))
def test_a_density_integrates_to_one(parameters):
    mean, log_variance, _ = parameters
    deviation = math.exp(0.5 * log_variance.item())
    grid = torch.linspace(-12.0, 12.0, 4001, dtype=torch.float64) * deviation + mean
    density = log_normal(grid.unsqueeze(-1), mean, log_variance).exp()
    assert torch.trapezoid(density, grid).item() == pytest.approx(1.0, abs=1e-9)
    factor = (-0.5 * log_variance).exp().reshape(1, 1, 1)
    full = log_normal_full(grid.unsqueeze(-1), mean.unsqueeze(0), factor)[:, 0].exp()
    torch.testing.assert_close(full, density)


@given(
    g=tensors(st.integers(1, 4), 4),
    log_weights=tensors(4, elements=st.floats(-2.0, 2.0)).map(lambda logits: torch.log_softmax(logits, -1)),
    share=st.floats(0.0, 0.999),
)
def test_tempered_posterior_is_normalized_and_reaches_the_information_asked_for(g, log_weights, share):
    min_information = share * math.log(4)
    log_q, temperature = temper_posterior(g, log_weights, min_information)
    assert log_q.isfinite().all()
    torch.testing.assert_close(log_q.exp().sum(-1), torch.ones(len(g), dtype=torch.float64))
    divergence = kl_categorical(log_q, log_weights)
    # where the likeliest component alone is less informative than that, it gets everything
    top = g == g.amax(-1, keepdim=True)
    reachable = -torch.logsumexp(log_weights.expand_as(g).masked_fill(~top, -torch.inf), -1) >= min_information
    gap = torch.where(top, -torch.inf, g).amax(-1) - g.amax(-1)
    resolved = gap < -1e-6  # or T would have to be below its least value
    assert (divergence >= min_information - 1e-6)[reachable & resolved].all()
    bayes = torch.log_softmax(log_weights + g, -1)
    informative = kl_categorical(bayes, log_weights) >= min_information
    torch.testing.assert_close(log_q[informative], bayes[informative])
    if temperature is not None:
        assert ((temperature > 0.0) & (temperature <= 1.0)).all()
        assert (divergence <= min_information + 1e-6)[~informative].all(), "no more than is asked for"


@given(
    z=tensors(st.just(7), st.integers(1, 3)),
    responsibilities=tensors(7, st.integers(1, 4), elements=st.sampled_from([0.0, 1e-6, 0.25, 0.5, 1.0])),
)
def test_weighted_moments_are_those_of_numpy(z, responsibilities):
    counts, means, covariances = weighted_moments(z, responsibilities)
    for c, weights in enumerate(responsibilities.T.numpy()):
        if weights.sum() == 0.0:
            np.testing.assert_allclose(means[c], z.mean(0))
            assert not covariances[c].any()
            continue
        assert counts[c].item() == pytest.approx(weights.sum())
        np.testing.assert_allclose(means[c], np.average(z, axis=0, weights=weights), rtol=1e-9, atol=1e-9)
        expected = np.cov(z.numpy().T, aweights=weights, ddof=0).reshape(covariances[c].shape)
        np.testing.assert_allclose(covariances[c], expected, rtol=1e-7, atol=1e-7)
        assert np.linalg.eigvalsh(covariances[c].numpy()).min() >= -1e-9


@pytest.mark.parametrize(
    ("n_draws", "width", "shape"),
    [(1, None, (4, 3)), (1, 2, (4, 2)), (5, None, (5, 4, 3)), (5, 2, (5, 4, 2))],
)
def test_noise_has_an_axis_of_draws_only_where_there_are_several(n_draws, width, shape):
    x = draw(4, 3)
    noise, again = (noise_like(x, n_draws, width, generator=torch.Generator().manual_seed(1)) for _ in range(2))
    assert noise.shape == shape and noise.dtype == x.dtype
    assert torch.equal(noise, again)
    assert len(noise.unique()) == noise.numel(), "every number is drawn by itself"


def test_noise_is_standard_normal_and_scaled_by_the_standard_deviation():
    n, log_variance = 40_000, torch.tensor([-1.0, 2.0], dtype=torch.float64)
    noise = noise_like(log_variance, n, generator=torch.Generator().manual_seed(0))
    assert (noise.mean(0).abs() < 5.0 / n**0.5).all()
    assert ((noise.var(0) - 1.0).abs() < 5.0 * (2.0 / n) ** 0.5).all()
    mean = torch.tensor([3.0, -4.0], dtype=torch.float64)
    standardized = (reparameterize(mean, log_variance, noise) - mean) / log_variance.exp().sqrt()
    torch.testing.assert_close(standardized, noise)


def test_the_mean_over_draws_is_along_the_first_axis_unless_there_is_one_draw():
    x = draw(5, 4, 3)
    np.testing.assert_allclose(mean_over_draws(x, 5), x.numpy().mean(0))
    assert mean_over_draws(x, 1) is x


def test_labels_are_learned_by_the_gradient_alone():
    """The value stays; the gradient is that of the value and of the cross-entropy."""
    generator = torch.Generator().manual_seed(0)
    value, log_joint = torch.randn(5, generator=generator), torch.randn(5, 3, generator=generator)
    labels = torch.randn(5, 3, generator=generator).softmax(-1)
    value.requires_grad_(), log_joint.requires_grad_()
    found = learn_labels(value, labels, log_joint)
    assert torch.equal(found, value)
    of_value, of_joint = torch.autograd.grad(found.sum(), (value, log_joint))
    torch.testing.assert_close(of_value, torch.ones(5))
    torch.testing.assert_close(of_joint, log_joint.softmax(-1) - labels)


def test_noise_is_drawn_in_the_order_of_memory():
    """A strided tensor is filled number by number, ten times slower, and by other numbers."""
    x = torch.zeros(3, 40, 5)
    expected = noise_like(x, 1, generator=torch.Generator().manual_seed(0))
    noise = noise_like(x.transpose(0, 1), 1, generator=torch.Generator().manual_seed(0))
    assert noise.stride() == x.transpose(0, 1).stride()
    torch.testing.assert_close(noise.transpose(0, 1), expected, rtol=0.0, atol=0.0)
