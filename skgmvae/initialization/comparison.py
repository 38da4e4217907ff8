"""What partitions are compared by: the information of their labels about those of neighbors, and their agreement."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, hstack

from skgmvae.initialization.information import information_kept
from skgmvae.initialization.mixture import has_samples_for
from skgmvae.initialization.neighbor_graph import find_neighbors, self_tuned_graph
from skgmvae.initialization.partitions import members
from skgmvae.initialization.views import whiten_within

__all__ = ["N_LINKED", "Losses", "link_points", "lost_relative_to", "mean_agreement", "shares_kept"]

N_LINKED = 5  # neighbors in the graph by which partitions are compared


class Losses(NamedTuple):
    """Information lost by another partition, the one that loses least, relative to that lost by a mixture.

    Attributes
    ----------
    among_points, within : float
        With neighbors among the points, and where the mixture's clusters are spherical; infinite where the mixture
        loses none.
    of_mixture : float
        Share that the mixture itself loses where its clusters are spherical.
    """

    among_points: float
    within: float
    of_mixture: float

    @property
    def larger(self) -> float:
        """The larger ratio: each view alone speaks against some mixtures that are right."""
        return max(self.among_points, self.within)


def link_points(points: NDArray[np.float64]) -> csr_array:
    """The graph of few neighbors, (N, N), by which partitions of points (N, D) are compared."""
    return self_tuned_graph(find_neighbors(points, N_LINKED), N_LINKED)


def shares_kept(links: csr_array, labels: list[NDArray[np.intp]], n_clusters: int) -> NDArray[np.float64]:
    """Share of the entropy of each labeling that the label at the other end of a link tells."""
    total, kept = links.sum(), np.empty(len(labels))
    for i, one in enumerate(labels):
        one_hot = members(one, n_clusters)
        kept[i] = information_kept((one_hot.T @ (links @ one_hot)).toarray() / total)
    return kept


def mean_agreement(labels: list[NDArray[np.intp]], n_clusters: int) -> NDArray[np.float64]:
    """Mean adjusted Rand index (Hubert & Arabie 1985) of each labeling with all, itself included.

    scikit-learn's function, called for each pair, takes longer in small tables than most of the candidates.
    """
    n, N, K = len(labels), len(labels[0]), n_clusters
    one_hots = hstack([members(one, K) for one in labels], format="csr")
    shared = (one_hots.T @ one_hots).tocoo()  # samples of each cluster in each of another labeling
    pairs = (shared.row // K) * n + shared.col // K
    together = np.bincount(pairs, shared.data**2, minlength=n * n).reshape(n, n)  # ordered pairs of samples, in both
    in_one = np.repeat(together.diagonal()[:, None], n, axis=1)
    both, only_one, only_other = together - N, in_one - together, in_one.T - together
    neither = float(N) ** 2 - N - both - only_one - only_other
    most = (both + only_one) * (only_one + neither) + (both + only_other) * (only_other + neither)
    is_same = (only_one == 0.0) & (only_other == 0.0)
    index = np.where(is_same, 1.0, 2.0 * (both * neither - only_one * only_other) / np.where(is_same, 1.0, most))
    return np.asarray(index.mean(1))


def lost_relative_to(
    mixture: NDArray[np.intp],
    others: list[NDArray[np.intp]],
    points: NDArray[np.float64],
    links: csr_array,
    n_clusters: int,
) -> Losses:
    """Least information lost by another partition, relative to the mixture's, in two views.

    Neighbors are looked for among the points and, in turn, where the covariance within the mixture's clusters is the
    identity: among strongly correlated columns, partitions across the clusters lose little information otherwise. In
    very few samples, any clusters would be apart in such coordinates; the second view is that of the points then.

    Parameters
    ----------
    mixture : ndarray of shape (N,)
        Labels.
    others : list of ndarray of shape (N,)
    points : ndarray of shape (N, D)
    links : csr_array of shape (N, N)
        Of the points.
    n_clusters : int
        K.

    Returns
    -------
    Losses
    """
    (N, D), K, graphs = points.shape, n_clusters, [links]
    if has_samples_for(2, N, D):
        graphs.append(link_points(whiten_within(points, mixture, K)))
    losses = [1.0 - shares_kept(graph, [mixture, *others], K) for graph in graphs]
    ratios = [float(lost[1:].min() / lost[0]) if lost[0] > 0.0 else np.inf for lost in losses]
    return Losses(ratios[0], ratios[-1], float(losses[-1][0]))
