"""Contrastive features of images, and the initialization that is made on them."""

import math

import joblib
import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score
from test_hog import draw_bars

from skgmvae import VaDEClustering, VAEEMClustering
from skgmvae._evaluation import CHUNK_VALUES, chunk_rows
from skgmvae.data.lazy import LazyRows
from skgmvae.data.training_data import TrainingData
from skgmvae.initialization import augmentation, contrastive, representations
from skgmvae.initialization.augmentation import augment, cutout
from skgmvae.initialization.contrastive import contrastive_loss, fit_contrastive_weights, load_encoder
from skgmvae.initialization.initialize import initialize_model
from skgmvae.initialization.neighbor_graph import find_neighbors
from skgmvae.initialization.representations import subsample
from skgmvae.models.image_encoder import MAX_SIDE, ImageEncoder
from skgmvae.training import fitting

SHAPE = (1, 16, 16)
EXTENTS = ("MAX_ROTATION", "MAX_SCALING", "MAX_STRETCH", "MAX_SHEAR", "MAX_TRANSLATION", "MAX_BRIGHTNESS", "MAX_CUTOUT")


@pytest.fixture
def few_steps(monkeypatch):
    monkeypatch.setattr(contrastive, "MIN_STEPS", 3)
    monkeypatch.setattr(contrastive, "MAX_STEPS", 3)
    monkeypatch.setattr(contrastive, "BATCH_SIZE", 64)


@pytest.fixture(scope="module")
def learned():
    """Weights of an encoder that has learned the bars."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contrastive, "MIN_STEPS", 200)
        patch.setattr(contrastive, "BATCH_SIZE", 64)
        return fit_contrastive_weights(
            TrainingData.from_rows(draw_bars()[0].astype(np.float32)), SHAPE, "cpu", "float32", seed=0
        )


def only(monkeypatch, **extents):
    """Augmentations of these extents and no others."""
    for name in EXTENTS:
        monkeypatch.setattr(augmentation, name, extents.get(name, 0.0))


def draw_images(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


# ------------------------------------------------------------------------------------------------- the loss


def test_loss_is_that_of_finding_the_positive_among_all_others():
    rows = draw_images(8, 3).double() - 0.5
    cosines = torch.nn.functional.cosine_similarity(rows[:, None], rows[None], dim=2) / contrastive.TEMPERATURE
    expected = 0.0
    for i in range(8):
        positive = (i + 4) % 8
        others = [cosines[i, j].item() for j in range(8) if j != i]
        expected += (math.log(sum(map(math.exp, others))) - cosines[i, positive].item()) / 8
    assert contrastive_loss(rows).item() == pytest.approx(expected, abs=1e-12)
    assert contrastive_loss(3.0 * rows).item() == pytest.approx(expected, abs=1e-12)


def test_positive_pairs_are_neighbors_and_every_row_comes_once_before_the_next_time():
    neighbors = (torch.arange(200)[:, None] + torch.tensor([1, 2, 3])) % 200
    pairs = list(contrastive._draw_pairs(neighbors, 64, 60, torch.Generator()))
    assert len(pairs) == 60 and all(len(pair) == 128 for pair in pairs)
    for first in range(0, 60, 3):  # three batches of 64 fit into 200 rows
        drawn = torch.cat([pair[:64] for pair in pairs[first : first + 3]])
        assert len(drawn.unique()) == 192
    steps = torch.cat([(pair[64:] - pair[:64]) % 200 for pair in pairs])
    assert steps.unique().tolist() == [1, 2, 3]


# -------------------------------------------------------------------------------------------- the augmentations


def test_augmentations_of_no_extent_change_nothing(monkeypatch):
    only(monkeypatch)
    images = draw_images(5, 2, 9, 7)
    torch.testing.assert_close(augment(images, torch.Generator()), images, atol=1e-5, rtol=0)


def test_every_image_is_augmented_in_its_own_way_and_the_generator_decides(monkeypatch):
    images = draw_images(1, 1, 12, 12).expand(6, 1, 12, 12)
    first = augment(images, torch.Generator().manual_seed(0))
    torch.testing.assert_close(augment(images, torch.Generator().manual_seed(0)), first, atol=0, rtol=0)
    assert not torch.equal(augment(images, torch.Generator().manual_seed(1)), first)
    assert (torch.pdist(first.flatten(1)) > 0.1).all()
    assert first.shape == images.shape and (first >= 0.0).all()


@pytest.mark.parametrize("name, extent", [("MAX_TRANSLATION", 0.25), ("MAX_SCALING", 0.5), ("MAX_ROTATION", 1.0)])
def test_augmentations_move_a_spot_no_farther_than_they_may(name, extent, monkeypatch):
    """A spot at (4, 4) from the middle of an image of 32 pixels, and where it goes."""
    only(monkeypatch, **{name: extent})
    images = torch.zeros(300, 1, 32, 32)
    images[:, :, 19:21, 19:21] = 1.0
    moved = augment(images, torch.Generator())[:, 0]
    middles = torch.arange(32.0) - 15.5
    mass = moved.sum((1, 2))
    down, across = (moved.sum(2) @ middles / mass).numpy(), (moved.sum(1) @ middles / mass).numpy()
    if name == "MAX_TRANSLATION":
        for position in (down, across):
            assert -4.1 - 1e-3 < position.min() < -3.5 and 11.5 < position.max() < 12.1
    distances = np.hypot(down, across)
    if name == "MAX_SCALING":
        assert distances.min() == pytest.approx(4 * math.sqrt(2) / 1.5, abs=0.3)
        assert distances.max() == pytest.approx(4 * math.sqrt(2) / 0.5, abs=0.5)
    if name == "MAX_ROTATION":
        np.testing.assert_allclose(distances, 4 * math.sqrt(2), atol=0.2)
        turns = np.arctan2(down, across) - math.pi / 4
        assert -1.05 < turns.min() < -0.9 and 0.9 < turns.max() < 1.05


def test_stretch_is_up_to_a_tenth_and_keeps_areas(monkeypatch):
    """A spot at (6, 6) from the middle of an image of 32 pixels."""
    only(monkeypatch, MAX_STRETCH=augmentation.MAX_STRETCH)
    images = torch.zeros(300, 1, 32, 32)
    images[:, :, 21:23, 21:23] = 1.0
    moved = augment(images, torch.Generator())[:, 0]
    middles, mass = torch.arange(32.0) - 15.5, moved.sum((1, 2))
    down, across = moved.sum(2) @ middles / mass, moved.sum(1) @ middles / mass
    torch.testing.assert_close(down * across, torch.full((300,), 36.0), rtol=0.03, atol=0.0)
    for position in (down, across):
        assert 5.3 < position.min() < 5.6 and 6.4 < position.max() < 6.75


def test_cutout_is_a_rectangle_of_bounded_sides():
    images = draw_images(200, 2, 28, 14)
    changed = cutout(images, torch.Generator())
    covered = changed != images
    assert (covered[:, 0] == covered[:, 1]).all()
    rows, columns = covered[:, 0].any(2), covered[:, 0].any(1)
    assert (covered[:, 0] == (rows[:, :, None] & columns[:, None, :])).all()
    assert rows.sum(1).max() == 8 and columns.sum(1).max() == 4  # 2/7 of the sides
    assert 0.5 < covered[:, 0].any(2).any(1).float().mean() < 1.0  # narrow ones fall between pixels
    means = images.mean((2, 3), keepdim=True).expand_as(images)
    torch.testing.assert_close(changed[covered], means[covered])


def test_the_border_goes_on_outside(monkeypatch):
    only(monkeypatch, MAX_TRANSLATION=0.25, MAX_SCALING=0.3, MAX_ROTATION=0.3)
    columns = torch.linspace(0.2, 0.9, 16).expand(50, 1, 16, 16)
    gray = torch.full((50, 1, 16, 16), 0.4)
    torch.testing.assert_close(augment(gray, torch.Generator()), gray)
    moved = augment(columns, torch.Generator())
    assert moved.min() >= 0.2 - 1e-6 and moved.max() <= 0.9 + 1e-6


# ------------------------------------------------------------------------------------------------ the features


def test_the_unit_of_the_pixels_is_irrelevant():
    encoder, rows = ImageEncoder(SHAPE, torch.Generator()), draw_images(30, 256)
    torch.testing.assert_close(encoder.embed(255.0 * rows), encoder.embed(rows), atol=1e-4, rtol=0)
    torch.testing.assert_close(encoder.embed(rows).norm(dim=1), torch.ones(30))


def test_chunks_are_of_the_size_of_the_widest_layer():
    encoder = ImageEncoder((1, 28, 28), torch.Generator())
    layers = []
    for layer in encoder.body:
        layer.register_forward_hook(lambda module, inputs, output: layers.append(output[0].numel()))
    encoder.embed(draw_images(3, 784))
    assert encoder.widest_layer == max(layers) == 32 * 14 * 14
    assert chunk_rows(encoder) == CHUNK_VALUES // max(layers)


def test_large_images_are_averaged_down():
    encoder = ImageEncoder((3, 64, 20), torch.Generator())
    rows = draw_images(2, 3 * 64 * 20)
    images = encoder.as_images(rows)
    assert images.shape == (2, 3, MAX_SIDE, 20)
    torch.testing.assert_close(images, rows.view(2, 3, 32, 2, 20).mean(3))


def test_neighbors_are_found_again_in_the_features_but_not_before_they_are_learned(learned):
    X, y = draw_bars()

    def purity(encoder):
        points = representations.contrastive_features(encoder.eval()).transform(X, torch.device("cpu"))
        assert points.dtype == np.float32  # as it was trained
        return (y[find_neighbors(points, 10).indices] == y[:, None]).mean()

    assert purity(load_encoder(SHAPE, learned)) > 0.95 > 0.8 > purity(ImageEncoder(SHAPE, torch.Generator()))


def test_learning_is_a_pure_function_and_computed_once(few_steps, tmp_path):
    cached = joblib.Memory(tmp_path, verbose=0).cache(fit_contrastive_weights, ignore=["verbose"])
    X, _ = draw_bars()
    torch.manual_seed(123)
    state = torch.get_rng_state()
    weights = cached(TrainingData.from_rows(X), SHAPE, device="cpu", precision="float32", seed=1, verbose=0)
    assert torch.equal(torch.get_rng_state(), state)
    again = fit_contrastive_weights(TrainingData.from_rows(X.copy()), SHAPE, "cpu", "float32", seed=1)
    for name, array in weights.items():
        np.testing.assert_array_equal(again[name], array)
    other = fit_contrastive_weights(TrainingData.from_rows(X), SHAPE, "cpu", "float32", seed=2)
    assert not np.array_equal(other["output.weight"], weights["output.weight"])
    assert cached.check_call_in_cache(
        TrainingData.from_rows(X.copy()), SHAPE, device="cpu", precision="float32", seed=1, verbose=2
    )


def test_steps_stay_on_the_device():
    encoder = ImageEncoder(SHAPE, torch.Generator()).to("meta")
    images = augment(encoder.as_images(torch.rand(12, 256, dtype=torch.float64, device="meta")))
    loss = contrastive_loss(encoder(images))
    assert images.is_meta and loss.is_meta


# ------------------------------------------------------------------------------------------------- the initialization

QUICK = {"pretrain_iter": 0, "max_iter": 0, "hidden_layer_sizes": (20,), "random_state": 0}


@pytest.fixture
def made(learned, monkeypatch):
    """The initializations of all fits, on the features that have been learned."""
    found = []

    def record(*args, **options):
        found.append(initialize_model(*args, **options))
        return found[-1]

    monkeypatch.setattr(fitting, "initialize_model", record)
    monkeypatch.setattr(contrastive, "fit_contrastive_weights", lambda *args, **options: learned)
    return found


def test_the_initialization_is_the_graph_of_the_features(made):
    X, y = draw_bars()
    model = VaDEClustering(3, init_params="contrastive", image_shape=SHAPE, **QUICK).fit(X)
    assert model.init_params_ == "graph of contrastive features"
    assert adjusted_rand_score(y, made[0].responsibilities.argmax(1)) > 0.9


@pytest.mark.parametrize("least, n_passes, most, n_steps", [(1, 40, 9, 9), (1, 3, 9, 6), (7, 3, 9, 7)])
def test_many_rows_are_learned_in_so_many_steps_and_few_in_so_many_passes(least, n_passes, most, n_steps, monkeypatch):
    for name, value in {"MIN_STEPS": least, "N_PASSES": n_passes, "MAX_STEPS": most, "BATCH_SIZE": 64}.items():
        monkeypatch.setattr(contrastive, name, value)
    calls = []
    monkeypatch.setattr(contrastive, "contrastive_loss", lambda rows: calls.append(len(rows)) or contrastive_loss(rows))
    fit_contrastive_weights(
        TrainingData.from_rows(draw_bars()[0]), SHAPE, "cpu", "float32", seed=0
    )  # 150 rows, two steps a pass
    assert calls == n_steps * [128]


def test_learning_is_shown(few_steps, capsys):
    X = draw_bars()[0]
    fit_contrastive_weights(TrainingData.from_rows(X), SHAPE, "cpu", "float32", seed=0, verbose=2)
    shown = capsys.readouterr().out
    assert shown.count("\n") == 1 and shown.startswith("contrastive features  loss ")
    fit_contrastive_weights(TrainingData.from_rows(X), SHAPE, "cpu", "float32", seed=0, verbose=1)
    assert "3/3" in capsys.readouterr().err


def test_initializations_share_the_features_and_so_do_numbers_of_components(few_steps, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(contrastive, "contrastive_loss", lambda rows: calls.append(1) or contrastive_loss(rows))
    X, _ = draw_bars()
    settings = {**QUICK, "init_params": "contrastive", "image_shape": SHAPE, "memory": str(tmp_path)}
    for K in (2, 3):
        VaDEClustering(K, n_init=2, **settings).fit(X)
    assert len(calls) == 3


def test_many_samples_are_initialized_from_some(made, monkeypatch):
    monkeypatch.setattr(representations, "MAX_INIT_ROWS", 120)
    X, y = draw_bars()
    settings = {**QUICK, "max_iter": 4, "steps_per_iter": 1, "tol": 1e9}
    VAEEMClustering(3, init_params="contrastive", image_shape=SHAPE, **settings).fit(X)
    assert made[0].responsibilities.shape == (150, 3)
    assert adjusted_rand_score(y, made[0].responsibilities.argmax(1)) > 0.8


def test_features_are_learned_from_some_rows_of_a_file(few_steps, monkeypatch):
    monkeypatch.setattr(representations, "MAX_INIT_ROWS", 100)
    X = (255 * draw_bars()[0]).astype(np.uint8)
    from_file = fit_contrastive_weights(TrainingData.from_rows(LazyRows(X)), SHAPE, "cpu", "float32", seed=0)
    drawn = np.sort(np.random.RandomState(0).choice(150, 100, replace=False))
    monkeypatch.setattr(
        contrastive, "subsample", lambda n_samples, random_state: (subsample(n_samples, random_state), drawn)[1]
    )
    in_memory = fit_contrastive_weights(TrainingData.from_rows(X.astype(np.float32)), SHAPE, "cpu", "float32", seed=0)
    for name, array in in_memory.items():
        np.testing.assert_array_equal(from_file[name], array)


def test_rows_that_are_no_images_are_not_augmented():
    with pytest.raises(ValueError, match=r"'contrastive'.*image_shape=\(channels, height, width\).*got None.*'auto'"):
        VaDEClustering(3, init_params="contrastive", **QUICK).fit(draw_bars()[0])
