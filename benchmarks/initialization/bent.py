"""Bent clusters in a plane of several columns, or beside noise: initial clusters, the models', and merged components.

    python benchmarks/initialization/bent.py [--seeds 3]

appends a JSON line per set, method and seed to benchmarks/results/bent.jsonl (what is there is skipped), and writes
docs/benchmarks/bent.md from them. --no-fits only writes the page.
"""

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import ortho_group
from sklearn.metrics import adjusted_rand_score
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/__init__.py says why

from benchmarks.common import environment, pages
from benchmarks.common.labelings import Labels
from benchmarks.common.results import Line, append_missing, read_lines
from benchmarks.initialization.keel import PEER, fit_mixture
from benchmarks.initialization.peers import FITTED, METHODS
from skgmvae import VaDEClustering
from skgmvae.model_selection import merge_components

KEY = ("table", "method", "seed")
N_SAMPLES = 800
NOISE = 0.05
WIDTHS = (2, 5, 10, 20)
N_MERGED = 12  # components that are merged
MERGED = f"VaDE, {N_MERGED} components merged"
ELLIPSES = "VaDE, no subcomponents"
EXPLANATION = f"""\
Adjusted Rand index between clusters and groups. {N_SAMPLES} samples lie around rings, moons, spirals or arcs in a plane
that has a random direction in 2 to 20 columns. The standard deviation of the noise is {NOISE} in all directions.
In other tables, columns of normal or uniform noise are beside the two of the plane. Columns are standardized, and all
methods get the number of clusters K. Mean over seeds: {{seeds}}.

*auto* are the initial clusters. A model begins as a mixture of these, in which each may consist of several Gaussians,
[subcomponents](../vade.md#subcomponents). *{ELLIPSES}* has none: its networks have to learn the bends. In two columns
they do. In more columns, the noise around the plane is much smaller than the bends, and training often brings no clear
gain: the model remains a mixture of ellipses, with other clusters. *{MERGED}* are components that were merged where the
density between them does not dip ([how to do that](../faq.md#why-are-my-rings-cut-in-half)).

**Were these data used for tuning?** The rule by which neighbors in the inputs alone can speak against a mixture, and
the rule for subcomponents, were made on similar data, drawn with other seeds; so was the rule that leaves out columns
that [say nothing about clusters](../initialization.md#auto). The number of components that are merged
was tried on ten of these."""


def make_rings(t: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Two circles, one within the other."""
    return (1.0 - 0.6 * labels) * _on_circle(2.0 * np.pi * t)


def make_moons(t: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Two interleaving half circles."""
    return _on_circle(np.pi * (t + labels)) + np.outer([1.0, 0.5], labels)


def make_spirals(t: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Two spirals, one within the other."""
    angle = 2.0 * np.pi * np.sqrt(t) + 0.5
    return angle / 4.0 * _on_circle(angle + np.pi * labels)


def make_arcs(t: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Three arcs of a circle, with gaps."""
    return _on_circle(np.pi * (0.55 * t + labels * 2.0 / 3.0))


def _on_circle(angle: np.ndarray) -> np.ndarray:
    return np.array([np.cos(angle), np.sin(angle)])


SHAPES: dict[str, tuple[Callable[[np.ndarray, np.ndarray], np.ndarray], int]] = {
    "rings": (make_rings, 2),
    "moons": (make_moons, 2),
    "spirals": (make_spirals, 2),
    "arcs": (make_arcs, 3),
}
NOISE_COLUMNS = ("2 noise", "5 noise", "8 noise", "3 uniform")
TABLES = tuple(f"{shape}, {n_features} columns" for shape in SHAPES for n_features in WIDTHS)
TABLES += tuple(f"{shape}, {of_noise} columns" for shape in SHAPES for of_noise in NOISE_COLUMNS)


def make_table(name: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Samples (N, D) and groups (N,)."""
    shape, width = name.split(", ")
    (make, K), D, rng = SHAPES[shape], int(width.split()[0]), np.random.RandomState(seed)
    labels = np.arange(N_SAMPLES) % K
    plane = make(rng.uniform(size=N_SAMPLES), labels).T
    if width.removesuffix(" columns") in NOISE_COLUMNS:
        plane += NOISE * rng.normal(size=plane.shape)
        draw = rng.uniform if "uniform" in width else rng.normal
        return StandardScaler().fit_transform(np.c_[plane, draw(size=(N_SAMPLES, D))]), labels
    X = np.pad(plane, ((0, 0), (0, D - 2))) + NOISE * rng.normal(size=(N_SAMPLES, D))
    return StandardScaler().fit_transform(X @ ortho_group.rvs(D, random_state=rng)), labels


def fit_without_subcomponents(X: np.ndarray, n_clusters: int, seed: int) -> Labels:
    """VaDE's labels where every component is one Gaussian."""
    return VaDEClustering(n_clusters, random_state=seed, max_subcomponents=1).fit_predict(X)


def merge(X: np.ndarray, n_clusters: int, seed: int) -> Labels:
    """The clusters of more components, merged."""
    model = VaDEClustering(N_MERGED, random_state=seed, max_subcomponents=1).fit(X)
    return merge_components(model, X).cut(n_clusters)[model.labels_]


ALL: dict[str, Any] = {
    **{name: METHODS[name] for name in ("auto", "HDBSCAN", "Genie", "SpectralClustering")},
    PEER: fit_mixture,
    **FITTED,
    ELLIPSES: fit_without_subcomponents,
    MERGED: merge,
}


def main(argv: list[str] | None = None) -> int:
    """Measure what is missing, then write the page."""
    arguments = make_parser().parse_args(argv)
    environment.set_threads(arguments.threads)

    def measure(table: str, method: str, seed: int) -> Line:
        (X, labels), start = make_table(table, seed), time.perf_counter()
        K = len(np.unique(labels))
        found = ALL[method](X, K, seed)
        seconds = time.perf_counter() - start
        return {"ari": float(adjusted_rand_score(labels, found)), "seconds": seconds, "shape": [*X.shape, K]}

    keys = itertools.product(TABLES, arguments.method, range(arguments.seeds))
    append_missing(arguments, KEY, keys if arguments.fits else (), measure)
    arguments.page.write_text(make_page(read_lines(arguments.out)))
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Command line."""
    parser = pages.make_parser(__doc__, name="bent", seeds=3, threads=1)
    parser.add_argument("--method", nargs="+", choices=ALL, default=list(ALL), metavar="NAME", help="default: all")
    return parser


def make_page(lines: Sequence[Line]) -> str:
    """docs/benchmarks/bent.md."""
    names = [name for name in ALL if any(line["method"] == name for line in lines)]
    seeds = sorted({line["seed"] for line in lines})
    table = pages.format_table(["table", "N", "D", "K", *names], pages.make_rows(lines, TABLES, names))
    explanation = EXPLANATION.format(seeds=", ".join(map(str, seeds)))
    title = "Bent clusters in correlated columns, and beside noise"
    return pages.make_page(__file__, title, explanation, table, lines=lines)


if __name__ == "__main__":
    sys.exit(main())
