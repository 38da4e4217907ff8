"""How far clusters are apart: the density between neighboring ones, and what links tell about labels."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.special import gammaln

from skgmvae.data.arrays import Floats
from skgmvae.initialization.comparison import link_points
from skgmvae.initialization.information import information_kept, link_information
from skgmvae.initialization.partitions import members
from skgmvae.initialization.views import whiten_within
from skgmvae.model_selection._density import Density

__all__ = ["description_length", "information_lost", "lost_whitened", "modes_and_saddles", "separation"]

MODE_QUANTILE = 0.95  # of a cluster's log-densities: its mode, but for single samples
LEAST_WEIGHT = 3.0  # samples of a component that counts


def separation(labels: NDArray[np.intp], edges: NDArray[np.intp], density: Density) -> float:
    """The least log-ratio, over neighboring clusters, of the density at the lower mode to that at the saddle, in nats.

    Zero for a single cluster.

    Parameters
    ----------
    labels : ndarray of shape (N,)
        0 to K − 1, each at least once.
    edges : ndarray of shape (E, 2)
        Pairs of neighbors.
    density : Density
    """
    modes, saddles = modes_and_saddles(labels, edges, density)
    joined = saddles > -np.inf
    return float((np.minimum(modes[:, None], modes)[joined] - saddles[joined]).min()) if joined.any() else 0.0


def modes_and_saddles(labels: NDArray[np.intp], edges: NDArray[np.intp], density: Density) -> tuple[Floats, Floats]:
    """Log-densities of modes (K,), and of saddles between clusters (K, K), minus infinity where nothing joins them.

    Of what is known: a mode is at least as high as nearly all samples of a cluster and as the means of the components
    that are its own; the saddle between two clusters is at least as high as the edges between their samples, an edge
    being as low as its ends and its middle, and as the lines between their components.
    """
    K, ends = int(labels.max()) + 1, labels[edges]
    between = ends[:, 0] != ends[:, 1]
    heights = np.minimum(density.of_samples[edges[between]].min(1), density.of_middles[between])
    modes = np.array([np.quantile(density.of_samples[labels == c], MODE_QUANTILE) for c in range(K)])
    saddles = np.full((K, K), -np.inf)
    np.maximum.at(saddles, tuple(ends[between].T), heights)
    owner = _find_owners(labels, density.responsibilities)
    owned = owner >= 0
    np.maximum.at(modes, owner[owned], density.of_means[owned])
    of_a, of_b = np.broadcast_arrays(owner[owned][:, None], owner[owned])
    np.maximum.at(saddles, (of_a, of_b), density.of_ridges[np.ix_(owned, owned)])
    np.fill_diagonal(saddles, -np.inf)
    return modes, np.maximum(saddles, saddles.T)


def _find_owners(labels: NDArray[np.intp], responsibilities: Floats) -> NDArray[np.intp]:
    """The cluster (M,) that has most of a component; −1 if none has half of it, or if it is hardly anything."""
    shares = np.asarray(members(labels, int(labels.max()) + 1).T @ responsibilities)
    weights = shares.sum(0)
    has_owner = (weights >= LEAST_WEIGHT) & (shares.max(0) >= 0.5 * weights)
    return np.where(has_owner, shares.argmax(0), -1)


def _share_of_links(links: csr_array, labels: NDArray[np.intp], n_clusters: int) -> Floats:
    one_hot = members(labels, n_clusters)
    return np.asarray((one_hot.T @ (links @ one_hot)).toarray() / links.sum())


def information_lost(links: csr_array, labels: NDArray[np.intp], n_clusters: int) -> float:
    """Share of the entropy of a label that the label at the other end of a link does not tell; 0 for one cluster."""
    return max(1.0 - information_kept(_share_of_links(links, labels, n_clusters)), 0.0) if n_clusters > 1 else 0.0


def lost_whitened(points: Floats, labels: NDArray[np.intp], n_clusters: int) -> float:
    """The same among neighbors in coordinates, of points (N, D), in which the clusters are spherical on average."""
    if n_clusters == 1:
        return 0.0
    return information_lost(link_points(whiten_within(points, labels, n_clusters)), labels, n_clusters)


def description_length(links: csr_array, labels: NDArray[np.intp], n_clusters: int) -> float:
    """Nats per link that describe a graph by a degree-corrected block model, but for what does not depend on labels.

    −I(labels) + [log C(K(K+1)/2 + E − 1, E) + log C(N − 1, K − 1) + log N! − Σ_c log N_c!] / E, the links counted
    without weights (Peixoto 2017).

    Parameters
    ----------
    links : csr_array of shape (N, N)
        Symmetric.
    labels : ndarray of shape (N,)
    n_clusters : int
        K.
    """
    K, N = n_clusters, len(labels)
    plain = links.copy()
    plain.data = np.ones_like(plain.data)
    E, sizes = plain.sum() / 2.0, np.bincount(labels, minlength=K)
    n_tables = K * (K + 1) / 2.0
    of_table = gammaln(n_tables + E) - gammaln(E + 1.0) - gammaln(n_tables)
    of_sizes = gammaln(N) - gammaln(K) - gammaln(N - K + 1.0)
    of_labels = gammaln(N + 1.0) - gammaln(sizes + 1.0).sum()
    return float((of_table + of_sizes + of_labels) / E - link_information(_share_of_links(plain, labels, K)))
