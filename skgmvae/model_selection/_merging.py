"""The hierarchy of the components of a fitted mixture, by the density between them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from skgmvae.data.arrays import Floats, Integers, MatrixLike
from skgmvae.data.frames import find_library, get_column, is_frame
from skgmvae.model_selection._density import Density
from skgmvae.model_selection._partitions import find_edges
from skgmvae.model_selection._separation import modes_and_saddles

__all__ = ["ComponentHierarchy", "merge_components"]

DISCRETE = ("categorical", "poisson", "negative_binomial")  # likelihoods


class ComponentHierarchy(NamedTuple):
    """Which components of a mixture merge, and at which separation.

    Attributes
    ----------
    linkage : ndarray of shape (n_components - 1, 4)
        As SciPy's: the two clusters that merge, the separation between them in nats, and the number of components of
        the new cluster; components are numbered from 0, clusters from ``n_components``.

    Examples
    --------
    >>> from skgmvae.model_selection import ComponentHierarchy
    >>> hierarchy = ComponentHierarchy([[0, 2, 0.3, 2], [1, 3, 4.0, 3]])
    >>> hierarchy.cut(2)
    array([0, 1, 0])
    """

    linkage: Floats

    def cut(self, n_clusters: int) -> Integers:
        """Cluster of each component after merging down to ``n_clusters``.

        ``hierarchy.cut(n)[model.predict(X)]`` are the labels of the samples.

        Parameters
        ----------
        n_clusters : int
            Between 1 and the number of components.

        Returns
        -------
        ndarray of shape (n_components,)
            Numbered in the order of the components.

        Raises
        ------
        ValueError
            If there are fewer components.
        """
        K = len(self.linkage) + 1
        if not 1 <= n_clusters <= K:
            raise ValueError(f"n_clusters must be between 1 and {K}, the number of components; got {n_clusters!r}")
        merged = np.arange(K)
        for step, (a, b, *_) in enumerate(np.asarray(self.linkage)[: K - n_clusters]):
            merged[(merged == a) | (merged == b)] = K + step
        _, first, inverse = np.unique(merged, return_index=True, return_inverse=True)
        return np.asarray(np.argsort(np.argsort(first))[inverse], dtype=np.int64)


def merge_components(estimator: Any, X: MatrixLike) -> ComponentHierarchy:
    """Merge the components of a fitted mixture step by step, always the two with the smallest separation.

    If K was too large, several components share a mode of the density. The separation of two clusters is the log-ratio
    of the density at the lower of their modes to that at the saddle between them, on the highest path between
    neighboring samples. No further fit is needed: :meth:`ComponentHierarchy.cut` gives any smaller number of clusters.

    Parameters
    ----------
    estimator : estimator
        Fitted, with ``predict`` and ``score_samples``; may be a Pipeline.
    X : array-like of shape (n_samples, n_features)
        Samples, such as those of the training, at least two; numbers, none of them missing: the density is needed
        halfway between samples.

    Returns
    -------
    ComponentHierarchy
        Components without samples merge first, at a separation of zero.

    Raises
    ------
    ValueError
        If X has categories, booleans or missing values, or the model has categories or counts.

    Examples
    --------
    >>> from sklearn.datasets import make_blobs
    >>> from sklearn.mixture import GaussianMixture
    >>> from skgmvae.model_selection import merge_components
    >>> X, y = make_blobs(300, centers=[[0, 0], [9, 0], [0, 9]], random_state=0)
    >>> model = GaussianMixture(6, random_state=0).fit(X)
    >>> labels = merge_components(model, X).cut(3)[model.predict(X)]
    >>> len(set(zip(labels.tolist(), y.tolist())))
    3
    """
    check_is_fitted(estimator)
    _check_continuous(estimator)
    rows, labels = _check_numbers(X), np.asarray(estimator.predict(X))
    K = int(estimator.predict_proba(_like(X, rows[:1])).shape[1])
    used, dense = np.unique(labels, return_inverse=True)
    scale = rows.std(0)
    edges = find_edges((rows - rows.mean(0)) / np.where(scale > 0.0, scale, 1.0))
    edges = edges[dense[edges[:, 0]] != dense[edges[:, 1]]]  # scores are costly
    middles = estimator.score_samples(_like(X, rows[edges].mean(1))) if len(edges) else np.zeros(0)
    none = np.zeros((len(rows), 0))
    density = Density(none, estimator.score_samples(X), middles, none[0], none[:0])
    modes, saddles = modes_and_saddles(dense, edges, density)
    return ComponentHierarchy(_link(modes, saddles, used, K))


def _check_continuous(estimator: Any) -> None:
    """Raise if the density of a fitted model, or of the last step of a Pipeline, is one of whole numbers or codes."""
    model = estimator[-1] if isinstance(estimator, Pipeline) else estimator
    found = sorted(set(np.atleast_1d(getattr(model, "likelihood_", ()))) & set(DISCRETE))
    if found:
        raise ValueError(
            f"merge_components needs continuous features, but the likelihood of some is {' or '.join(found)}: there is "
            "no density halfway between two samples"
        )


def _check_numbers(X: Any) -> Floats:
    """The samples as an array of numbers (N, D)."""
    if is_frame(X):
        kinds = [np.asarray(get_column(X, d)).dtype.kind for d in range(X.shape[1])]
        others = [name for name, kind in zip(X.columns, kinds, strict=True) if kind not in "iuf"]
        if others:
            raise ValueError(
                f"merge_components needs numbers, but columns {', '.join(map(repr, others))} have others: there is no "
                "density halfway between categories"
            )
    rows: Floats = check_array(X, dtype=np.float64, ensure_min_samples=2, ensure_all_finite="allow-nan")
    if np.isnan(rows).any():
        raise ValueError("merge_components needs complete samples; leave out those with missing values")
    return rows


def _like(X: Any, values: Floats) -> Any:
    """Values (n, D) as X has them: an array, or a frame with its columns."""
    library = find_library(X)
    if library is None:
        return values
    return type(X)(values, **{"columns" if library == "pandas" else "schema": list(X.columns)})


def _link(modes: Floats, saddles: Floats, used: Integers, n_components: int) -> Floats:
    """Linkage matrix (K − 1, 4), the components without samples first."""
    K = n_components
    names, sizes = used.tolist(), [1] * len(used)
    linkage: list[tuple[float, float, float, float]] = []
    for unused in sorted(set(range(K)) - set(names)):
        linkage.append((names[0], unused, 0.0, sizes[0] + 1))
        names[0], sizes[0] = K + len(linkage) - 1, sizes[0] + 1
    modes, saddles = modes.copy(), saddles.copy()
    while len(names) > 1:
        dips = np.minimum(modes[:, None], modes) - saddles
        first, second = np.triu_indices(len(names), 1)  # not the diagonal, if no pair is joined
        nearest = int(dips[first, second].argmin())
        a, b = int(first[nearest]), int(second[nearest])
        linkage.append((names[a], names[b], max(float(dips[a, b]), 0.0), sizes[a] + sizes[b]))
        names[a], sizes[a], modes[a] = K + len(linkage) - 1, sizes[a] + sizes[b], max(modes[a], modes[b])
        saddles[a] = saddles[:, a] = np.maximum(saddles[a], saddles[b])
        saddles[a, a] = -np.inf
        saddles = np.delete(np.delete(saddles, b, 0), b, 1)
        modes = np.delete(modes, b)
        del names[b], sizes[b]
    return np.array(linkage, dtype=np.float64).reshape(K - 1, 4)
