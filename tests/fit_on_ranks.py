"""Fits of ``test_ranks.py``, in one process or under torchrun: ``torchrun fit_on_ranks.py FOLDER CASE …``."""

import hashlib
import json
import os
import signal
import sys
import warnings
from pathlib import Path

import joblib
import numpy as np
from sklearn.datasets import make_blobs
from skorch.callbacks import Callback

from skgmvae import GMVAEClustering, VaDEClustering, VAEEMClustering
from skgmvae.data import buffers, lazy

RANK = int(os.environ.get("RANK", 0))
X = make_blobs(150, 6, centers=3, cluster_std=2.0, random_state=0)[0].astype(np.float32)
IMAGES = np.random.default_rng(0).random((96, 64), dtype=np.float32)
NETWORKS = {"linear_path": False, "hidden_layer_sizes": (16,), "latent_dim": 3, "pretrain_iter": 2, "max_iter": 3}
NETWORKS |= {"batch_size": 32, "random_state": 0}


class Blocks:
    """Rows that can only be sliced."""

    shape, dtype = X.shape, X.dtype

    def __getitem__(self, rows):
        return X[rows]


class OnLastRank(Callback):
    """Does something on rank 1 after two epochs."""

    def __init__(self, do):
        self.do = do

    def on_epoch_end(self, net, **kwargs):
        if RANK == 1 and len(net.history) == 2:
            self.do()


def fail():
    raise OSError("the disk is full")


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def fit_lazily(folder):
    whole = lazy.MAX_WHOLE_BYTES, lazy.BLOCK_BYTES, buffers.BUFFER_BYTES
    lazy.MAX_WHOLE_BYTES, lazy.BLOCK_BYTES, buffers.BUFFER_BYTES = 0, 240, 1200  # of 10 and 50 rows
    try:
        return VaDEClustering(3, **NETWORKS).fit(Blocks())
    finally:
        lazy.MAX_WHOLE_BYTES, lazy.BLOCK_BYTES, buffers.BUFFER_BYTES = whole


def fit_twice(folder):
    """The second time, from the cache and from the checkpoint of a fit that was interrupted."""
    settings = NETWORKS | {"memory": str(folder / "cache"), "checkpoint": str(folder / "state")}
    VaDEClustering(3, **settings, callbacks=[OnLastRank(interrupt)]).fit(X)
    return VaDEClustering(3, **settings).fit(X)


CASES = {
    "fails": lambda folder: VaDEClustering(3, **NETWORKS, callbacks=[OnLastRank(fail)]).fit(X),
    "table": lambda folder: VaDEClustering(3, max_iter=10, random_state=0).fit(X),
    "GMVAE": lambda folder: GMVAEClustering(3, **NETWORKS, n_mc_samples=2).fit(X),
    "VaDE": lambda folder: VaDEClustering(3, **NETWORKS).fit(X),
    "VAE-EM": lambda folder: VAEEMClustering(3, **NETWORKS, n_mc_samples=2).fit(X),
    "few samples": lambda folder: VaDEClustering(2, **NETWORKS | {"batch_size": 2}).fit(X[:9]),
    "lazy": fit_lazily,
    "partial": lambda folder: VaDEClustering(3, **NETWORKS).partial_fit(X[:90]).partial_fit(X[90:]),
    "convolutions": lambda folder: VaDEClustering(3, **NETWORKS, network="conv", image_shape=(1, 8, 8)).fit(IMAGES),
    "interrupted": lambda folder: VaDEClustering(3, **NETWORKS, callbacks=[OnLastRank(interrupt)]).fit(X),
    "twice": fit_twice,
    "unseeded": lambda folder: VaDEClustering(3, **NETWORKS | {"random_state": None}).fit(X),
    "other samples": lambda folder: VaDEClustering(3, **NETWORKS).fit(X[::-1] if RANK else X),
    "alone": lambda folder: VaDEClustering(3, **NETWORKS, distributed=False).fit(X + RANK),
    "grid": lambda folder: joblib.Parallel(1)([joblib.delayed(VaDEClustering(3, **NETWORKS).fit)(X)])[0],
}


def describe(model):
    """A digest of all parameters, and figures to compare."""
    content = hashlib.blake2b(model.labels_.tobytes(), digest_size=16)
    for tensor in model.net_.module_.state_dict().values():
        content.update(tensor.numpy().tobytes())
    figures = {name: np.asarray(getattr(model, name)).tolist() for name in ("labels_", "means_", "lower_bounds_")}
    return figures | {"hash": content.hexdigest(), "scores": model.score_samples(X[:20]).tolist()}


def run(names, folder):
    """The outcome of each case: what :func:`describe` says, or the error."""
    outcomes = {}
    for name in names:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model = CASES[name](folder)
            outcomes[name] = (
                describe(model) if model.n_features_in_ == X.shape[1] else {"labels": model.labels_.tolist()}
            )
        except Exception as error:
            outcomes[name] = {"error": f"{type(error).__name__}: {error}"}
    return outcomes


if __name__ == "__main__":
    to = Path(sys.argv[1])
    (to / f"{RANK}.json").write_text(json.dumps(run(sys.argv[2:], to)))
