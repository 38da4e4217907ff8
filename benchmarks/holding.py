"""What it changes how long the training holds on to the start's responsibilities.

    python benchmarks/holding.py --seeds 3

appends a JSON line per data set, model, share and seed to benchmarks/results/holding.jsonl (what is there is skipped)
and writes docs/holding.md from them. --no-fits only writes the page.
"""

import itertools
import sys
import warnings
from tempfile import TemporaryDirectory

import data as data_sets
import environment
import models
import numpy as np
import pages
from run import append_line, read_lines
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score

from skgmvae.training import fitting

SHARES = (0.0, 0.5, 0.75, 0.9)
SETS = ("digits", "breast_cancer", "moons", "circles")
MODELS = ("vade", "gmvae", "vaeem")
FIGURES = {"ari": "ARI, fitted rows", "held_out_ari": "ARI, held-out rows", "held_out_score": "held-out score"}
EXPLANATION = f"""\
The first epochs of a fit hold q(c|x) at the start's responsibilities. Means over seeds, at the defaults otherwise, for
several shares of the epochs; a fit that has converged ends earlier, but not while the start is held. The score is the
mean log-likelihood of held-out rows. In use: {100 * fitting.INIT_CLAMP:.0f} %. All of these sets were in sight when
that was chosen."""


def main(argv=None) -> int:
    """Fit what is missing, then write the page."""
    arguments = make_parser().parse_args(argv)
    environment.set_threads(arguments.threads)
    done = {tuple(line[name] for name in ("data", "model", "seed", "share")) for line in read_lines(arguments.out)}
    tasks = itertools.product(arguments.data, arguments.model, range(arguments.seeds if arguments.fits else 0))
    for name, model, seed in tasks:
        missing = [share for share in SHARES if (name, model, seed, share) not in done]
        with TemporaryDirectory() as memory:
            for share in missing:
                line = {"data": name, "model": model, "seed": seed, "share": share}
                line |= fit(data_sets.load(name, protocol="split"), model, seed, share, memory)
                append_line(arguments.out, {**line, **environment.describe(threads=arguments.threads)})
                print(f"{name}, {model}, seed {seed}, {share:g}: ARI {line['ari']:.3f}", flush=True)
    arguments.page.write_text(make_page(read_lines(arguments.out)))
    return 0


def make_parser():
    """Command line."""
    parser = pages.make_parser(__doc__, results="holding.jsonl", page="holding.md", seeds=3, threads=1)
    return pages.add_sets_and_models(parser, SETS, MODELS)


def fit(data, model, seed, share, memory):
    """Figures of one fit."""
    estimator = models.make_for(model, data, seed, params={"memory": memory})
    in_use, fitting.INIT_CLAMP = fitting.INIT_CLAMP, share
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            estimator.fit(data.train)
    finally:
        fitting.INIT_CLAMP = in_use
    return {
        "ari": float(adjusted_rand_score(data.train_labels, estimator.labels_)),
        "held_out_ari": float(adjusted_rand_score(data.test_labels, estimator.predict(data.test))),
        "held_out_score": float(estimator.score(data.test)),
        "n_iter": estimator.n_iter_,
    }


def make_page(lines):
    """docs/holding.md."""
    header = ["data", "model", "figure", *(f"{100 * share:.0f} %" for share in SHARES), "seeds"]
    return pages.make_page("holding.py", "How long the start is held", EXPLANATION, header, make_rows(lines))


def make_rows(lines):
    """A row per data set, model and figure; a column per share."""
    for data, model in dict.fromkeys((line["data"], line["model"]) for line in lines):
        for name, label in FIGURES.items():
            values = [[line[name] for line in lines if key_of(line) == (data, model, share)] for share in SHARES]
            means = [f"{np.mean(column):.3f}" if column else "–" for column in values]
            yield [data, model, label, *means, max(map(len, values))]


def key_of(line):
    """What the seeds of a mean have in common."""
    return line["data"], line["model"], line["share"]


if __name__ == "__main__":
    sys.exit(main())
