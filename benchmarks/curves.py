"""How the processor time of fit and predict grows with features D, components K and draws M, for each estimator.

Ten groups of 4,000 rows, networks (128, 128), five epochs of each phase, latent dimensions and all else at the
defaults; one of D, K and M varies, the others stay at 32, 10 and 1. A line per estimator and letter:

    python benchmarks/curves.py >> benchmarks/results/speed.jsonl
"""

import argparse
import json
import sys
import time
import warnings

import environment
import models
import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning

N_ROWS, N_GROUPS, N_EPOCHS = 4000, 10, 5
STANDARD = {"D": 32, "K": 10, "M": 1}
VALUES = {"D": (8, 32, 128, 512), "K": (2, 10, 50, 200), "M": (1, 4, 16)}


def main(argv=None) -> int:
    """Measure all curves."""
    arguments = make_parser().parse_args(argv)
    torch.set_num_threads(arguments.threads)
    environment.set_threads(arguments.threads)
    facts = environment.describe(threads=arguments.threads)
    for name in arguments.model:
        time_once(name, **STANDARD)  # warms up
        for letter in arguments.letter:
            seconds = [time_once(name, **{**STANDARD, letter: value}) for value in VALUES[letter]]
            line = {"benchmark": "curves", "case": f"{name}, {letter}", "model": name, "letter": letter}
            fit, start, predict = (list(column) for column in zip(*seconds, strict=True))
            line |= {"values": VALUES[letter], "fit_seconds": fit, "start_seconds": start, "predict_seconds": predict}
            print(json.dumps({**line, **facts}), flush=True)
    return 0


def make_parser():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", choices=models.ESTIMATORS, default=list(models.ESTIMATORS))
    parser.add_argument("--letter", nargs="+", choices=VALUES, default=list(VALUES))
    parser.add_argument("--threads", type=int, default=1, help="default: %(default)s")
    return parser


def make_rows(n_features):
    """Ten round groups."""
    rng = np.random.default_rng(0)
    centres = 3.0 * rng.normal(size=(N_GROUPS, n_features))
    return centres[rng.integers(N_GROUPS, size=N_ROWS)] + rng.normal(size=(N_ROWS, n_features))


def time_once(name, *, D, K, M):
    """Processor seconds of a fit and of a predict, and the fit's wall-clock seconds of the start."""
    X = make_rows(D)
    estimator = models.ESTIMATORS[name](
        K, n_mc_samples=M, pretrain_iter=N_EPOCHS, max_iter=N_EPOCHS, tol=0.0, init_params="graph", random_state=0
    )
    began = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        estimator.fit(X)
    fitted = time.process_time()
    estimator.predict(X)
    return fitted - began, estimator.phase_seconds_["start"], time.process_time() - fitted


if __name__ == "__main__":
    sys.exit(main())
