"""Methods of fitted mixtures: prediction, scores, sampling, embedding."""

from __future__ import annotations  # help() then shows MatrixLike, not what it stands for

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, ClusterMixin, DensityMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from skgmvae._conditioning import ConditionalQueries, sample_given, to_user
from skgmvae._criteria import DensityCriteria
from skgmvae._evaluation import generate_chunks, map_chunks
from skgmvae._likelihoods import warn_of_excluded
from skgmvae._onnx import write_onnx
from skgmvae._pickling import PickleSupport
from skgmvae._sampling import draw_components, to_labels
from skgmvae._sklearn_callbacks import CallbackSupport
from skgmvae._validation import check_samples
from skgmvae.data.arrays import Array, Floats, Integers, MatrixLike, Seed
from skgmvae.data.lazy import LazyRows
from skgmvae.models.density import estimate_log_density, estimate_log_posterior
from skgmvae.models.points import describe_chunks
from skgmvae.models.subcomponents import join_subcomponents
from skgmvae.runtime import check_device, isolated

Method: TypeAlias = Callable[[Any, torch.Tensor], torch.Tensor]  # of a model, for rows (n, D)
N_POSTERIOR_DRAWS = 8  # of q(c|x), where it has no closed form


class MixtureInference(
    ConditionalQueries,
    DensityCriteria,
    PickleSupport,
    CallbackSupport,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    ClusterMixin,
    DensityMixin,
    BaseEstimator,
):
    """Inference methods of the deep mixtures: deterministic, in float64 by default, without side effects."""

    net_: Any
    weights_: Floats
    n_features_in_: int
    device: str
    random_state: Seed
    _noise_seed: int

    @property
    def _n_features_out(self) -> int:
        width: int = self.net_.module_.embedding_dim
        return width

    def _check_samples(self, X: MatrixLike) -> Array | LazyRows:
        check_is_fitted(self)
        return check_samples(self, X, reset=False)

    def _over_chunks(self, method: Method, X: Array | LazyRows, n_copies: int = 1, values_per_row: int = 0) -> Array:
        return map_chunks(self.net_.module_, method, X, check_device(self.device), n_copies, values_per_row)

    def _log_posterior(self, X: Array | LazyRows, *, joins: bool = True) -> Floats:
        return self._over_chunks(self._assign(joins=joins), X, **self._density_chunks())

    def _most_probable(self, X: Array | LazyRows) -> Integers:
        """Component of the largest posterior probability, shape (N,)."""
        assign = self._assign()
        return self._over_chunks(lambda model, rows: assign(model, rows).argmax(1), X, **self._density_chunks())

    def _density_chunks(self) -> dict[str, Any]:
        return describe_chunks(self.net_.module_, self.n_features_in_)

    def _assign(self, *, joins: bool = True) -> Method:
        """Function that maps a model and samples to log p(c|x), of its subcomponents if they are not joined."""
        points, noise = self._points(), self._noise(N_POSTERIOR_DRAWS)

        def assign(model: Any, rows: torch.Tensor) -> torch.Tensor:
            found = estimate_log_posterior(model, rows, points, noise.to(next(model.parameters())))
            return join_subcomponents(found, model.subcomponents if joins else None)

        return assign

    def _noise(self, n_draws: int) -> torch.Tensor:
        """Standard normal noise, shared by all samples and calls."""
        shape = (n_draws, *self.net_.module_.noise_shape)
        return torch.from_numpy(np.random.RandomState(self._noise_seed).standard_normal(shape))

    @isolated()
    def predict(self, X: MatrixLike) -> Integers:
        """Predict the most probable component of each sample.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        labels : ndarray of shape (n_samples,), int64
        """
        return self._most_probable(self._check_samples(X))

    @isolated()
    def predict_proba(self, X: MatrixLike) -> Floats:
        """Posterior probability of each component, p(c|x), under the density of :meth:`score_samples`.

        It is estimated from the same points. With more than 100 features, q(c|x) is used where its most probable
        component is 8 nats ahead of the next, which is faster.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        responsibilities : ndarray of shape (n_samples, n_components)
            Each row sums to one.
        """
        return np.exp(self._log_posterior(self._check_samples(X)))

    @isolated()
    def score_samples(self, X: MatrixLike) -> Floats:
        """Estimate log p(x) by importance sampling, in nats and in the units of the data.

        Proposals are Laplace approximations of the posterior of the latent variables. Where the model is linear, the
        estimate is exact. Elsewhere its expectation is below log p(x), by about half its own variance
        (:func:`skgmvae.metrics.score_bias` measures it).
        The points are determined at ``fit`` and by a hash of the sample: it has the same score in every call, and
        errors average out over samples. Scores of models with different ``min_information`` or ``n_mc_samples`` are
        comparable. For Bernoulli features with values between 0 and 1, this is not a normalized density.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        log_prob : ndarray of shape (n_samples,)
            -inf, with a warning, for values that a likelihood excludes, such as zero in a log-normal column.
        """
        samples, points = self._check_samples(X), self._points()

        def log_prob(model: Any, rows: torch.Tensor) -> torch.Tensor:
            return estimate_log_density(model, rows, points)

        scores: Floats = self._over_chunks(log_prob, samples, **self._density_chunks())
        kinds = getattr(self, "likelihood_", "gaussian")  # models of earlier versions have none
        names, is_auto = getattr(self, "feature_names_in_", None), str(self.likelihood) == "auto"
        warn_of_excluded(kinds, samples, scores, names, is_auto=is_auto)
        return scores

    @isolated()
    def sample(
        self,
        n_samples: int = 1,
        *,
        component: int | None = None,
        given: Mapping[Any, Any] | None = None,
        expected: bool = False,
        random_state: Seed = None,
    ) -> tuple[Any, Integers]:
        """Draw samples from the fitted distribution.

        Parameters
        ----------
        n_samples : int, default=1
        component : int, optional
            Draw from this component alone.
        given : dict or Series, optional
            Values of some features, by name or index: components and other features are drawn given these.
        expected : bool, default=False
            Return E[x | z] instead of a draw of x given z (for images, samples without noise); of categories, the mode.
        random_state : int, RandomState or None, default=None
            None: the estimator's ``random_state``; if this is an integer, every call draws the same samples.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Sorted by component. A DataFrame if the estimator was fitted to one with columns of categories; its columns
            of integers are then rounded, unless ``expected``.
        y : ndarray of shape (n_samples,), int64
            The component of each sample.

        Raises
        ------
        ValueError
            If ``n_samples`` is below one, ``component`` is not one of the components, or ``given`` names no feature.
        """
        if given is not None and len(given) > 0:
            samples, labels = sample_given(self, given, n_samples, component, random_state, expected=expected)
        else:
            components, seed = draw_components(self, n_samples, component, random_state)
            samples, labels = self._generate(components, seed, expected=expected), to_labels(self, components)
        return to_user(self, samples, is_drawn=not expected), labels

    def _generate(self, components: Integers, seed: int, *, expected: bool, **latents: Floats) -> Floats:
        """Draws of x | c, or their means E[x|z], one per component of the model, with fixed ``latents``."""
        samples = np.empty((len(components), self.n_features_in_))
        for part, drawn in generate_chunks(self.net_.module_, components, seed, check_device(self.device), **latents):
            samples[part] = drawn[1 if expected else 0].numpy(force=True)
        return samples

    @isolated()
    def transform(self, X: MatrixLike) -> Floats:
        """Embed the samples: the mean of q(z|x).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        embedding : ndarray of shape (n_samples, n_features_out)
        """
        return self._over_chunks(lambda model, rows: model.embed(rows), self._check_samples(X))

    @isolated()
    def reconstruct(self, X: MatrixLike) -> Any:
        """Reconstruct the samples: E[x | z] at the embedding, in the units of the data.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        X_reconstructed : ndarray of shape (n_samples, n_features)
            A DataFrame if the estimator was fitted to one with columns of categories.
        """
        return to_user(self, self._over_chunks(lambda model, rows: model.reconstruct(rows), self._check_samples(X)), X)

    @isolated()
    def to_onnx(self, path: str | os.PathLike[str], outputs: Sequence[str] = ("responsibilities", "transform")) -> None:
        """Write an ONNX graph, for programs without Python or PyTorch.

        The graph has the input ``X``, float32 of shape (n_samples, n_features), and one float32 output per name. It
        needs the packages of ``pip install 'skgmvae[onnx]'``.

        Parameters
        ----------
        path : str or path-like
            An existing file is replaced.
        outputs : sequence of {'responsibilities', 'transform', 'reconstruct'}, \
                default=('responsibilities', 'transform')
            'transform' and 'reconstruct' are those of the methods. 'responsibilities' are q(c|x), the encoder's
            approximation of the posterior that ``predict_proba`` estimates; the estimate itself, and
            ``score_samples``, involve a search that a graph cannot contain.

        Raises
        ------
        ValueError
            If ``outputs`` contains another name.
        ImportError
            If onnxscript is not installed.
        """
        check_is_fitted(self)
        write_onnx(self.net_.module_, self._noise(N_POSTERIOR_DRAWS), self.n_features_in_, path, outputs)
