"""VAE-EM: the objective under both M-steps after equal seconds, and figure 1 of its paper.

python benchmarks/accuracy/vaeem.py m-steps --data-dir data    # J of both M-steps, to results/vaeem.jsonl
python benchmarks/accuracy/vaeem.py figure-1                   # generated points after 100, 200 and 1000 iterations
python benchmarks/accuracy/vaeem.py page                       # docs/benchmarks/vaeem.md, of what the others wrote
"""

import argparse
import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import adjusted_rand_score
from skorch.callbacks import Callback

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/__init__.py says why

from benchmarks.common import data as data_sets
from benchmarks.common import environment
from benchmarks.common.methods import fit
from benchmarks.common.pages import COLORS, PAGES, format_table, make_page, mean_and_sd
from benchmarks.common.results import RESULTS, Line, append_line, read_lines
from skgmvae import VAEEMClustering
from skgmvae.datasets import make_circle_arcs

IMAGES = PAGES / "images"
OUT = RESULTS / "vaeem.jsonl"
FORMS = ("sampled", "weighted")
SAMPLED_ITERATIONS = 40
SHORT_PRETRAINING = 10
FIGURE_1_ITERATIONS = (100, 200, 1000)
FIGURE_1: dict[str, Any] = {
    "latent_dim": 2,
    "hidden_layer_sizes": (64, 64),
    "pretrain_hidden_layer_sizes": (8,),  # not trained: the components are initialized with random weights
    "pretrain_iter": 0,
    "init_params": "random",
    "learning_rate": 1e-3,
    "max_iter": FIGURE_1_ITERATIONS[-1],
    "tol": 0.0,
}


def main(argv: list[str] | None = None) -> int:
    """One of the three."""
    arguments = make_parser().parse_args(argv)
    environment.set_threads(arguments.threads)
    torch.set_num_threads(arguments.threads)
    arguments.run(arguments)
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2, help="default: %(default)s")
    commands = parser.add_subparsers(required=True)
    steps = commands.add_parser("m-steps")
    steps.add_argument("--data-dir", help="folder with folders of IDX files; default: $SKGMVAE_DATA")
    steps.add_argument("--n-samples", type=int, default=6000, help="of MNIST; default: %(default)s")
    steps.add_argument("--seeds", type=int, default=3, help="default: %(default)s")
    steps.set_defaults(run=compare_m_steps)
    commands.add_parser("figure-1").set_defaults(run=draw_figure_1)
    commands.add_parser("page").set_defaults(run=write_page)
    return parser


# ------------------------------------------------------------------------------------ M-steps


class Trace(Callback):
    """J at every iteration, and the processor seconds before it, its own measuring left out."""

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Start the clock."""
        self.seconds: list[float] = []
        self.bounds: list[float] = []
        self.last = time.process_time()

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Lap; it comes after the E-step."""
        self.seconds.append(time.process_time() - self.last + (self.seconds[-1] if self.seconds else 0.0))
        self.bounds.append(measure_bound(net))
        self.last = time.process_time()


@torch.no_grad()
def measure_bound(net: Any, n_samples: int = 1000) -> float:
    """J per sample, with whole E-steps and draws of z, on evenly spaced samples; the noise is the same every time."""
    rows = net.e_step_.rows
    chunks = rows[:: max(1, len(rows) // n_samples)].split(250)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        bounds = torch.cat([net.criterion_.per_row(net.module_(chunk)) for chunk in chunks])
    return float(bounds.double().mean())


def compare_m_steps(arguments: argparse.Namespace) -> None:
    """Both forms from one initialization; the weighted one gets at least the seconds of the sampled one."""
    X = data_sets.load("mnist", data_dir=arguments.data_dir).train[: arguments.n_samples]
    done = {line["seed"] for line in read_lines(OUT) if line["experiment"] == "m-steps"}
    for seed in sorted(set(range(arguments.seeds)) - done):
        with tempfile.TemporaryDirectory() as memory:
            sampled = trace_fit(X, seed, memory, "sampled", SAMPLED_ITERATIONS)
            per_iteration = statistics.median(np.diff(trace_fit(X, seed, memory, "weighted", 3)["seconds"]))
            n_iterations = math.ceil(sampled["seconds"][-1] / per_iteration)
            weighted = trace_fit(X, seed, memory, "weighted", n_iterations)
        line = {
            "experiment": "m-steps",
            "seed": seed,
            "n_samples": len(X),
            "sampled": sampled,
            "weighted": weighted,
            "threads": arguments.threads,
            **environment.describe(),
        }
        append_line(OUT, line)
        print(json.dumps({form: [line[form]["seconds"][-1], line[form]["bounds"][-1]] for form in FORMS}), flush=True)


def trace_fit(X: np.ndarray, seed: int, memory: str, form: str, n_iterations: int) -> Line:
    """Seconds and J after every iteration of one fit."""
    trace = Trace()
    options: dict[str, Any] = {
        "pretrain_iter": SHORT_PRETRAINING,
        "memory": memory,
        "m_step": form,
        "max_iter": n_iterations,
        "tol": 0.0,
        "callbacks": [trace],
    }
    fit(VAEEMClustering.for_images(10, image_shape=None, random_state=seed, **options), X)
    return {"iterations": n_iterations, "seconds": trace.seconds, "bounds": trace.bounds}


# ------------------------------------------------------------------------------------ figure 1


class Snapshots(Callback):
    """Points generated by every component after some of the iterations."""

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Draw if it is time."""
        if len(net.history) in FIGURE_1_ITERATIONS:
            components = torch.arange(net.module_.n_components).repeat_interleave(300)
            with torch.no_grad():
                points, _ = net.module_.generate(components, torch.Generator().manual_seed(0))
            self.snapshots[len(net.history)] = points.numpy(), components.numpy()

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Nothing drawn yet."""
        self.snapshots: dict[int, tuple[np.ndarray, np.ndarray]] = {}


def draw_figure_1(arguments: argparse.Namespace) -> None:
    """The paper's figure 1 on circle arcs, from random neighborhoods."""
    from matplotlib import pyplot

    X, y = make_circle_arcs(3000, random_state=0)
    keeper = Snapshots()
    model = fit(VAEEMClustering(5, random_state=0, callbacks=[keeper], **FIGURE_1), X)
    ari = float(adjusted_rand_score(y, model.labels_))
    append_line(OUT, {"experiment": "figure 1", "seed": 0, "ari": ari, "score": model.score(X)})
    print(f"ARI {ari:.2f}")
    figure, axes = pyplot.subplots(1, 4, figsize=(13, 3.4), sharex=True, sharey=True, layout="constrained")
    axes[0].scatter(*X[::2].T, s=2, color="black")
    axes[0].set_title("data")
    for ax, (iteration, (points, components)) in zip(axes[1:], keeper.snapshots.items(), strict=True):
        ax.scatter(*points.T, s=2, c=np.array(COLORS)[components])
        ax.set_title(f"{iteration} iterations")
    for ax in axes:
        ax.set(aspect="equal", xlim=(-3.2, 3.2), ylim=(-3.2, 3.2))
    IMAGES.mkdir(parents=True, exist_ok=True)
    figure.savefig(IMAGES / "vaeem_figure_1.png", dpi=80, bbox_inches="tight")


# ------------------------------------------------------------------------------------ page


def write_page(arguments: argparse.Namespace) -> None:
    """docs/benchmarks/vaeem.md and the picture of the traces."""
    lines = read_lines(OUT)
    steps = [line for line in lines if line["experiment"] == "m-steps"]
    figures = [line for line in lines if line["experiment"] == "figure 1"]
    draw_traces(steps)
    parts = [
        "## Sampled and weighted M-steps",
        f"The first {steps[0]['n_samples']:,} training samples of MNIST, K = 10, Bernoulli likelihood. Both forms "
        f"start from the same graph initialization on an autoencoder of {SHORT_PRETRAINING} epochs, and the weighted "
        "form was given at least as many CPU seconds. J in nats per sample, with draws of z; iterations and seconds at "
        f"the end; mean ± standard deviation over {len(steps)} seeds.",
        format_table(["M-step", "EM iterations", "seconds", "J"], [make_row(form, steps) for form in FORMS]),
        "J of the sampled form minus J of the weighted form, for each seed: "
        f"{', '.join(f'{gain(line):+.2f}' for line in steps)} nats.",
        "![J against seconds](images/vaeem_m_steps.png)",
        "## Random initial responsibilities",
        "Circle arcs (`skgmvae.datasets.make_circle_arcs`, 3,000 points), K = 5, random weights and neighborhoods, "
        "one seed, no pretraining: points generated by each component after "
        f"{', '.join(map(str, FIGURE_1_ITERATIONS))} EM iterations, as in the paper's figure 1. "
        f"After the last of these, the adjusted Rand index between labels and arcs is {figures[-1]['ari']:.2f}.",
        "![Generated points](images/vaeem_figure_1.png)",
    ]
    (PAGES / "vaeem.md").write_text(make_page(__file__, "VAE-EM: M-steps and random initialization", *parts))


def make_row(form: str, lines: Sequence[Line]) -> list[str]:
    """Figures at the end of the fits of one form."""
    iterations = [line[form]["iterations"] for line in lines]
    seconds = [line[form]["seconds"][-1] for line in lines]
    return [
        form,
        mean_and_sd(iterations),
        mean_and_sd(seconds),
        mean_and_sd([line[form]["bounds"][-1] for line in lines]),
    ]


def gain(line: Line) -> float:
    """J of the sampled form less that of the weighted one, at the end."""
    return line["sampled"]["bounds"][-1] - line["weighted"]["bounds"][-1]


def draw_traces(lines: Sequence[Line]) -> None:
    """J against processor seconds, a line per seed."""
    from matplotlib import pyplot

    figure, ax = pyplot.subplots(figsize=(5, 3.2), layout="constrained")
    for form, color in zip(FORMS, COLORS, strict=False):
        for number, line in enumerate(lines):
            label = form if number == 0 else None
            ax.plot(line[form]["seconds"], line[form]["bounds"], color=color, label=label, marker=".", linewidth=1)
    ax.set(xlabel="processor seconds of training", ylabel="J, nats per sample")
    ax.set_ylim(bottom=np.percentile([bound for line in lines for bound in line["sampled"]["bounds"]], 10))
    ax.legend(title="M-step")
    figure.savefig(IMAGES / "vaeem_m_steps.png", dpi=100)


if __name__ == "__main__":
    sys.exit(main())
