"""Initial responsibilities by k-means, by a Gaussian mixture, or at random."""

import warnings

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

MAX_INITS = 10  # of k-means and of a mixture, of which the best is used …
MAX_CENTERS = 500  # … if all together have no more centers than these
MAX_MIXTURE_ROWS = 20_000  # samples that a mixture is fitted to before all samples are assigned


def one_hot(labels: np.ndarray, n_components: int) -> np.ndarray:
    """Responsibilities 0 and 1 (N, K) of labels (N,)."""
    return np.eye(n_components)[labels]


def count_inits(n_components: int) -> int:
    """The number of initializations: fewer for many components, whose first centers take most of the time."""
    return max(1, min(MAX_INITS, MAX_CENTERS // n_components))


def kmeans_responsibilities(points: np.ndarray, n_components: int, random_state: np.random.RandomState) -> np.ndarray:
    """One-hot labels of k-means, the best of ``MAX_INITS``, of fewer where there are many components."""
    kmeans = KMeans(n_components, n_init=count_inits(n_components), random_state=random_state)
    return one_hot(kmeans.fit_predict(points), n_components)


def gmm_responsibilities(points: np.ndarray, n_components: int, random_state: np.random.RandomState) -> np.ndarray:
    """Responsibilities of a full-covariance Gaussian mixture, the best of as many initializations by lower bound.

    It is fitted to at most ``MAX_MIXTURE_ROWS`` samples, drawn without replacement.
    """
    rows = points
    if len(points) > MAX_MIXTURE_ROWS:
        rows = points[random_state.choice(len(points), MAX_MIXTURE_ROWS, replace=False)]
    reg_covar = max(1e-6, 1e-3 * float(rows.var(0).mean()))
    n_starts = count_inits(n_components)
    mixture = GaussianMixture(
        n_components, n_init=n_starts, tol=1e-3, max_iter=200, reg_covar=reg_covar, random_state=random_state
    )
    with warnings.catch_warnings():
        # a mixture that has not converged is still an initialization
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(rows)
    return mixture.predict_proba(points)


def random_responsibilities(points: np.ndarray, n_components: int, random_state: np.random.RandomState) -> np.ndarray:
    """Uniform random numbers, normalized to sum to one for each sample."""
    draws = random_state.uniform(size=(len(points), n_components))
    return draws / draws.sum(1, keepdims=True)
