"""The GMVAE paper's synthetic experiment (section 4.1, figures 2 and 3): what the minimum information λ does.

    python benchmarks/arcs.py --seeds 10

appends a JSON line per fit to benchmarks/results/arcs.jsonl (fits that are there are skipped), and writes
docs/arcs.md and the pictures it shows. --no-fits only writes these.
"""

import argparse
import sys
import time
import warnings
from pathlib import Path

import environment
import numpy as np
from report import NOTE, format_table, mean_and_sd
from run import append_line, read_lines
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from skgmvae import GMVAEClustering
from skgmvae.datasets import make_circle_arcs
from skgmvae.metrics import purity_score

ROOT = Path(__file__).resolve().parent.parent
MIN_INFORMATION = 1.0
EPOCHS = 60
RANDOM_WEIGHTS = {"max_iter": EPOCHS, "tol": 0.0, "batch_size": 100}
SETTINGS = {
    "random weights, λ = 0": lambda seed: GMVAEClustering.from_paper(
        "synthetic", n_components=10, random_state=seed, **RANDOM_WEIGHTS
    ),
    f"random weights, λ = {MIN_INFORMATION:g}": lambda seed: GMVAEClustering.from_paper(
        "synthetic", n_components=10, min_information=MIN_INFORMATION, random_state=seed, **RANDOM_WEIGHTS
    ),
    "shared start, λ = 0": lambda seed: GMVAEClustering(5, random_state=seed),
    "GaussianMixture": lambda seed: GaussianMixture(5, n_init=10, random_state=seed),
}
EXPLANATION = f"""\
10,000 points on five arcs (`skgmvae.datasets.make_circle_arcs`), drawn anew for every seed. From random weights:
the networks of the paper's synthetic row, K = 10, no pretraining, {EPOCHS} epochs. Shared start: the estimator's
defaults, K = 5. GaussianMixture: K = 5, the best of ten starts. Components in use are those that at least one row
in 100 is assigned to; purity is the share of rows of their component's most frequent arc. Mean ± standard deviation
over seeds, and every seed's ARI. λ, the epochs and the variance that random weights begin with were chosen on arcs
of seed 0 with their labels in sight."""


def main(argv=None) -> int:
    """Fit what is missing, then write the page and its pictures."""
    arguments = make_parser().parse_args(argv)
    environment.set_threads(arguments.threads)
    done = {(line["setting"], line["seed"]) for line in read_lines(arguments.out)}
    for seed in range(arguments.seeds):
        for setting in SETTINGS:
            if (setting, seed) not in done and arguments.fits:
                line = fit_once(setting, seed)
                append_line(arguments.out, line)
                print(f"{setting}, seed {seed}: ARI {line['ari']:.3f}, {line['seconds']:.0f} s", flush=True)
    lines = read_lines(arguments.out)
    (arguments.docs / "arcs.md").write_text(make_page(lines))
    draw_curves(lines, arguments.docs / "images" / "arcs_kl_component.png")
    draw_densities(arguments.docs / "images" / "arcs_densities.png")
    return 0


def make_parser():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10, help="seeds 0, 1, …; default: %(default)s")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "arcs.jsonl")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs")
    parser.add_argument("--threads", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--no-fits", dest="fits", action="store_false", help="only write page and pictures")
    return parser


def fit_once(setting, seed):
    """One fit and its figures."""
    X, y = make_circle_arcs(random_state=seed)
    began = time.perf_counter()
    model = fit(SETTINGS[setting](seed), X)
    seconds = time.perf_counter() - began
    labels = model.predict(X)
    history = getattr(model, "history_", None)
    return {
        "setting": setting,
        "seed": seed,
        "ari": float(adjusted_rand_score(y, labels)),
        "purity": purity_score(y, labels),
        "components_used": int((np.bincount(labels) >= 0.01 * len(X)).sum()),
        "score": float(model.score(make_circle_arcs(2000, random_state=10_000 + seed)[0])),
        "kl_component": history["kl_component"] if history else None,
        "start": getattr(model, "init_params_", None),
        "seconds": seconds,
        **environment.describe(),
    }


def fit(model, X):
    """FitResult, converged or not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(X)


def make_page(lines):
    """docs/arcs.md."""
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
    return (
        "\n\n".join(
            [
                NOTE.replace("report.py", "arcs.py"),
                "# Circle arcs: what the minimum information does",
                EXPLANATION,
                format_table(header, rows),
                "ARI of every seed:",
                format_table(["setting", *map(str, range(n_seeds))], by_seed),
                "![kl_component by epoch](images/arcs_kl_component.png)",
                "KL(p(c|z,w) ‖ π) per epoch, a line per seed; dotted: λ.",
                "![Data, densities and latent space](images/arcs_densities.png)",
                "Data; density of the GMVAE from the shared start and of GaussianMixture, both with K = 5, seed 0; "
                "and the GMVAE's embedding (two principal components), colored by component.",
            ]
        )
        + "\n"
    )


def make_row(setting, lines):
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


def draw_curves(lines, path):
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
    axes[0].set_ylabel("kl_component, nats per row")
    save(figure, path)


def draw_densities(path):
    """The paper's figure 2: data, both densities, latent space."""
    from matplotlib import pyplot

    X, _ = make_circle_arcs(random_state=0)
    gmvae, mixture = (fit(SETTINGS[name](0), X) for name in ("shared start, λ = 0", "GaussianMixture"))
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


def save(figure, path):
    """The picture, its folder made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    sys.exit(main())
