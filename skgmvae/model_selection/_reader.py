"""What the columns of a table are: the likelihood that a fit of an estimator would choose for them."""

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import _safe_indexing
from torch import Tensor

from skgmvae._vade import VaDEClustering
from skgmvae._validation import check_samples

__all__ = ["MAX_SAMPLES", "draw_rows", "fit_reader", "is_transformed", "standardize"]

MAX_SAMPLES = 10_000  # from which categories, scales and distributions are learned


def fit_reader(estimator: Any, X: Any, *, warns: bool = False) -> VaDEClustering | None:
    """A mixture of one component, which knows categories, scales and transforms of the columns.

    Parameters
    ----------
    estimator : estimator
        Its ``likelihood`` and ``categorical_features`` say what the columns are. None for one without such parameters.
    X : array-like of shape (N, D)
    warns : bool, default=False
        Whether to warn of columns, as a fit of the estimator does.
    """
    if not hasattr(estimator, "likelihood"):
        return None
    options: dict[str, Any] = {name: getattr(estimator, name, None) for name in ("likelihood", "categorical_features")}
    rows = draw_rows(len(X), np.random.RandomState(0))
    untrained: dict[str, Any] = {
        "hidden_layer_sizes": (2,),
        "latent_dim": 1,
        "max_iter": 0,
        "pretrain_iter": 0,
        "random_state": 0,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning if warns else Warning)
        return VaDEClustering(1, **options, **untrained).fit(_safe_indexing(X, rows))


def is_transformed(reader: Any) -> bool:
    """Whether some columns are log-normal, or have heavy tails."""
    gaussian = reader.net_.module_.likelihood.gaussian
    return gaussian is not None and gaussian.transform is not None


def standardize(reader: Any, X: Any) -> Tensor:
    """Samples (N, F) as the likelihood of the reader has them."""
    rows = check_samples(reader, X, reset=False)  # codes of the categories
    numbers = torch.from_numpy(np.array(rows[: len(rows)], np.float64))
    points: Tensor = reader.net_.module_.likelihood.standardize(numbers, torch.float64)
    return points


def draw_rows(n_samples: int, random_state: np.random.RandomState) -> NDArray[np.intp]:
    """Indices of at most ``MAX_SAMPLES`` samples, ascending."""
    if n_samples <= MAX_SAMPLES:
        return np.arange(n_samples)
    return np.sort(random_state.choice(n_samples, MAX_SAMPLES, replace=False))
