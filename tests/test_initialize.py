"""Initialization of a model: whose responsibilities, in which representation, for which samples."""

import numpy as np
import pytest
import torch
from test_train import ARCHITECTURE, CPU, D, make_vade

from skgmvae.data.training_data import TrainingData
from skgmvae.initialization import choice, representations, variance
from skgmvae.initialization.config import InitConfig
from skgmvae.initialization.given_mixture import MixtureInit
from skgmvae.initialization.initialize import initialize_model
from skgmvae.initialization.representations import embedding, hog, inputs, principal_components, subsample
from skgmvae.models import GMVAE
from skgmvae.runtime import RandomStream
from skgmvae.training.pretraining import make_autoencoder

K, N = 3, 90
Y = np.arange(N) % K
X = (np.random.RandomState(0).normal(size=(N, D)) + 12.0 * np.eye(K, D)[Y] + 1.0).astype(np.float32)


class Spy:
    """A VaDE that keeps what it is initialized from."""

    def __new__(cls):
        model = make_vade()
        model.calls, plain = [], model.initialize_from
        model.initialize_from = lambda points, u: (model.calls.append((points, u)), plain(points, u))
        return model


def run(model=None, rows=X, **config):
    model = Spy() if model is None else model
    return initialize_model(
        lambda: model, model.autoencoder, TrainingData.from_rows(rows), InitConfig(**config), RandomStream(0)
    )


def test_the_mixture_is_that_of_the_responsibilities_in_the_embedding():
    model = Spy()
    found = run(model, labels=np.eye(K)[Y])
    ((points, u),) = model.calls
    assert found.name == "init_labels" and not found.is_random
    np.testing.assert_array_equal(found.responsibilities, np.eye(K)[Y])
    assert torch.equal(u, found.responsibilities)
    with torch.no_grad():
        expected = model.autoencoder.double().embed(torch.from_numpy(X).double())
    torch.testing.assert_close(points, expected)


def test_open_labels_are_completed_by_clusters():
    given = np.eye(K)[Y]
    given[30:] = 0.0
    given[:, 2] = 0.0
    found = run(labels=given)
    np.testing.assert_array_equal(found.responsibilities.argmax(1), Y)


def test_functions_and_given_mixtures_are_asked_for_all_samples():
    found = run(init_params=lambda rows, n_components, random_state: Y)
    assert found.name == "<lambda>"
    np.testing.assert_array_equal(found.responsibilities.argmax(1), Y)
    means = np.stack([X[c == Y].mean(0) for c in (2, 0, 1)])
    found = run(mixture=MixtureInit(means=means))
    assert found.name == "given mixture"
    np.testing.assert_array_equal(found.responsibilities.argmax(1), (Y + 1) % 3)


def test_narrow_tables_are_clustered_themselves_and_wide_ones_by_principal_components(monkeypatch):
    assert run().name.endswith(" of the inputs") and not run().name.startswith("graph of embedding")
    monkeypatch.setattr(choice, "MOST_FEATURES", D - 1)
    assert run().name == "graph of embedding and inputs"
    assert run(is_pretrained=False).name == "graph of the inputs"
    monkeypatch.setattr(choice, "MOST_FEATURES", D)
    assert run().name.endswith(" of the inputs")


@pytest.mark.parametrize("for_all_samples", [True, False])
def test_other_samples_follow_those_that_were_clustered(monkeypatch, for_all_samples):
    monkeypatch.setattr(representations, "MAX_INIT_ROWS", 60)
    model = Spy()
    model.initial_responsibilities = None
    given = np.zeros((N, K))
    given[:45] = np.eye(K)[(Y[:45] + 1) % K]
    found = run(model, labels=given, for_all_samples=for_all_samples)
    ((points, u),) = model.calls
    assert points.shape == (60, 2) and u.shape == (60, K)
    if not for_all_samples:
        assert found.responsibilities is None and model.initial_responsibilities is None
        return
    assert found.responsibilities is model.initial_responsibilities
    np.testing.assert_array_equal(found.responsibilities.argmax(1), (Y + 1) % K)
    np.testing.assert_array_equal(found.responsibilities[:45], given[:45])
    indices = subsample(N, np.random.RandomState(RandomStream(0).seed))
    torch.testing.assert_close(found.responsibilities[indices], u, check_dtype=False)


def test_random_centers_are_far_from_each_other_and_clamp_nothing(monkeypatch):
    monkeypatch.setattr(representations, "MAX_INIT_ROWS", 60)
    found = run(init_params="random")
    assert found.is_random and found.name == "random"
    assert found.responsibilities.shape == (N, K) and found.responsibilities.sum(0).min() > 0.0
    torch.testing.assert_close(found.responsibilities.sum(1), torch.ones(N))


def test_the_variance_is_that_of_the_residuals_at_most_a_tenth_of_random_weights():
    model = Spy()
    run(model, labels=np.eye(K)[Y])
    z = model.autoencoder.double().embed(torch.from_numpy(X).double())
    residuals = (model.autoencoder.standardize(torch.from_numpy(X)) - model.autoencoder.decode(z)).square().mean(0)
    variance = model.likelihood.log_variance.exp().detach().double()
    torch.testing.assert_close(variance, residuals.detach(), rtol=0.1, atol=0.0)  # that is, up to the noise of q(z|x)
    assert model.likelihood.scaled_log_variance.requires_grad

    generator = torch.Generator().manual_seed(0)
    gmvae = GMVAE(
        make_autoencoder(ARCHITECTURE, generator), n_components=K, style_dim=2, prior_width=8, generator=generator
    )
    found = initialize_model(
        lambda: gmvae, gmvae.autoencoder, TrainingData.from_rows(X), InitConfig("random"), RandomStream(0)
    )
    assert found[:3] == ("random", None, True) and found.model is gmvae
    torch.testing.assert_close(gmvae.likelihood.log_variance.exp().detach(), torch.full((D,), 0.1))


def test_residuals_are_those_of_samples_across_the_whole_table(monkeypatch):
    monkeypatch.setattr(variance, "RESIDUAL_ROWS", 10)

    def map_ones(module, function, data, device):
        seen.append(np.asarray(data[:]))
        return np.ones((1, D))

    model, seen = Spy(), []
    monkeypatch.setattr(variance, "map_chunks", map_ones)
    variance.initialize_variance(model, TrainingData.from_rows(X), CPU, RandomStream(0))
    np.testing.assert_array_equal(seen[0], X[::9])
    torch.testing.assert_close(model.likelihood.log_variance.detach(), torch.zeros(D))


# ---------------------------------------------------------------- representations
def test_subsamples_are_sorted_and_without_repetition():
    random_state = np.random.RandomState(0)
    assert subsample(70_000, random_state) is None
    some = subsample(70_010, random_state)
    assert len(some) == 70_000 and (np.diff(some) > 0).all() and some.max() < 70_010


def test_principal_components_are_those_of_an_eigendecomposition(monkeypatch):
    autoencoder = make_autoencoder(ARCHITECTURE, torch.Generator().manual_seed(0))
    standardized = inputs(autoencoder)
    np.testing.assert_allclose(standardized.transform(X, CPU), (X - 1.0) / 2.0, rtol=1e-6)
    points = principal_components(standardized, X, np.random.RandomState(0), CPU).transform(X, CPU)
    centered = (X - X.mean(0, dtype=np.float64)) / 2.0
    variances = np.linalg.eigvalsh(centered.T @ centered / N)[::-1]
    np.testing.assert_allclose(points.mean(0), 0.0, atol=1e-6)
    np.testing.assert_allclose(points.T @ points / N, np.diag(variances), atol=1e-5)
    monkeypatch.setattr(representations, "N_PRINCIPAL", 2)
    assert principal_components(standardized, X, np.random.RandomState(0), CPU).transform(X, CPU).shape == (N, 2)


@pytest.mark.parametrize(
    ("rows", "values", "n_principal", "expected"),
    [(40, 2**25, 2, 40), (10**4, 200, 2, 50), (10**4, 4, 20, 40), (100, 2**25, 2, N)],
)
def test_the_number_of_samples_of_a_pca_is_bounded(monkeypatch, rows, values, n_principal, expected):
    class Counting:
        def transform(self, X, device):
            self.rows = np.asarray(X[: len(X)])
            return self.rows

        def compose(self, function):
            return self

    monkeypatch.setattr(representations, "PRINCIPAL_ROWS", rows)
    monkeypatch.setattr(representations, "PRINCIPAL_VALUES", values)
    monkeypatch.setattr(representations, "N_PRINCIPAL", n_principal)
    found = principal_components(Counting(), X, np.random.RandomState(0), CPU)
    assert len(np.unique(found.rows, axis=0)) == len(found.rows) == expected


def test_embeddings_and_gradients_are_functions_of_the_module():
    autoencoder = make_autoencoder(ARCHITECTURE, torch.Generator().manual_seed(0))
    assert embedding(autoencoder).transform(X, CPU).shape == (N, 2)
    images = np.random.RandomState(0).uniform(size=(5, 36))
    descriptors = hog(autoencoder, (1, 6, 6)).transform(images, CPU)
    np.testing.assert_allclose((descriptors**2).sum(1), 1.0, rtol=1e-5)
    doubled = embedding(autoencoder).compose(lambda points: 2.0 * points)
    np.testing.assert_allclose(doubled.transform(X, CPU), 2.0 * embedding(autoencoder).transform(X, CPU))
