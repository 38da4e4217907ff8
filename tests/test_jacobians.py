"""Jacobians of networks, against automatic derivatives."""

import warnings

import pytest
import torch
from test_posteriors import draw
from torch.nn.functional import softplus

from skgmvae.models import VAEEM, Autoencoder, Gaussian, jacobians
from skgmvae.models.jacobians import differentiate, differentiate_decoder
from skgmvae.models.prior_network import PriorNetwork

n, J, U, K = 4, 3, 5, 2


def test_derivatives_of_a_network_are_those_of_autograd():
    network = torch.nn.Sequential(torch.nn.Linear(U, 7), torch.nn.Tanh(), torch.nn.Linear(7, 3)).double()
    z = draw(n, J, U)
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("error")
        output, jacobian = differentiate(network, z)
    assert jacobian.shape == (n, J, U, 3)
    torch.testing.assert_close(output, network(z))
    for i in range(n):
        for j in range(J):
            exact = torch.autograd.functional.jacobian(network, z[i, j]).T
            torch.testing.assert_close(jacobian[i, j], exact)
    torch.testing.assert_close(differentiate(softplus, z)[1], z.sigmoid().diag_embed())


@pytest.mark.parametrize("n_features", [2, 9])  # fewer and more than latent variables
@pytest.mark.parametrize("sizes", [(), (7,), (6, 8)])
@pytest.mark.parametrize("has_linear_path", [False, True])
@pytest.mark.parametrize("is_stacked", [False, True])
def test_decoders_in_closed_form_are_those_in_forward_mode(n_features, sizes, has_linear_path, is_stacked, monkeypatch):
    location = torch.zeros(n_features).double()
    options = {"has_linear_path": has_linear_path, "generator": torch.Generator().manual_seed(0)}
    model = Autoencoder(n_features, U, Gaussian(location, location + 1.0), sizes, **options)
    if is_stacked:
        model = VAEEM(model, K)
    for seed, parameter in enumerate(model.parameters()):
        parameter.data = draw(*parameter.shape, seed=seed)
    z = draw(n, K, U, seed=100) if is_stacked else draw(n, J, U, seed=100)
    with torch.inference_mode():
        expected = differentiate(model.decode, z)
        monkeypatch.setattr(jacobians, "differentiate", None)
        found = differentiate_decoder(model, z)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        torch.testing.assert_close(one, other)


def test_decoders_with_other_layers_are_differentiated_in_forward_mode():
    location = torch.zeros(64).double()
    model = Autoencoder(64, U, Gaussian(location, location + 1.0), (), (1, 8, 8)).double().eval()
    z = draw(n, J, U)
    with torch.inference_mode():
        for one, other in zip(differentiate_decoder(model, z), differentiate(model.decode, z), strict=True):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize("is_trained", [False, True])  # in evaluation mode the log-variances are bounded
def test_the_prior_network_of_a_gmvae_is_differentiated_in_closed_form(is_trained):
    prior = PriorNetwork(U, 7, K, 3, feature_scale=0.5).double().train(is_trained)
    for seed, parameter in enumerate(prior.parameters()):
        parameter.data = draw(*parameter.shape, seed=seed)
    prior.head.log_variance.bias.data[::2] += 30.0
    w, components = draw(n * J, U), torch.arange(n * J) % K
    moments, slopes = prior.differentiate(w)
    expected = differentiate(lambda w: torch.cat(prior(w), -1), w)
    assert slopes.shape == (n * J, K, U, 6) and bool((slopes == 0.0).any()) != is_trained
    torch.testing.assert_close(moments, expected[0])
    torch.testing.assert_close(slopes, expected[1])
    own = prior.differentiate_own(w, components)
    rows = torch.arange(n * J)
    torch.testing.assert_close(own[0], moments[rows, components])
    torch.testing.assert_close(own[1], slopes[rows, components])
