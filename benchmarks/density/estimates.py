"""How tight estimates of the held-out log-likelihood are, by the number of draws and of rounds.

    python benchmarks/density/estimates.py

appends a JSON line per data set, model and seed to benchmarks/results/estimates.jsonl (what is there is skipped) and
writes docs/benchmarks/estimates.md from them. --no-fits only writes the page.
"""

import argparse
import copy
import itertools
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/__init__.py says why

from benchmarks.common import data as data_sets
from benchmarks.common import environment, methods, pages
from benchmarks.common.results import Line, append_missing, read_lines
from skgmvae.models.importance import ROUNDS, draw_noise

SETS = ["iris", "wine", "breast_cancer", "digits", "moons", "aniso"]
MODELS = list(methods.ESTIMATORS)
DRAWS = {"32, one round": (32,), "128, one round": (128,), "2,048, one round": (2048,), "128, default": ROUNDS}
CHUNK_SIZE = 32  # samples estimated at a time
N_NOISES = 5
EXPLANATION = f"""\
`score` of held-out samples, nats per sample, by the number of draws and whether earlier rounds adapt the proposal
(default: {" + ".join(map(str, ROUNDS))}). All are lower bounds in expectation: the higher, the tighter. Means over
seeds, each a fit at the defaults, and over {N_NOISES} draws of the noise; after ± the standard deviation over the
latter, which is the Monte Carlo error of the score of one fit. The rounds and the adaptation were selected on these
data sets, without labels, and checked on MNIST."""


def main(argv: list[str] | None = None) -> int:
    """Fit and score what is missing, then write the page."""
    arguments = make_parser().parse_args(argv)
    environment.set_threads(arguments.threads)
    keys = itertools.product(arguments.data, arguments.model, range(arguments.seeds if arguments.fits else 0))
    append_missing(arguments, ("data", "model", "seed"), keys, measure)
    arguments.page.write_text(make_page(read_lines(arguments.out)))
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Command line."""
    parser = pages.make_parser(__doc__, name="estimates", seeds=3, threads=1)
    return pages.add_sets_and_models(parser, SETS, MODELS)


def measure(name: str, model: str, seed: int) -> Line:
    """Scores of one fit by kind of draws, for several noises."""
    data = data_sets.load(name, protocol="split")
    estimator = methods.fit(methods.make_for(model, data, seed), data.train)
    module = copy.deepcopy(estimator.net_.module_).double().eval()
    noises = [number * len(ROUNDS) for number in range(N_NOISES)]  # a seed for each round
    return {"scores": {label: [estimate(module, data.test, S, seed) for seed in noises] for label, S in DRAWS.items()}}


@torch.no_grad()
def estimate(module: Any, X: np.ndarray, rounds: Sequence[int], seed: int) -> float:
    """``score`` of X under a model in float64, with so many draws in each round."""
    (width,) = module.noise_shape
    noises = [draw_noise(n_draws, width, seed + number) for number, n_draws in enumerate(rounds)]
    chunks = torch.from_numpy(X).double().split(CHUNK_SIZE)
    return float(torch.cat([module.log_prob(chunk, *noises) for chunk in chunks]).mean())


def make_page(lines: Sequence[Line]) -> str:
    """docs/benchmarks/estimates.md."""
    header = ["data", "model", *DRAWS, "fits"]
    table = pages.format_table(header, make_rows(lines))
    return pages.make_page(__file__, "Log-likelihood estimates", EXPLANATION, table)


def make_rows(lines: Sequence[Line]) -> Iterator[list[Any]]:
    """A row per data set and model."""
    for name, model in dict.fromkeys((line["data"], line["model"]) for line in lines):
        fits = [line["scores"] for line in lines if (line["data"], line["model"]) == (name, model)]
        yield [name, model, *(describe([scores[label] for scores in fits]) for label in DRAWS), len(fits)]


def describe(scores: Sequence[Sequence[float]]) -> str:
    """Mean over fits and noises, and the sd over noises."""
    mean = statistics.fmean(statistics.fmean(of_fit) for of_fit in scores)
    return f"{mean:.2f} ± {statistics.fmean(statistics.stdev(of_fit) for of_fit in scores):.2f}"


if __name__ == "__main__":
    sys.exit(main())
