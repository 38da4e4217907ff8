"""Initial clusters of a table of numbers in which values are missing."""

import numpy as np
import torch
from numpy.typing import NDArray

from skgmvae.data.arrays import Array
from skgmvae.initialization.complete_cases import SOME, CompleteCases
from skgmvae.initialization.mixture import is_wide
from skgmvae.initialization.observed_clusters import cluster_observed
from skgmvae.initialization.strategies import Representations, choose_responsibilities

__all__ = ["choose_incomplete"]


def choose_incomplete(
    views: Representations, observed: Array, n_components: int, random_state: np.random.RandomState
) -> tuple[str, NDArray[np.float64]]:
    """Name and responsibilities (N, K) by the strategy 'auto'.

    Values that are filled in lie between clusters, and join them. Where most samples are complete, and enough of them,
    clusters are looked for among these alone; if they are fewer, where they tell clearly more about neighbors. Neither,
    where some other samples have no complete ones around them.

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
    K, cases, of_complete = n_components, CompleteCases(observed, random_state), None
    is_open = K > 1 and views.inputs is not None and SOME <= cases.share < 1.0
    if is_open and not is_wide(len(cases.indices), observed.shape[1], K) and cases.stand_for_all(K):
        chosen, of_complete = choose_responsibilities("auto", views.take(cases.indices), K, random_state)
        of_complete_name = f"{chosen}, complete samples"
        if cases.are_enough(K):
            return of_complete_name, cases.assign(of_complete)
    name, found = choose_responsibilities("auto", views, K, random_state)
    name, found = cluster_observed(torch.from_numpy(observed), views.embedding, name, found, random_state)
    if of_complete is not None and cases.lose_less(found, of_complete):
        return of_complete_name, cases.assign(of_complete)
    return name, found
