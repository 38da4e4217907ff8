"""How often cross-validated `score`, and the stability of the labels, find a known number of components.

    python benchmarks/model_selection/n_components.py --seeds 5

appends a JSON line per grid to benchmarks/results/n_components.jsonl (grids that are there are skipped) and writes
docs/benchmarks/n_components.md from them. --no-fits only writes the page.
"""

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from sklearn.datasets import make_blobs, make_moons
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, KFold

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/__init__.py says why

from benchmarks.common import environment, pages
from benchmarks.common.results import Line, append_line, read_lines
from skgmvae import VaDEClustering
from skgmvae.datasets import make_circle_arcs
from skgmvae.metrics import label_stability

GRID = list(range(1, 8))
N_SAMPLES = 600
DISTANCE = 4.0  # between the nearest two centers of the blobs, in standard deviations
N_REPEATS = 2
NEARLY = 0.05  # of stabilities
METHODS: dict[str, Callable[[int], Any]] = {
    "GaussianMixture": lambda seed: GaussianMixture(n_init=5, random_state=seed),
    "VaDEClustering": lambda seed: VaDEClustering(random_state=seed),
    "VaDEClustering, latent_dim=2": lambda seed: VaDEClustering(latent_dim=2, random_state=seed),
}
STABILITY = "VaDEClustering, stability"
EXPLANATION = f"""\
{N_SAMPLES} samples, drawn anew for every seed; K from {GRID[0]} to {GRID[-1]}; three shuffled folds; defaults except
for the settings named in the table; for GaussianMixture, the best of five initializations. Blobs are round Gaussians
whose nearest centers are {DISTANCE:g} standard deviations apart. "Best" is the K with the highest mean held-out
score. The rule selects the smallest K whose score is lower than the best by no more than the standard error of the
difference over the folds. Stability is `skgmvae.metrics.label_stability` with {N_REPEATS} repeats, for K from 2; its
rule selects the largest K within {NEARLY:g} of the best. Cells list one number per seed; the column K has the true
number of clusters."""


def make_separate_blobs(n_groups: int, n_features: int, seed: int) -> np.ndarray:
    """Round Gaussians whose nearest centers are ``DISTANCE`` apart."""
    centers = np.random.RandomState(seed).normal(size=(n_groups, n_features))
    gaps = np.linalg.norm(centers[:, None] - centers, axis=-1)[~np.eye(n_groups, dtype=bool)]
    return make_blobs(N_SAMPLES, centers=DISTANCE / gaps.min() * centers, random_state=seed)[0]


SETS: dict[str, tuple[int, Callable[[int], np.ndarray]]] = {
    "blobs, 2 features": (3, lambda seed: make_separate_blobs(3, 2, seed)),
    "blobs, 6 features": (4, lambda seed: make_separate_blobs(4, 6, seed)),
    "moons": (2, lambda seed: make_moons(N_SAMPLES, noise=0.05, random_state=seed)[0]),
    "circle arcs": (5, lambda seed: make_circle_arcs(N_SAMPLES, random_state=seed)[0]),
}


def main(argv: list[str] | None = None) -> int:
    """Search what is missing, then write the page."""
    arguments = make_parser().parse_args(argv)
    environment.set_threads(arguments.threads)
    done = {(line["data"], line["method"], line["seed"]) for line in read_lines(arguments.out)}
    for seed in range(arguments.seeds if arguments.fits else 0):
        for data in SETS:
            for method in (*METHODS, STABILITY):
                if (data, method, seed) not in done:
                    line = search_stable(data, seed) if method == STABILITY else search(data, method, seed)
                    append_line(arguments.out, line)
                    print(f"{data}, {method}, seed {seed}: {pick(line)}, {line['seconds']:.0f} s", flush=True)
    arguments.page.write_text(make_page(read_lines(arguments.out)))
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Command line."""
    return pages.make_parser(__doc__, name="n_components", seeds=5, threads=2)


def search(data: str, method: str, seed: int) -> Line:
    """One grid: the held-out scores of every K and fold."""
    make = SETS[data][1]
    model, folds = METHODS[method](seed), KFold(3, shuffle=True, random_state=seed)
    began = time.perf_counter()
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        if "memory" in model.get_params():
            model.set_params(memory=folder)
        results = GridSearchCV(model, {"n_components": GRID}, cv=folds, refit=False).fit(make(seed)).cv_results_
    scores = [[float(score) for score in results[f"split{fold}_test_score"]] for fold in range(3)]
    return make_line(data, method, seed, scores, time.perf_counter() - began)


def search_stable(data: str, seed: int) -> Line:
    """The stabilities of every K but 1, which is never selected."""
    X, began = SETS[data][1](seed), time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        values = [
            label_stability(VaDEClustering(K, random_state=seed), X, n_repeats=N_REPEATS, random_state=seed)
            for K in GRID[1:]
        ]
    return make_line(data, STABILITY, seed, [[-1.0, *values]], time.perf_counter() - began)


def make_line(data: str, method: str, seed: int, scores: list[list[float]], seconds: float) -> Line:
    """What is kept of one search; a list of scores, one per K, for each fold."""
    return {
        "data": data,
        "n_groups": SETS[data][0],
        "method": method,
        "seed": seed,
        "scores": scores,
        "seconds": seconds,
        **environment.describe(),
    }


def pick(line: Line) -> tuple[int, int]:
    """K of the best mean score, and the smallest K that is not clearly worse; of stabilities, the largest."""
    scores = np.array(line["scores"])
    best = scores.mean(0).argmax()
    if len(scores) == 1:  # stabilities
        return GRID[best], GRID[np.flatnonzero(scores[0] >= scores[0, best] - NEARLY)[-1]]
    shortfall = scores[:, [best]] - scores
    error = shortfall.std(0, ddof=1) / np.sqrt(len(scores))
    return GRID[best], GRID[np.flatnonzero(shortfall.mean(0) <= error)[0]]


def make_page(lines: Sequence[Line]) -> str:
    """docs/benchmarks/n_components.md."""
    header = ["data", "K", "method", "best", "by the rule", "best is K", "by the rule is K"]
    table = pages.format_table(header, make_rows(lines))
    return pages.make_page(__file__, "Selecting the number of components", EXPLANATION, table, lines=lines)


def make_rows(lines: Sequence[Line]) -> Iterator[list[Any]]:
    """A row per data set and method."""
    for data, (n_groups, _) in SETS.items():
        for method in (*METHODS, STABILITY):
            chosen = sorted((line for line in lines if (line["data"], line["method"]) == (data, method)), key=seed_of)
            if chosen:
                picks = list(zip(*map(pick, chosen), strict=True))
                hits = [f"{sum(n_groups == K for K in Ks)} of {len(Ks)}" for Ks in picks]
                yield [data, n_groups, method, *(", ".join(map(str, Ks)) for Ks in picks), *hits]


def seed_of(line: Line) -> int:
    """To sort by."""
    return line["seed"]


if __name__ == "__main__":
    sys.exit(main())
