"""What shuffling by blocks changes: the same fits with all samples shuffled and with the block shuffling of files.

Handwritten digits sorted by class, the worst order for blocks, and a buffer of 256 samples, a seventh of all, of 128
blocks of the file, as many as by default, or of fewer. One JSON line per model: the lower bound and the
adjusted Rand index of both, over seeds, and the mean difference with its standard error.

    python benchmarks/memory/shuffling.py >> benchmarks/results/speed.jsonl
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import adjusted_rand_score

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/__init__.py says why

from benchmarks.common import environment, methods
from benchmarks.common.methods import ESTIMATORS
from skgmvae.data import batches, lazy

BUFFER_SIZE = 256


def main(argv: list[str] | None = None) -> int:
    """Fit each model both ways."""
    arguments = make_parser().parse_args(argv)
    torch.set_num_threads(arguments.threads)
    X, y = load_digits(return_X_y=True)
    order = np.argsort(y, kind="stable")
    X, y = X[order].astype(np.float32), y[order]
    described = environment.describe()
    for model in arguments.model:
        pairs = np.array([compare(model, X, y, seed, arguments) for seed in range(arguments.seeds)])
        line = {"benchmark": "shuffling", "case": f"{model}, {arguments.n_blocks}", "model": model}
        line |= {"n_blocks": arguments.n_blocks, "epochs": arguments.epochs, "seeds": arguments.seeds}
        for i, figure in enumerate(("lower_bound", "ari")):
            line[figure] = summarize(*pairs[:, :, i].T)
        print(json.dumps({**line, **described}), flush=True)
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", choices=ESTIMATORS, default=list(ESTIMATORS), help="default: all")
    parser.add_argument("--n-blocks", type=int, default=128, help="of a buffer; default: %(default)s")
    parser.add_argument("--seeds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--epochs", type=int, default=20, help="of each phase; default: %(default)s")
    parser.add_argument("--threads", type=int, default=1, help="default: %(default)s")
    return parser


def compare(
    model: str, X: np.ndarray, y: np.ndarray, seed: int, arguments: argparse.Namespace
) -> list[tuple[float, float]]:
    """Bound and agreement with the classes: all samples shuffled, and by blocks."""
    estimator = ESTIMATORS[model](10, random_state=seed, tol=0.0)
    estimator.set_params(pretrain_iter=arguments.epochs, max_iter=arguments.epochs)
    block_bytes = X[: BUFFER_SIZE // arguments.n_blocks].nbytes
    figures = []
    for by_blocks in (False, True):
        with (  # a file small enough to fit into a benchmark
            mock.patch.object(lazy, "MAX_WHOLE_BYTES", 0),
            mock.patch.object(lazy, "BLOCK_BYTES", block_bytes),
            mock.patch.object(batches, "BUFFER_BYTES", arguments.n_blocks * block_bytes),
        ):
            methods.fit(estimator, Slices(X) if by_blocks else X)
        figures.append((estimator.lower_bound_, adjusted_rand_score(y, estimator.labels_)))
    return figures


class Slices:
    """An array that gives slices alone, as a file does."""

    def __init__(self, X: np.ndarray):
        self.X, self.shape, self.dtype = X, X.shape, X.dtype

    def __getitem__(self, part: Any) -> np.ndarray:
        return self.X[part]


def summarize(full: np.ndarray, blocks: np.ndarray) -> dict[str, float]:
    """Means, and the mean difference with its standard error."""
    differences = blocks - full
    return {
        "full": full.mean(),
        "blocks": blocks.mean(),
        "difference": differences.mean(),
        "standard_error": differences.std(ddof=1) / len(differences) ** 0.5,
    }


if __name__ == "__main__":
    sys.exit(main())
