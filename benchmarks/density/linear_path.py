"""What a linear path changes: final clusters against the initial ones, and held-out score.

    python benchmarks/density/linear_path.py --suite DATA_DIR

appends a JSON line per data set, task, model, and seed to benchmarks/results/linear_path.jsonl (what is there is
skipped) and prints means. The task "clusters" fits all samples from initial clusters that the models share: those of
``choose_clusters``. The task "score" fits 70 % of the samples, standardized, and scores the others. DATA_DIR holds
sets of the suite of Gagolewski as benchmarks/initialization/suite.py reads them; without it, only the small sets.

Labels serve for the measurement. The share of the noise, the shrinkages and variances that are tried, and the defaults
of the training were set by hand with the labels and scores of these sets in sight.
"""

import argparse
import itertools
import sys
import time
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/__init__.py says why

from benchmarks.common import data as data_sets
from benchmarks.common import environment, methods
from benchmarks.common.results import RESULTS, Line, append_missing, read_lines
from skgmvae.initialization.choice import ClusterChoice, choose_clusters

SMALL = ("iris", "wine", "breast_cancer", "digits", "moons", "circles", "blobs", "aniso")
SCORED = ("iris", "wine", "breast_cancer", "moons", "circles", "blobs")
BATTERIES = ("fcps", "graves", "sipu")
MODELS = {"linear path": ("vade", True), "none": ("vade", False), "vaeem, linear path": ("vaeem", True)}
MAX_SAMPLES = 5250
KEY = ("task", "data", "model", "seed")


def main(argv: list[str] | None = None) -> int:
    """Fit what is missing, then print means."""
    arguments = make_parser().parse_args(argv)
    environment.set_threads(arguments.threads)
    clusters = itertools.product(["clusters"], find_sets(arguments.suite), arguments.model, range(1))
    scores = itertools.product(["score"], SCORED, [*arguments.model, "gmm"], range(arguments.seeds))
    append_missing(arguments, KEY, itertools.chain(clusters, scores), lambda *key: measure(arguments.suite, *key))
    summarize(read_lines(arguments.out))
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--suite", type=Path, help="folder with a folder per battery of the suite")
    add("--model", nargs="+", choices=list(MODELS), default=["linear path", "none"])
    add("--seeds", type=int, default=2, help="of the scores; default: %(default)s")
    add("--out", type=Path, default=RESULTS / "linear_path.jsonl", help="JSON lines, appended to")
    add("--threads", type=int, default=1, help="default: %(default)s")
    return parser


def find_sets(suite: Path | None) -> list[str]:
    """Names of the data sets: the small ones, and ``battery/set`` of the suite."""
    paths = [] if suite is None else [path for name in BATTERIES for path in sorted((suite / name).glob("*.data.gz"))]
    return [*SMALL, *(f"{path.parent.name}/{path.name.removesuffix('.data.gz')}" for path in paths)]


@cache
def read_set(suite: Path | None, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Samples and labels; those of label 0 in the suite, noise, are left out."""
    if suite is None or "/" not in name:
        data = data_sets.load(name, protocol="all")
        return data.train, data.train_labels
    labels = np.loadtxt(suite / f"{name}.labels0.gz", dtype=int)
    return np.loadtxt(suite / f"{name}.data.gz", ndmin=2)[labels > 0], labels[labels > 0]


@cache
def choose(suite: Path | None, name: str, seed: int) -> ClusterChoice:
    """Initial clusters of all samples."""
    X, y = read_set(suite, name)
    return choose_clusters(X, len(np.unique(y)), np.random.RandomState(seed))


def make(model: str, n_components: int, seed: int) -> Any:
    """An unfitted model at its defaults."""
    if model == "gmm":
        return GaussianMixture(n_components, reg_covar=1e-3, n_init=3, random_state=seed)
    name, linear_path = MODELS[model]
    return methods.ESTIMATORS[name](n_components, linear_path=linear_path, random_state=seed)


def measure(suite: Path | None, task: str, name: str, model: str, seed: int) -> Line:
    """Figures of one fit."""
    X, y = read_set(suite, name)
    return measure_clusters(suite, name, model, seed) if task == "clusters" else measure_score(X, y, model, seed)


def measure_clusters(suite: Path | None, name: str, model: str, seed: int) -> Line:
    """Adjusted Rand index with the reference labels, of the initial and of the final clusters, and of one another."""
    X, y = read_set(suite, name)
    K = len(np.unique(y))
    if len(X) > MAX_SAMPLES:
        return {"n_samples": len(X)}
    initial = choose(suite, name, seed)
    start = time.perf_counter()
    labels = methods.fit(ClampedTo(make(model, K, seed), initial.responsibilities), X).labels_
    return {
        "n_samples": len(X),
        "initialization": initial.name,
        "initial_ari": float(adjusted_rand_score(y, initial.labels)),
        "ari": float(adjusted_rand_score(y, labels)),
        "kept": float(adjusted_rand_score(initial.labels, labels)),
        "seconds": time.perf_counter() - start,
    }


class ClampedTo:
    """An estimator that is fitted from given responsibilities."""

    def __init__(self, estimator: Any, responsibilities: np.ndarray) -> None:
        self.estimator, self.responsibilities = estimator, responsibilities

    def fit(self, X: np.ndarray) -> Any:
        """The fitted estimator."""
        return self.estimator.fit(X, init_labels=self.responsibilities)


def measure_score(X: np.ndarray, y: np.ndarray, model: str, seed: int) -> Line:
    """Mean log-likelihood of 30 % of the samples, standardized by the others."""
    train, test = train_test_split(X, test_size=0.3, random_state=seed)
    scaler = StandardScaler().fit(train)
    start = time.perf_counter()
    estimator = methods.fit(make(model, len(np.unique(y)), seed), scaler.transform(train))
    seconds = time.perf_counter() - start
    return {"score": float(estimator.score(scaler.transform(test))), "seconds": seconds}


def summarize(lines: Iterable[Line]) -> None:
    """Means over sets per battery and model, and over seeds per set and model."""
    groups = defaultdict(list)
    for line in lines:
        if line["task"] == "score":
            groups[line["task"], line["data"], line["model"]].append((line["score"], line["seconds"]))
        elif "ari" in line:
            battery = line["data"].split("/")[0] if "/" in line["data"] else "small"
            figures = (line["initial_ari"], line["ari"], line["kept"], line["seconds"])
            groups[line["task"], battery, line["model"]].append(figures)
    for key, values in groups.items():
        print(*key, *(f"{mean:.3f}" for mean in np.mean(values, axis=0)), sep=", ")


if __name__ == "__main__":
    sys.exit(main())
