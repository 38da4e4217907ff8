"""Pictures of the landing page and of README: GaussianMixture beside VaDEClustering, and two figures of results.

    python benchmarks/figures/landing.py [--out docs/images] [--no-fits]

The three comparisons are fitted here, with the seed 0; the figures of results are drawn from
benchmarks/results/suite.jsonl and benchmarks/results/tables.jsonl. --no-fits only draws the latter.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits, make_moons
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/__init__.py says why

from benchmarks.common import methods, pages
from benchmarks.common.results import RESULTS, ROOT, Line, read_lines
from benchmarks.density import tables
from benchmarks.initialization import peers
from skgmvae import VaDEClustering
from skgmvae.metrics import clustering_accuracy

FOLDER = ROOT / "docs" / "images"
DPI = 150
NAMES = ("GaussianMixture", "VaDEClustering")
N_SHOWN = 8  # digits per component


def main(argv: list[str] | None = None) -> int:
    """Draw all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--no-fits", dest="fits", action="store_false", help="only the figures of results")
    arguments = parser.parse_args(argv)
    matplotlib.use("agg")
    figures = {
        "landing_suite": draw_suite(read_lines(RESULTS / "suite.jsonl")),
        "landing_tables": draw_tables(read_lines(RESULTS / "tables.jsonl")),
    }
    if arguments.fits:
        figures |= {"landing_moons": draw_moons(), "landing_digits": draw_digits(), "landing_wine": draw_wine()}
    for name, figure in figures.items():
        figure.savefig(arguments.out / f"{name}.png", dpi=DPI)
    return 0


# ----------------------------------------------------------------------------- comparisons


def make_pair(n_components: int, X: np.ndarray) -> list[Any]:
    """Both methods, fitted: a GaussianMixture chosen by cross-validation, and VaDEClustering at its defaults."""
    mixture: GaussianMixture = tables.fit_mixture(X, n_components, seed=0)
    return [mixture, methods.fit(VaDEClustering(n_components, random_state=0), X)]


def draw_moons() -> Figure:
    """Clusters that are not ellipses."""
    X, moons = make_moons(400, noise=0.08, random_state=0)
    figure, axes = make_axes("Two moons")
    for ax, name, model in zip(axes, NAMES, make_pair(2, X), strict=True):
        labels = model.predict(X)
        scatter(ax, X, labels)
        ax.set(title=name, xlabel=f"ARI {adjusted_rand_score(moons, labels):.2f}")
    return figure


def draw_wine() -> Figure:
    """A table: the first principal components of the samples that were fitted."""
    data = tables.split("wine", 0)
    plane = PCA(n_components=2, random_state=0).fit_transform(data.train)
    figure, axes = make_axes("Wine, 13 columns")
    for ax, name, model in zip(axes, NAMES, make_pair(data.n_classes, data.train), strict=True):
        index = adjusted_rand_score(data.test_labels, model.predict(data.test))
        scatter(ax, plane, model.predict(data.train))
        ax.set(title=name, xlabel=f"held out: ARI {index:.2f}\nlog-likelihood {model.score(data.test):.1f}")
    return figure


def draw_digits() -> Figure:
    """The first digits of every component."""
    X, digits = load_digits(return_X_y=True)
    figure, axes = make_axes("Digits, 8 × 8 pixels")
    for ax, name, model in zip(axes, NAMES, make_pair(10, X), strict=True):
        labels = model.predict(X)
        ax.imshow(tile(X, labels), cmap="gray_r", vmin=0, vmax=16)
        ax.set(title=name, xlabel=f"accuracy {clustering_accuracy(digits, labels):.0%}")
        ax.spines[:].set_visible(False)
    return figure


def make_axes(title: str) -> tuple[Figure, Any]:
    """Two axes without ticks below a title."""
    figure = Figure(figsize=(4.6, 2.9), layout="constrained")
    figure.suptitle(title, fontweight="bold")
    axes = figure.subplots(1, 2)
    for ax in axes:
        ax.set(xticks=[], yticks=[])
    return figure, axes


def scatter(ax: Any, points: np.ndarray, labels: np.ndarray) -> None:
    """Points in the colors and markers of their clusters."""
    for c, (color, marker) in enumerate(zip(pages.COLORS[:3], "os^", strict=True)):
        ax.scatter(*points[labels == c].T, color=color, marker=marker, s=7, linewidths=0)


def tile(X: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """A row of images per component; blank where it has too few samples."""
    rows = []
    for c in range(10):
        images = [np.pad(image.reshape(8, 8), 1) for image in X[labels == c][:N_SHOWN]]
        rows.append(np.hstack(images + [np.zeros((10, 10))] * (N_SHOWN - len(images))))
    return np.vstack(rows)


# --------------------------------------------------------------------------------- results


def draw_suite(lines: Sequence[Line]) -> Figure:
    """Mean index of the methods that were run on every set."""
    of_method = {name: {line["set"]: line["ari"] for line in lines if line["method"] == name} for name in peers.METHODS}
    sets = set.intersection(*(set(indices) for indices in of_method.values()))
    means = {name: statistics.fmean(indices[one] for one in sets) for name, indices in of_method.items()}
    figure = Figure(figsize=(4.6, 2.9), layout="constrained")
    ax = figure.subplots()
    names = sorted(means, key=means.__getitem__)
    colors = [pages.COLORS[4] if name == "auto" else "0.6" for name in names]
    bars = ax.barh([OURS if name == "auto" else name for name in names], [means[n] for n in names], color=colors)
    ax.bar_label(bars, fmt="%.2f", padding=3)
    ax.set(xlim=(0, 1.1), xlabel="mean adjusted Rand index", title=f"Clusters: {len(sets)} problems")
    ax.spines[["right", "top"]].set_visible(False)
    return figure


OURS = "skgmvae, initial clusters"
LIMIT = 1.0  # nats; larger differences are written beside the edge


def draw_tables(lines: Sequence[Line]) -> Figure:
    """Held-out log-likelihood of each model, less that of the GaussianMixture."""
    groups = {name: runs for name, runs in tables.group(lines).items() if name not in tables.DISCRETE}
    figure = Figure(figsize=(4.6, 0.19 * len(groups) + 1.1), layout="constrained")
    ax = figure.subplots()
    means = {
        name: {method: statistics.fmean(run["score"] for run in of_method) for method, of_method in runs.items()}
        for name, runs in groups.items()
    }
    for (method, label), color, marker in zip(LABELS.items(), pages.COLORS, "os^", strict=False):
        gains = [of_table[method] - of_table[tables.PEER] for of_table in means.values()]
        ax.scatter(np.clip(gains, -LIMIT, LIMIT), range(len(gains)), color=color, marker=marker, s=18, label=label)
    for row, of_table in enumerate(means.values()):
        gains = [of_table[method] - of_table[tables.PEER] for method in LABELS]
        for furthest, side in ((min(gains), -1), (max(gains), 1)):
            if side * furthest > LIMIT:
                ax.text(side * 1.12 * LIMIT, row, f"{furthest:+.1f}", va="center", ha="center", fontsize=7)
    ax.axvline(0.0, color="0.3", linewidth=1)
    ax.set_yticks(range(len(means)), labels=list(means), fontsize=8)
    ax.invert_yaxis()
    ax.set(xlim=(-1.2 * LIMIT, 1.2 * LIMIT), title=f"Densities: {len(means)} tables")
    ax.set_xlabel("held-out log-likelihood, less GaussianMixture's\n(nats per sample; right is better)")
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return figure


LABELS = {"vade": "VaDE", "gmvae": "GMVAE", "vaeem": "VAE-EM"}

if __name__ == "__main__":
    sys.exit(main())
