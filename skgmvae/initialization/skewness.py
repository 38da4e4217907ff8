"""Whether a column is skewed as a log-normal distribution is."""

import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

__all__ = ["is_log_normal"]

N_NORMALS = (1, 2, 3)  # components of the mixtures that are compared
N_FOLDS = 5
LEAST_GAIN, N_ERRORS = 0.05, 3.0  # nats per held-out sample, and standard errors
LEAST_SAMPLES, MOST_SAMPLES = 50, 2_000
LEAST_SKEWNESS = 1.0  # of the values; columns with less are not looked at
REGULARIZATION = 1e-4  # variance that is added to standardized values


def is_log_normal(column: NDArray[np.float64]) -> bool:
    """Whether mixtures of few normals fit the logarithms of the values (n,) clearly better than the values themselves.

    By the likelihood of held-out samples in the units of the data. A single normal would take two clusters of different
    sizes for a skewed column; a mixture does not.
    """
    values = column[~np.isnan(column)]
    values = values[np.linspace(0, len(values) - 1, min(len(values), MOST_SAMPLES)).astype(np.int64)]
    if len(values) < LEAST_SAMPLES or values.min() <= 0.0:
        return False
    centered = (values - values.mean()) / max(values.std(), np.finfo(np.float64).tiny)
    if (centered**3).mean() < LEAST_SKEWNESS or len(np.unique(values)) < len(values) / 4:
        return False
    logs = np.log(values)
    gains = _score(logs) - logs - _score(values)
    error = gains.std() / np.sqrt(len(gains))
    return bool(gains.mean() > max(LEAST_GAIN, N_ERRORS * error))


def _score(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-densities (n,) of held-out values under the mixture of normals whose mean score is best."""
    scale = values.std()
    points = ((values - values.mean()) / scale)[:, None]
    fold = np.random.RandomState(0).permutation(len(points)) % N_FOLDS
    scores = np.empty((len(N_NORMALS), len(points)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for i, n_normals in enumerate(N_NORMALS):
            for k in range(N_FOLDS):
                mixture = GaussianMixture(n_normals, reg_covar=REGULARIZATION, random_state=0)
                scores[i, fold == k] = mixture.fit(points[fold != k]).score_samples(points[fold == k])
    best: NDArray[np.float64] = scores[scores.mean(1).argmax()] - np.log(scale)
    return best
