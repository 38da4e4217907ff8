"""A user's script that has to pass ``mypy --strict``; the test suite does not run it."""

from pathlib import Path
from typing import Any, assert_type

import numpy as np
import torch
from numpy.typing import NDArray

from skgmvae import GMVAEClustering, VaDEClustering, VAEEMClustering
from skgmvae.datasets import ScaledRows, load_idx, make_circle_arcs
from skgmvae.metrics import clustering_accuracy
from skgmvae.models import ELBOTerms, VaDE
from skgmvae.plotting import (
    ComponentSamplesDisplay,
    ComponentSizesDisplay,
    ConfidenceDisplay,
    HistoryDisplay,
    LatentSpaceDisplay,
    StyleTraversalDisplay,
)


def cluster(X: np.ndarray, y: np.ndarray) -> dict[str, float]:
    vade = VaDEClustering(5, covariance_type="diag", hidden_layer_sizes=(64, 64), random_state=0).fit(X)
    gmvae: GMVAEClustering = GMVAEClustering(5, style_dim=3, image_shape=None, memory="cache").fit(X)
    vaeem = VAEEMClustering(n_components=5, m_step="weighted", callbacks=[]).partial_fit(X)
    labels: np.ndarray = vade.predict(X)
    probabilities: np.ndarray = gmvae.predict_proba(X) + vaeem.predict_proba(X)
    drawn, components = vade.sample(10, component=1, random_state=0)
    held: np.ndarray = gmvae.sample(10, w=0.0)[0] + gmvae.traverse([[0.0, 0.0, 0.0]], component=0)
    bounds: list[float] = vade.lower_bounds_ + vaeem.history_["lower_bound"]
    centers: np.ndarray = vade.latent_means_ @ np.eye(2)
    print(labels.shape, probabilities.shape, drawn.shape, components.dtype, held.size, bounds[-1], centers)
    print(vade.transform(X).shape, vaeem.reconstruct(X).shape, vade.fit_predict(X).max(), vaeem.reseeded_)
    accuracy: float = clustering_accuracy(y, labels)
    return {"score": vade.score(X), "bic": vaeem.bic(X), "aic": gmvae.aic(X), "accuracy": accuracy}


def check_types(vade: VaDEClustering, gmvae: GMVAEClustering, X: list[list[float]]) -> None:
    assert_type(vade.fit(X), VaDEClustering)
    assert_type(vade.predict(X), NDArray[np.int64])
    assert_type(vade.labels_, NDArray[np.int64])
    assert_type(vade.predict_proba(X), NDArray[np.float64])
    assert_type(vade.score_samples(X), NDArray[np.float64])
    assert_type(vade.latent_covariances_, NDArray[np.float64])
    assert_type(gmvae.sample(3, w=[0.0, 1.0, 0.0]), tuple[Any, NDArray[np.int64]])  # samples may be a frame
    assert_type(VaDEClustering.for_images(10), VaDEClustering)
    assert_type(load_idx("mnist")[1], NDArray[np.int64])
    vade.fit(ScaledRows(np.zeros((100, 4), np.uint8))).fit(torch.zeros(100, 4)).fit(np.memmap("rows"))


def step(module: VaDE, x: torch.Tensor) -> torch.Tensor:
    return -assert_type(module(x), ELBOTerms).log_likelihood.mean()


def keep(model: VaDEClustering, path: Path) -> VaDEClustering:
    model.save(path)
    return VaDEClustering.load(path)


def draw(model: GMVAEClustering, X: np.ndarray) -> None:
    ComponentSamplesDisplay.from_estimator(model, n_samples=5, image_shape=(1, 8, 8)).figure_.savefig("samples.png")
    StyleTraversalDisplay.from_estimator(model, direction=1, values=[-1.0, 0.0, 1.0]).plot(cmap="gray")
    LatentSpaceDisplay.from_estimator(model, X).ax_.set_title("latent space")
    ConfidenceDisplay.from_estimator(model, X, bounds=(0.5, 0.9)).shares_.sum()
    ComponentSizesDisplay.from_estimator(model).figure_.savefig("sizes.png")
    HistoryDisplay.from_estimator(model).axes_[0].set_title("training")


if __name__ == "__main__":
    rows, classes = make_circle_arcs(500, random_state=0)
    print(cluster(rows, classes))
