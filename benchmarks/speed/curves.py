"""How processor time and memory of fit grow with samples N, features D, components K and draws M, and predict's time.

Ten groups of 4,000 samples in all, networks (128, 128), five epochs of each phase, latent dimensions and all else at
the defaults; one of N, D, K and M varies, the others stay at 4,000, 32, 10 and 1. Every fit has a process of its own;
its memory is what the largest resident size gains by it, the data being there before. A line per estimator and letter:

    python benchmarks/speed/curves.py >> benchmarks/results/speed.jsonl
"""

import argparse
import itertools
import json
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/__init__.py says why

from benchmarks.common import environment, methods

N_GROUPS, N_EPOCHS = 10, 5
STANDARD = {"N": 4000, "D": 32, "K": 10, "M": 1}
VALUES = {"N": (1000, 10_000, 100_000, 1_000_000), "D": (8, 32, 128, 512), "K": (2, 10, 50, 200), "M": (1, 4, 16)}
SMALL = {"N": 200, "D": 4, "K": 2, "M": 1}
FIGURES = ("fit_seconds", "initialization_seconds", "predict_seconds", "fit_memory")


def main(argv: list[str] | None = None) -> int:
    """Measure all curves."""
    arguments = make_parser().parse_args(argv)
    environment.set_threads(arguments.threads)
    facts = environment.describe(threads=arguments.threads)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
        for name, letter in itertools.product(arguments.model, arguments.letter):
            values = [value for value in VALUES[letter] if letter != "N" or value <= arguments.max_samples]
            waiting = [pool.submit(measure, name, {**STANDARD, letter: value}) for value in values]
            figures = [list(column) for column in zip(*(one.result() for one in waiting), strict=True)]
            line = {"benchmark": "curves", "case": f"{name}, {letter}", "model": name, "letter": letter}
            line |= {"values": values, **dict(zip(FIGURES, figures, strict=True))}
            print(json.dumps({**line, **facts}), flush=True)
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", choices=methods.ESTIMATORS, default=list(methods.ESTIMATORS))
    parser.add_argument("--letter", nargs="+", choices=VALUES, default=list(VALUES))
    parser.add_argument("--max-samples", type=int, default=VALUES["N"][-1], help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=1, help="default: %(default)s")
    return parser


def make_groups(n_samples: int, n_features: int) -> np.ndarray:
    """Ten round groups, in float32."""
    rng = np.random.default_rng(0)
    centers = 3.0 * rng.normal(size=(N_GROUPS, n_features))
    X = np.empty((n_samples, n_features), np.float32)
    for first in range(0, n_samples, 10_000):  # the numbers of all samples at once would be the peak of the memory
        part = X[first : first + 10_000]
        part[:] = centers[rng.integers(N_GROUPS, size=len(part))] + rng.normal(size=part.shape)
    return X


def measure(name: str, setting: dict[str, int]) -> tuple[float, float, float, int]:
    """The figures of one fit, the libraries loaded and warm."""
    fit_once(name, **SMALL)
    return fit_once(name, **setting)


def fit_once(name: str, *, N: int, D: int, K: int, M: int) -> tuple[float, float, float, int]:
    """Processor seconds of fit, wall-clock ones of its initialization, processor seconds of predict, bytes of fit."""
    X = make_groups(N, D)
    estimator = methods.ESTIMATORS[name](
        K, n_mc_samples=M, pretrain_iter=N_EPOCHS, max_iter=N_EPOCHS, tol=0.0, init_params="graph", random_state=0
    )
    memory, began = environment.peak_memory(), time.process_time()
    methods.fit(estimator, X)
    fitted, memory = time.process_time(), environment.peak_memory() - memory
    estimator.predict(X)
    phases = methods.phase_seconds(estimator) or {}
    return fitted - began, phases["initialization"], time.process_time() - fitted, memory


if __name__ == "__main__":
    sys.exit(main())
