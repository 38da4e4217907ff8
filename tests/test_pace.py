"""Steps of an optimizer in units of the noise, and of the inputs of a layer."""

import copy
import warnings

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.exceptions import ConvergenceWarning
from torch.testing import assert_close

from skgmvae import GMVAEClustering, VaDEClustering, VAEEMClustering
from skgmvae.models.pace import FULL_AT, FULL_UP_TO, find_paces, take_paced

ESTIMATORS = (VaDEClustering, GMVAEClustering)


@pytest.fixture(scope="module")
def dependent():
    """Two clusters in four columns, whose last ones follow from the first but for a thousandth or a tenth."""
    rng = np.random.default_rng(0)
    first = rng.normal(size=(400, 2)) + 3.0 * rng.integers(0, 2, (400, 1))
    last = first @ rng.normal(size=(2, 2)) + rng.normal(size=(400, 2)) * [1e-3, 0.1]
    X = np.c_[first, last]
    return (X - X.mean(0)) / X.std(0)


def fit(Estimator, X, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return Estimator(2, random_state=0, max_subcomponents=1, **options).fit(X)


def make_step(model, X, rate=1e-2):
    """A step of Adam on the terms of all samples, with the same noise for every model."""
    optimizer = torch.optim.Adam(model.parameters(), rate)
    sum(model(torch.from_numpy(X), generator=torch.Generator().manual_seed(0))).mean().neg().backward()
    return optimizer.step


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_steps_are_shares_of_those_of_the_optimizer(Estimator, dependent):
    model = fit(Estimator, dependent, max_iter=0).net_.module_.train()
    plain, paced = copy.deepcopy(model), copy.deepcopy(model)
    make_step(plain, dependent)()
    paces = {id(parameter): pace for parameter, pace in find_paces(paced.autoencoder)}
    deviation = model.likelihood.log_variance.exp().sqrt().detach()
    take_paced(paced, make_step(paced, dependent))
    named, shared = dict(paced.named_parameters()), dict(plain.named_parameters())
    assert float(deviation.min()) < 0.01
    for name, before in model.named_parameters():
        share = paces.get(id(named[name]), torch.ones(()).double())
        assert_close(named[name], before + share * (shared[name] - before), rtol=1e-9, atol=1e-12)
    assert_close(paces[id(paced.autoencoder.decoder[-1].bias)], (deviation / FULL_AT).clamp_max(1.0))
    # encoder, decoder and linear path; of the other layers, one has more than a few inputs
    wide = paced.autoencoder.head.log_variance.weight
    assert len(paces) == 9 and float(paces[id(wide)]) == FULL_UP_TO / 256


@pytest.mark.parametrize(("Estimator", "options"), [(VaDEClustering, {"linear_path": False}), (VAEEMClustering, {})])
def test_other_steps_are_the_optimizers(Estimator, options, dependent):
    """Without a linear path, or with autoencoders of the components."""
    model = fit(Estimator, dependent, max_iter=1, **options).net_.module_.train()
    plain, paced = copy.deepcopy(model), copy.deepcopy(model)
    make_step(plain, dependent)()
    take_paced(paced, make_step(paced, dependent))
    for one, other in zip(plain.parameters(), paced.parameters(), strict=True):
        assert_array_equal(one.detach(), other.detach())


def test_outputs_without_noise_take_full_steps(dependent):
    """Logarithms of the means of counts."""
    model = fit(VaDEClustering, np.round(np.abs(4.0 * dependent)), max_iter=0, likelihood="poisson").net_.module_
    paces = {id(parameter): pace for parameter, pace in find_paces(model.autoencoder)}
    outputs = (model.autoencoder.decoder[-1], model.autoencoder.linear.decoder)
    assert all(bool((paces[id(layer.weight)] == 1.0).all()) for layer in outputs)


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_training_stays_within_little_noise(Estimator, dependent):
    """Of the held-out samples, log p(x) rises at once; with full steps it is lower after these epochs than before."""
    model = fit(Estimator, dependent, max_iter=20)
    before, *later = model.validation_scores_
    assert min(later) > before + 0.3
