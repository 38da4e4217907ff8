"""Pictures of docs/displays.md, from scikit-learn's digits: python benchmarks/displays.py [--out docs/images]."""

import argparse
import warnings
from pathlib import Path

import matplotlib
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

from skgmvae import GMVAEClustering, VaDEClustering
from skgmvae.plotting import (
    ComponentSamplesDisplay,
    ComponentSizesDisplay,
    ConfidenceDisplay,
    HistoryDisplay,
    LatentSpaceDisplay,
    StyleTraversalDisplay,
)

FOLDER = Path(__file__).parents[1] / "docs" / "images"
DPI = 70  # small files


def fit_models(X):
    """One model of each kind that the pictures need; a few seconds each."""
    settings = {"pretrain_iter": 30, "max_iter": 30, "random_state": 0}
    vade = VaDEClustering(10, min_information=1.0, **settings).fit(X)
    gmvae = GMVAEClustering(10, min_information=1.0, **settings).fit(X)
    return vade, gmvae


def draw(X, vade, gmvae):
    """Name to display."""
    return {
        "latent_space": LatentSpaceDisplay.from_estimator(vade, X),
        "confidence": ConfidenceDisplay.from_estimator(vade, X),
        "sizes": ComponentSizesDisplay.from_estimator(vade),
        "history": HistoryDisplay.from_estimator(gmvae),
        "samples": ComponentSamplesDisplay.from_estimator(vade, random_state=0),
        "traversal": StyleTraversalDisplay.from_estimator(gmvae),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    matplotlib.use("agg")
    warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is fixed
    X = load_digits().data
    for name, display in draw(X, *fit_models(X)).items():
        display.figure_.savefig(arguments.out / f"display_{name}.png", dpi=DPI)


if __name__ == "__main__":
    main()
