"""Pictures of runs on images, into docs/images: the GMVAE paper's figures 4 and 5, the VAE-EM paper's figure 2.

python benchmarks/figures/runs.py samples kept/mnist-vaeem-10-0.safetensors
python benchmarks/figures/runs.py traversal kept/mnist-gmvae-10-0.safetensors
python benchmarks/figures/runs.py purity benchmarks/results/runs/mnist.jsonl --model gmvae

The first two are of estimators that accuracy/run.py --keep has saved, the last of runs with --trace.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/__init__.py says why

from benchmarks.accuracy.report import group
from benchmarks.common import methods
from benchmarks.common.pages import COLORS
from benchmarks.common.results import ROOT, read_lines

IMAGES = ROOT / "docs" / "images"


def main(argv: list[str] | None = None) -> int:
    """Draw one kind of picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=PICTURES)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument(
        "--model", nargs="+", choices=methods.NAMES, default=methods.NAMES, help="of the runs; default: all"
    )
    parser.add_argument("--out", type=Path, default=IMAGES, help="folder; default: docs/images")
    arguments = parser.parse_args(argv)
    arguments.out.mkdir(parents=True, exist_ok=True)
    PICTURES[arguments.kind](arguments)
    return 0


def load(path: Path) -> tuple[Any, str]:
    """The estimator in a file named DATA-MODEL-K-SEED, and DATA-MODEL."""
    *data, model, _, _ = path.stem.split("-")
    return methods.ESTIMATORS[model].load(path), "-".join([*data, model])


def draw_samples(arguments: argparse.Namespace) -> None:
    """A row per component of what its samples have for means."""
    from skgmvae.plotting import ComponentSamplesDisplay

    for path in arguments.files:
        estimator, name = load(path)
        display = ComponentSamplesDisplay.from_estimator(estimator, n_samples=10, expected=True, random_state=0)
        display.figure_.savefig(arguments.out / f"samples_{name}.png", dpi=80, bbox_inches="tight")


def draw_traversals(arguments: argparse.Namespace) -> None:
    """A row per component, w along one direction."""
    from skgmvae.plotting import StyleTraversalDisplay

    for path in arguments.files:
        estimator, name = load(path)
        display = StyleTraversalDisplay.from_estimator(estimator)
        display.figure_.savefig(arguments.out / f"traversal_{name}.png", dpi=80, bbox_inches="tight")


def draw_purities(arguments: argparse.Namespace) -> None:
    """Purity against epoch: a line per run, a panel per way to train, a color per number of components."""
    from matplotlib import pyplot

    lines = [line for path in arguments.files for line in read_lines(path) if line["model"] in arguments.model]
    lines = [line for line in lines if line.get("purity_by_epoch")]
    for line in lines:
        line["way"] = describe_way(line["model"], line["params"])
    ways = group(lines, ("way",))
    colors = dict(zip(sorted({line["n_components"] for line in lines}), COLORS, strict=False))
    size = (3.2 * len(ways) + 1.0, 3.6)
    figure, axes = pyplot.subplots(1, len(ways), figsize=size, layout="constrained", squeeze=False)
    handles = {}  # one of the lines of each color
    for ax, ((way,), members) in zip(axes[0], ways, strict=True):
        for line in members:
            values = [100 * purity for purity in line["purity_by_epoch"]]
            label = f"K = {line['n_components']}"
            epochs = range(1, len(values) + 1)
            (handles[label],) = ax.plot(epochs, values, color=colors[line["n_components"]], label=label, marker=".")
        ax.set(xlabel="epoch", title=way)
        ax.xaxis.get_major_locator().set_params(integer=True)
    axes[0, 0].set_ylabel("purity on held-out samples, %")
    figure.legend(handles.values(), handles, loc="outside right upper")
    models_drawn = sorted({line["model"] for line in lines})
    figure.savefig(arguments.out / f"purity_{'_'.join(models_drawn)}.png", dpi=100)


def describe_way(model: str, params: dict[str, Any]) -> str:
    """What a panel's runs have in common."""
    network = "convolutional" if params.get("network") == "conv" else "fully connected"
    initialization = params.get("init_params", "default")
    return f"{model}, M = {params.get('n_mc_samples', 1)}\n{network}\n{initialization} initialization"


PICTURES = {"samples": draw_samples, "traversal": draw_traversals, "purity": draw_purities}


if __name__ == "__main__":
    sys.exit(main())
