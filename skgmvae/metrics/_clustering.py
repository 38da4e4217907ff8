"""Clustering metrics: agreement with known classes, and stability between fits; labels may be permuted."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment
from sklearn.base import clone
from sklearn.metrics import adjusted_rand_score
from sklearn.metrics.cluster import contingency_matrix
from sklearn.utils import _safe_indexing, check_array, check_consistent_length, check_random_state, column_or_1d

from skgmvae.data.arrays import Array, Integers, Seed

__all__ = [
    "check_labels",
    "check_probabilities",
    "clustering_accuracy",
    "count_labels",
    "label_stability",
    "most_confident_accuracy",
    "purity_score",
]


def clustering_accuracy(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Share of samples whose cluster is matched with their class, under the best one-to-one matching.

    max over injections m of 1/N Σ_n [y_true_n = m(y_pred_n)], found by the Hungarian algorithm.

    Parameters
    ----------
    y_true : array-like of shape (N,)
        Classes; numbers or strings.
    y_pred : array-like of shape (N,)
        Clusters, in any numbering. There may be more or fewer clusters than classes: samples in unmatched
        clusters count as errors.

    Returns
    -------
    float
        Between 0 and 1.

    Raises
    ------
    ValueError
        If the labels are empty, of unequal length, not one-dimensional or not finite.

    See Also
    --------
    purity_score : Several clusters may share a class.
    most_confident_accuracy : The protocol of Makhzani et al.

    Examples
    --------
    >>> from skgmvae.metrics import clustering_accuracy
    >>> clustering_accuracy([0, 0, 1, 1], [1, 1, 0, 0])
    1.0
    >>> clustering_accuracy(["a", "a", "b", "b"], [0, 1, 2, 2])
    0.75
    """
    counts = count_labels(y_true, y_pred)
    matched = counts[linear_sum_assignment(counts, maximize=True)]
    return float(matched.sum() / counts.sum())


def purity_score(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Purity: the share of samples whose class is the most frequent one of their cluster.

    1/N Σ_c max_k n_kc, with n_kc the number of samples of class k in cluster c. It never decreases when clusters are
    split, so only results with equal numbers of clusters are comparable.

    Parameters
    ----------
    y_true : array-like of shape (N,)
        Classes; numbers or strings.
    y_pred : array-like of shape (N,)
        Clusters, in any numbering.

    Returns
    -------
    float
        Between 0 and 1.

    Raises
    ------
    ValueError
        If the labels are empty, of unequal length, not one-dimensional or not finite.

    Examples
    --------
    >>> from skgmvae.metrics import purity_score
    >>> purity_score([0, 0, 1, 1], [0, 1, 2, 2])
    1.0
    """
    counts = count_labels(y_true, y_pred)
    return float(counts.max(axis=0).sum() / counts.sum())


def most_confident_accuracy(y_true: ArrayLike, responsibilities: ArrayLike) -> float:
    """Accuracy if each cluster is assigned the class of its single most confident sample.

    Cluster c is assigned the class of sample argmax_n r_nc; sample n belongs to cluster argmax_c r_nc. This is the
    protocol of Makhzani et al. (2015), used for the published results of the GMVAE.

    Parameters
    ----------
    y_true : array-like of shape (N,)
        Classes; numbers or strings.
    responsibilities : array-like of shape (N, K)
        Probabilities of the clusters for each sample, as returned by ``predict_proba``.

    Returns
    -------
    float
        Between 0 and 1.

    Raises
    ------
    ValueError
        If the lengths differ, or if the responsibilities are not probabilities.

    References
    ----------
    Makhzani, Shlens, Jaitly, Goodfellow and Frey (2015), *Adversarial Autoencoders*, arXiv:1511.05644.

    Examples
    --------
    >>> from skgmvae.metrics import most_confident_accuracy
    >>> most_confident_accuracy([0, 0, 1], [[0.9, 0.1], [0.3, 0.7], [0.2, 0.8]])
    0.6666666666666666
    """
    classes = check_labels(y_true, "y_true")
    probabilities = check_probabilities(responsibilities)
    check_consistent_length(classes, probabilities)
    class_of_cluster = classes[probabilities.argmax(axis=0)]
    return float(np.mean(class_of_cluster[probabilities.argmax(axis=1)] == classes))


def label_stability(estimator: Any, X: Any, *, n_repeats: int = 5, random_state: Seed = None) -> float:
    """Stability of the labels between fits to different samples, without known classes.

    The samples are split at random into thirds. A clone of the estimator is fitted to each of the first two, and both
    predict the labels of the last. The result is the adjusted Rand index between these two sets of labels, averaged
    over repetitions. If the data do not support the number of components, boundaries differ from fit to fit. A single
    component is always stable, so compare only numbers from two on.

    Parameters
    ----------
    estimator : estimator
        With ``fit`` and ``predict``: a clusterer or mixture, or a pipeline that ends in one.
    X : array-like of shape (n_samples, n_features)
    n_repeats : int, default=5
        Number of repetitions, each with two fits to a third of the samples.
    random_state : int, RandomState or None, default=None
        For the splits; that of the estimator is not changed.

    Returns
    -------
    float
        At most 1; the expectation for independent labels is 0.

    Raises
    ------
    ValueError
        If there are fewer than three samples, or fewer than one repetition.

    References
    ----------
    Lange, Roth, Braun and Buhmann (2004), *Stability-Based Validation of Clustering Solutions*, Neural Computation
    16(6). Tibshirani and Walther (2005), *Cluster Validation by Prediction Strength*, Journal of Computational and
    Graphical Statistics 14(3).

    Examples
    --------
    >>> from sklearn.datasets import make_blobs
    >>> from sklearn.mixture import GaussianMixture
    >>> from skgmvae.metrics import label_stability
    >>> X, _ = make_blobs(300, centers=3, cluster_std=0.5, random_state=0)
    >>> stability = [label_stability(GaussianMixture(K, random_state=0), X, random_state=0) for K in (2, 3, 4)]
    >>> 2 + int(np.argmax(stability))
    3
    """
    n_rows = X.shape[0] if hasattr(X, "shape") else len(X)
    if n_rows < 3 or n_repeats < 1:
        raise ValueError(
            "label_stability needs at least three samples and one repetition; "
            f"got {n_rows} samples and n_repeats={n_repeats!r}"
        )
    rng, values = check_random_state(random_state), []
    for _ in range(n_repeats):
        *parts, rest = (_safe_indexing(X, rows) for rows in np.array_split(rng.permutation(n_rows), 3))
        first, second = (clone(estimator).fit(part).predict(rest) for part in parts)
        values.append(adjusted_rand_score(first, second))
    return float(np.mean(values))


def count_labels(y_true: ArrayLike, y_pred: ArrayLike) -> Integers:
    """Number of samples per class and cluster, shape (classes, clusters)."""
    classes, clusters = check_labels(y_true, "y_true"), check_labels(y_pred, "y_pred")
    if len(classes) != len(clusters):
        raise ValueError(
            f"y_true has {len(classes)} labels and y_pred has {len(clusters)}; pass the two labels of every sample, "
            "in the same order"
        )
    counts: Integers = contingency_matrix(classes, clusters)
    return counts


def check_labels(values: ArrayLike, name: str) -> Array:
    labels: Array = np.asarray(values)
    if labels.ndim == 2 and labels.shape[1] > 1:
        raise ValueError(
            f"{name} must be one label per sample, got shape {labels.shape}; "
            "if these are probabilities, pass their argmax over the columns"
        )
    labels = column_or_1d(labels)
    if len(labels) == 0:
        raise ValueError(f"{name} is empty, got shape (0,); pass at least one label")
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise ValueError(f"{name} contains NaN or infinity, which are not labels; drop these samples from both")
    return labels


def check_probabilities(responsibilities: ArrayLike) -> Array:
    probabilities: Array = check_array(responsibilities, input_name="responsibilities")
    low, high = probabilities.min(), probabilities.max()
    if low < 0.0 or high > 1.0 + 1e-6:
        raise ValueError(
            f"responsibilities must lie in [0, 1], got values from {low:.3g} to {high:.3g}; "
            "pass what predict_proba returns, not logarithms or distances"
        )
    return probabilities
