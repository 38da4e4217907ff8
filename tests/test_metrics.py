"""Clustering metrics against brute force over all matchings and values worked out by hand."""

from itertools import permutations

import numpy as np
import pytest

from skgmvae.metrics import clustering_accuracy, majority_accuracy, most_confident_accuracy

LABEL_METRICS = [clustering_accuracy, majority_accuracy]


def accuracy_by_brute_force(y_true, y_pred, size):
    """Best accuracy over all one-to-one renamings of ``size`` labels."""
    return max(np.mean(np.array(renaming)[y_pred] == y_true) for renaming in permutations(range(size)))


@pytest.mark.parametrize(("n_classes", "n_clusters"), [(4, 4), (2, 5), (5, 2), (1, 3)])
def test_clustering_accuracy_is_the_best_over_all_matchings(n_classes, n_clusters):
    rng = np.random.default_rng(n_classes)
    y_true, y_pred = rng.integers(n_classes, size=30), rng.integers(n_clusters, size=30)
    expected = accuracy_by_brute_force(y_true, y_pred, max(n_classes, n_clusters))
    assert clustering_accuracy(y_true, y_pred) == pytest.approx(expected)


def test_majority_accuracy_counts_the_largest_class_of_each_cluster():
    assert majority_accuracy([0, 0, 1, 1, 1, 2], [5, 5, 5, 7, 7, 7]) == pytest.approx(4 / 6)


@pytest.mark.parametrize("metric", LABEL_METRICS)
def test_renaming_clusters_changes_nothing(metric):
    rng = np.random.default_rng(0)
    y_true, y_pred = rng.integers(3, size=40), rng.integers(4, size=40)
    assert metric(np.array(["x", "y", "z"])[y_true], np.array([-3, 8, 2, 100])[y_pred]) == metric(y_true, y_pred)


def test_most_confident_row_names_the_cluster():
    # the surest row of cluster 0 is the third, of class 1; of cluster 1 the fourth, of class 0
    responsibilities = [[0.6, 0.4], [0.7, 0.3], [0.9, 0.1], [0.1, 0.9]]
    assert most_confident_accuracy([0, 0, 1, 0], responsibilities) == pytest.approx(2 / 4)


def test_most_confident_row_may_lie_in_another_cluster():
    # no row prefers the third cluster
    assert most_confident_accuracy(["a", "b"], [[0.8, 0.1, 0.1], [0.2, 0.6, 0.2]]) == 1.0


@pytest.mark.parametrize("metric", LABEL_METRICS)
@pytest.mark.parametrize(
    ("y_true", "y_pred", "message"),
    [
        ([0, 1, 1], [0, 1], "y_true has 3 labels and y_pred has 2"),
        ([], [], r"y_true is empty"),
        ([0, 1], [[0.5, 0.5], [0.1, 0.9]], r"y_pred must be one label per row, got shape \(2, 2\)"),
    ],
)
def test_labels_that_do_not_fit(metric, y_true, y_pred, message):
    with pytest.raises(ValueError, match=message):
        metric(y_true, y_pred)


@pytest.mark.parametrize(
    ("responsibilities", "message"),
    [
        ([[-0.1, -2.3]], r"got values from -2.3 to -0.1; pass what predict_proba returns"),
        ([[np.nan, 1.0]], "responsibilities contains NaN"),
        ([0.2], "Expected 2D array, got 1D array"),
        ([[0.5, 0.5], [0.5, 0.5]], r"inconsistent numbers of samples: \[1, 2\]"),
    ],
)
def test_responsibilities_that_are_none(responsibilities, message):
    with pytest.raises(ValueError, match=message):
        most_confident_accuracy([0], responsibilities)
