"""Numbers that describe a fitted density as a whole: score, information criteria, moments of the components."""

from __future__ import annotations  # help() then shows MatrixLike, not what it stands for

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skgmvae._component_moments import component_covariances
from skgmvae._component_table import describe_components
from skgmvae._warnings import warn
from skgmvae.data.arrays import Array, Floats, MatrixLike
from skgmvae.data.frames import name_feature
from skgmvae.initialization.mixture import count_covariances
from skgmvae.models.subcomponents import count_clusters
from skgmvae.runtime import check_device, isolated

__all__ = ["DensityCriteria"]

# parts of the models that only infer, and are no part of the density
ENCODERS = ("body.", "head.", "linear.encoder.", "style_head.")
TOO_MANY = (
    "The density has {p} parameters and X only {n} values: {name} mostly counts parameters. Compare models by score on "
    "held-out samples instead."
)


class DensityCriteria:
    """Methods that need nothing of an estimator but its scores and its net."""

    net_: Any
    score_samples: Any
    n_features_in_: int
    best_iter_: int
    device: str

    @isolated()
    def describe(self) -> dict[str, Array]:
        """Describe the components: for each feature its typical value, and how far it is from the other components.

        The columns are ready for ``pandas.DataFrame``, and sorted by component and size of the difference.

        Returns
        -------
        table : dict of str to ndarray of shape (n_components * n_features,)
            ``component``, ``feature`` and ``likelihood``; ``typical``: the mean in the component, or the most probable
            category; ``spread``: the standard deviation in the component, or the probability of that category;
            ``rest``: the mean, or the probability of that category, in the other components together; ``difference``
            between the component and the rest, in standard deviations within components.
        """
        check_is_fitted(self)
        return describe_components(self)

    def score(self, X: MatrixLike, y: Any = None) -> float:
        """Mean of :meth:`score_samples` over the samples; higher is better.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : Ignored

        Returns
        -------
        log_likelihood : float
            In nats per sample.
        """
        return float(self.score_samples(X).mean())

    def bic(self, X: MatrixLike) -> float:
        """Bayesian information criterion, −2 log-likelihood + p log n; lower is better.

        p counts the parameters of the density, without those of the encoder. If the model is still its initial Gaussian
        mixture, p counts those of the mixture. This is a heuristic, since not all parameters of networks are effective.
        Prefer the held-out :meth:`score`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        bic : float

        Warns
        -----
        UserWarning
            If the density has more parameters than ``X`` has values.
        """
        scores = self.score_samples(X)
        return float(-2.0 * scores.sum() + self._count_parameters(len(scores), "bic") * math.log(len(scores)))

    def aic(self, X: MatrixLike) -> float:
        """Akaike information criterion, −2 log-likelihood + 2 p; lower is better. See :meth:`bic`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        aic : float
        """
        scores = self.score_samples(X)
        return float(-2.0 * scores.sum() + 2.0 * self._count_parameters(len(scores), "aic"))

    def _count_parameters(self, n_samples: int, name: str) -> int:
        """Number of parameters of the density; the K mixing weights count as K − 1."""
        model, D = self.net_.module_, self.n_features_in_
        n_weights = len(model.weight_logits) - (1 if model.weight_logits.requires_grad else count_clusters(model))
        if model.background is not None and self.best_iter_ == 0:
            K = int(model.n_components)
            kind = str(getattr(model, "covariance_type", "full"))
            n_factors = getattr(model, "style_dim", D)  # of GMVAE's covariances
            return n_weights + K * D + count_covariances(kind, K, D, n_factors)
        of_density = [
            parameter.numel()
            for part, parameter in model.named_parameters()
            if parameter is not model.weight_logits
            and parameter.requires_grad
            and not part.removeprefix("autoencoder.").startswith(ENCODERS)
        ]
        p = int(sum(of_density)) + n_weights
        if p >= n_samples * D:
            warn(TOO_MANY.format(p=p, n=n_samples * D, name=name))
        return p

    @property
    @isolated()
    def covariances_(self) -> Floats:
        """Cov[x | c] in the units of the data, (n_components, n_features, n_features)."""
        if "net_" not in vars(self):
            raise AttributeError("the estimator has no covariances_ before it is fitted; call fit first")
        return component_covariances(self.net_.module_, self.n_features_in_, check_device(self.device))

    @property
    def precisions_(self) -> Floats:
        """Inverses of ``covariances_``."""
        return _invert(np.linalg.inv, self)

    @property
    def precisions_cholesky_(self) -> Floats:
        """Upper-triangular factors U of the precisions U Uᵀ, as GaussianMixture's."""
        return _invert(lambda covariances: np.linalg.inv(np.linalg.cholesky(covariances)), self).transpose(0, 2, 1)


def _invert(invert: Callable[[Floats], Array], estimator: Any) -> Floats:
    """A function of the covariances (K, D, D), with an error that names columns without variance."""
    covariances = estimator.covariances_
    try:
        return np.asarray(invert(covariances), np.float64)
    except np.linalg.LinAlgError as error:
        names = getattr(estimator, "feature_names_in_", None)
        constant = np.flatnonzero((np.diagonal(covariances, axis1=1, axis2=2) == 0.0).any(0)).tolist()
        columns = ", ".join(name_feature(d, names) for d in constant)
        remedy = f"; drop columns that are constant: {columns}" if constant else ""
        raise np.linalg.LinAlgError(f"covariances_ has no inverse{remedy}") from error
