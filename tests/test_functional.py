"""Every formula in float64 against torch.distributions, SciPy, NumPy or a brute-force sum."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, MultivariateNormal, Normal, kl_divergence

from skgmvae.functional import (
    entropy_normal,
    expected_log_normal,
    kl_categorical,
    kl_normal,
    kl_standard_normal,
    log_mean_exp,
    log_normal,
    log_normal_full,
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
