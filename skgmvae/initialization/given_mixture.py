"""Initial responsibilities from the parameters of a Gaussian mixture of the inputs that the user gives."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import pairwise_distances_argmin
from sklearn.mixture import GaussianMixture

from skgmvae.data.frames import name_feature

__all__ = ["MixtureInit", "fit_mixture_init"]

Floats: TypeAlias = NDArray[np.float64]
REG_COVAR = 1e-6


@dataclass(frozen=True)
class MixtureInit:
    """Parameters of a Gaussian mixture of the inputs, as :class:`~sklearn.mixture.GaussianMixture` takes them.

    Attributes
    ----------
    weights : array-like of shape (K,), optional
    means : array-like of shape (K, D), optional
    precisions : array-like, optional
        Shaped by ``covariance_type``.
    covariance_type : str
    """

    weights: Any = None
    means: Any = None
    precisions: Any = None
    covariance_type: str = "full"

    @property
    def is_given(self) -> bool:
        """Whether there is any of the three."""
        return any(part is not None for part in (self.weights, self.means, self.precisions))

    def check(self, n_components: int, n_features: int) -> None:
        """Raise unless the shapes are those of K components and D features, and the values finite."""
        K, D = n_components, n_features
        of_precisions = {"full": (K, D, D), "tied": (D, D), "diag": (K, D), "spherical": (K,)}[self.covariance_type]
        for name, part, shape in (
            ("weights_init", self.weights, (K,)),
            ("means_init", self.means, (K, D)),
            ("precisions_init", self.precisions, of_precisions),
        ):
            if part is None:
                continue
            if np.shape(part) != shape:
                raise ValueError(f"{name} should have the shape of {shape}, but got {np.shape(part)}")
            if not np.isfinite(np.asarray(part, np.float64)).all():
                raise ValueError(f"{name} must contain finite numbers; got NaN or infinity")

    def check_codes(self, n_levels: Mapping[int, int], names: Sequence[Any] | None) -> None:
        """Raise unless the means of categorical features, by their numbers of categories, are codes of categories."""
        if self.means is None:
            return
        means = np.asarray(self.means, np.float64)
        for d, n in n_levels.items():
            codes = means[:, d]
            wrong = codes[(codes != np.round(codes)) | (codes < 0) | (codes >= n)]
            if len(wrong):
                raise ValueError(
                    f"means_init of shape {means.shape} has {wrong[0]:g} in column {d}, but feature "
                    f"{name_feature(d, names)} is categorical: its means are whole numbers from 0 to {n - 1}, the "
                    "indices of the sorted categories"
                )


def fit_mixture_init(
    init: MixtureInit, X: Floats, n_components: int, random_state: np.random.RandomState
) -> GaussianMixture:
    """A mixture of the inputs with the given parameters; the others follow from the samples nearest to each mean.

    Means that are not given are those of k-means and one step of EM.

    Raises
    ------
    ValueError
        As GaussianMixture does, if a shape or a value does not fit.
    """
    K = n_components
    given = {"weights_init": init.weights, "means_init": init.means, "precisions_init": init.precisions}
    options = {"covariance_type": init.covariance_type, "random_state": random_state}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a single step, which checks what is given
        mixture = GaussianMixture(K, max_iter=1, **given, **options).fit(X)
    if init.means is not None:
        mixture.means_ = np.asarray(init.means, np.float64)
    scale = np.maximum(X.std(0), np.finfo(np.float64).tiny)
    nearest = pairwise_distances_argmin(X / scale, mixture.means_ / scale)
    mixture.weights_ = np.asarray(init.weights) if init.weights is not None else _smoothed_shares(nearest, K)
    residuals = X - mixture.means_[nearest]
    covariance = residuals.T @ residuals / len(X) + REG_COVAR * np.diag(
        np.maximum(scale**2, np.square(residuals).mean(0))
    )
    precisions = init.precisions
    if precisions is None:
        precisions = _shape_precisions(covariance, K, init.covariance_type)
    is_matrix = init.covariance_type in ("full", "tied")
    mixture.precisions_cholesky_ = np.linalg.cholesky(precisions) if is_matrix else np.sqrt(precisions)
    return mixture


def _smoothed_shares(labels: NDArray[np.int64], n_components: int) -> Floats:
    """Shares of the labels, none of them zero."""
    shares: Floats = (np.bincount(labels, minlength=n_components) + 1.0) / (len(labels) + n_components)
    return shares


def _shape_precisions(covariance: Floats, n_components: int, covariance_type: str) -> Floats:
    """The precision of one covariance (D, D) for every component, as GaussianMixture shapes it."""
    K, D = n_components, len(covariance)
    if covariance_type == "spherical":
        return np.full(K, 1.0 / covariance.diagonal().mean())
    if covariance_type == "diag":
        return np.tile(1.0 / covariance.diagonal(), (K, 1))
    precision = np.asarray(np.linalg.inv(covariance), np.float64)
    return precision if covariance_type == "tied" else np.broadcast_to(precision, (K, D, D)).copy()
