"""Links of a graph, and what partitions of its nodes sum over them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from skgmvae.initialization.information import link_information
from skgmvae.initialization.partitions import members

__all__ = ["Links", "Partition", "make_partition", "move"]

MOST_DENSE = 64  # clusters of few nodes that are added up by a product with zeros and ones


class Links(NamedTuple):
    """A symmetric graph of total weight one.

    Attributes
    ----------
    between : csr_array or ndarray of shape (N, N)
        Affinities of different nodes.
    within : ndarray of shape (N,)
        Affinity of each node to itself.
    """

    between: csr_array | NDArray[np.float64]
    within: NDArray[np.float64]

    @classmethod
    def of_samples(cls, affinities: csr_array) -> "Links":
        """The graph of samples, its diagonal zero."""
        return cls(affinities / affinities.sum(), np.zeros(int(affinities.shape[0])))

    def join(self, groups: NDArray[np.intp], n_groups: int) -> "Links":
        """The dense graph of groups of nodes; its partitions have the information of those of the nodes."""
        one_hot = members(groups, n_groups)
        joined = np.asarray((one_hot.T @ self.between @ one_hot).toarray())
        own: NDArray[np.float64] = joined.diagonal() + np.bincount(groups, self.within, n_groups)
        np.fill_diagonal(joined, 0.0)
        return Links(joined, own)

    def mean_affinity(self) -> float:
        """Mean of the affinities that are not zero; 1 without any."""
        values = self.between.data if isinstance(self.between, csr_array) else self.between[self.between > 0.0]
        return float(np.mean(values)) if values.size else 1.0


class Partition(NamedTuple):
    """Labels of the nodes of a graph and what is summed over them.

    Attributes
    ----------
    labels : ndarray of shape (N,)
    to_clusters : ndarray of shape (N, K)
        Affinity of each node to the others of every cluster.
    table : ndarray of shape (K, K)
        Affinity between clusters.
    information : float
        Of the labels at both ends of a link, in nats.
    """

    labels: NDArray[np.intp]
    to_clusters: NDArray[np.float64]
    table: NDArray[np.float64]
    information: float


def make_partition(links: Links, labels: NDArray[np.intp], n_clusters: int) -> Partition:
    """The partition of the nodes by ``labels``."""
    one_hot = members(labels, n_clusters)
    if isinstance(links.between, csr_array):
        return _sum_up(links, labels, (links.between @ one_hot).toarray())
    if n_clusters > MOST_DENSE:
        return _sum_up(links, labels, np.ascontiguousarray((one_hot.T @ links.between).T))
    return _sum_up(links, labels, links.between @ one_hot.toarray())


def _sum_up(links: Links, labels: NDArray[np.intp], to_clusters: NDArray[np.float64]) -> Partition:
    K = to_clusters.shape[1]
    if isinstance(links.between, csr_array) or K > MOST_DENSE:
        table = np.asarray(members(labels, K).T @ to_clusters)
    else:  # of few nodes, for which a sparse matrix takes longer to make than to multiply
        table = np.eye(K)[labels].T @ to_clusters
    table[np.diag_indices(K)] += np.bincount(labels, links.within, K)
    return Partition(labels, to_clusters, table, link_information(table))


def move(links: Links, partition: Partition, nodes: NDArray[np.intp], to: NDArray[np.intp]) -> Partition:
    """The partition after some nodes have moved; costs what these are linked to."""
    K, each = partition.to_clusters.shape[1], np.arange(len(nodes))
    labels = partition.labels.copy()
    labels[nodes] = to
    change = np.zeros((len(nodes), K))
    change[each, to] = 1.0
    change[each, partition.labels[nodes]] -= 1.0
    return _sum_up(links, labels, partition.to_clusters + links.between[nodes].T @ change)
