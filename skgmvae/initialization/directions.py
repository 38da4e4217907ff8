"""Directions along which the samples fall into clusters, whatever their variance."""

import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import FastICA
from sklearn.exceptions import ConvergenceWarning

from skgmvae.initialization.partitions import fit_kmeans

__all__ = ["split_directions"]

N_DIRECTIONS = 3  # along which samples are split
SAMPLES_PER_FEATURE = 10  # of fewer, some direction looks like clusters by chance
MAX_ITER = 100
TOLERANCE = 1e-3


def split_directions(
    white: NDArray[np.float64], n_clusters: int, random_state: np.random.RandomState
) -> list[NDArray[np.intp]]:
    """Labels of k-means along the independent components that it splits best (FastICA, Hyvärinen 1999).

    Among strongly correlated columns, clusters can be apart in a direction of little variance. After whitening, k-means
    in all directions often misses it; as the least Gaussian direction, it is an independent component.

    Parameters
    ----------
    white : ndarray of shape (N, D)
        Whitened points.
    n_clusters : int
        K.
    random_state : RandomState

    Returns
    -------
    list of ndarray of shape (N,)
        Empty where samples are few, or there is one direction.
    """
    N, D = white.shape
    if D < 2 or N < SAMPLES_PER_FEATURE * D:
        return []
    ica = FastICA(whiten=False, max_iter=MAX_ITER, tol=TOLERANCE, random_state=random_state)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        components = ica.fit_transform(white)
    splits = []
    for column in components.T:
        labels, centers = fit_kmeans(column[:, None], n_clusters, random_state)
        splits.append((float(np.mean((column - centers[labels, 0]) ** 2) / column.var()), labels))
    return [labels for _, labels in sorted(splits, key=lambda split: split[0])[:N_DIRECTIONS]]
