"""The columns among which clusters are chosen, where some may be noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from skgmvae.initialization.comparison import shares_kept
from skgmvae.initialization.mixture import fit_mixture, information_criterion
from skgmvae.initialization.relevance import Relevance
from skgmvae.runtime import single_thread

if TYPE_CHECKING:
    from skgmvae.initialization.choice import ClusterChoice

__all__ = ["choose_columns"]

MUCH_LOST, LITTLE, MOST_COLUMNS = 0.2, 1 / 3, 0.9  # of the information, of that loss, of columns: clusters of fewer
MOST_SAMPLES = 5_000  # on which mixtures are compared


def choose_columns(
    X: NDArray[np.float64],
    choose: Callable[[NDArray[np.bool_]], ClusterChoice],
    relevance: Relevance,
    n_clusters: int,
) -> ClusterChoice:
    """The choice in the columns that may tell clusters apart or, if it loses far less there, in those that depend.

    If its clusters lose much, and are no better than a single normal distribution, it is made in all columns.

    Parameters
    ----------
    X : ndarray of shape (N, D)
    choose : callable
        The choice in some columns, bool (D,).
    relevance : Relevance
    n_clusters : int
        K.
    """

    def find_loss(choice: ClusterChoice, name: str) -> float:
        return 1.0 - float(shares_kept(choice.links, [choice.candidates[name]], n_clusters)[0])

    choice = choose(relevance.may_tell)
    if choice.links.nnz == 0 or (lost := find_loss(choice, choice.name)) <= MUCH_LOST:
        return choice
    if 2 <= relevance.depends.sum() < MOST_COLUMNS * relevance.may_tell.sum():
        other = choose(relevance.depends)
        # cuts across a line, as of columns that are nearly copies, lose little wherever they are: those of k-means, too
        of_cuts = lost if other.name == "single linkage" else find_loss(other, "kmeans")
        if find_loss(other, other.name) < LITTLE * min(lost, of_cuts):
            return other
    columns = relevance.may_tell
    if columns.all() or _are_groups(X[:, columns & (np.ptp(X, axis=0) > 0.0)], choice.labels, n_clusters):
        return choice
    return choose(np.ones_like(columns))


@single_thread()
def _are_groups(points: NDArray[np.float64], labels: NDArray[np.intp], n_clusters: int) -> bool:
    """Whether normal distributions, from these labels (N,), describe the points (N, D) better than a single one."""
    some = np.random.RandomState(0).permutation(len(points))[:MOST_SAMPLES]
    points, labels = points[some], labels[some]
    points = points[:, np.ptp(points, axis=0) > 0.0]
    if not points.shape[1]:
        return False
    points = points / np.abs(points).max(0)  # squares of wild values may overflow
    points = (points - points.mean(0)) / points.std(0)
    one = fit_mixture(points, np.zeros(len(points), np.intp), 1)
    several = (fit_mixture(points, labels, n_clusters, kind) for kind in ("full", "tied", "diag"))
    best = max(information_criterion(mixture, points.shape[1]) for mixture in several)
    return best > information_criterion(one, points.shape[1])
