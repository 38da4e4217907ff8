"""Defaults of models are those of their estimators."""

import inspect

import pytest

from skgmvae import GMVAEClustering, VaDEClustering, VAEEMClustering
from skgmvae.models import GMVAE, VAEEM, VaDE

# None: the networks of the autoencoder, and no subcomponents
OWN = {"generator", "hidden_layer_sizes", "subcomponents"}


def defaults_of(function):
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty and p.name not in OWN}


@pytest.mark.parametrize(
    ("Model", "Estimator"), [(VaDE, VaDEClustering), (GMVAE, GMVAEClustering), (VAEEM, VAEEMClustering)]
)
def test_models_have_the_defaults_of_their_estimators(Model, Estimator):
    found = defaults_of(Model)
    assert {"n_mc_samples", "min_information", "learn_weights"} <= found.keys()
    assert found == {name: defaults_of(Estimator)[name] for name in found}
