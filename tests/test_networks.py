"""Shapes of the convolutions, and how the weights of layers are drawn."""

import math

import pytest
import torch
from test_train import ARCHITECTURE, draw_rows
from torch import nn

from skgmvae.models.networks import (
    GaussianHead,
    choose_convolutions,
    convolution_sides,
    draw_weights,
    make_conv_body,
    make_conv_decoder,
)
from skgmvae.training.pretraining import make_autoencoder


@pytest.mark.parametrize(
    ("height", "width", "filters", "last"),
    [
        (4, 4, [32], (2, 2)),
        (8, 8, [32], (4, 4)),
        (9, 30, [32], (4, 15)),
        (10, 10, [32, 64], (2, 2)),
        (16, 64, [32, 64], (4, 16)),
        (28, 32, [32, 64, 128], (3, 4)),
        (64, 64, [32, 64, 128, 256], (4, 4)),
        (200, 90, [32, 64, 128, 256], (12, 5)),
    ],
)
def test_convolutions_halve_the_sides_until_the_shorter_is_four(height, width, filters, last):
    assert choose_convolutions(height, width) == tuple((n, 4, 2, 1) for n in filters)
    sides = convolution_sides((1, height, width))
    assert sides[0] == (height, width) and sides[-1] == last and len(sides) == len(filters) + 1


def largest(parameter):
    return parameter.detach().abs().max().item()


def test_linear_layers_are_drawn_for_relu_and_others_as_torch_draws_them():
    linear, convolution, generator = nn.Linear(400, 300), nn.Conv2d(4, 80, 5), torch.Generator().manual_seed(0)
    draw_weights(nn.Sequential(linear, convolution), generator, for_relu=True)
    assert largest(linear.weight) == pytest.approx(math.sqrt(6.0 / 400), rel=1e-3)  # He et al. 2015
    assert not linear.bias.any()
    assert largest(convolution.weight) == pytest.approx(0.1, rel=1e-2)  # 1 / sqrt(100), of 4 · 5 · 5 inputs
    assert 0.09 < largest(convolution.bias) < 0.1
    draw_weights(linear, generator)
    assert largest(linear.weight) == pytest.approx(0.05, rel=1e-3)
    assert 0.045 < largest(linear.bias) < 0.05


@pytest.mark.parametrize("image_shape", [(1, 8, 8), (2, 16, 16), (1, 28, 28)])
def test_batch_norm_and_relu_are_between_layers_and_not_after_the_last(image_shape):
    n = len(choose_convolutions(*image_shape[1:]))
    dense, norm = ["Linear", "BatchNorm1d", "ReLU"], ["BatchNorm2d", "ReLU"]
    body = [type(layer).__name__ for layer in make_conv_body(image_shape)[0]]
    assert body == ["Unflatten", *(["Conv2d", *norm] * n), "Flatten", *dense]
    decoder = [type(layer).__name__ for layer in make_conv_decoder(3, image_shape)]
    between = ["ConvTranspose2d", *norm] * (n - 1)
    assert decoder == [*dense, *dense, "Unflatten", *between, "ConvTranspose2d", "Flatten"]


def test_log_variances_are_bounded_in_evaluation_mode_only():
    head = GaussianHead(1, 2)
    with torch.no_grad():
        head.log_variance.weight.copy_(torch.tensor([[100.0], [-100.0]]))
        head.log_variance.bias.zero_()
    assert head(torch.ones(1, 1))[1].tolist() == [[100.0, -100.0]]
    assert head.eval()(torch.ones(1, 1))[1].tolist() == [[10.0, -30.0]]


def test_the_posterior_variance_is_nearly_the_same_for_all_samples():
    autoencoder = make_autoencoder(ARCHITECTURE, torch.Generator().manual_seed(0))
    before, rows = autoencoder.head.log_variance.weight.detach().clone(), draw_rows()
    mean = autoencoder.encode(rows)[0]
    autoencoder.set_posterior_variance(0.04)
    torch.testing.assert_close(autoencoder.head.log_variance.weight.detach(), 0.1 * before)
    variances = autoencoder.encode(rows)[1].exp()
    assert variances.log().mean().item() == pytest.approx(math.log(0.04), abs=0.1)
    assert torch.equal(autoencoder.encode(rows)[0], mean)
