"""Parameters that are 'auto': what they become by samples, features and the shape of images."""

import numpy as np
import pytest

from skgmvae import GMVAEClustering, VaDEClustering, VAEEMClustering
from skgmvae._auto import choose_settings

ESTIMATORS = [VaDEClustering, GMVAEClustering, VAEEMClustering]
each_estimator = pytest.mark.parametrize("Estimator", ESTIMATORS)
MNIST = {"image_shape": (1, 28, 28)}
NAMES = ("hidden_layer_sizes", "latent_dim", "batch_size", "learning_rate", "pretrain_iter", "max_iter", "precision")


@pytest.mark.parametrize(
    ("n_samples", "n_features", "batch_size", "max_iter"),
    [
        (150, 4, 128, 150),  # four times the samples per feature
        (600, 4, 128, 188),  # 750 steps
        (2_000, 61, 128, 54),
        (10_000, 5, 256, 50),
        (41_000, 5, 1024, 50),
        (100_000, 10, 1024, 34),  # 3,000 steps
        (10_000_000, 10, 1024, 10),
    ],
)
def test_batches_grow_with_the_samples_and_epochs_are_bounded_by_steps(n_samples, n_features, batch_size, max_iter):
    chosen = choose_settings(VaDEClustering(), n_samples, n_features)
    assert (chosen.batch_size, chosen.max_iter) == (batch_size, max_iter)
    assert (chosen.hidden_layer_sizes, chosen.learning_rate, chosen.pretrain_iter) == ((256,), 1e-2, 50)


@pytest.mark.parametrize(("shape", "n_features"), [(None, 101), ((1, 8, 8), 64)])
def test_tables_without_a_linear_path_get_more_and_smaller_steps(shape, n_features):
    chosen = choose_settings(VaDEClustering(image_shape=shape), 3_000, n_features)
    assert (chosen.batch_size, chosen.learning_rate, chosen.max_iter) == (64, 3e-3, 50)
    chosen = choose_settings(VAEEMClustering(image_shape=shape), 3_000, n_features)
    assert (chosen.batch_size, chosen.learning_rate) == (64, 1e-3)


@pytest.mark.parametrize(
    "options",
    [
        {"linear_path": False},
        {"linear_path": np.False_},
        {"likelihood": "bernoulli"},
        {"init_params": "random"},
        {"latent_dim": 8},
    ],
)
def test_steps_that_are_not_in_units_of_the_noise_are_smaller(options):
    plain, other = (choose_settings(VaDEClustering(**some), 3_000, 9) for some in ({}, options))
    assert (plain.learning_rate, other.learning_rate) == (1e-2, 5e-3)
    assert (plain.hidden_layer_sizes, other.hidden_layer_sizes) == ((256,), (128, 128))
    assert (plain.batch_size, plain.max_iter) == (other.batch_size, other.max_iter)
    assert choose_settings(GMVAEClustering(), 3_000, 9) == plain
    assert choose_settings(GMVAEClustering(**options), 3_000, 9).learning_rate == 3e-3


def test_batches_of_a_component_grow_with_its_samples():
    few, many = (choose_settings(VAEEMClustering(n), 100_000, 10) for n in (5, 50))
    assert (few.batch_size, many.batch_size) == (512, 128)
    assert (few.max_iter, few.learning_rate) == (25, 1.7e-3)
    assert choose_settings(VAEEMClustering(3), 90, 10).batch_size == 32  # a component has 30 samples


@each_estimator
def test_images_get_the_settings_for_images_by_their_shape_alone(Estimator):
    by_shape, by_name = Estimator(**MNIST, device="cpu"), Estimator.for_images(**MNIST, device="cpu")
    assert choose_settings(by_shape, 70_000, 784) == choose_settings(by_name, 70_000, 784)
    assert by_shape.get_params().keys() == by_name.get_params().keys()
    small = choose_settings(Estimator(image_shape=(1, 8, 8)), 70_000, 64)
    assert small.hidden_layer_sizes == (128, 128) and small.precision == "float32"


@each_estimator
def test_given_values_are_kept(Estimator):
    given = {"hidden_layer_sizes": (7,), "batch_size": 3, "learning_rate": 0.5, "pretrain_iter": 2, "max_iter": 4}
    for more in ({}, MNIST):
        chosen = vars(choose_settings(Estimator(**given, **more, precision="bfloat16"), 10**6, 784))
        assert chosen == {**given, "precision": "bfloat16"}


@pytest.mark.parametrize(("sizes", "is_wide"), [((499, 10), False), ((10, 500), True), ((), False)])
def test_low_precision_is_for_wide_layers(sizes, is_wide, monkeypatch):
    monkeypatch.setattr("skgmvae.runtime._has_fast_bfloat16", lambda device: True)
    chosen = choose_settings(VaDEClustering(hidden_layer_sizes=sizes, device="cpu"), 100, 5)
    assert chosen.precision == ("bfloat16" if is_wide else "float32")


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@each_estimator
def test_values_are_fitted_attributes_and_follow_the_data(Estimator, blobs, tmp_path, monkeypatch):
    X, _ = blobs
    model = Estimator(3, tol=1e9, init_params="kmeans", linear_path=False, max_iter=2, random_state=0).fit(X)
    found = {name: getattr(model, f"{name}_") for name in NAMES}
    latent = 5 if Estimator is VAEEMClustering else 4
    rate = {VaDEClustering: 5e-3, GMVAEClustering: 3e-3, VAEEMClustering: 1.7e-3}[Estimator]
    values = ((128, 128), latent, 128 if Estimator is VaDEClustering else 64, rate, 50, 2, "float32")
    assert found == dict(zip(NAMES, values, strict=True))
    assert "hidden_layer_sizes_" in model._repr_html_()
    model.save(tmp_path / "model")
    loaded = Estimator.load(tmp_path / "model")
    assert {name: getattr(loaded, f"{name}_") for name in NAMES} == found
    # a block of another size: the networks stay
    monkeypatch.setattr(Estimator, "_most_probable", lambda self, X: np.zeros(len(X), np.int64))  # of no interest here
    model.set_params(warm_start=True).fit(np.tile(X, (70, 1)))
    assert model.batch_size_ > 128 or Estimator is VAEEMClustering
    assert model.hidden_layer_sizes_ == (128, 128) and model.pretrain_iter_ == 50


def test_a_linear_path_needs_no_pretraining(blobs):
    assert VaDEClustering(3, max_iter=0, random_state=0).fit(blobs[0]).pretrain_iter_ == 0


def test_a_component_of_images_is_smaller_than_the_autoencoder(monkeypatch):
    X = np.random.default_rng(0).uniform(size=(20, 256)).astype(np.float32)
    model = VAEEMClustering(2, image_shape=(1, 16, 16), init_params="kmeans", max_iter=0, random_state=0).fit(X)
    assert model.hidden_layer_sizes_ == (500,) and not model.net_.module_.copies_autoencoder
    assert model._fitted_architecture.hidden_layer_sizes == (500, 500, 2000)
    assert model.latent_dim_ == 10
