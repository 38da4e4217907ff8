"""Initial responsibilities that users give: labels, clusterers, functions, parameters of a mixture."""

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs
from sklearn.mixture import GaussianMixture

from skgmvae.initialization.given import (
    MixtureInit,
    complete_labels,
    fit_clusterer,
    fit_mixture_init,
    to_responsibilities,
)

X, Y = make_blobs([40, 30, 20], 2, centers=[[0.0, 0.0], [9.0, 0.0], [0.0, 90.0]], cluster_std=1.0, random_state=0)


# ---------------------------------------------------------------- to_responsibilities
def test_labels_are_one_hot_and_minus_one_has_no_opinion():
    expected = [[0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]
    np.testing.assert_array_equal(to_responsibilities([2, -1, 0], 3, 3, "labels"), expected)
    np.testing.assert_array_equal(to_responsibilities(np.array([2.0, -1.0, 0.0]), 3, 3, "labels"), expected)


def test_responsibilities_are_scaled_to_sum_to_one():
    given = np.array([[0.5, 0.5 + 9e-7], [0.0, 0.0], [0.25, 0.75]])
    found = to_responsibilities(given, 3, 2, "labels")
    np.testing.assert_array_equal(found.sum(1), [1.0, 0.0, 1.0])
    np.testing.assert_allclose(found, given, atol=1e-6)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1], r"L must be labels of shape \(3,\) or responsibilities of shape \(3, 2\).* got shape \(2,\)"),
        (np.zeros((3, 3)), r"got shape \(3, 3\)"),
        (["a", "b", "c"], "L must hold finite numbers; got dtype <U1"),
        ([0.0, 1.0, np.nan], "L must hold finite numbers; got dtype float64"),
        ([0, 1, 2], r"L must be integers from -1 \(no opinion\) to 1, .* got values from 0 to 2"),
        ([-2, 0, 1], "got values from -2 to 1"),
        ([0.5, 0.0, 1.0], "got values from 0.0 to 1.0"),
        ([[0.5, 0.5], [-0.5, 1.5], [0.0, 0.0]], "a smallest value of -0.5, and row 0 adds up to 1"),
        ([[0.5, 0.5], [0.0, 0.0], [0.3, 0.3]], "a smallest value of 0, and row 2 adds up to 0.6"),
        ([[0.5, 0.5], [0.0, 0.0], [0.5, 0.50002]], "row 2 adds up to 1"),
    ],
)
def test_what_is_wrong_with_labels_is_said(labels, message):
    with pytest.raises(ValueError, match=message):
        to_responsibilities(labels, 3, 2, "L")


# ---------------------------------------------------------------- fit_clusterer
class Odd:
    """Labels 4 and 7, and noise."""

    def fit_predict(self, X):
        return np.where(X[:, 0] > 5.0, 7, np.where(X[:, 1] > 50.0, -1, 4))


def test_labels_of_clusterers_are_numbered_anew_and_noise_has_no_opinion():
    name, found = fit_clusterer(Odd(), X, 2, np.random.RandomState(0))
    assert name == "Odd"
    np.testing.assert_array_equal(found, np.eye(3)[Y][:, [0, 1]])


def test_more_clusters_than_components_are_refused_and_as_many_are_not():
    with pytest.raises(ValueError, match="KMeans found 3 clusters, more than n_components=2; set n_components=3"):
        fit_clusterer(KMeans(3, n_init=1), X, 2, np.random.RandomState(0))
    assert fit_clusterer(KMeans(3, n_init=1), X, 3, np.random.RandomState(0))[1].shape == (90, 3)


def test_clusterers_without_a_seed_get_one_and_others_keep_theirs():
    class Seeds(KMeans):
        def fit_predict(self, X, y=None):
            seen.append(self.random_state)
            return super().fit_predict(X)

    seen, own = [], Seeds(2, n_init=1)
    for _ in range(2):
        fit_clusterer(own, X, 2, np.random.RandomState(5))
    fit_clusterer(Seeds(2, n_init=1, random_state=3), X, 2, np.random.RandomState(5))
    assert own.random_state is None and not hasattr(own, "labels_"), "a clone is fitted"
    assert isinstance(seen[0], int) and seen == [seen[0], seen[0], 3]


def test_functions_get_the_samples_the_number_of_components_and_a_generator():
    def by_side(rows, *, n_components, random_state):
        assert rows is X and n_components == 3 and isinstance(random_state, np.random.RandomState)
        return (rows[:, 0] > 5.0).astype(int)

    name, found = fit_clusterer(by_side, X, 3, np.random.RandomState(0))
    assert name == "by_side"
    np.testing.assert_array_equal(found.argmax(1), Y == 1)


# ---------------------------------------------------------------- complete_labels
def refuse():
    raise AssertionError("no clusters are needed")


def test_given_labels_spread_to_their_neighbors():
    standardized = X / X.std(0)
    given = np.zeros((90, 3))
    for c in range(3):
        given[np.flatnonzero(c == Y)[:5], c] = 1.0
    found = complete_labels(given, standardized, refuse)
    np.testing.assert_array_equal(found.argmax(1), Y)
    np.testing.assert_allclose(found.sum(1), 1.0)
    known = given.any(1)
    np.testing.assert_array_equal(found[known], given[known])
    assert complete_labels(np.eye(3)[Y], standardized, refuse) is not None


def test_pieces_without_a_label_have_all_components_alike():
    points = np.concatenate([np.linspace(0.0, 1.0, 30), np.linspace(1e3, 1001.0, 30)])[:, None]
    given = np.zeros((60, 2))
    given[0, 0] = given[29, 1] = 1.0
    found = complete_labels(given, points, refuse)
    np.testing.assert_allclose(found[30:], 0.5)
    assert found[5, 0] > 0.5 > found[25, 0]


def test_components_without_a_label_are_clusters_of_their_own():
    given = np.zeros((90, 3))
    given[np.flatnonzero(Y == 0)[:4], 2] = given[np.flatnonzero(Y == 2)[:4], 0] = 1.0
    found = complete_labels(given, X, lambda: np.eye(3)[Y])
    np.testing.assert_array_equal(found.argmax(1), np.array([2, 1, 0])[Y])


# ---------------------------------------------------------------- fit_mixture_init
MEANS = np.array([[0.0, 0.0], [9.0, 0.0], [0.0, 90.0]])
SHAPES = {"full": (3, 2, 2), "tied": (2, 2), "diag": (3, 2), "spherical": (3,)}


@pytest.mark.parametrize("covariance_type", SHAPES)
def test_what_is_not_given_follows_from_the_samples_nearest_to_each_mean(covariance_type):
    init = MixtureInit(means=MEANS, covariance_type=covariance_type)
    found = fit_mixture_init(init, X, 3, np.random.RandomState(0))
    np.testing.assert_array_equal(found.means_, MEANS)
    np.testing.assert_allclose(found.weights_, [41 / 93, 31 / 93, 21 / 93])
    residuals = X - MEANS[Y]
    covariance = residuals.T @ residuals / 90 + 1e-6 * np.diag(X.var(0))
    expected = {
        "full": np.tile(np.linalg.inv(covariance), (3, 1, 1)),
        "tied": np.linalg.inv(covariance),
        "diag": np.tile(1.0 / covariance.diagonal(), (3, 1)),
        "spherical": np.full(3, 2.0 / np.trace(covariance)),
    }[covariance_type]
    factor = found.precisions_cholesky_
    assert factor.shape == SHAPES[covariance_type]
    is_matrix = covariance_type in ("full", "tied")
    np.testing.assert_allclose(factor @ factor.swapaxes(-1, -2) if is_matrix else factor**2, expected)
    np.testing.assert_array_equal(found.predict(X), Y)


def test_given_parameters_are_kept():
    weights, precisions = np.array([0.2, 0.3, 0.5]), np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    init = MixtureInit(weights=weights, means=MEANS, precisions=precisions, covariance_type="diag")
    found = fit_mixture_init(init, X, 3, np.random.RandomState(0))
    np.testing.assert_array_equal(found.weights_, weights)
    np.testing.assert_allclose(found.precisions_cholesky_, precisions**0.5)
    assert isinstance(found, GaussianMixture) and init.is_given and not MixtureInit().is_given


def test_means_that_are_not_given_are_found():
    found = fit_mixture_init(MixtureInit(weights=np.full(3, 1 / 3)), X, 3, np.random.RandomState(0))
    centers = np.stack([X[c == Y].mean(0) for c in range(3)])
    for center in centers:
        assert np.abs(found.means_ - center).max(1).min() < 1e-3
