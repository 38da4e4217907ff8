"""Data and settings that several test files share."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: networks of this size only wait for a second thread

import numpy as np
import pytest
from hypothesis import settings
from sklearn.datasets import make_blobs

# the same examples in every run, and few of them: no run differs from the one before
settings.register_profile("skgmvae", derandomize=True, max_examples=40, deadline=None, database=None)
settings.load_profile("skgmvae")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Of two processes each gets a half, file after file, and the first to end takes over tests of the other.

    By default, they take turns within the files, and both make what the tests of a file share.
    """
    if config.getvalue("dist") != "load":
        return None
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log)


# networks and epochs small enough for hundreds of fits
QUICK = {
    "hidden_layer_sizes": (16,),
    "latent_dim": 2,
    "pretrain_iter": 20,
    "max_iter": 6,
    "batch_size": 30,
    "learning_rate": 5e-3,
    "tol": 0.0,
    "init_params": "kmeans",
    "linear_path": False,  # all phases there are
    "random_state": 0,
}


@pytest.fixture(scope="session")
def blobs():
    """120 rows of 4 features in three groups of 60, 40 and 20, far apart, not near the origin."""
    X, y = make_blobs([60, 40, 20], n_features=4, centers=None, cluster_std=0.7, random_state=3)
    return X * [1.0, 5.0, 0.2, 3.0] + [10.0, -4.0, 0.0, 100.0], y


@pytest.fixture(scope="session")
def quick():
    return dict(QUICK)


@pytest.fixture(scope="session")
def unit_images():
    """80 rows of 6 × 6 pixels in [0, 1] in two groups."""
    rng = np.random.default_rng(0)
    patterns = rng.uniform(size=(2, 36)) > 0.5
    return (0.8 * np.repeat(patterns, 40, axis=0) + 0.2 * rng.uniform(size=(80, 36))).astype(np.float32)


@pytest.fixture
def small_blocks(monkeypatch):
    """Everything is large: of 4 features, 50 rows of float32 to a block, 4 blocks to a buffer, 200 rows to cluster."""
    row_bytes = 4 * 4
    monkeypatch.setattr("skgmvae.data.lazy.MAX_WHOLE_BYTES", 0)
    monkeypatch.setattr("skgmvae.data.lazy.MAX_TABLE_BYTES", 0)
    monkeypatch.setattr("skgmvae.data.lazy.BLOCK_BYTES", 50 * row_bytes)
    monkeypatch.setattr("skgmvae.data.buffers.BUFFER_BYTES", 200 * row_bytes)
    monkeypatch.setattr("skgmvae.initialization.representations.MAX_INIT_ROWS", 200)
    monkeypatch.setattr("skgmvae.training.e_step.PART_VALUES", 250)
    for name in ("CHUNK_VALUES", "CHUNK_VALUES_OFF_CPU"):
        monkeypatch.setattr(f"skgmvae._evaluation.{name}", 16 * 64)  # 64 rows to a chunk of these networks
    monkeypatch.setattr("skgmvae._evaluation.CUDA_SHARE", 0.0)
