"""Gaussian mixtures of initial clusters: number of iterations and free parameters."""

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from skgmvae.initialization import mixture, mixture_em, strategies
from skgmvae.initialization.mixture import fit_from_each, fit_mixture, log_joint, n_parameters


@pytest.fixture
def overlapping():
    """Two overlapping clusters, on which EM is slow, and labels to begin with."""
    random_state = np.random.RandomState(0)
    points = random_state.normal(size=(1000, 1)) + 1.5 * (np.arange(1000) % 2)[:, None]
    return points, (points[:, 0] > 2.5).astype(np.intp)


def count_iterations(monkeypatch):
    def expect(log_joint):
        counted.append(1)
        return plain(log_joint)

    counted, plain = [], mixture_em._expect
    monkeypatch.setattr(mixture_em, "_expect", expect)
    return counted


@pytest.mark.parametrize("max_iter", [1, 2, 7])
def test_em_ends_after_max_iter_iterations(overlapping, monkeypatch, max_iter):
    counted = count_iterations(monkeypatch)
    points, labels = overlapping
    fit_mixture(points, labels, 2, "diag", max_iter=max_iter, tolerance=0.0)
    assert len(counted) == max_iter


def test_em_ends_after_a_hundred_iterations_by_default(overlapping, monkeypatch):
    counted = count_iterations(monkeypatch)
    fit_mixture(*overlapping, 2, "diag", tolerance=-np.inf)
    assert len(counted) == 100


def test_em_ends_where_the_bound_hardly_rises(overlapping, monkeypatch):
    points, labels = overlapping
    bounds = [fit_mixture(points, labels, 2, "diag", max_iter=i, tolerance=-np.inf).bound for i in range(1, 30)]
    rises = np.diff(bounds)
    assert (rises > 0.0).all()
    counted = count_iterations(monkeypatch)
    found = fit_mixture(points, labels, 2, "diag")
    assert len(counted) == 2 + int(np.argmax(rises < mixture.TOLERANCE))
    assert found.bound == bounds[len(counted) - 1]


@pytest.mark.parametrize(("kind", "dof"), [("full", np.inf), ("tied", np.inf), ("diag", np.inf), ("full", 4.0)])
@pytest.mark.parametrize("n_at_once", [2, 5])
def test_mixtures_that_are_fitted_at_the_same_time_end_each_by_itself(kind, dof, n_at_once, monkeypatch):
    random_state = np.random.RandomState(0)
    points, y = random_state.normal(size=(300, 3)), np.arange(300) % 3
    points[:, 0] += 3.0 * y
    starts = [y, random_state.randint(3, size=300), random_state.dirichlet(np.ones(3), 300), y, (y > 0) + 0]
    monkeypatch.setattr(mixture, "VALUES_AT_ONCE", n_at_once * 3 * 300)
    counted = count_iterations(monkeypatch)
    alone, n_iter = [], []
    for start in starts:
        counted.clear()
        alone.append(fit_mixture(points, start, 3, kind, dof=dof))
        n_iter.append(len(counted))
    assert len(set(n_iter)) > 1
    for found, expected in zip(fit_from_each(points, starts, 3, kind, dof=dof), alone, strict=True):
        for value, own in zip(found[2:], expected[2:], strict=True):
            np.testing.assert_allclose(value, own, atol=1e-9)


@pytest.mark.parametrize("kind", ("full", "tied", "diag"))
@pytest.mark.parametrize(("K", "D"), [(1, 1), (3, 2), (4, 7)])
def test_free_parameters_are_those_that_scikit_learn_counts(kind, K, D):
    points = np.random.RandomState(0).normal(size=(50, D))
    theirs = GaussianMixture(K, covariance_type=kind, random_state=0).fit(points)
    assert n_parameters(kind, K, D) == theirs._n_parameters()


def test_the_strategy_gmm_iterates_until_it_has_converged(overlapping, monkeypatch):
    class Spy(GaussianMixture):
        def fit(self, X, y=None):
            fitted.append(self)
            return super().fit(X)

    fitted = []
    monkeypatch.setattr(strategies, "GaussianMixture", Spy)
    points = np.hstack([overlapping[0], np.random.RandomState(1).normal(size=(1000, 3))])
    responsibilities = strategies.STRATEGIES["gmm"](points, 4, np.random.RandomState(0))
    (fit,) = fitted
    assert fit.converged_ and fit.n_iter_ > 5
    assert fit.n_init == strategies.MAX_INITS
    np.testing.assert_array_equal(responsibilities, fit.predict_proba(points))


@pytest.mark.parametrize("kind", ["full", "tied", "diag"])
def test_rounding_is_noise_that_is_averaged_over(kind):
    """The mean over noise of two values of that variance, of one component, is exact."""
    random_state = np.random.RandomState(0)
    points, at = random_state.normal(size=(50, 3)), random_state.normal(size=(9, 3))
    rounding = np.array([0.0, 0.4, 0.0])
    rounded = fit_mixture(points, np.zeros(50, dtype=np.intp), 1, kind, rounding=rounding)
    apart = np.sqrt(rounding) * np.array([[[-1.0]], [[1.0]]])
    plain = fit_mixture((points + apart).reshape(100, 3), np.zeros(100, dtype=np.intp), 1, kind)
    assert rounded.bound == pytest.approx(plain.bound)
    expected = log_joint(plain, (points + apart).reshape(100, 3), (at + apart).reshape(18, 3))
    found = log_joint(rounded, points, at, rounding=rounding)
    np.testing.assert_allclose(found, expected.reshape(2, 9, 1).mean(0))
