"""Initial clusters on the benchmark suite of Gagolewski (SoftwareX, 2022) and on small data sets.

    python benchmarks/initialization/suite.py DATA_DIR [--batteries fcps ...] [--seeds 0 1] [--out FILE]

DATA_DIR has a folder per battery with ``<set>.data.gz`` and ``<set>.labels0.gz``; samples of label 0, noise, are
left out. One JSON line per set and seed: adjusted Rand index of the choice and of every candidate, and seconds. At the
end, means per battery, and the mean of the best candidate of each set. With --leave-one-battery-out, the thresholds of
the choice are chosen anew on the other batteries of the suite, from a coarse grid, and applied to the one left out.

The reference labels serve for the measurement only, but for the default thresholds: these were chosen by hand with the
labels of the batteries fcps, graves and sipu, of the small data sets, of simulated tables, and of three further ones
(crabs, penguins, biopsy) in sight. So were the candidates and the order of the rules, which the grid leaves unchanged.
"""

import argparse
import itertools
import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np
from sklearn.metrics import adjusted_rand_score

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/__init__.py says why

from benchmarks.common.data import load
from benchmarks.common.results import Line
from skgmvae.initialization.candidates import find_candidates
from skgmvae.initialization.choice import choose_clusters, weigh
from skgmvae.initialization.rules import Thresholds, choose_name
from skgmvae.initialization.views import make_views

SMALL = ("iris", "wine", "breast_cancer", "digits", "moons", "circles", "blobs", "aniso")
GRID = {
    "clear_gap": (1.5, 2.0, 3.0),
    "hardly_better": (0.0, 0.01, 0.02, 0.05),
    "clearly_less": (1 / 4, 1 / 3, 1 / 2),
}


def read_battery(data_dir: Path, battery: str) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, data (N, D) and labels (N,) of each set."""
    if battery == "small":
        for name in SMALL:
            data = load(name, protocol="all")
            yield name, data.train, data.train_labels
        return
    for path in sorted((data_dir / battery).glob("*.data.gz")):
        labels = np.loadtxt(str(path).replace(".data.gz", ".labels0.gz"), dtype=int)
        yield path.name[: -len(".data.gz")], np.loadtxt(path, ndmin=2)[labels > 0], labels[labels > 0]


def measure(X: np.ndarray, labels: np.ndarray, seed: int) -> Line:
    """The line of one set and seed."""
    start = time.perf_counter()
    choice = choose_clusters(np.asarray(X, dtype=np.float64), len(np.unique(labels)), np.random.RandomState(seed))
    seconds = time.perf_counter() - start
    candidates = {name: round(adjusted_rand_score(labels, found), 4) for name, found in choice.candidates.items()}
    return {"ari": round(adjusted_rand_score(labels, choice.labels), 4), "name": choice.name, "seconds": seconds,
            "shape": X.shape, "n_components": len(np.unique(labels)), "candidates": candidates}  # fmt: skip


def run(data_dir: Path, batteries: Sequence[str], seeds: Sequence[int], out: TextIO) -> None:
    """Write the line of every set and seed, and print the means."""
    means: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    for battery in batteries:
        for name, X, labels in read_battery(data_dir, battery):
            for seed in seeds:
                line = {"battery": battery, "set": name, "seed": seed, **measure(X, labels, seed)}
                print(json.dumps(line), file=out, flush=True)
                means[battery].append((line["ari"], max(line["candidates"].values()), line["seconds"]))
    for battery, values in means.items():
        print("{}: chosen {:.3f}, best candidate {:.3f}, {:.1f} s".format(battery, *np.mean(values, axis=0)))


def indices_on_grid(X: np.ndarray, labels: np.ndarray, seed: int) -> dict[Thresholds, float]:
    """Adjusted Rand index for each combination of thresholds."""
    random_state, K = np.random.RandomState(seed), len(np.unique(labels))
    views = make_views(np.asarray(X, dtype=np.float64), random_state)
    found = find_candidates(views, K, random_state)
    loosest = Thresholds(**{name: max(values) for name, values in GRID.items()})
    evidence = weigh(views, found, K, random_state, loosest)
    index = {name: adjusted_rand_score(labels, of_name) for name, of_name in found.labels.items()}
    grid = (Thresholds(**dict(zip(GRID, values, strict=True))) for values in itertools.product(*GRID.values()))
    return {thresholds: index[choose_name(found, evidence, thresholds)] for thresholds in grid}


def leave_one_battery_out(data_dir: Path, batteries: Sequence[str], seeds: Sequence[int]) -> None:
    """For each battery, its mean by the thresholds that are best on the others, and by the default ones."""
    means = {}
    for battery in batteries:
        tables = [indices_on_grid(X, y, seed) for _, X, y in read_battery(data_dir, battery) for seed in seeds]
        means[battery] = {thresholds: np.mean([table[thresholds] for table in tables]) for thresholds in tables[0]}
    for battery in batteries:
        others = [other for other in batteries if other != battery]
        best = max(means[battery], key=lambda t: np.mean([means[other][t] for other in others]))
        default = means[battery][Thresholds()]
        print(f"{battery}: {means[battery][best]:.3f} by {best._asdict()}, {default:.3f} by the default")


def main(argv: list[str] | None = None) -> int:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--batteries", nargs="+", default=["fcps", "graves", "sipu", "small"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--out", type=argparse.FileType("a"), default=sys.stdout)
    parser.add_argument("--leave-one-battery-out", action="store_true")
    options = parser.parse_args(argv)
    if options.leave_one_battery_out:
        leave_one_battery_out(options.data_dir, options.batteries, options.seeds)
    else:
        run(options.data_dir, options.batteries, options.seeds, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
