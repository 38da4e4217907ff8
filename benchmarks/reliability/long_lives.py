"""Memory over many fits and queries, fits in forked processes, and in the workers of joblib.

    python benchmarks/reliability/long_lives.py --fits 1000 --queries 100000 >> benchmarks/results/reliability.jsonl

prints one JSON line: how much the process has grown over the second half of the fits and of the queries, in MiB, and
whether other processes get the same results.
"""

import argparse
import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import joblib
from sklearn.base import clone
from sklearn.datasets import make_blobs

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/__init__.py says why

from benchmarks.common import environment
from benchmarks.reliability.contexts import digest
from benchmarks.reliability.interrupts import MODELS
from benchmarks.reliability.kills import run

BACKENDS = ("loky", "threading", "multiprocessing")


def main(argv: list[str] | None = None) -> int:
    """Measure, compare and count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fits", type=int, default=50, help="default: %(default)s")
    parser.add_argument("--queries", type=int, default=1000, help="default: %(default)s")
    arguments = parser.parse_args(argv)
    warnings.simplefilter("ignore")
    began = time.perf_counter()
    X, _ = make_blobs(60, 4, centers=3, random_state=0)
    models = {name: clone(model).fit(X) for name, model in MODELS.items()}
    line: dict[str, Any] = {"script": "long_lives", "fits": arguments.fits, "queries": arguments.queries}
    names = list(MODELS)
    line["growth_over_fits"] = grow(arguments.fits, lambda i: clone(MODELS[names[i % len(names)]]).fit(X))
    line["growth_over_queries"] = grow(arguments.queries, lambda i: query(models[names[i % len(names)]], i, X))
    expected = {name: digest(model, X) for name, model in models.items()}
    line["others_in_forks"] = sum(
        run(lambda name=name: digest(clone(MODELS[name]).fit(X), X)) != expected[name] for name in names
    )
    for backend in BACKENDS:
        found = joblib.Parallel(2, backend=backend)(joblib.delayed(fit)(MODELS[name], X) for name in names)
        line[f"others_in_{backend}"] = sum(bits != expected[name] for bits, name in zip(found, names, strict=True))
    line["seconds"] = round(time.perf_counter() - began, 1)
    print(json.dumps(environment.describe(**line)))
    return int(any(line[key] for key in line if key.startswith("others_in_")))


def fit(model: Any, X: Any) -> Any:
    """What the fitted model answers; for workers."""
    warnings.simplefilter("ignore")
    return digest(clone(model).fit(X), X)


def query(model: Any, number: int, X: Any) -> None:
    """One of the queries."""
    name = ("predict", "predict_proba", "score_samples", "transform", "reconstruct")[number % 5]
    getattr(model, name)(X[: 1 + number % 20])


def grow(n_times: int, function: Any) -> float:
    """MiB by which the process grows over the second half of the calls."""
    half = 0
    for number in range(n_times):
        function(number)
        if number == n_times // 2:
            half = resident()
    return round((resident() - half) / 2**20, 1)


def resident() -> int:
    """Bytes of memory of this process now (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


if __name__ == "__main__":
    sys.exit(main())
