"""The GMVAE paper's synthetic experiment (section 4.1, figures 2 and 3): what the minimum information λ does.

    python benchmarks/accuracy/minimum_information.py --seeds 10

appends a JSON line per fit to benchmarks/results/minimum_information.jsonl (fits that are there are skipped), and
writes docs/benchmarks/minimum_information.md and the pictures it shows. --no-fits only writes these.
"""

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/__init__.py says why

from benchmarks.common import environment, pages
from benchmarks.common.methods import fit
from benchmarks.common.pages import format_table, mean_and_sd
from benchmarks.common.results import Line, append_missing, read_lines
from skgmvae import GMVAEClustering
from skgmvae.datasets import make_circle_arcs
from skgmvae.metrics import purity_score

MIN_INFORMATION = 1.0
EPOCHS = 60
RANDOM_WEIGHTS = {"max_iter": EPOCHS, "tol": 0.0, "batch_size": 100}
SETTINGS: dict[str, Callable[[int], Any]] = {
    "random weights, λ = 0": lambda seed: GMVAEClustering.from_paper(
        "synthetic", n_components=10, random_state=seed, **RANDOM_WEIGHTS
    ),
    f"random weights, λ = {MIN_INFORMATION:g}": lambda seed: GMVAEClustering.from_paper(
        "synthetic", n_components=10, min_information=MIN_INFORMATION, random_state=seed, **RANDOM_WEIGHTS
    ),
    "default initialization, λ = 0": lambda seed: GMVAEClustering(5, random_state=seed),
    "GaussianMixture": lambda seed: GaussianMixture(5, n_init=10, random_state=seed),
}
EXPLANATION = f"""\
10,000 samples on five arcs (`skgmvae.datasets.make_circle_arcs`), drawn anew for every seed. *Random weights*: the
networks of the paper's synthetic experiment, K = 10, no pretraining, {EPOCHS} epochs. *Default initialization*: the
estimator's defaults, K = 5. *GaussianMixture*: K = 5, the best of ten initializations. A component is in use if at
least 1 % of the samples are assigned to it. Purity is the share of samples that lie on the most frequent arc of
their component. Mean ± standard deviation over seeds, and the ARI of every seed. λ, the number of epochs and the
initial variance of the random weights were selected on the arcs of seed 0 with their labels."""


def main(argv: list[str] | None = None) -> int:
    """Fit what is missing, then write the page and its pictures."""
    arguments = make_parser().parse_args(argv)
    environment.set_threads(arguments.threads)
    keys = itertools.product(range(arguments.seeds if arguments.fits else 0), SETTINGS)
    append_missing(arguments, ("seed", "setting"), keys, fit_once)
    lines = read_lines(arguments.out)
    arguments.page.write_text(make_page(lines))
    images = arguments.page.parent / "images"
    draw_curves(lines, images / "minimum_information_kl_component.png")
    draw_densities(images / "minimum_information_densities.png")
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Command line."""
    return pages.make_parser(__doc__, name="minimum_information", seeds=10, threads=2)


def fit_once(seed: int, setting: str) -> Line:
    """One fit and its figures."""
    X, y = make_circle_arcs(random_state=seed)
    began = time.perf_counter()
    model = fit(SETTINGS[setting](seed), X)
    seconds = time.perf_counter() - began
    labels = model.predict(X)
    history = getattr(model, "history_", None)
    return {
        "ari": float(adjusted_rand_score(y, labels)),
        "purity": purity_score(y, labels),
        "components_used": int((np.bincount(labels) >= 0.01 * len(X)).sum()),
        "score": float(model.score(make_circle_arcs(2000, random_state=10_000 + seed)[0])),
        "kl_component": history["kl_component"] if history else None,
        "initialization": getattr(model, "init_params_", None),
        "seconds": seconds,
    }


def make_page(lines: Sequence[Line]) -> str:
    """docs/benchmarks/minimum_information.md."""
    header = [
        "setting",
        "components in use",
        "purity, %",
        "ARI",
        "kl_component at the end",
        "held-out score",
    ]
    rows = [make_row(setting, [line for line in lines if line["setting"] == setting]) for setting in SETTINGS]
    by_seed = [
        [
            setting,
            *(
                f"{line['ari']:.2f}"
                for line in sorted(lines, key=lambda line: line["seed"])
                if line["setting"] == setting
            ),
        ]
        for setting in SETTINGS
    ]
    n_seeds = max((len(row) for row in by_seed), default=1) - 1
    return pages.make_page(
        __file__,
        "Minimum information on circle arcs",
        EXPLANATION,
        format_table(header, rows),
        "ARI of every seed:",
        format_table(["setting", *map(str, range(n_seeds))], by_seed),
        "![kl_component by epoch](images/minimum_information_kl_component.png)",
        "KL(p(c|z,w) ‖ π) per epoch, one line per seed; the dotted line is λ.",
        "![Data, densities and latent space](images/minimum_information_densities.png)",
        "The data; the densities of the GMVAE with the default initialization and of GaussianMixture, both with K = 5 "
        "and seed 0; and the GMVAE's embedding (two principal components), colored by component.",
        lines=lines,
    )


def make_row(setting: str, lines: Sequence[Line]) -> list[str]:
    """Figures over the seeds of one setting."""
    ends = [line["kl_component"][-1] if line["kl_component"] else None for line in lines]
    return [
        setting,
        mean_and_sd([line["components_used"] for line in lines]),
        mean_and_sd([100 * line["purity"] for line in lines]),
        mean_and_sd([line["ari"] for line in lines], digits=2),
        mean_and_sd(ends, digits=2),
        mean_and_sd([line["score"] for line in lines], digits=2),
    ]


def draw_curves(lines: Sequence[Line], path: Path) -> None:
    """The paper's figure 3: kl_component against epoch from random weights."""
    from matplotlib import pyplot

    settings = [setting for setting in SETTINGS if setting.startswith("random")]
    figure, axes = pyplot.subplots(1, len(settings), figsize=(9, 3.2), sharey=True, layout="constrained")
    for ax, setting in zip(axes, settings, strict=True):
        for line in lines:
            if line["setting"] == setting:
                ax.plot(range(1, len(line["kl_component"]) + 1), line["kl_component"], color="#0072b2", alpha=0.6)
        ax.set(title=setting, xlabel="epoch")
    axes[-1].axhline(MIN_INFORMATION, color="black", linestyle=":")
    axes[0].set_ylabel("kl_component, nats per sample")
    save(figure, path)


def draw_densities(path: Path) -> None:
    """The paper's figure 2: data, both densities, latent space."""
    from matplotlib import pyplot

    X, _ = make_circle_arcs(random_state=0)
    gmvae, mixture = (fit(SETTINGS[name](0), X) for name in ("default initialization, λ = 0", "GaussianMixture"))
    figure, axes = pyplot.subplots(1, 4, figsize=(13, 3.4), layout="constrained")
    axes[0].scatter(*X[::4].T, s=1, color="black")
    axes[0].set_title("data")
    side = np.linspace(-3.2, 3.2, 120)
    grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    for ax, model, name in zip(axes[1:3], (gmvae, mixture), ("GMVAE", "GaussianMixture"), strict=True):
        density = np.exp(model.score_samples(grid)).reshape(len(side), -1)
        ax.contourf(side, side, density, levels=20, cmap="Greys")
        ax.set_title(f"density of {name}")
    embedding = gmvae.transform(X[::4])
    centered = embedding - embedding.mean(0)
    plane = centered @ np.linalg.svd(centered, full_matrices=False)[2][:2].T
    axes[3].scatter(*plane.T, s=1, c=gmvae.labels_[::4], cmap="tab10")
    axes[3].set_title("embedding of GMVAE")
    for ax in axes[:3]:
        ax.set_aspect("equal")
    save(figure, path)


def save(figure: Any, path: Path) -> None:
    """The picture, its folder made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    sys.exit(main())
