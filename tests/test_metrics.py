"""Clustering metrics against brute force over all matchings and values worked out by hand."""

from itertools import permutations
from typing import ClassVar

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score

from skgmvae import GMVAEClustering, VaDEClustering, VAEEMClustering
from skgmvae.metrics import (
    clustering_accuracy,
    expected_calibration_error,
    label_stability,
    most_confident_accuracy,
    purity_score,
    score_bias,
)

LABEL_METRICS = [clustering_accuracy, purity_score]


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
    assert purity_score([0, 0, 1, 1, 1, 2], [5, 5, 5, 7, 7, 7]) == pytest.approx(4 / 6)


@pytest.mark.parametrize("metric", LABEL_METRICS)
def test_missing_labels_are_refused(metric):
    for labels in ([0, 1, np.nan], [0, 1, np.inf]):
        with pytest.raises(ValueError, match="y_pred contains NaN or infinity"):
            metric([0, 1, 1], labels)


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
        ([0, 1], [[0.5, 0.5], [0.1, 0.9]], r"y_pred must be one label per sample, got shape \(2, 2\)"),
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


class Boundary(ClusterMixin, BaseEstimator):
    """Cuts a feature where its fits are told to, in turn."""

    boundaries: ClassVar[list] = []

    def fit(self, X, y=None):
        assert len(X) == 10, "a third of the rows"
        self.boundary_ = self.boundaries.pop(0)
        return self

    def predict(self, X):
        return (np.asarray(X)[:, 0] < self.boundary_).astype(int)


def test_stability_is_the_agreement_of_two_fits_on_other_rows():
    X = np.arange(30.0).reshape(-1, 1)
    Boundary.boundaries = [15, 15, 20, 10]
    rng, expected = np.random.RandomState(3), [1.0]
    rng.permutation(30)
    rest = np.array_split(rng.permutation(30), 3)[2]
    expected.append(adjusted_rand_score(rest < 20, rest < 10))
    assert label_stability(Boundary(), X, n_repeats=2, random_state=3) == pytest.approx(np.mean(expected))
    assert not Boundary.boundaries and not hasattr(Boundary(), "boundary_")
    for rows, n_repeats in ((X[:2], 5), (X, 0)):
        with pytest.raises(ValueError, match="at least three samples and one repetition"):
            label_stability(Boundary(), rows, n_repeats=n_repeats)


def test_stability_finds_three_blobs_in_a_table():
    pd = pytest.importorskip("pandas")
    centers = [[0.0, 0.0], [10.0, 0.0], [5.0, 8.66]]  # two clusters may be any two of the three together
    X = pd.DataFrame(make_blobs(150, centers=centers, random_state=0)[0])
    stability = [label_stability(KMeans(K, n_init=3, random_state=0), X, random_state=0) for K in (2, 3, 4)]
    assert stability[1] == 1.0 and max(stability[0], stability[2]) < 0.95


def test_calibration_error_is_the_distance_of_confidence_and_accuracy_by_bins():
    # all samples in one bin of confidence .9, of which 3 in 4 are matched; another bin of .6, all matched
    responsibilities = [[0.9, 0.1]] * 4 + [[0.4, 0.6]] * 2
    y = ["x", "x", "x", "y", "y", "y"]
    assert expected_calibration_error(y, responsibilities) == pytest.approx((4 * 0.15 + 2 * 0.4) / 6)
    renamed = np.array(responsibilities)[:, ::-1]
    assert expected_calibration_error(y, renamed) == expected_calibration_error(y, responsibilities)
    one_bin = abs(5 / 6 - (4 * 0.9 + 2 * 0.6) / 6)
    assert expected_calibration_error(y, responsibilities, n_bins=1) == pytest.approx(one_bin)
    assert expected_calibration_error([0, 1], np.eye(2)) == 0.0


def test_calibration_error_of_draws_from_the_responsibilities_is_small():
    rng = np.random.default_rng(0)
    responsibilities = rng.dirichlet([0.4, 0.4, 0.4], 20_000)
    y = (rng.uniform(size=(20_000, 1)) > responsibilities.cumsum(1)).sum(1)
    assert expected_calibration_error(y, responsibilities) < 0.01
    sure = responsibilities**3 / (responsibilities**3).sum(1, keepdims=True)
    assert expected_calibration_error(y, sure) > 0.1


def test_calibration_error_of_more_components_than_classes():
    # the third component is matched with no class: its samples are errors
    assert expected_calibration_error([0, 1, 1], np.eye(3)) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("y", "responsibilities", "n_bins", "message"),
    [
        ([0, 1], [[1.0, 0.0]], 10, "inconsistent numbers of samples"),
        ([0], [[2.0, 0.0]], 10, "must lie in .0, 1., got values from 0 to 2"),
        ([0], [[1.0, 0.0]], 0, "n_bins must be at least one, got 0"),
    ],
)
def test_what_has_no_calibration(y, responsibilities, n_bins, message):
    with pytest.raises(ValueError, match=message):
        expected_calibration_error(y, responsibilities, n_bins=n_bins)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("Estimator", [VaDEClustering, GMVAEClustering, VAEEMClustering])
def test_bias_of_scores(Estimator):
    X, _ = make_blobs(160, 3, centers=2, random_state=0)
    model = Estimator(2, tol=100.0, random_state=0).fit(X[:150])  # linear, so that scores are exact
    settings = {"n_temperatures": 25, "random_state": 0}
    bias = score_bias(model, X[-20:], **settings)
    assert bias.per_sample.shape == (20,)
    assert abs(bias.mean) < max(0.1, 4.0 * bias.standard_error) and bias.standard_error < 0.1
    assert bias.mean == pytest.approx(bias.per_sample.mean())
    assert bias.standard_error == pytest.approx(bias.per_sample.std(ddof=1) / 20**0.5)
    model.score_samples = lambda X: type(model).score_samples(model, X) - 3.0
    lower = score_bias(model, X[-20:], **settings)
    np.testing.assert_allclose(lower.per_sample, bias.per_sample - 3.0)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_bias_needs_samples_and_temperatures():
    X, _ = make_blobs(100, 3, centers=2, random_state=0)
    model = VaDEClustering(2, tol=100.0, random_state=0).fit(X)
    with pytest.raises(ValueError, match="at least two samples, got 1"):
        score_bias(model, X[:1])
    for name in ("n_temperatures", "n_chains"):
        with pytest.raises(ValueError, match=f"{name} must be a positive integer, got 0"):
            score_bias(model, X, **{name: 0})
