"""A user's script that has to pass ``mypy --strict``; the test suite does not run it."""

from pathlib import Path

import numpy as np

from skgmvae import GMVAEClustering, VaDEClustering, VAEEMClustering
from skgmvae.datasets import make_circle_arcs
from skgmvae.metrics import clustering_accuracy
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
