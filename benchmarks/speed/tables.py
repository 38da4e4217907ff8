"""Where the time of a fit to a table goes, at defaults; with another checkout, the same there.

Eleven tables of 150 to 1,800 samples, in one process per checkout; the checkouts take turns, table by table, so that a
busy machine slows all of them. Processor seconds, the least of several turns. One JSON line per estimator.

    python benchmarks/speed/tables.py --before OTHER_CHECKOUT >> benchmarks/results/speed.jsonl
"""

import argparse
import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from sklearn import datasets
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/__init__.py says why

from benchmarks.common import environment
from benchmarks.density.tables import TABLES as OTHER_TABLES

HERE = Path(__file__).resolve().parents[2]
ESTIMATORS = ("VaDEClustering", "GMVAEClustering", "VAEEMClustering")
WORKER = """
import json, sys, time, warnings
from unittest import mock
import numpy as np, torch, skgmvae
from sklearn.mixture import GaussianMixture

torch.set_num_threads(1)
warnings.simplefilter("ignore")
tables = np.load(sys.argv[1])
for line in sys.stdin:
    estimator, name, K = json.loads(line)
    make = GaussianMixture if estimator == "GaussianMixture" else getattr(skgmvae, estimator)
    began = time.process_time()
    with mock.patch("time.perf_counter", time.process_time):
        model = make(K, random_state=0).fit(tables[name])
    seconds = {"fit": time.process_time() - began, **getattr(model, "phase_seconds_", {})}
    print(json.dumps(seconds), flush=True)
"""


def main(argv: list[str] | None = None) -> int:
    """Measure each estimator."""
    arguments = make_parser().parse_args(argv)
    environment.set_threads(1)
    checkouts = {"now": HERE, **({"before": arguments.before} if arguments.before else {})}
    tables = {name: make_table(name) for name in arguments.data}
    n_components = {name: K for name, (_, K) in tables.items()}
    with TemporaryDirectory() as folder, ExitStack() as stack:
        path = Path(folder, "tables.npz")
        np.savez(path, **{name: X for name, (X, _) in tables.items()})
        workers = {name: stack.enter_context(start_worker(root, path)) for name, root in checkouts.items()}
        for estimator in arguments.model:
            for worker in workers.values():  # the first fit of a process loads libraries
                ask(worker, estimator, *next(iter(n_components.items())))
            line = measure(workers, estimator, n_components, arguments.repeats)
            line = {"benchmark": "tables", "case": estimator, **line, "threads": 1, **environment.describe()}
            print(json.dumps(line), flush=True)
        for worker in workers.values():
            worker.communicate()
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--before", type=Path, help="folder of another checkout")
    add("--model", nargs="+", choices=ESTIMATORS, default=ESTIMATORS, help="default: all")
    add("--data", nargs="+", choices=TABLES, default=list(TABLES), metavar="NAME", help="default: all")
    add("--repeats", type=int, default=3, help="turns; default: %(default)s")
    return parser


def _make_moons() -> tuple[np.ndarray, int]:
    return datasets.make_moons(1000, noise=0.1, random_state=0)[0], 2


def _make_circles() -> tuple[np.ndarray, int]:
    return datasets.make_circles(1000, noise=0.05, factor=0.5, random_state=0)[0], 2


def _make_blobs() -> tuple[np.ndarray, int]:
    return datasets.make_blobs(1000, centers=4, random_state=0)[0], 4


TABLES = {
    "iris": lambda: (datasets.load_iris().data, 3),
    "wine": lambda: (datasets.load_wine().data, 3),
    "breast_cancer": lambda: (datasets.load_breast_cancer().data, 2),
    "diabetes": lambda: (datasets.load_diabetes().data, 4),
    "digits": lambda: (datasets.load_digits().data, 10),
    "moons": _make_moons,
    "circles": _make_circles,
    "blobs": _make_blobs,
    "bananas": lambda: (OTHER_TABLES["bananas"]()[0], 2),
    "correlated": lambda: (OTHER_TABLES["correlated"]()[0], 3),
    "heavy tails": lambda: (OTHER_TABLES["heavy tails"]()[0], 3),
}


def make_table(name: str) -> tuple[np.ndarray, int]:
    """Standardized samples and a number of components."""
    X, K = TABLES[name]()
    return StandardScaler().fit_transform(X), K


def start_worker(root: Path, tables: Path) -> subprocess.Popen[str]:
    """A process with the package of a checkout."""
    command = [sys.executable, "-c", WORKER, str(tables)]
    variables = {**os.environ, "PYTHONPATH": str(root)}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=root, env=variables)


def ask(worker: subprocess.Popen[str], estimator: str, table: str, n_components: int) -> dict[str, float]:
    """Seconds of a fit, and of its phases."""
    if worker.stdin is None or worker.stdout is None:
        raise ValueError("a worker needs pipes")
    worker.stdin.write(json.dumps([estimator, table, n_components]) + "\n")
    worker.stdin.flush()
    seconds: dict[str, float] = json.loads(worker.stdout.readline())
    return seconds


def measure(
    workers: dict[str, subprocess.Popen[str]], estimator: str, n_components: dict[str, int], n_turns: int
) -> dict[str, Any]:
    """Seconds by checkout and table, the turn of the quickest fit, and those of a GaussianMixture."""
    found: dict[str, dict[str, dict[str, float]]] = {name: {} for name in (*workers, "GaussianMixture")}
    some = next(iter(workers.values()))
    for table, K in n_components.items():
        turns = [{name: ask(worker, estimator, table, K) for name, worker in workers.items()} for _ in range(n_turns)]
        for name in workers:
            found[name][table] = min((turn[name] for turn in turns), key=lambda seconds: seconds["fit"])
        found["GaussianMixture"][table] = ask(some, "GaussianMixture", table, K)
    return found


if __name__ == "__main__":
    sys.exit(main())
