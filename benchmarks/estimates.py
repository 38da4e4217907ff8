"""How near estimates of the held-out log-likelihood come, by the number of draws and of rounds.

    python benchmarks/estimates.py

appends a JSON line per data set, model and seed to benchmarks/results/estimates.jsonl (what is there is skipped) and
writes docs/estimates.md from them. --no-fits only writes the page.
"""

import itertools
import statistics
import sys
import warnings

import data as data_sets
import environment
import models
import pages
from run import read_lines
from sklearn.exceptions import ConvergenceWarning

from skgmvae import _inference
from skgmvae.models.importance import ROUNDS

SETS = ["iris", "wine", "breast_cancer", "digits", "moons", "aniso"]
MODELS = list(models.ESTIMATORS)
DRAWS = {"32, one round": (32,), "128, one round": (128,), "2,048, one round": (2048,), "128, in use": ROUNDS}
N_NOISES = 5
EXPLANATION = f"""\
`score` of held-out rows, nats per row, by the number of draws and whether earlier rounds move the proposal (in use:
{" + ".join(map(str, ROUNDS))}). All are lower bounds in expectation: the higher, the nearer. Means over seeds, each a
fit at the defaults, and over {N_NOISES} draws of the noise; after ± the standard deviation over the latter, which is
the error of the score of one fit. The rounds and what moves the proposal were chosen on these sets, without labels, and
looked at on MNIST."""


def main(argv=None) -> int:
    """Fit and score what is missing, then write the page."""
    arguments = make_parser().parse_args(argv)
    environment.set_threads(arguments.threads)
    keys = itertools.product(arguments.data, arguments.model, range(arguments.seeds if arguments.fits else 0))
    pages.append_missing(arguments, ("data", "model", "seed"), keys, measure)
    arguments.page.write_text(make_page(read_lines(arguments.out)))
    return 0


def make_parser():
    """Command line."""
    parser = pages.make_parser(__doc__, results="estimates.jsonl", page="estimates.md", seeds=3, threads=1)
    return pages.add_sets_and_models(parser, SETS, MODELS)


def measure(name, model, seed):
    """Scores of one fit by kind of draws, for several noises."""
    data = data_sets.load(name, protocol="split")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        estimator = models.make_for(model, data, seed).fit(data.train)
    in_use, scores = _inference.count_draws, {}
    try:
        for label, rounds in DRAWS.items():
            _inference.count_draws = lambda n_features, rounds=rounds: rounds
            scores[label] = []
            for number in range(N_NOISES):
                estimator._noise_seed = number * len(ROUNDS)  # a seed for each round
                scores[label].append(estimator.score(data.test))
    finally:
        _inference.count_draws = in_use
    return {"scores": scores}


def make_page(lines):
    """docs/estimates.md."""
    header = ["data", "model", *DRAWS, "fits"]
    return pages.make_page("estimates.py", "How near the score comes", EXPLANATION, header, make_rows(lines))


def make_rows(lines):
    """A row per data set and model."""
    for name, model in dict.fromkeys((line["data"], line["model"]) for line in lines):
        fits = [line["scores"] for line in lines if (line["data"], line["model"]) == (name, model)]
        yield [name, model, *(describe([scores[label] for scores in fits]) for label in DRAWS), len(fits)]


def describe(scores):
    """Mean over fits and noises, and the sd over noises."""
    mean = statistics.fmean(statistics.fmean(of_fit) for of_fit in scores)
    return f"{mean:.2f} ± {statistics.fmean(statistics.stdev(of_fit) for of_fit in scores):.2f}"


if __name__ == "__main__":
    sys.exit(main())
