"""Pictures of docs/displays.md, most of them from scikit-learn's digits.

python benchmarks/figures/displays.py [--out docs/images]
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from sklearn.datasets import load_digits, load_wine

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/__init__.py says why

from benchmarks.common.methods import fit
from benchmarks.common.results import ROOT
from benchmarks.density.checks import MIXTURES
from skgmvae import GMVAEClustering, VaDEClustering
from skgmvae.model_selection import ComponentSearchCV
from skgmvae.plotting import (
    ComponentHierarchyDisplay,
    ComponentProfilesDisplay,
    ComponentSamplesDisplay,
    ComponentScatterDisplay,
    ComponentSearchDisplay,
    ComponentSizesDisplay,
    ConfidenceDisplay,
    HistoryDisplay,
    LatentSpaceDisplay,
    ReliabilityDisplay,
    StyleTraversalDisplay,
)

FOLDER = ROOT / "docs" / "images"
DPI = 70  # small files


def fit_models(X: np.ndarray) -> tuple[VaDEClustering, GMVAEClustering]:
    """One model of each kind that the pictures need; a few seconds each."""
    settings: dict[str, Any] = {"min_information": 1.0, "pretrain_iter": 30, "max_iter": 30, "random_state": 0}
    vade = fit(VaDEClustering(10, image_shape=(1, 8, 8), **settings), X)  # the number of epochs is fixed
    gmvae = fit(GMVAEClustering(10, likelihood="gaussian", linear_path=False, **settings), X)  # with a style
    return vade, gmvae


def draw(X: np.ndarray, vade: VaDEClustering, gmvae: GMVAEClustering) -> dict[str, Any]:
    """Name to display."""
    wines, numbers = load_wines(), load_wine().data
    of_wines = fit(VaDEClustering(3, random_state=0), wines)
    search = fit(ComponentSearchCV(VaDEClustering(random_state=0), 6, random_state=0), numbers)
    return {
        "latent_space": LatentSpaceDisplay.from_estimator(vade, X),
        "confidence": ConfidenceDisplay.from_estimator(vade, X),
        "reliability": draw_reliability(),
        "sizes": ComponentSizesDisplay.from_estimator(vade),
        "history": HistoryDisplay.from_estimator(vade),
        "samples": ComponentSamplesDisplay.from_estimator(vade, expected=True, random_state=0),
        "profiles": ComponentProfilesDisplay.from_estimator(of_wines),
        "scatter": ComponentScatterDisplay.from_estimator(of_wines, wines),
        "traversal": StyleTraversalDisplay.from_estimator(gmvae, inverse_transform=lambda images: images.clip(0, 1)),
        "search": ComponentSearchDisplay.from_search(search, numbers),
        "hierarchy": ComponentHierarchyDisplay.from_estimator(vade, X),
    }


def load_wines() -> Any:
    """The wines as a frame, with a column of categories."""
    frame = load_wine(as_frame=True).data
    frame["color"] = np.where(frame.pop("color_intensity") > 5.0, "deep", "pale")
    return frame


def draw_reliability() -> ReliabilityDisplay:
    """Two models of overlapping normals, on samples that were not fitted."""
    rng = np.random.RandomState(0)
    (X, _), (X_new, y_new) = (MIXTURES["overlapping normals"](n, rng) for n in (1000, 5000))
    ax = None
    for name, estimator in (("VaDE", VaDEClustering), ("GMVAE", GMVAEClustering)):
        display = ReliabilityDisplay.from_estimator(
            fit(estimator(3, random_state=0), X), X_new, y_new, ax=ax, name=name
        )
        ax = display.ax_
    return display


def main(argv: list[str] | None = None) -> int:
    """Fit both models and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=FOLDER)
    arguments = parser.parse_args(argv)
    matplotlib.use("agg")
    X = load_digits().data / 16.0
    for name, display in draw(X, *fit_models(X)).items():
        display.figure_.savefig(arguments.out / f"display_{name}.png", dpi=DPI)
    return 0


if __name__ == "__main__":
    sys.exit(main())
