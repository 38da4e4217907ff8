"""Pictures of runs on images, into docs/images: the GMVAE paper's figures 4 and 5, the VAE-EM paper's figure 2.

python benchmarks/pictures.py samples kept/mnist-vaeem-10-0.safetensors     # of estimators kept by run.py --keep
python benchmarks/pictures.py traversal kept/mnist-gmvae-10-0.safetensors
python benchmarks/pictures.py accuracy benchmarks/results/runs/mnist.jsonl  # of runs made with run.py --trace
"""

import argparse
import sys
from pathlib import Path

import models
from report import group
from run import read_lines

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9")


def main(argv=None) -> int:
    """Draw one kind of picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=PICTURES)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=IMAGES, help="folder; default: docs/images")
    arguments = parser.parse_args(argv)
    arguments.out.mkdir(parents=True, exist_ok=True)
    PICTURES[arguments.kind](arguments)
    return 0


def load(path):
    """The estimator in a file named DATA-MODEL-K-SEED, and DATA-MODEL."""
    *data, model, _, _ = path.stem.split("-")
    return models.ESTIMATORS[model].load(path), "-".join([*data, model])


def draw_samples(arguments):
    """A row per component of what its samples have for means."""
    from skgmvae.plotting import ComponentSamplesDisplay

    for path in arguments.files:
        estimator, name = load(path)
        display = ComponentSamplesDisplay.from_estimator(estimator, n_samples=10, expected=True, random_state=0)
        display.figure_.savefig(arguments.out / f"samples_{name}.png", dpi=80, bbox_inches="tight")


def draw_traversals(arguments):
    """A row per component, w along one direction."""
    from skgmvae.plotting import StyleTraversalDisplay

    for path in arguments.files:
        estimator, name = load(path)
        display = StyleTraversalDisplay.from_estimator(estimator)
        display.figure_.savefig(arguments.out / f"traversal_{name}.png", dpi=80, bbox_inches="tight")


def draw_accuracies(arguments):
    """Accuracy against epoch: a line per run, a panel per way to train, a color per number of components."""
    from matplotlib import pyplot

    lines = [line for path in arguments.files for line in read_lines(path) if line.get("majority_by_epoch")]
    for line in lines:
        line["way"] = describe_way(line["model"], line["params"])
    ways = group(lines, ("way",))
    colors = dict(zip(sorted({line["n_components"] for line in lines}), COLORS, strict=False))
    size = (3.2 * len(ways) + 1.0, 3.4)
    figure, axes = pyplot.subplots(1, len(ways), figsize=size, layout="constrained", squeeze=False)
    handles = {}  # one of the lines of each color
    for ax, ((way,), members) in zip(axes[0], ways, strict=True):
        for line in members:
            values = [100 * accuracy for accuracy in line["majority_by_epoch"]]
            label = f"K = {line['n_components']}"
            epochs = range(1, len(values) + 1)
            (handles[label],) = ax.plot(epochs, values, color=colors[line["n_components"]], label=label, marker=".")
        ax.set(xlabel="epoch", title=way)
        ax.xaxis.get_major_locator().set_params(integer=True)
    axes[0, 0].set_ylabel("majority accuracy on held-out rows, %")
    figure.legend(handles.values(), handles, loc="outside right upper")
    models_drawn = sorted({line["model"] for line in lines})
    figure.savefig(arguments.out / f"accuracy_{'_'.join(models_drawn)}.png", dpi=100)


def describe_way(model, params):
    """What a panel's runs have in common."""
    network = "convolutional" if params.get("network") == "conv" else "fully connected"
    return f"{model}, M = {params.get('n_mc_samples', 1)}\n{network}, {params.get('init_params', 'shared')} start"


PICTURES = {"samples": draw_samples, "traversal": draw_traversals, "accuracy": draw_accuracies}


if __name__ == "__main__":
    sys.exit(main())
