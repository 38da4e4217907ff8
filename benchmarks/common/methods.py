"""The methods of the benchmarks, by name.

Those of ClustPy, UMAP and EVoC need clustpy, umap-learn and evoc, which are imported when one of them is made.
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.stats import skew
from sklearn.base import BaseEstimator
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler

from benchmarks.common import labelings
from benchmarks.common.data import Data
from skgmvae import GMVAEClustering, VaDEClustering, VAEEMClustering

ESTIMATORS: dict[str, Any] = {
    "gmvae": GMVAEClustering,
    "vade": VaDEClustering,
    "vaeem": VAEEMClustering,
}
MAX_GMM_FEATURES = 100


def make(
    name: str,
    n_components: int,
    seed: Any,
    *,
    n_features: int,
    image_shape: tuple[int, int, int] | None = None,
    params: dict[str, Any] | None = None,
) -> Any:
    """An unfitted method.

    Parameters
    ----------
    name : str
        One of ``NAMES``.
    n_components : int
    seed : int or RandomState
    n_features : int
        Images of more than ``MAX_GMM_FEATURES`` pixels get the settings of ``for_images``.
    image_shape : (C, H, W), optional
        If the samples are images; passed to the estimators of this package.
    params : dict, optional
        Set on top.

    Returns
    -------
    estimator
    """
    if name not in NAMES:
        raise ValueError(f"unknown model {name!r}; there are {', '.join(NAMES)}")
    if name in ESTIMATORS:
        estimator = ESTIMATORS[name]
        make_one = estimator.for_images if n_features > MAX_GMM_FEATURES else estimator
        method = make_one(n_components, image_shape=image_shape, random_state=seed)
    else:
        method = {**BASELINES, **PEERS}[name](n_components, seed, n_features)
    return method.set_params(**(params or {}))


def make_for(
    name: str, data: Data, seed: Any, *, n_components: int | None = None, params: dict[str, Any] | None = None
) -> Any:
    """The same for the samples of a data set; None components: as many as it has classes."""
    shapes = {"n_features": data.train.shape[1], "image_shape": data.image_shape}
    return make(name, n_components or data.n_classes, seed, **shapes, params=params)


def fit(model: Any, X: Any) -> Any:
    """The fitted model, converged or not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(X)


def take_logarithms(X: np.ndarray) -> np.ndarray:
    """Logarithms of positive, skewed columns, as a user would take them before a method that does not."""
    are_skewed = (X.min(0) > 0.0) & (skew(X) > 1.0)
    return np.where(are_skewed, np.log(np.where(are_skewed, X, 1.0)), X)


def phase_seconds(model: Any) -> dict[str, float] | None:
    """Seconds of each phase of a fit; None for methods of other packages."""
    phases = getattr(model, "phase_seconds_", None)
    return phases and {"initialization" if name == "start" else name: value for name, value in phases.items()}


def _make_kmeans(n_components: int, seed: Any, n_features: int) -> BaseEstimator:
    return KMeans(n_components, n_init=10, random_state=seed)


def _make_gmm(n_components: int, seed: Any, n_features: int, mixture: Any = GaussianMixture) -> BaseEstimator:
    if n_features > MAX_GMM_FEATURES:
        raise ValueError(f"a full {mixture.__name__} of {n_features} features is unaffordable; take pca+gmm")
    return mixture(n_components=n_components, n_init=5, random_state=seed)


def _make_bayesian_gmm(n_components: int, seed: Any, n_features: int) -> BaseEstimator:
    return _make_gmm(n_components, seed, n_features, BayesianGaussianMixture)


def _make_pca_gmm(n_components: int, seed: Any, n_features: int) -> BaseEstimator:
    gmm = GaussianMixture(n_components, n_init=5, random_state=seed)
    return Pipeline([("pca", PCA(20, random_state=seed)), ("gmm", gmm)])


def _make_clustpy(name: str, n_components: int, seed: Any) -> BaseEstimator:
    from clustpy import deep

    # at its own defaults
    return getattr(deep, name)(n_components, random_state=seed)


class ToUnitInterval(MinMaxScaler):
    """Each feature scaled to [0, 1], where a value of the table lies outside."""

    def fit(self, X: Any, y: Any = None) -> "ToUnitInterval":
        """Learn the ranges."""
        super().fit(X)
        if X.min() >= 0.0 and X.max() <= 1.0:
            self.scale_[:], self.min_[:] = 1.0, 0.0
        return self


def _make_clustpy_vade(n_components: int, seed: Any, n_features: int) -> BaseEstimator:
    # its default loss, the binary cross-entropy, takes no other values, not even by a rounding
    return Pipeline([("scale", ToUnitInterval(clip=True)), ("vade", _make_clustpy("VaDE", n_components, seed))])


def _make_clustpy_dec(n_components: int, seed: Any, n_features: int) -> BaseEstimator:
    return _make_clustpy("DEC", n_components, seed)


def _make_clustpy_dcn(n_components: int, seed: Any, n_features: int) -> BaseEstimator:
    return _make_clustpy("DCN", n_components, seed)


def _make_umap_gmm(n_components: int, seed: Any, n_features: int) -> BaseEstimator:
    mixture = labelings.make_mixture_of_umap(n_components, seed)
    return Pipeline([("umap", labelings.make_umap(seed)), ("gmm", mixture)])


def _make_umap_hdbscan(n_components: int, seed: Any, n_features: int) -> BaseEstimator:
    clusters = labelings.LabelsOfNearest(labelings.fit_hdbscan, n_components, seed)
    return Pipeline([("umap", labelings.make_umap(seed)), ("hdbscan", clusters)])


def _label(find_labels: labelings.FindLabels) -> Callable[[int, Any, int], BaseEstimator]:
    return lambda n_components, seed, n_features: labelings.LabelsOfNearest(find_labels, n_components, seed)


BASELINES = {"kmeans": _make_kmeans, "gmm": _make_gmm, "bayesian gmm": _make_bayesian_gmm, "pca+gmm": _make_pca_gmm}
PEERS: dict[str, Callable[[int, Any, int], BaseEstimator]] = {
    "clustpy-vade": _make_clustpy_vade,
    "clustpy-dec": _make_clustpy_dec,
    "clustpy-dcn": _make_clustpy_dcn,
    "umap+gmm": _make_umap_gmm,
    "umap+hdbscan": _make_umap_hdbscan,
    "evoc": _label(labelings.fit_evoc),
    "genie": _label(labelings.fit_genie),
    "hdbscan": _label(labelings.fit_hdbscan),
    "spectral": _label(labelings.fit_spectral),
}
NAMES = (*ESTIMATORS, *BASELINES, *PEERS)
