"""Whether it pays to start again: what ``n_init`` takes among starts of one pretraining, and among pretrainings.

    python benchmarks/restarts.py --seeds 5

appends a JSON line per data set, model, pretraining and start to benchmarks/results/restarts.jsonl (what is there is
skipped) and writes docs/restarts.md from them. --no-fits only writes the page. There are ``--seeds`` pretrainings,
and as many starts of each.
"""

import itertools
import math
import statistics
import sys
import warnings

import data as data_sets
import environment
import models
import numpy as np
import pages
from run import read_lines
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score

SETS = ("iris", "wine", "breast_cancer", "digits", "blobs", "aniso", "moons", "circles")
MODELS = tuple(models.ESTIMATORS)
KEY = ("data", "model", "pretraining", "start_seed")
EXPLANATION = """\
`n_init` makes so many starts and trainings from one pretraining and keeps the one whose lower bound is highest. Here
all of them are kept, at the defaults: so many pretrainings, and as many starts of each. Adjusted Rand index, means: of
all fits; of the fit that the bound takes, and of the best, among the starts of one pretraining; the same among
pretrainings, the start's random numbers being equal. "Best is taken": in how many of the choices, fits as good as the
best included; a choice among fits that are all alike is one of these."""
HEADER = ["data", "model", "all", "starts: taken", "best", "best is taken"]
HEADER += ["pretrainings: taken", "best", "best is taken", "fits"]


class Seeds(np.random.RandomState):
    """Gives a fit its seeds, that of the pretraining first, in place of random ones."""

    def __init__(self, *seeds):
        super().__init__(0)
        self.seeds = list(seeds)

    def randint(self, *arguments, **options):
        """The next of the seeds; random numbers after the last."""
        return self.seeds.pop(0) if self.seeds else super().randint(*arguments, **options)

    def __deepcopy__(self, memo):
        return Seeds(*self.seeds)


def main(argv=None) -> int:
    """Fit what is missing, then write the page."""
    arguments = make_parser().parse_args(argv)
    environment.set_threads(arguments.threads)
    seeds = range(arguments.seeds if arguments.fits else 0)
    keys = itertools.product(arguments.data, arguments.model, seeds, seeds)
    pages.append_missing(arguments, KEY, keys, fit)
    arguments.page.write_text(make_page(read_lines(arguments.out)))
    return 0


def make_parser():
    """Command line."""
    parser = pages.make_parser(__doc__, results="restarts.jsonl", page="restarts.md", seeds=5, threads=1)
    return pages.add_sets_and_models(parser, SETS, MODELS)


def fit(name, model, pretraining, start_seed):
    """Figures of one fit."""
    data = data_sets.load(name, protocol="all")
    estimator = models.make_for(model, data, Seeds(pretraining, start_seed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        estimator.fit(data.train)
    ari = float(adjusted_rand_score(data.train_labels, estimator.labels_))
    return {"ari": ari, "lower_bound": float(estimator.lower_bound_), "start": estimator.init_params_}


def make_page(lines):
    """docs/restarts.md."""
    return pages.make_page("restarts.py", "Starting again", EXPLANATION, HEADER, make_rows(lines))


def make_rows(lines):
    """A row per data set and model, and one of means."""
    rows = []
    for data, model in dict.fromkeys((line["data"], line["model"]) for line in lines):
        fits = [line for line in lines if (line["data"], line["model"]) == (data, model)]
        chosen = [choose(fits, shared) for shared in ("pretraining", "start_seed")]
        rows.append((data, model, statistics.fmean(line["ari"] for line in fits), *chosen, len(fits)))
    for data, model, mean, *chosen, n_fits in rows:
        parts = [cell for taken, best, hits, n in chosen for cell in (f"{taken:.3f}", f"{best:.3f}", f"{hits} of {n}")]
        yield [data, model, f"{mean:.3f}", *parts, n_fits]
    if rows:
        parts = []
        for taken, best, hits, n in (zip(*(row[i] for row in rows), strict=True) for i in (3, 4)):
            parts += [f"{statistics.fmean(taken):.3f}", f"{statistics.fmean(best):.3f}", f"{sum(hits)} of {sum(n)}"]
        yield ["mean", "", f"{statistics.fmean(row[2] for row in rows):.3f}", *parts, sum(row[-1] for row in rows)]


def choose(fits, shared):
    """Mean index of what the bound takes among fits with the same ``shared``, that of the best, hits and choices."""
    groups = [[line for line in fits if line[shared] == value] for value in sorted({line[shared] for line in fits})]
    taken = [max(group, key=lambda line: line["lower_bound"])["ari"] for group in groups]
    best = [max(line["ari"] for line in group) for group in groups]
    hits = sum(math.isclose(a, b) for a, b in zip(taken, best, strict=True))
    return statistics.fmean(taken), statistics.fmean(best), hits, len(groups)


if __name__ == "__main__":
    sys.exit(main())
