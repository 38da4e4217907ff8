"""Time of predict_proba over that of its matrix products, and in float32 over that in float64.

One JSON line each, of VaDE with the networks of the image recipe:

    python benchmarks/speed/inference.py >> benchmarks/results/speed.jsonl
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/__init__.py says why

from benchmarks.common import environment, methods
from skgmvae import single_precision
from skgmvae._evaluation import chunk_rows

D = 784
N_FIT = 1000  # samples of the fit whose network is timed


def main(argv: list[str] | None = None) -> int:
    """Measure both."""
    arguments = make_parser().parse_args(argv)
    torch.set_num_threads(arguments.threads)
    environment.set_threads(arguments.threads)
    facts = environment.describe(threads=arguments.threads)
    X = np.random.default_rng(0).random((arguments.n_samples, D))
    estimator = fit_briefly(X[:N_FIT].astype(np.float32))
    speed = measure_speed(estimator, X, arguments.repeats)
    print(json.dumps({"benchmark": "predict_proba", **speed, **facts}), flush=True)
    single = measure_single_precision(estimator, X.astype(np.float32), arguments.repeats)
    print(json.dumps({"benchmark": "single_precision", **single, **facts}), flush=True)
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n-samples", type=int, default=60_000, help="default: %(default)s")
    parser.add_argument("--repeats", type=int, default=3, help="turns of each; default: %(default)s")
    parser.add_argument("--threads", type=int, default=1, help="default: %(default)s")
    return parser


def fit_briefly(X: np.ndarray) -> Any:
    """VaDE with the networks of the image recipe after the shortest training."""
    params = {"pretrain_iter": 1, "max_iter": 1, "init_params": "random"}
    return methods.fit(methods.make("vade", 10, 0, n_features=D, params=params), X)


def measure_speed(estimator: Any, X: np.ndarray, repeats: int) -> dict[str, Any]:
    """Median times of both, in turns; their ratio is that of the processor times."""
    products = make_products(estimator.net_.module_)
    turns = np.array([(timed(estimator.predict_proba, X), timed(products, X)) for _ in range(repeats)])
    (our_wall, our_cpu), (product_wall, product_cpu) = np.median(turns, axis=0).tolist()
    return {
        "n_samples": len(X),
        "ratio": our_cpu / product_cpu,
        "wall_ratio": our_wall / product_wall,
        "seconds": our_cpu,
        "product_seconds": product_cpu,
        "repeats": repeats,
    }


def measure_single_precision(estimator: Any, X: np.ndarray, repeats: int) -> dict[str, Any]:
    """Median processor times of predict_proba in float32 and in float64, in turns, and where their labels differ."""

    def ask_in_single_precision(X: np.ndarray) -> np.ndarray:
        with single_precision():
            return estimator.predict_proba(X)

    turns = [(timed(ask_in_single_precision, X)[1], timed(estimator.predict_proba, X)[1]) for _ in range(repeats)]
    single, double = np.median(np.array(turns), axis=0).tolist()
    other_labels = int((ask_in_single_precision(X).argmax(1) != estimator.predict_proba(X).argmax(1)).sum())
    return {
        "n_samples": len(X),
        "ratio": single / double,
        "seconds": single,
        "double_seconds": double,
        "other_labels": other_labels,
        "repeats": repeats,
    }


def timed(function: Callable[[np.ndarray], Any], X: np.ndarray) -> tuple[float, float]:
    """Wall-clock and processor seconds of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    function(X)
    return time.perf_counter() - wall, time.process_time() - cpu


def make_products(module: Any) -> Callable[[np.ndarray], None]:
    """The matrix products behind q(c|x) alone, in float64 and in the package's chunks."""
    networks, (K, L) = module.autoencoder, module.means.shape
    body = [layer.weight for layer in networks.body if isinstance(layer, torch.nn.Linear)]
    heads = torch.cat([networks.head.mean.weight, networks.head.log_variance.weight])
    body, heads = [weight.detach().double().T for weight in body], heads.detach().double().T
    factors = module.precision_factor().detach().double().reshape(K * L, L).T
    size = chunk_rows(module)

    def products(X: np.ndarray) -> None:
        for chunk in torch.from_numpy(X).split(size):
            for weight in body:
                chunk = chunk @ weight
            (chunk @ heads)[:, :L] @ factors

    return products


if __name__ == "__main__":
    sys.exit(main())
