"""Initial clusters of a table of numbers in which values are missing."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from skgmvae.data.arrays import Array, Floats
from skgmvae.initialization.complete_cases import SOME, CompleteCases
from skgmvae.initialization.mixture import is_wide
from skgmvae.initialization.observed_clusters import cluster_observed
from skgmvae.initialization.strategies import Representations, choose_responsibilities
from skgmvae.models.missing import estimate_normal
from skgmvae.models.normals import condition_variance, draw_missing

__all__ = ["choose_incomplete"]

DETERMINED = (0.05, 0.1, 0.2)  # variances of a standardized value given the observed ones of its sample
MAX_ESTIMATED = 5_000  # samples of which mean and covariance are estimated


def choose_incomplete(
    views: Representations, observed: Array, n_components: int, random_state: np.random.RandomState
) -> tuple[str, NDArray[np.float64]]:
    """Name and responsibilities (N, K) by the strategy 'auto'.

    Values that are filled in lie between clusters, and join them. Where most samples are complete, and enough of them,
    clusters are looked for among these alone; if they are fewer, where they tell clearly more about neighbors. Neither,
    where some other samples have no complete ones around them. If too few are complete, those count as complete whose
    missing values the observed ones determine: beside a distant cluster, even these may lie between others. A partition
    of all samples, filled in, is taken if it tells clearly more than a mixture of the observed values.

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
    of_cases = views
    if is_open and not cases.are_enough(K):
        for filled in _fill_determined(observed):
            cases = CompleteCases(filled, random_state)
            is_plain = views.transformed is None
            of_cases = views._replace(inputs=filled) if is_plain else views._replace(transformed=filled)
            if cases.are_enough(K):
                break
    has_say = is_open and cases.share >= SOME and not is_wide(len(cases.indices), observed.shape[1], K)
    if has_say and cases.stand_for_all(K):
        chosen, of_complete = choose_responsibilities("auto", of_cases.take(cases.indices), K, random_state)
        of_complete_name = f"{chosen}, complete samples"
        if cases.are_enough(K):
            return of_complete_name, cases.assign(of_complete)
    filled_name, of_filled = choose_responsibilities("auto", views, K, random_state)
    name, found = cluster_observed(torch.from_numpy(observed), views.embedding, filled_name, of_filled, random_state)
    if of_complete is not None and cases.lose_less(found, of_complete):
        return of_complete_name, cases.assign(of_complete)
    is_partition = np.isin(of_filled, (0.0, 1.0)).all()  # no mixture, whose clusters may be planes of filled-in values
    if has_say and is_partition and cases.lose_less(found, of_filled[cases.indices]):
        return filled_name, of_filled
    return name, found


def _fill_determined(points: Array) -> Iterator[Floats]:
    """The samples (N, D), without the missing values that the observed ones determine under one normal distribution.

    The more of them, the less certain they are. They are drawn: at their means, they would lie on planes, which
    mixtures take for clusters.
    """
    exact = torch.from_numpy(points.astype(np.float64))
    some = torch.linspace(0, len(exact) - 1, min(len(exact), MAX_ESTIMATED), dtype=torch.float64).long()
    missing, (mean, covariance) = exact.isnan(), estimate_normal(exact[some])
    variances = condition_variance(missing, covariance)
    drawn = draw_missing(exact, mean, covariance, torch.Generator().manual_seed(0))
    for limit in DETERMINED:
        yield torch.where(missing & (variances <= limit), drawn, exact).numpy()
