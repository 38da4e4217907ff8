"""How the time of an epoch grows with M and K, and that of a fit with N: processor times, each from one run.

M and K: the networks are those of the MNIST benchmark. GMVAE on 4,000 random samples, in turns; VAE-EM on samples of an
image set, K = 40 and K = 10 from k-means, each EM iteration once the E-step has become partial; the ratio of the times.

N: VaDE with a small network on ten groups in 16 dimensions, default initialization; the slope of log time against log N
by least squares, of the whole fit and of each phase.

One JSON line per case; 1 if a ratio or slope misses its target.

    python benchmarks/speed/growth.py --data-dir data
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from skorch.callbacks import Callback

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/__init__.py says why

from benchmarks.common import data as data_sets
from benchmarks.common import environment, methods
from skgmvae import VaDEClustering, VAEEMClustering
from skgmvae.data.training_data import TrainingData
from skgmvae.models import GMVAE, Autoencoder, Bernoulli
from skgmvae.runtime import RandomStream
from skgmvae.training.train import TrainConfig, make_net, train

RECIPE = VaDEClustering.for_images(image_shape=None).get_params()
NOISE_DIM = 10
N_SAMPLES = 4000


def main(argv: list[str] | None = None) -> int:
    """Measure the cases."""
    arguments = make_parser().parse_args(argv)
    torch.set_num_threads(arguments.threads)
    missed = False
    for name in arguments.case:
        measure, target = CASES[name]
        ratio, details = measure(arguments)
        line = {"benchmark": "growth", "case": name, "ratio": ratio, "target": target, **details}
        described = environment.describe()
        print(json.dumps({**line, "threads": arguments.threads, **described}), flush=True)
        missed |= ratio > target
    return 1 if missed else 0


def make_parser() -> argparse.ArgumentParser:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--case", nargs="+", choices=CASES, default=list(CASES), help="default: all")
    add("--repeats", type=int, default=5, help="turns; default: %(default)s")
    add("--threads", type=int, default=1, help="default: %(default)s")
    add("--data-dir", help="folder with folders of IDX files; default: $SKGMVAE_DATA")
    add("--n-samples", type=int, default=12_000, help="of VAE-EM; default: %(default)s")
    add("--sizes", type=float, nargs="+", default=[1e4, 1e5, 1e6], help="samples for the slope; default: %(default)s")
    add("--epochs", type=int, default=10, help="of both phases, for the slope; default: %(default)s")
    return parser


def compare_gmvae(
    arguments: argparse.Namespace, small: tuple[int, int], large: tuple[int, int]
) -> tuple[float, dict[str, Any]]:
    """Median time of an epoch with ``large`` over that with ``small``, both (K, M), taken in turns."""
    rows = torch.rand(N_SAMPLES, 784, generator=torch.Generator().manual_seed(0))
    data, random = TrainingData.from_rows(rows.numpy()), RandomStream(0)
    plan = TrainConfig(n_epochs=1, batch_size=RECIPE["batch_size"], learning_rate=1e-3, device="cpu")
    nets = [make_net(make_gmvae(*setting), plan) for setting in (small, large)]
    seconds: list[list[float]] = [[], []]
    for turn in range(arguments.repeats + 1):
        for net, times, (_, M) in zip(nets, seconds, (small, large), strict=True):
            began = time.process_time()
            train(net, data, replace(plan, n_mc_samples=M), random)
            if turn > 0:  # the first warms up
                times.append(time.process_time() - began)
    low, high = map(statistics.median, seconds)
    return high / low, {"seconds": [low, high]}


def make_gmvae(K: int, M: int) -> GMVAE:
    """The benchmark's networks with K components."""
    torch.manual_seed(0)
    sizes = RECIPE["hidden_layer_sizes"]
    autoencoder = Autoencoder(784, RECIPE["latent_dim"], Bernoulli(), sizes)
    return GMVAE(autoencoder, K, NOISE_DIM, min(sizes), n_mc_samples=M)


class Stopwatch(Callback):
    """Processor seconds of every epoch."""

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Start."""
        self.seconds: list[tuple[float, float]] = []
        self.last = time.process_time()

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Lap; it comes after the E-step."""
        now = time.process_time()
        self.seconds.append((now - self.last, net.e_step_.evaluated_share))
        self.last = now


def compare_vaeem(arguments: argparse.Namespace) -> tuple[float, dict[str, Any]]:
    """Median time of an EM iteration with a partial E-step, K = 40 over K = 10."""
    X = data_sets.load("mnist", data_dir=arguments.data_dir, protocol="auto").train[: arguments.n_samples]
    medians: dict[int, float] = {}
    details: dict[str, Any] = {}
    for K in (10, 40):
        clock = Stopwatch()
        recipe = {"init_params": "kmeans", "pretrain_iter": 2, "max_iter": 14, "tol": 0.0}
        methods.fit(VAEEMClustering.for_images(K, image_shape=None, random_state=0, callbacks=[clock], **recipe), X)
        settled = [seconds for seconds, share in clock.seconds if share < 1.0]
        medians[K] = statistics.median(settled)
        details[f"K={K}"] = {"iterations": len(settled), "seconds": medians[K]}
    return medians[40] / medians[10], details


def make_groups(n_samples: int) -> np.ndarray:
    """Ten groups, each a curved sheet with noise, in 16 dimensions."""
    rng = np.random.default_rng(0)
    centers, sheets = 2.0 * rng.normal(size=(10, 16)), 0.6 * rng.normal(size=(10, 4, 16))
    X = np.empty((n_samples, 16), np.float32)
    for first in range(0, n_samples, 100_000):
        part = X[first : first + 100_000]
        groups = rng.integers(10, size=len(part))
        z = rng.normal(size=(len(part), 4))
        part[:] = centers[groups] + np.einsum("nl,nld->nd", z, sheets[groups]) + 0.3 * rng.normal(size=part.shape)
    return X


def fit_slope(arguments: argparse.Namespace) -> tuple[float, dict[str, Any]]:
    """Slope of the time of VaDE's fit, and those of its phases."""
    seconds: dict[int, dict[str, float]] = {}
    for n_samples in map(int, [1000, *arguments.sizes]):  # the first loads the libraries
        estimator = VaDEClustering(10, hidden_layer_sizes=(32,), latent_dim=4, batch_size=512, tol=0.0, random_state=0)
        estimator.set_params(pretrain_iter=arguments.epochs, max_iter=arguments.epochs)
        X, began = make_groups(n_samples), time.process_time()
        # the estimator's own record of its phases, in processor time
        with mock.patch("time.perf_counter", time.process_time):
            methods.fit(estimator, X)
        phases = methods.phase_seconds(estimator) or {}
        seconds[n_samples] = {"fit": time.process_time() - began, **phases}
    seconds.pop(1000)
    logs = np.log([list(phases.values()) for phases in seconds.values()])
    slopes = np.polynomial.polynomial.polyfit(np.log(list(seconds)), logs, 1)[1]
    names = next(iter(seconds.values()))
    return float(slopes[0]), {"slopes": dict(zip(names, slopes.tolist(), strict=True)), "seconds": seconds}


CASES: dict[str, tuple[Callable[[argparse.Namespace], tuple[float, dict[str, Any]]], float]] = {
    "gmvae, M = 10 over M = 1": (lambda arguments: compare_gmvae(arguments, (10, 1), (10, 10)), 6.0),
    "gmvae, K = 30 over K = 10": (lambda arguments: compare_gmvae(arguments, (10, 1), (30, 1)), 1.5),
    "vaeem, K = 40 over K = 10": (compare_vaeem, 2.0),
    "vade, slope in N": (fit_slope, 1.05),
}


if __name__ == "__main__":
    sys.exit(main())
