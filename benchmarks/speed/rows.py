"""How long a fit at the defaults takes, and what memory it needs, from ten thousand to ten million samples.

Ten groups, each a sheet with noise, in 16 dimensions; each fit in a process of its own. One JSON line per size:

    python benchmarks/speed/rows.py >> benchmarks/results/speed.jsonl
"""

import argparse
import json
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/__init__.py says why

from benchmarks.common import environment, methods
from benchmarks.speed.growth import make_groups

N_COMPONENTS = 10
SIZES = (1e4, 1e5, 1e6, 1e7)


def main(argv: list[str] | None = None) -> int:
    """Measure each size."""
    arguments = make_parser().parse_args(argv)
    environment.set_threads(arguments.threads)
    facts = environment.describe(threads=arguments.threads)
    context = multiprocessing.get_context("spawn")
    for size in map(int, arguments.sizes):
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            found = pool.submit(measure, arguments.model, size).result()
        line = {"benchmark": "rows", "case": f"{arguments.model}, {size}", "model": arguments.model, "n_samples": size}
        print(json.dumps({**line, **found, **facts}), flush=True)
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--model", choices=methods.ESTIMATORS, default="vade", help="default: %(default)s")
    add("--sizes", type=float, nargs="+", default=SIZES, help="numbers of samples; default: %(default)s")
    add("--threads", type=int, default=1, help="default: %(default)s")
    return parser


def measure(model: str, n_samples: int) -> dict[str, Any]:
    """Processor seconds of a fit and its phases, its epochs and batches, and the bytes that it adds to the peak."""
    make = methods.ESTIMATORS[model]
    methods.fit(make(2, max_iter=1, random_state=0), make_groups(200))  # loads the libraries
    X, estimator = make_groups(n_samples), make(N_COMPONENTS, random_state=0)
    memory, began = environment.peak_memory(), time.process_time()
    # the estimator's own record of its phases, in processor time
    with mock.patch("time.perf_counter", time.process_time):
        methods.fit(estimator, X)
    seconds = {"fit": time.process_time() - began, **(methods.phase_seconds(estimator) or {})}
    epochs = {"epochs": estimator.n_iter_, "batch_size": estimator.batch_size_}
    return {"seconds": seconds, "memory": environment.peak_memory() - memory, **epochs}


if __name__ == "__main__":
    sys.exit(main())
