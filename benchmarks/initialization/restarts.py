"""What ``n_init`` gains: the run it selects among initializations of one pretraining, and among pretrainings.

    python benchmarks/initialization/restarts.py --seeds 5

appends a JSON line per data set, model, pretraining and initialization to benchmarks/results/restarts.jsonl (what is
there is skipped) and writes docs/benchmarks/restarts.md from them. --no-fits only writes the page. There are
``--seeds`` pretrainings, and as many initializations of each.
"""

import argparse
import itertools
import math
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import adjusted_rand_score

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/__init__.py says why

from benchmarks.common import data as data_sets
from benchmarks.common import environment, methods, pages
from benchmarks.common.results import Line, append_missing, read_lines

SETS = ("iris", "wine", "breast_cancer", "digits", "blobs", "aniso", "moons", "circles")
MODELS = tuple(methods.ESTIMATORS)
KEY = ("data", "model", "pretraining", "initialization_seed")
EXPLANATION = """\
With `n_init`, several initializations from one pretraining are trained, and the fit with the highest lower bound is
kept (with early stopping, the one with the highest held-out score). This benchmark keeps all of them, from several
pretrainings, with as many initializations each. The fits were made with the defaults of an earlier version, which had
no linear path, no early stopping and other initial clusters. The indices are not those of the present version.

The table has mean adjusted Rand indices: of all fits; of the fit that the bound selects and of the best fit, among
the initializations of one pretraining; and the same two among several pretrainings, whose initializations have equal
random numbers. "Best is selected" counts the selections that are as good as the best."""
HEADER = ["data", "model", "all", "initializations: selected", "best", "best is selected"]
HEADER += ["pretrainings: selected", "best", "best is selected", "fits"]


class Seeds(np.random.RandomState):
    """Gives a fit its seeds, that of the pretraining first, in place of random ones."""

    def __init__(self, *seeds: int):
        super().__init__(0)
        self.seeds = list(seeds)

    def randint(self, *arguments: Any, **options: Any) -> Any:
        """The next of the seeds; random numbers after the last."""
        return self.seeds.pop(0) if self.seeds else super().randint(*arguments, **options)

    def __deepcopy__(self, memo: Any) -> "Seeds":
        return Seeds(*self.seeds)


def main(argv: list[str] | None = None) -> int:
    """Fit what is missing, then write the page."""
    arguments = make_parser().parse_args(argv)
    environment.set_threads(arguments.threads)
    seeds = range(arguments.seeds if arguments.fits else 0)
    keys = itertools.product(arguments.data, arguments.model, seeds, seeds)
    append_missing(arguments, KEY, keys, fit)
    arguments.page.write_text(make_page(read_lines(arguments.out)))
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Command line."""
    parser = pages.make_parser(__doc__, name="restarts", seeds=5, threads=1)
    return pages.add_sets_and_models(parser, SETS, MODELS)


def fit(name: str, model: str, pretraining: int, initialization_seed: int) -> Line:
    """Figures of one fit."""
    data = data_sets.load(name, protocol="all")
    estimator = methods.make_for(model, data, Seeds(pretraining, initialization_seed))
    methods.fit(estimator, data.train)
    ari = float(adjusted_rand_score(data.train_labels, estimator.labels_))
    return {"ari": ari, "lower_bound": float(estimator.lower_bound_), "initialization": estimator.init_params_}


def make_page(lines: Sequence[Line]) -> str:
    """docs/benchmarks/restarts.md."""
    return pages.make_page(__file__, "Restarts", EXPLANATION, pages.format_table(HEADER, make_rows(lines)), lines=lines)


def make_rows(lines: Sequence[Line]) -> Iterator[list[Any]]:
    """A row per data set and model, and one of means."""
    rows = []
    for data, model in dict.fromkeys((line["data"], line["model"]) for line in lines):
        fits = [line for line in lines if (line["data"], line["model"]) == (data, model)]
        chosen = [choose(fits, shared) for shared in ("pretraining", "initialization_seed")]
        rows.append((data, model, statistics.fmean(line["ari"] for line in fits), *chosen, len(fits)))
    for data, model, mean, *chosen, n_fits in rows:
        cells = [(f"{selected:.3f}", f"{best:.3f}", f"{hits} of {n}") for selected, best, hits, n in chosen]
        parts = list(itertools.chain.from_iterable(cells))
        yield [data, model, f"{mean:.3f}", *parts, n_fits]
    if rows:
        parts = []
        for selected, best, hits, n in (zip(*(row[i] for row in rows), strict=True) for i in (3, 4)):
            parts += [f"{statistics.fmean(selected):.3f}", f"{statistics.fmean(best):.3f}", f"{sum(hits)} of {sum(n)}"]
        yield ["mean", "", f"{statistics.fmean(row[2] for row in rows):.3f}", *parts, sum(row[-1] for row in rows)]


def choose(fits: Sequence[Line], shared: str) -> tuple[float, float, int, int]:
    """Mean index of what the bound selects among fits with the same ``shared``, that of the best, hits and choices."""
    groups = [[line for line in fits if line[shared] == value] for value in sorted({line[shared] for line in fits})]
    selected = [max(group, key=lambda line: line["lower_bound"])["ari"] for group in groups]
    best = [max(line["ari"] for line in group) for group in groups]
    hits = sum(math.isclose(a, b) for a, b in zip(selected, best, strict=True))
    return statistics.fmean(selected), statistics.fmean(best), hits, len(groups)


if __name__ == "__main__":
    sys.exit(main())
