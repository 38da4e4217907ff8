"""Annealed importance sampling, against exact cases and quadrature."""

import pytest
import torch
from test_importance import compute_exact_joint, integrate
from test_posteriors import D, draw_x, make_model

from skgmvae.models.annealing import anneal_log_density, anneal_log_joint
from skgmvae.models.background import Background

MODELS = ("VaDE", "GMVAE", "VAEEM")


def anneal(model, x, n_temperatures, seed=0):
    """log p(x), (N,)."""
    generator = torch.Generator().manual_seed(seed)
    return anneal_log_density(model, x, n_temperatures=n_temperatures, n_chains=16, generator=generator).detach()


@pytest.mark.parametrize("name", MODELS)
def test_known_densities_of_linear_models(name):
    model = make_model(name, is_linear=True, n_components=2, slope=0.0, style_dim=1)
    x = draw_x(model, 40)
    errors = anneal(model, x, 60) - compute_exact_joint(model, x).logsumexp(-1)
    assert errors.mean().abs() < 0.1 and errors.square().mean().sqrt() < 0.4, (errors.mean(), errors.std())
    ratios = errors.exp()  # unbiased, however few the temperatures
    assert (ratios.mean() - 1.0).abs() < 4.5 * ratios.std() / len(x) ** 0.5


@pytest.mark.parametrize("name", MODELS)
def test_skewed_posteriors_are_near_quadrature(name):
    small = {"latent_dim": 1, "style_dim": 1} if name == "GMVAE" else {}
    model = make_model(name, n_components=2, **small)
    x = draw_x(model, 30)
    exact = integrate(model, x, n_nodes=150).logsumexp(-1)
    few, many = (anneal(model, x, T) - exact for T in (1, 80))
    assert many.mean().abs() < 0.25 and many.square().mean().sqrt() < 0.6, (many.mean(), many.std())
    assert many.square().mean() < 0.7 * few.square().mean()
    for errors in (few, many):
        ratios = errors.exp()
        assert (ratios.mean() - 1.0).abs() < 4.5 * ratios.std() / len(x) ** 0.5


def test_components_with_latents_of_their_own_have_densities_of_their_own():
    model = make_model("VAEEM", is_linear=True, n_components=3)
    x = draw_x(model, 6)
    generator = torch.Generator().manual_seed(0)
    log_joint = anneal_log_joint(model.posterior(x), n_temperatures=60, n_chains=16, generator=generator)
    torch.testing.assert_close(log_joint, compute_exact_joint(model, x), atol=0.5, rtol=0.0)


def test_the_background_is_part_of_the_density():
    model = make_model("VaDE", is_linear=True, n_components=2)
    x = draw_x(model, 20)
    without = anneal(model, x, 10)
    model.background = Background(D).double().fit(model.likelihood.standardize(x, torch.float64))
    of_background = model.background(model.likelihood.standardize(x, torch.float64)) - model.likelihood.log_scale_sum
    weight = 1.0 / (len(x) + 1.0)
    expected = torch.logaddexp(without + torch.tensor(1.0 - weight).log(), of_background + torch.tensor(weight).log())
    torch.testing.assert_close(anneal(model, x, 10), expected, atol=1e-6, rtol=0.0)
