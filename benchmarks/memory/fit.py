"""Memory that fit takes beside the data, over the size of the data. One JSON line.

VaDE with the networks of the image recipe; measured in a process of its own.

    python benchmarks/memory/fit.py >> benchmarks/results/speed.jsonl
"""

import argparse
import json
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/__init__.py says why

from benchmarks.common import environment
from benchmarks.speed.inference import N_FIT, D, fit_briefly


def main(argv: list[str] | None = None) -> int:
    """Measure it."""
    arguments = make_parser().parse_args(argv)
    environment.set_threads(arguments.threads)
    # this process stays small: a child's largest resident size begins at its parent's
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        memory = pool.submit(measure_memory, arguments.n_samples).result()
    facts = environment.describe(threads=arguments.threads)
    print(json.dumps({"benchmark": "fit_memory", **memory, **facts}), flush=True)
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n-samples", type=int, default=60_000, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=1, help="default: %(default)s")
    return parser


def measure_memory(n_samples: int) -> dict[str, Any]:
    """Resident bytes that fit adds to the data's, after a small fit that loads the libraries."""
    X = np.random.default_rng(0).random((n_samples, D), dtype=np.float32)
    fit_briefly(X[:N_FIT])
    before = environment.peak_memory()
    fit_briefly(X)
    extra = environment.peak_memory() - before
    return {"n_samples": n_samples, "data_bytes": X.nbytes, "extra_bytes": extra, "extra_over_data": extra / X.nbytes}


if __name__ == "__main__":
    sys.exit(main())
