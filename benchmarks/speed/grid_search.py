"""Time of a grid search over K, M and λ with ``memory``, which pretrains once per fold, over one without.

VaDE with the networks and epochs of the image recipe on some of the bundled digits, two folds of eight settings, in
turns. One JSON line; 1 if ``memory`` saves less than half.

    python benchmarks/speed/grid_search.py >> benchmarks/results/speed.jsonl
"""

import argparse
import json
import sys
import time
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, KFold

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/__init__.py says why

from benchmarks.common import environment
from skgmvae import VaDEClustering

GRID = {"n_components": [8, 10], "n_mc_samples": [1, 2], "min_information": [0.0, 0.5]}
TARGET = 0.5


def main(argv: list[str] | None = None) -> int:
    """Measure both in turns."""
    arguments = make_parser().parse_args(argv)
    torch.set_num_threads(arguments.threads)
    environment.set_threads(arguments.threads)
    X = load_digits().data[: arguments.n_samples] / 16.0
    turns = np.array([(search(X, has_memory=True), search(X, has_memory=False)) for _ in range(arguments.repeats)])
    ratio = float(np.median(turns[:, 0] / turns[:, 1]))
    line = {"benchmark": "grid_search", "case": "vade", "ratio": ratio, "target": TARGET, "seconds": turns.tolist()}
    print(json.dumps({**line, **environment.describe(threads=arguments.threads)}), flush=True)
    return int(ratio > TARGET)


def make_parser() -> argparse.ArgumentParser:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n-samples", type=int, default=800, help="default: %(default)s")
    parser.add_argument("--repeats", type=int, default=2, help="turns; default: %(default)s")
    parser.add_argument("--threads", type=int, default=1, help="default: %(default)s")
    return parser


def search(X: np.ndarray, *, has_memory: bool) -> float:
    """Processor seconds of one grid."""
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        memory = folder if has_memory else None
        vade = VaDEClustering.for_images(image_shape=None, tol=0.0, memory=memory, random_state=0)
        began = time.process_time()
        GridSearchCV(vade, GRID, cv=KFold(2, shuffle=True, random_state=0), refit=False).fit(X)
        return time.process_time() - began


if __name__ == "__main__":
    sys.exit(main())
