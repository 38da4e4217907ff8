"""What do M, the number of Monte Carlo samples, and λ, the minimum information, change?

    python benchmarks/model_selection/m_and_lambda.py --seeds 5

appends a JSON line per fit to benchmarks/results/m_and_lambda.jsonl (fits that are there are skipped) and writes
docs/benchmarks/m_and_lambda.md from them. --no-fits only writes the page.
"""

import argparse
import itertools
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_wine, make_blobs
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/__init__.py says why

from benchmarks.common import environment, pages
from benchmarks.common.methods import fit
from benchmarks.common.pages import mean_and_sd
from benchmarks.common.results import Line, append_missing, read_lines
from skgmvae import GMVAEClustering
from skgmvae.datasets import make_circle_arcs
from skgmvae.metrics import clustering_accuracy

N_SAMPLES = 800
DRAWS = (1, 2, 5, 10)
SHARES = (0.0, 0.3, 0.6, 0.9)  # of log K
EPOCHS = 60


def draw_arcs(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Five arcs of a circle."""
    return make_circle_arcs(N_SAMPLES, random_state=seed)


def draw_blobs(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Four round Gaussians in six dimensions, four standard deviations apart."""
    centers = 4.0 / math.sqrt(2.0) * np.eye(4, 6)
    return make_blobs(N_SAMPLES, centers=centers, random_state=seed)


def read_wine(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Wine, standardized."""
    X, y = load_wine(return_X_y=True)
    return StandardScaler().fit_transform(X), y


SETS: dict[str, tuple[int, Callable[[int], tuple[np.ndarray, np.ndarray]]]] = {
    "circle arcs": (5, draw_arcs),
    "blobs": (4, draw_blobs),
    "wine": (3, read_wine),
}
STARTS: dict[str, dict[str, Any]] = {
    "random weights": {"init_params": "random", "pretrain_iter": 0, "max_iter": EPOCHS, "tol": 0.0},
    "free": {"init_clamp": 0.0},
    "default": {},
}
SETTINGS = [(M, 0.0) for M in DRAWS] + [(1, share) for share in SHARES[1:]]
EXPLANATION = f"""\
`GMVAEClustering` with the true K. *Random weights*: `init_params="random"`, no pretraining, {EPOCHS} epochs. *Free*:
the default initialization with `init_clamp=0`, so that responsibilities are updated from the first epoch on.
*Default*: the default initialization, whose responsibilities are clamped for three quarters of the epochs. Circle
arcs and blobs have {N_SAMPLES} samples, drawn anew for every seed. 30 % of the samples are held out for the score,
in nats per sample; the accuracy is measured on all samples. Mean ± standard deviation over seeds. λ = 0 while M
varies, and M = 1 while λ varies. No setting was chosen with these results.

*Free* and *default* are equal wherever no training improved the held-out score: the model then remains the Gaussian
mixture of its initial clusters (`best_iter_` is 0), in which neither M nor λ has a part."""


def main(argv: list[str] | None = None) -> int:
    """Fit what is missing, then write the page."""
    arguments = make_parser().parse_args(argv)
    environment.set_threads(arguments.threads)
    seeds = range(arguments.seeds if arguments.fits else 0)
    keys = ((seed, data, start, *setting) for seed, data, start, setting in
            itertools.product(seeds, SETS, STARTS, SETTINGS))  # fmt: skip
    append_missing(arguments, ("seed", "data", "start", "n_mc_samples", "share"), keys, fit_once)
    arguments.page.write_text(make_page(read_lines(arguments.out)))
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Command line."""
    return pages.make_parser(__doc__, name="m_and_lambda", seeds=5, threads=1)


def fit_once(seed: int, data: str, start: str, n_mc_samples: int, share: float) -> Line:
    """One fit and its figures."""
    K, draw = SETS[data]
    X, y = draw(seed)
    X_train, X_test = train_test_split(X, test_size=0.3, random_state=seed)
    options = {"n_mc_samples": n_mc_samples, "min_information": share * math.log(K), **STARTS[start]}
    began = time.process_time()
    model = fit(GMVAEClustering(K, random_state=seed, **options), X_train)
    seconds = time.process_time() - began
    return {
        "accuracy": clustering_accuracy(y, model.predict(X)),
        "score": float(model.score(X_test)),
        "seconds": seconds,
    }


def make_rows(lines: Sequence[Line], settings: Sequence[tuple[int, float]]) -> Iterator[list[Any]]:
    """A row per data set, initialization and figure; a column per setting."""
    figures = {"accuracy, %": ("accuracy", 100, 1), "held-out score": ("score", 1, 2), "seconds": ("seconds", 1, 1)}
    for data, start in itertools.product(SETS, STARTS):
        for name, (figure, factor, digits) in figures.items():
            cells = []
            for M, share in settings:
                key = (data, start, M, share)
                chosen = [line for line in lines if get_key(line) == key]
                cells.append(mean_and_sd([factor * line[figure] for line in chosen], digits) if chosen else "–")
            yield [data, start, name, *cells]


def get_key(line: Line) -> tuple[Any, ...]:
    """What a line is of, but for the seed."""
    return tuple(line[name] for name in ("data", "start", "n_mc_samples", "share"))


def make_page(lines: Sequence[Line]) -> str:
    """docs/benchmarks/m_and_lambda.md."""
    of_draws, of_shares = [(M, 0.0) for M in DRAWS], [(1, share) for share in SHARES]
    header = ["data", "initialization", "metric"]
    return pages.make_page(
        __file__,
        "What M and λ do",
        EXPLANATION,
        "## M, at λ = 0",
        pages.format_table([*header, *(f"M = {M}" for M in DRAWS)], make_rows(lines, of_draws)),
        "## λ, at M = 1",
        pages.format_table([*header, *(f"λ = {share:g} log K" for share in SHARES)], make_rows(lines, of_shares)),
        lines=lines,
    )


if __name__ == "__main__":
    sys.exit(main())
