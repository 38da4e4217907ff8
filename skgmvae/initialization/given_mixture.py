"""Initial responsibilities from the parameters of a Gaussian mixture of the inputs that the user gives."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from skgmvae.data.frames import name_feature

__all__ = ["MixtureInit", "fit_mixture_init"]

Floats: TypeAlias = NDArray[np.float64]
REG_COVAR, MAX_ITER = 1e-6, 100


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
    """A mixture of the inputs with the given parameters; if some of the three are missing, EM goes on from the others.

    Raises
    ------
    ValueError
        As GaussianMixture does, if a shape or a value does not fit.
    """
    given = {"weights_init": init.weights, "means_init": init.means, "precisions_init": init.precisions}
    is_whole = all(part is not None for part in given.values())
    variances = X.var(0)
    # relative to the units of the samples
    reg_covar = REG_COVAR * float(variances[variances > 0.0].min(initial=1.0))
    options = {"covariance_type": init.covariance_type, "reg_covar": reg_covar, "random_state": random_state}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        # a single step, which checks what is given, or all
        mixture = GaussianMixture(n_components, max_iter=1 if is_whole else MAX_ITER, **given, **options).fit(X)
    if is_whole:
        is_matrix = init.covariance_type in ("full", "tied")
        mixture.weights_, mixture.means_ = np.asarray(init.weights), np.asarray(init.means, np.float64)
        mixture.precisions_cholesky_ = np.linalg.cholesky(init.precisions) if is_matrix else np.sqrt(init.precisions)
    return mixture
