"""Clusters of samples with many missing values: a Gaussian mixture of the observed ones."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skgmvae.initialization.mixture import is_wide
from skgmvae.initialization.observed_moments import (
    DEFAULT,
    MAX_ITER,
    begin_mixture,
    log_joint_of_observed,
    run_em,
)
from skgmvae.initialization.partitions import fit_kmeans
from skgmvae.models.linear_path import MixtureMoments
from skgmvae.models.missing import ObservedCells, estimate_normal
from skgmvae.runtime import single_thread

__all__ = ["MANY_MISSING", "cluster_observed"]

# the first two, and when partitions are kept, were chosen with the labels of iris, wine, breast_cancer, digits and
# simulated tables in sight
MANY_MISSING = 0.2  # share of the values from which clusters are looked for by the observed ones alone
CLEARLY_BETTER = 0.1  # nats per sample by which a covariance for each component has to be better than one for all
CLUSTER_ITER, TOLERANCE = 50, 1e-4  # of EM over components, and nats per sample
MOST_WORK = 5e7  # multiply-adds of one inverse per sample and component, in an iteration


@single_thread()
def cluster_observed(
    points: Tensor,
    completed: NDArray[np.floating],
    name: str,
    responsibilities: NDArray[np.float64],
    random_state: np.random.RandomState,
) -> tuple[str, NDArray[np.float64]]:
    """Name and responsibilities (N, K): where many values are missing, of a Gaussian mixture of the observed ones.

    Values that are filled in lie on planes, which mixtures take for clusters, and bring samples near each other that
    are not, unless these have many other features: in wide tables, a partition of the neighbor graph is kept.

    EM begins from the clusters found so, and from k-means of the completed samples. All components have one covariance,
    unless there are samples enough for one for each, and the information criterion with these is clearly better.

    Parameters
    ----------
    points : Tensor of shape (N, D)
        Standardized samples, NaN where values are missing.
    completed : ndarray of shape (N, D)
        The same with missing values filled in.
    name : str
        Of the clusters of the completed samples; it is returned with them if few values are missing.
    responsibilities : ndarray of shape (N, K)
        Of these clusters.
    random_state : RandomState
    """
    (N, D), K = points.shape, responsibilities.shape[1]
    wide, is_partition = is_wide(N, D, K), bool(np.isin(responsibilities, (0.0, 1.0)).all())
    if K == 1 or (wide and is_partition) or float(points.isnan().double().mean()) < MANY_MISSING:
        return name, responsibilities
    points, labels = points.double(), fit_kmeans(completed.astype(np.float64), K, random_state)[0]
    starts = [torch.from_numpy(np.asarray(start, np.float64)) for start in (responsibilities, np.eye(K)[labels])]
    n_most = max(10 * D, int(MOST_WORK / (K * D**3)))
    some = torch.linspace(0, N - 1, min(N, n_most), dtype=torch.float64).long()
    cells, first, fits = ObservedCells(points[some]), begin_mixture(*estimate_normal(points[some]), K), {}
    for is_tied in (True,) if wide else (True, False):
        found = [_run_mixture(cells, R[some], first, is_tied=is_tied) for R in starts]
        value, mixture = max(found, key=lambda fit: fit[0])
        n_parameters = K - 1 + K * D + (1 if is_tied else K) * D * (D + 1) // 2
        fits[is_tied] = value - n_parameters * math.log(len(some)) / (2.0 * len(some)), mixture
    is_tied = False not in fits or fits[False][0] <= fits[True][0] + CLEARLY_BETTER
    log_joint = log_joint_of_observed(cells if len(some) == N else ObservedCells(points), fits[is_tied][1])
    return f"{'tied' if is_tied else 'full'} mixture of the observed inputs", torch.softmax(log_joint, -1).numpy()


def _run_mixture(
    cells: ObservedCells, responsibilities: Tensor, first: MixtureMoments, *, is_tied: bool
) -> tuple[float, MixtureMoments]:
    """Log-likelihood in nats per sample, and mixture, after EM from responsibilities (N, K)."""
    last = -math.inf
    mixture = run_em(cells, responsibilities, first, DEFAULT, MAX_ITER, is_tied)[1]
    for _ in range(CLUSTER_ITER):
        log_joint = log_joint_of_observed(cells, mixture)
        value = float(torch.logsumexp(log_joint, -1).mean())
        if value - last < TOLERANCE:
            break
        last = value
        mixture = run_em(cells, torch.softmax(log_joint, -1), mixture, DEFAULT, 1, is_tied)[1]
    return value, mixture
