"""Initial clusters of a table of numbers in which values are missing."""

import numpy as np
import torch
from numpy.typing import NDArray

from skgmvae.data.arrays import Array, Floats
from skgmvae.initialization.complete_cases import SOME, CompleteCases
from skgmvae.initialization.mixture import is_wide
from skgmvae.initialization.observed_clusters import cluster_observed
from skgmvae.initialization.strategies import Representations, choose_responsibilities
from skgmvae.models.missing import estimate_normal
from skgmvae.models.normals import complete_normal, condition_variance

__all__ = ["choose_incomplete"]

DETERMINED = 0.05  # variance of a standardized value given the observed ones of its sample


def choose_incomplete(
    views: Representations, observed: Array, n_components: int, random_state: np.random.RandomState
) -> tuple[str, NDArray[np.float64]]:
    """Name and responsibilities (N, K) by the strategy 'auto'.

    Values that are filled in lie between clusters, and join them. Where most samples are complete, and enough of them,
    clusters are looked for among these alone; if they are fewer, where they tell clearly more about neighbors. Neither,
    where some other samples have no complete ones around them. If too few are complete, so are those whose missing
    values the observed ones determine: beside a distant cluster, even these may lie between others.

    Parameters
    ----------
    views : Representations
        Of samples that are filled in.
    observed : ndarray of shape (N, D)
        Standardized samples, NaN where values are missing.
    n_components : int
        K.
    random_state : RandomState
    """
    K, of_complete, is_open = n_components, None, n_components > 1 and views.inputs is not None
    cases = CompleteCases(observed, random_state)
    if is_open and not cases.are_enough(K):
        cases = CompleteCases(_fill_determined(observed), random_state)
    if (
        is_open
        and cases.share >= SOME
        and not is_wide(len(cases.indices), observed.shape[1], K)
        and cases.stand_for_all(K)
    ):
        chosen, of_complete = choose_responsibilities("auto", views.take(cases.indices), K, random_state)
        of_complete_name = f"{chosen}, complete samples"
        if cases.are_enough(K):
            return of_complete_name, cases.assign(of_complete)
    name, found = choose_responsibilities("auto", views, K, random_state)
    name, found = cluster_observed(torch.from_numpy(observed), views.embedding, name, found, random_state)
    if of_complete is not None and cases.lose_less(found, of_complete):
        return of_complete_name, cases.assign(of_complete)
    return name, found


def _fill_determined(points: Array) -> Floats:
    """The samples (N, D), without the missing values that the observed ones determine under one normal distribution."""
    exact = torch.from_numpy(points.astype(np.float64))
    missing, (mean, covariance) = exact.isnan(), estimate_normal(exact)
    is_determined = missing & (condition_variance(missing, covariance) <= DETERMINED)
    return torch.where(is_determined, complete_normal(exact, missing, mean, covariance), exact).numpy()
