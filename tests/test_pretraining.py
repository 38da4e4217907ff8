"""The first phase: a pure function of plain values, which joblib caches by the content of the samples."""

import copy

import joblib
import numpy as np
import pytest
import torch
from test_train import ARCHITECTURE, D, N, make_config

from skgmvae import VaDEClustering
from skgmvae.data.training_data import TrainingData
from skgmvae.runtime import RandomStream, describe_environment
from skgmvae.training.pretraining import make_autoencoder, pretrain
from skgmvae.training.train import TrainOutcome


def draw_plane(dtype=np.float64):
    """Rows near a plane, which a two-dimensional embedding holds."""
    rng = np.random.default_rng(0)
    return (1.0 + rng.normal(size=(N, 2)) @ rng.normal(size=(2, D)) * 2.0).astype(dtype)


def test_pretraining_learns_and_is_a_pure_function():
    X, config = draw_plane(), make_config(40, 10, 0.02)
    weights, reconstruction = pretrain(TrainingData.from_rows(X), ARCHITECTURE, config, seed=1)
    assert len(reconstruction) == 40 and reconstruction[-1] > reconstruction[0] + 1.0
    make_autoencoder(ARCHITECTURE).load_state_dict({name: torch.tensor(array) for name, array in weights.items()})

    torch.manual_seed(123)
    again, _ = pretrain(TrainingData.from_rows(X.copy()), ARCHITECTURE, config, seed=1)
    other, _ = pretrain(TrainingData.from_rows(X), ARCHITECTURE, config, seed=2)
    for name, array in weights.items():
        np.testing.assert_array_equal(again[name], array)
    assert not np.array_equal(other["head.mean.weight"], weights["head.mean.weight"])


def test_pretraining_of_no_epochs_gives_the_random_weights():
    weights, reconstruction = pretrain(TrainingData.from_rows(draw_plane()), ARCHITECTURE, make_config(0), seed=1)
    expected = make_autoencoder(ARCHITECTURE, RandomStream(1).on("cpu")).state_dict()
    assert reconstruction == []
    for name, array in weights.items():
        np.testing.assert_array_equal(array, expected[name].numpy())


def test_pretraining_is_computed_once_for_one_set_of_plain_values(tmp_path):
    cached = joblib.Memory(tmp_path, verbose=0).cache(pretrain, ignore=["verbose"])
    X, config = draw_plane(np.float32), make_config(1)
    first, _ = cached(TrainingData.from_rows(X), ARCHITECTURE, config, 1, verbose=0)
    assert cached.check_call_in_cache(
        TrainingData.from_rows(X.copy()), copy.deepcopy(ARCHITECTURE), make_config(1), 1, verbose=2
    )
    second, _ = cached(TrainingData.from_rows(X.copy()), ARCHITECTURE, config, 1, verbose=2)
    np.testing.assert_array_equal(second["head.mean.weight"], first["head.mean.weight"])
    assert not cached.check_call_in_cache(TrainingData.from_rows(X), ARCHITECTURE, make_config(2), 1, verbose=0)
    assert not cached.check_call_in_cache(TrainingData.from_rows(X), ARCHITECTURE, config, 2, verbose=0)
    assert not cached.check_call_in_cache(TrainingData.from_rows(X + 1), ARCHITECTURE, config, 1, verbose=0)


def test_the_cache_of_another_version_or_machine_is_not_used(tmp_path, quick, monkeypatch):
    X, settings = draw_plane(), {**quick, "memory": str(tmp_path), "pretrain_iter": 1, "max_iter": 0}
    for environment, n_entries in ({"skgmvae": "1"}, 1), ({"skgmvae": "1"}, 1), ({"skgmvae": "2"}, 2):
        monkeypatch.setattr("skgmvae.training.pretraining.describe_environment", lambda work, known=environment: known)
        VaDEClustering(2, **settings).fit(X)
        assert len(list(tmp_path.rglob("output.pkl"))) == n_entries
    assert {"skgmvae", "torch", "numpy", "scikit-learn", "instructions", "threads"} == set(describe_environment())
    assert describe_environment(1e12)["threads"] == str(torch.get_num_threads())


def test_interrupted_pretraining_is_an_interruption(monkeypatch):
    monkeypatch.setattr(
        "skgmvae.training.pretraining.train", lambda *args, **kwargs: TrainOutcome(False, interrupted=True)
    )
    with pytest.raises(KeyboardInterrupt):
        pretrain(TrainingData.from_rows(draw_plane()), ARCHITECTURE, make_config(1), seed=1)
