"""A meta-estimator whose methods are those of the estimator that it has fitted."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Self, TypeVar

from sklearn.base import BaseEstimator, MetaEstimatorMixin
from sklearn.utils import get_tags
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from skgmvae.data.arrays import Array, Floats, Integers, MatrixLike

__all__ = ["DelegatesToBest"]

Method = TypeVar("Method", bound=Callable[..., Any])


def _if_it_has(name: str) -> Callable[[Method], Method]:
    """A method that is there if the estimator that answers has it; the error is that of the estimator if not."""

    def check(search: DelegatesToBest) -> bool:
        if search.refit is False:
            raise AttributeError(f"{name} needs an estimator fitted to all samples; set refit to other than False")
        getattr(getattr(search, "best_estimator_", search.estimator), name)
        return True

    decorate: Callable[[Method], Method] = available_if(check)
    return decorate


class DelegatesToBest(MetaEstimatorMixin, BaseEstimator):
    """Base class of a search: methods of ``best_estimator_``, tags and routing of ``estimator``."""

    estimator: Any
    cv: Any
    refit: Any
    best_estimator_: Any

    def _best(self) -> Any:
        check_is_fitted(self)
        return self.best_estimator_

    @_if_it_has("predict")
    def predict(self, X: MatrixLike) -> Integers:
        """Labels by ``best_estimator_``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        """
        labels: Integers = self._best().predict(X)
        return labels

    @abstractmethod
    def fit(self, X: MatrixLike, y: Any = None, **params: Any) -> Self:
        """Search, and fit ``best_estimator_``."""

    def fit_predict(self, X: MatrixLike, y: Any = None, **params: Any) -> Integers:
        """Fit, and return the labels of the training samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,), optional
        **params : dict
            As those of ``fit``.
        """
        labels: Integers = self.fit(X, y, **params).predict(X)
        return labels

    @_if_it_has("predict_proba")
    def predict_proba(self, X: MatrixLike) -> Floats:
        """Responsibilities by ``best_estimator_``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        """
        responsibilities: Floats = self._best().predict_proba(X)
        return responsibilities

    @_if_it_has("score_samples")
    def score_samples(self, X: MatrixLike) -> Floats:
        """Log-likelihood of each sample by ``best_estimator_``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        """
        log_prob: Floats = self._best().score_samples(X)
        return log_prob

    @_if_it_has("score")
    def score(self, X: MatrixLike, y: Any = None) -> float:
        """Mean log-likelihood by ``best_estimator_``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : Ignored
        """
        return float(self._best().score(X, y))

    @_if_it_has("transform")
    def transform(self, X: MatrixLike) -> Array:
        """Embedding by ``best_estimator_``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        """
        embedding: Array = self._best().transform(X)
        return embedding

    @_if_it_has("transform")
    def fit_transform(self, X: MatrixLike, y: Any = None, **params: Any) -> Array:
        """Fit, and return the embedding of the training samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,), optional
        **params : dict
            As those of ``fit``.
        """
        embedding: Array = self.fit(X, y, **params).transform(X)
        return embedding

    @_if_it_has("get_feature_names_out")
    def get_feature_names_out(self, input_features: Any = None) -> Array:
        """Names of the columns of ``transform``.

        Parameters
        ----------
        input_features : array-like of str, optional
        """
        names: Array = self._best().get_feature_names_out(input_features)
        return names

    @_if_it_has("sample")
    def sample(self, n_samples: int = 1, **options: Any) -> tuple[Floats, Integers]:
        """Draw samples from ``best_estimator_``.

        Parameters
        ----------
        n_samples : int, default=1
        **options : dict
            Of the method of the estimator.
        """
        drawn: tuple[Floats, Integers] = self._best().sample(n_samples, **options)
        return drawn

    def set_output(self, *, transform: Any = None) -> Self:
        """Container of the output of ``transform``, as of any transformer.

        Parameters
        ----------
        transform : {'default', 'pandas', 'polars'}, optional
        """
        for estimator in (self.estimator, *([self.best_estimator_] if hasattr(self, "best_estimator_") else [])):
            if hasattr(estimator, "set_output"):  # else there is no output to put into a container
                estimator.set_output(transform=transform)
        return self

    @property
    def labels_(self) -> Integers:
        """Labels of the training samples."""
        value: Integers = self._delegated("labels_")
        return value

    @property
    def n_features_in_(self) -> int:
        """Number of features seen in ``fit``."""
        value: int = self._delegated("n_features_in_")
        return value

    @property
    def feature_names_in_(self) -> Array:
        """Names of the features seen in ``fit``, if there were any."""
        value: Array = self._delegated("feature_names_in_")
        return value

    def _delegated(self, name: str) -> Any:
        if "best_estimator_" not in vars(self):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r} before it has fitted an estimator")
        best = self.best_estimator_
        return getattr(best if hasattr(best, name) else best[-1], name)

    def __sklearn_tags__(self) -> Any:
        tags, own = super().__sklearn_tags__(), get_tags(self.estimator)
        tags.estimator_type = own.estimator_type
        tags.transformer_tags = own.transformer_tags
        tags.non_deterministic = own.non_deterministic
        tags.input_tags.allow_nan = own.input_tags.allow_nan
        return tags

    def get_metadata_routing(self) -> MetadataRouter:
        """Routing of the parameters of ``fit``: to the estimator, and to the splitter."""
        router = MetadataRouter(owner=self)
        to_fit = MethodMapping().add(caller="fit", callee="fit")
        router.add(estimator=self.estimator, method_mapping=to_fit)
        return router.add(splitter=self.cv, method_mapping=MethodMapping().add(caller="fit", callee="split"))
