"""Clusters beside other methods and published figures, on the benchmark suite of Gagolewski (SoftwareX, 2022).

    python benchmarks/initialization/peers.py DATA_DIR [--method auto ...] [--sets fcps/atom digits ...]

appends a JSON line per set and method to benchmarks/results/suite.jsonl (what is there is skipped), and writes
docs/benchmarks/suite.md and its picture from them. --no-fits only writes the page. DATA_DIR is as ``suite.py`` reads
it, and has the published figures in ``published.csv``. All methods get the number of clusters and standardized inputs,
but for the published figures, whose inputs are as they are. UMAP and EVoC need umap-learn and evoc, for ``digits``.
"""

import argparse
import csv
import itertools
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata, studentized_range
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/__init__.py says why

from benchmarks.common import environment, labelings, pages
from benchmarks.common.labelings import FindLabels
from benchmarks.common.results import Line, append_missing, read_lines
from benchmarks.initialization.suite import read_battery
from skgmvae import GMVAEClustering, VaDEClustering, VAEEMClustering
from skgmvae.initialization.choice import choose_clusters

BATTERIES = ("fcps", "graves", "sipu")
KEY = ("set", "method", "seed")
PICTURE = pages.PAGES / "images" / "suite-ranks.png"
PUBLISHED = ("Genie, gini_threshold=0.3", "GaussianMixture, n_init=100", "SpectralClustering, rbf, gamma=5", "Ward")
EXPLANATION = """\
Adjusted Rand index of the initial clusters of `init_params='auto'` (the default, before any training) and of other
methods, with the reference number of clusters given, on the data sets of Gagolewski's benchmark suite (2022). Seed
0; reference labels `labels0`; noise points left out. *The rules of `'auto'` were tuned on all of these data sets*:
its results here are optimistic, those of the other methods are not. With thresholds chosen without a battery (a
collection of data sets of the suite), the mean index on that battery is: {left_out}. The candidates and the order of
the rules, which this leaves unchanged, were designed on all batteries.

All methods get standardized inputs:

- `GaussianMixture`: ten initializations, `covariance_type` and `reg_covar` (1e-6, 1e-3, 1e-2) by BIC;
- `HDBSCAN`: the `min_cluster_size` that comes nearest to the number of clusters; noise is assigned to the nearest
  cluster;
- `SpectralClustering`: on the graph of ten nearest neighbors;
- Genie: this package's implementation;
- `KMeans`: ten initializations.

"Published" are the results of the suite's author, on unscaled inputs."""
RANKS = """\
![Mean ranks](images/suite-ranks.png)

Mean ranks over the data sets; 1 is best. Methods joined by a bar differ by less than the critical difference of
Nemenyi's test at 5 % (Demšar 2006)."""
IMAGES = """\
Scikit-learn's digits, three seeds. Their classes were used to tune the rules of `'auto'`. There are two more
methods: `UMAP` in ten dimensions with a mixture (the recipe of N2D, McConville et al. 2020), and EVoC, which chooses
the number of clusters itself."""

AFTER_TRAINING = """\
Adjusted Rand index of the initial clusters and of the models fitted at their defaults, mean of seeds {seeds}. A data
set is listed if any model differs from the initial clusters by more than .01. Seconds are for one fit, mean over the
data sets, in one thread on a machine that was also running other programs."""

METHODS: dict[str, FindLabels] = {
    "auto": lambda X, K, seed: choose_clusters(X, K, np.random.RandomState(seed)).labels,
    "GaussianMixture, BIC": labelings.fit_mixture_by_bic,
    "HDBSCAN": labelings.fit_hdbscan,
    "SpectralClustering": labelings.fit_spectral,
    "Genie": labelings.fit_genie,
    "KMeans": lambda X, K, seed: KMeans(K, n_init=10, random_state=seed).fit_predict(X),
}
OF_IMAGES = {"UMAP and mixture": labelings.fit_umap, "EVoC": labelings.fit_evoc}
FITTED: dict[str, FindLabels] = {
    Estimator.__name__: lambda X, K, seed, Estimator=Estimator: Estimator(K, random_state=seed).fit_predict(X)
    for Estimator in (VaDEClustering, GMVAEClustering, VAEEMClustering)
}
ALL = {**METHODS, **OF_IMAGES, **FITTED}


def main(argv: list[str] | None = None) -> int:
    """Measure what is missing, then write the page."""
    arguments = make_parser().parse_args(argv)
    environment.set_threads(arguments.threads)
    sets = {f"{battery}/{name}": data for battery, name, *data in _read(arguments.data_dir, arguments.sets)}
    methods = arguments.method or list(METHODS)

    def measure(name: str, method: str, seed: int) -> Line:
        X, labels = sets[name]
        start, K = time.perf_counter(), len(np.unique(labels))
        found = ALL[method](StandardScaler().fit_transform(X), K, seed)
        seconds = time.perf_counter() - start
        return {"ari": float(adjusted_rand_score(labels, found)), "seconds": seconds}

    keys = itertools.product(sets, methods, range(arguments.seeds)) if arguments.fits else ()
    append_missing(arguments, KEY, keys, measure)
    lines = read_lines(arguments.out)
    of_suite = [line for line in lines if line["seed"] == 0]
    published = read_published(arguments.data_dir / "published.csv")
    table = tabulate(of_suite, published)
    if table:
        arguments.page.write_text(make_page(table, lines, arguments.left_out))
        draw_ranks(table, PICTURE)
    return 0


def _read(data_dir: Path, sets: Sequence[str]) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
    for battery in (*BATTERIES, "small"):
        for name, X, labels in read_battery(data_dir, battery):
            if f"{battery}/{name}" in sets or (not sets and battery != "small"):
                yield battery, name, X, labels


def make_parser() -> argparse.ArgumentParser:
    """Command line."""
    parser = pages.make_parser(__doc__, name="suite", seeds=1, threads=1)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--sets", nargs="+", default=[], metavar="BATTERY/SET", help="default: the suite")
    parser.add_argument("--method", nargs="+", choices=ALL, metavar="NAME", help="default: those of the suite")
    parser.add_argument("--left-out", default="–", help="figures of suite.py --leave-one-battery-out, for the page")
    return parser


def read_published(path: Path) -> dict[tuple[str, str], float]:
    """Published index of each set and method."""
    with path.open() as file:
        rows = [(f"{row['battery']}/{row['dataset']}", row["method"], row["ari"]) for row in csv.DictReader(file)]
    return {(name, method): float(ari) for name, method, ari in rows}


def tabulate(lines: Sequence[Line], published: dict[tuple[str, str], float]) -> dict[str, dict[str, float]]:
    """Index by set and method, for sets that all methods have."""
    table: dict[str, dict[str, float]] = {}
    for line in lines:
        if line["method"] in METHODS:
            table.setdefault(line["set"], {})[line["method"]] = line["ari"]
    for name, row in table.items():
        row |= {f"{method} (published)": published[name, method] for method in PUBLISHED if (name, method) in published}
    n_methods = len(METHODS) + len(PUBLISHED)
    return {name: row for name, row in table.items() if len(row) == n_methods}


def make_page(table: dict[str, dict[str, float]], lines: Sequence[Line], left_out: str) -> str:
    """docs/benchmarks/suite.md."""
    names = list(next(iter(table.values())))
    rows: list[list[Any]] = []
    for battery in dict.fromkeys(name.split("/")[0] for name in table):
        of_battery = {name: row for name, row in table.items() if name.startswith(battery)}
        rows += [[name, *(f"{row[method]:.3f}" for method in names)] for name, row in of_battery.items()]
        means = [statistics.fmean(row[method] for row in of_battery.values()) for method in names]
        rows.append([f"**{battery}, mean of {len(of_battery)}**", *(f"**{mean:.3f}**" for mean in means)])
    of_images: dict[str, list[float]] = {}
    for line in lines:
        if line["set"] == "small/digits":
            of_images.setdefault(line["method"], []).append(line["ari"])
    parts = [EXPLANATION.format(left_out=left_out), RANKS, pages.format_table(["set", *names], rows)]
    fitted = tabulate_fitted(lines)
    if fitted:
        seeds = sorted({line["seed"] for line in lines if line["method"] in FITTED})
        header = ["set", "initial", *FITTED]
        parts += ["## After training", AFTER_TRAINING.format(seeds=", ".join(map(str, seeds))),
                  pages.format_table(header, fitted)]  # fmt: skip
    if of_images:
        parts += [
            "## Digits",
            IMAGES,
            pages.format_table(
                ["method", "ARI"], [[method, pages.mean_and_sd(values, 3)] for method, values in of_images.items()]
            ),
        ]
    return pages.make_page(__file__, "Clustering suite", *parts, lines=lines)


def tabulate_fitted(lines: Sequence[Line]) -> list[list[Any]]:
    """Rows of the sets that training changes, of the means of each battery, and of seconds."""
    found: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        if line["method"] in ("auto", *FITTED):
            found.setdefault((line["set"], line["method"]), []).append(line)
    methods = ("auto", *FITTED)
    names = [name for name in dict.fromkeys(name for name, _ in found) if all((name, m) in found for m in methods)]
    rows: list[list[Any]] = []
    for battery in (battery for battery in BATTERIES if any(name.startswith(battery) for name in names)):
        of_battery = [name for name in names if name.startswith(battery)]
        means = {
            name: [statistics.fmean(line["ari"] for line in found[name, method]) for method in methods]
            for name in of_battery
        }
        changed = {name: row for name, row in means.items() if max(abs(value - row[0]) for value in row) > 0.01}
        rows += [[name, *(f"{value:.3f}" for value in row)] for name, row in changed.items()]
        mean = [statistics.fmean(column) for column in zip(*means.values(), strict=True)]
        rows.append([f"**{battery}, mean of {len(means)}**", *(f"**{value:.3f}**" for value in mean)])
        seconds = [statistics.fmean(line["seconds"] for name in of_battery for line in found[name, m]) for m in methods]
        rows.append([f"{battery}, seconds", *(f"{value:.1f}" for value in seconds)])
    return rows


def draw_ranks(table: dict[str, dict[str, float]], path: Path) -> None:
    """Critical-difference diagram: mean ranks, and bars over methods that do not differ."""
    import matplotlib.pyplot as plt

    names = list(next(iter(table.values())))
    ranks = np.mean([rankdata([-round(row[name], 3) for name in names]) for row in table.values()], axis=0)
    k, n = len(names), len(table)
    critical = studentized_range.ppf(0.95, k, np.inf) / np.sqrt(2.0) * np.sqrt(k * (k + 1) / (6.0 * n))
    order = np.argsort(ranks)
    figure, axes = plt.subplots(figsize=(8.0, 0.34 * k + 1.0), layout="constrained")
    axes.scatter(ranks[order], range(k), color=pages.COLORS[0], zorder=2)
    for y, i in enumerate(order):
        axes.text(ranks[i] + 0.12, y, f"{names[i]}  {ranks[i]:.1f}", va="center", fontsize=9)
        rest = ranks[order[y:]] - ranks[i] <= critical
        if rest.sum() > 1 and (y == 0 or ranks[order[y + rest.sum() - 1]] - ranks[order[y - 1]] > critical):
            end = y + int(rest.sum()) - 1
            axes.plot([ranks[i], ranks[order[end]]], [end + 0.45] * 2, color="0.6", linewidth=3, zorder=1)
    axes.set(xlim=(1.0, k), ylim=(k - 0.3, -0.7), yticks=[], xlabel=f"mean rank over {n} sets")
    axes.spines[["left", "right", "top"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    sys.exit(main())
