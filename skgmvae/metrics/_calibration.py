"""Calibration of responsibilities against known classes."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment
from sklearn.utils import check_consistent_length

from skgmvae.data.arrays import Array, Floats, Integers
from skgmvae.metrics._clustering import check_labels, check_probabilities, count_labels

__all__ = ["bin_confidences", "expected_calibration_error", "find_hits"]


def expected_calibration_error(y_true: ArrayLike, responsibilities: ArrayLike, *, n_bins: int = 10) -> float:
    """Expected calibration error: the mean distance between confidence and accuracy, in bins of the confidence.

    Σ_b (n_b / N) · abs(accuracy_b − confidence_b). The confidence of a sample is its largest responsibility. Its
    accuracy is one if this component is matched with its class, in the one-to-one matching that matches the most
    samples. Bins divide [0, 1] into equal parts. Zero is perfect. With few samples per bin, the expectation is above
    zero even for a calibrated model.

    Parameters
    ----------
    y_true : array-like of shape (N,)
        Classes; numbers or strings.
    responsibilities : array-like of shape (N, K)
        Probabilities of the components for each sample, as returned by ``predict_proba``.
    n_bins : int, default=10
        Number of bins.

    Returns
    -------
    float
        Between 0 and 1.

    Raises
    ------
    ValueError
        If the lengths differ, the responsibilities are not probabilities, or ``n_bins`` is less than one.

    See Also
    --------
    skgmvae.plotting.ReliabilityDisplay : The bins as a diagram.

    References
    ----------
    Naeini, Cooper and Hauskrecht (2015), *Obtaining Well Calibrated Probabilities Using Bayesian Binning*, AAAI.

    Examples
    --------
    >>> from skgmvae.metrics import expected_calibration_error
    >>> round(expected_calibration_error([0, 1, 1], [[0.9, 0.1], [0.7, 0.3], [0.0, 1.0]]), 3)
    0.267
    """
    counts, confidence, accuracy = bin_confidences(*find_hits(y_true, responsibilities), n_bins)
    return float(np.nansum(counts * np.abs(accuracy - confidence)) / counts.sum())


def find_hits(y_true: ArrayLike, responsibilities: ArrayLike) -> tuple[Array, Floats]:
    """Whether each sample's component is matched with its class, (N,), and its responsibility, (N,)."""
    classes, probabilities = check_labels(y_true, "y_true"), check_probabilities(responsibilities)
    check_consistent_length(classes, probabilities)
    components = probabilities.argmax(1)
    counts = count_labels(classes, components)
    names, found = np.unique(classes), np.unique(components)
    rows, columns = linear_sum_assignment(counts, maximize=True)
    hits = np.zeros(len(classes), dtype=bool)
    for row, column in zip(rows, columns, strict=True):
        hits |= (classes == names[row]) & (components == found[column])
    return hits, probabilities.max(1)


def bin_confidences(hits: Array, confidence: Floats, n_bins: int) -> tuple[Integers, Floats, Floats]:
    """Number of samples, mean confidence and accuracy in each of the bins, (n_bins,); NaN where there are none."""
    if n_bins < 1:
        raise ValueError(f"n_bins must be at least one, got {n_bins!r}")
    index = np.minimum((confidence * n_bins).astype(int), n_bins - 1)
    counts = np.bincount(index, minlength=n_bins)
    with np.errstate(invalid="ignore"):
        means = (np.bincount(index, values, minlength=n_bins) / counts for values in (confidence, hits))
        mean_confidence, accuracy = means
    return counts, mean_confidence, accuracy
