"""Descriptors of images by the orientations of their gradients."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from skgmvae import VaDEClustering
from skgmvae.initialization.hog import N_ORIENTATIONS, hog_descriptors
from skgmvae.initialization.initialize import initialize_model
from skgmvae.training import fitting


def describe(images):
    """Descriptors of images (n, C, H, W), by orientation and cell."""
    n, *shape = images.shape
    n_cells = [min(9, side) - 1 for side in shape[1:]]
    return hog_descriptors(images.reshape(n, -1), shape).reshape(n, N_ORIENTATIONS, *n_cells)


def draw_images(*shape):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def describe_by_pixels(image):
    """The same of one image (C, H, W), pixel by pixel."""
    C, H, W = image.shape
    histograms = np.zeros((N_ORIENTATIONS, H, W))
    for i in range(H):
        for j in range(W):
            gradients = [
                (
                    image[c, i, min(j + 1, W - 1)] - image[c, i, max(j - 1, 0)],
                    image[c, min(i + 1, H - 1), j] - image[c, max(i - 1, 0), j],
                )
                for c in range(C)
            ]
            across, down = max(gradients, key=lambda gradient: math.hypot(*gradient))
            turns = math.atan2(down, across) / (2 * math.pi) * N_ORIENTATIONS % N_ORIENTATIONS
            below, share = int(turns), turns - int(turns)
            histograms[below % N_ORIENTATIONS, i, j] += (1 - share) * math.hypot(across, down)
            histograms[(below + 1) % N_ORIENTATIONS, i, j] += share * math.hypot(across, down)
    cells = (histograms[:, :-1] + histograms[:, 1:])[:, :, :-1] + (histograms[:, :-1] + histograms[:, 1:])[:, :, 1:]
    return np.sqrt(cells / cells.sum())


def test_histograms_are_those_of_single_pixels():
    images = draw_images(4, 2, 5, 6)  # so small that every pixel is a block
    expected = [describe_by_pixels(image) for image in images.numpy()]
    np.testing.assert_allclose(describe(images), expected, atol=1e-12)


@pytest.mark.parametrize("orientation", range(N_ORIENTATIONS))
def test_a_ramp_has_one_orientation(orientation):
    angle = 2 * math.pi * orientation / N_ORIENTATIONS
    rows, columns = torch.meshgrid(*2 * [torch.arange(28.0, dtype=torch.float64)], indexing="ij")
    described = describe((math.cos(angle) * columns + math.sin(angle) * rows)[None, None])
    assert described.shape == (1, 8, 8, 8)
    inner = described[0, :, 1:-1, 1:-1].square().sum((1, 2))  # the ends of a slanted ramp have another gradient
    assert inner[orientation] / inner.sum() > 1 - 1e-9


def test_contrast_and_brightness_change_nothing_and_a_shift_little():
    images = torch.nn.functional.avg_pool2d(draw_images(20, 1, 34, 34), 7, stride=1)
    plain = describe(images)
    np.testing.assert_allclose(describe(2.0 + 0.2 * images), plain, atol=1e-9)
    np.testing.assert_allclose(plain.square().sum((1, 2, 3)), 1.0)
    shifted = torch.cdist(plain.flatten(1), describe(images.roll(1, -1)).flatten(1))
    assert (shifted.argmin(1) == torch.arange(20)).all()


def test_an_image_without_edges_has_a_descriptor_of_zeros():
    assert (describe(torch.full((2, 3, 12, 10), 0.5)) == 0.0).all()


def draw_bars(n_each=50, side=16):
    """Bars of three orientations near the middle of images of any brightness and contrast, and the orientations."""
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], n_each)
    angle = np.pi * y / 3 + rng.normal(scale=0.05, size=len(y))
    points = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).reshape(-1, 2)
    from_middle = points - (side - 1) / 2 - rng.uniform(-3, 3, (len(y), 1, 2))
    along, across = (
        np.abs(from_middle @ np.stack([np.cos(a), np.sin(a)], -1)[:, :, None])[..., 0]
        for a in (angle, angle + np.pi / 2)
    )
    brightness, contrast = rng.uniform(0.0, 0.5, (len(y), 1)), rng.uniform(0.05, 0.5, (len(y), 1))
    return brightness + contrast * np.exp(-((along / 4) ** 4) - (across / 1.2) ** 2), y


def test_the_initialization_looks_at_gradients_where_samples_are_images(monkeypatch):
    made = []

    def record(*args, **options):
        made.append(initialize_model(*args, **options))
        return made[-1]

    monkeypatch.setattr(fitting, "initialize_model", record)
    X, y = draw_bars()
    settings = {"pretrain_iter": 0, "max_iter": 0, "hidden_layer_sizes": (20,), "random_state": 0}
    VaDEClustering(3, **settings).fit(X)
    fitted = VaDEClustering(3, image_shape=(1, 16, 16), **settings).fit(X)
    assert fitted.init_params_ == "graph of the oriented gradients"
    by_pixels, by_gradients = (adjusted_rand_score(y, init.responsibilities.argmax(1)) for init in made)
    assert by_gradients > 0.9 > 0.1 > by_pixels
