"""Whether shuffling by blocks costs anything: the same fits with all rows shuffled and with a file's block shuffling.

Handwritten digits sorted by class, the worst order for blocks, and a buffer of 256 rows, a seventh of all, from 128
places of the file, as many as a real buffer has, or from fewer. One JSON line per model: the lower bound and the
adjusted Rand index of both, over seeds, and the mean difference with its standard error.

    python benchmarks/shuffling.py >> benchmarks/results/speed.jsonl
"""

import argparse
import json
import sys
import warnings
from unittest import mock

import environment
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score

import skgmvae
from skgmvae.data import batches
from skgmvae.data import lazy as rows

MODELS = {"vade": "VaDEClustering", "gmvae": "GMVAEClustering", "vaeem": "VAEEMClustering"}
BUFFER_ROWS = 256


def main(argv=None) -> int:
    """Fit each model both ways."""
    arguments = make_parser().parse_args(argv)
    torch.set_num_threads(arguments.threads)
    X, y = load_digits(return_X_y=True)
    order = np.argsort(y, kind="stable")
    X, y = X[order].astype(np.float32), y[order]
    described = environment.describe()
    for model in arguments.model:
        pairs = np.array([compare(model, X, y, seed, arguments) for seed in range(arguments.seeds)])
        line = {"benchmark": "shuffling", "case": f"{model}, {arguments.places}", "model": model}
        line |= {"places": arguments.places, "epochs": arguments.epochs, "seeds": arguments.seeds}
        for i, figure in enumerate(("lower_bound", "ari")):
            line[figure] = summarize(*pairs[:, :, i].T)
        print(json.dumps({**line, **described}), flush=True)
    return 0


def make_parser():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", choices=MODELS, default=list(MODELS), help="default: all")
    parser.add_argument("--places", type=int, default=128, help="blocks to a buffer; default: %(default)s")
    parser.add_argument("--seeds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--epochs", type=int, default=20, help="of each phase; default: %(default)s")
    parser.add_argument("--threads", type=int, default=1, help="default: %(default)s")
    return parser


def compare(model, X, y, seed, arguments):
    """Bound and agreement with the classes: all rows shuffled, and by blocks."""
    estimator = getattr(skgmvae, MODELS[model])(10, random_state=seed, tol=0.0)
    estimator.set_params(pretrain_iter=arguments.epochs, max_iter=arguments.epochs)
    block_bytes = X[: BUFFER_ROWS // arguments.places].nbytes
    figures = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for by_blocks in (False, True):
            with (
                mock.patch.object(rows, "MAX_WHOLE_BYTES", 0),
                mock.patch.object(rows, "BLOCK_BYTES", block_bytes),
                mock.patch.object(batches, "BUFFER_BYTES", arguments.places * block_bytes),
            ):
                estimator.fit(Slices(X) if by_blocks else X)
            figures.append((estimator.lower_bound_, adjusted_rand_score(y, estimator.labels_)))
    return figures


class Slices:
    """An array that gives slices alone, as a file does."""

    def __init__(self, X):
        self.X, self.shape, self.dtype = X, X.shape, X.dtype

    def __getitem__(self, part):
        return self.X[part]


def summarize(full, blocks):
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
