"""How processor time and memory of fit grow with rows N, features D, components K and draws M, and predict's time.

Ten groups of 4,000 rows, networks (128, 128), five epochs of each phase, latent dimensions and all else at the
defaults; one of N, D, K and M varies, the others stay at 4,000, 32, 10 and 1. Every fit has a process of its own; its
memory is what the largest resident size gains by it, the data being there before. A line per estimator and letter:

    python benchmarks/curves.py >> benchmarks/results/speed.jsonl
"""

import argparse
import itertools
import json
import multiprocessing
import sys
import time
import warnings
from concurrent.futures import ProcessPoolExecutor

import environment
import models
import numpy as np
from sklearn.exceptions import ConvergenceWarning

N_GROUPS, N_EPOCHS = 10, 5
STANDARD = {"N": 4000, "D": 32, "K": 10, "M": 1}
VALUES = {"N": (1000, 10_000, 100_000, 1_000_000), "D": (8, 32, 128, 512), "K": (2, 10, 50, 200), "M": (1, 4, 16)}
SMALL = {"N": 200, "D": 4, "K": 2, "M": 1}
FIGURES = ("fit_seconds", "start_seconds", "predict_seconds", "fit_memory")


def main(argv=None) -> int:
    """Measure all curves."""
    arguments = make_parser().parse_args(argv)
    environment.set_threads(arguments.threads)
    facts = environment.describe(threads=arguments.threads)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
        for name, letter in itertools.product(arguments.model, arguments.letter):
            values = [value for value in VALUES[letter] if letter != "N" or value <= arguments.max_rows]
            waiting = [pool.submit(measure, name, {**STANDARD, letter: value}) for value in values]
            figures = [list(column) for column in zip(*(one.result() for one in waiting), strict=True)]
            line = {"benchmark": "curves", "case": f"{name}, {letter}", "model": name, "letter": letter}
            line |= {"values": values, **dict(zip(FIGURES, figures, strict=True))}
            print(json.dumps({**line, **facts}), flush=True)
    return 0


def make_parser():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", choices=models.ESTIMATORS, default=list(models.ESTIMATORS))
    parser.add_argument("--letter", nargs="+", choices=VALUES, default=list(VALUES))
    parser.add_argument("--max-rows", type=int, default=VALUES["N"][-1], help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=1, help="default: %(default)s")
    return parser


def make_rows(n_rows, n_features):
    """Ten round groups, in float32."""
    rng = np.random.default_rng(0)
    centers = 3.0 * rng.normal(size=(N_GROUPS, n_features))
    X = np.empty((n_rows, n_features), np.float32)
    for first in range(0, n_rows, 10_000):  # the numbers of all rows at once would be the peak of the memory
        part = X[first : first + 10_000]
        part[:] = centers[rng.integers(N_GROUPS, size=len(part))] + rng.normal(size=part.shape)
    return X


def measure(name, setting):
    """The figures of one fit, the libraries loaded and warm."""
    fit_once(name, **SMALL)
    return fit_once(name, **setting)


def fit_once(name, *, N, D, K, M):
    """Processor seconds of a fit, wall-clock seconds of its start, processor seconds of predict, bytes of the fit."""
    X = make_rows(N, D)
    estimator = models.ESTIMATORS[name](
        K, n_mc_samples=M, pretrain_iter=N_EPOCHS, max_iter=N_EPOCHS, tol=0.0, init_params="graph", random_state=0
    )
    memory, began = environment.peak_memory(), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        estimator.fit(X)
    fitted, memory = time.process_time(), environment.peak_memory() - memory
    estimator.predict(X)
    return fitted - began, estimator.phase_seconds_["start"], time.process_time() - fitted, memory


if __name__ == "__main__":
    sys.exit(main())
