"""The synthetic data set of the GMVAE paper."""

import numpy as np
from sklearn.utils import check_random_state

from skgmvae.data.arrays import Floats, Integers, Seed

ARC_DISTANCE = 1.6  # from the origin to the centers of the arcs' circles
ARC_TURN = 0.5 * np.pi  # of an arc's middle, against the direction of its center


def make_circle_arcs(
    n_samples: int = 10_000, *, n_arcs: int = 5, noise: float = 0.06, random_state: Seed = None
) -> tuple[Floats, Integers]:
    """Generate points on circle arcs, one arc per cluster; the clusters are not ellipses.

    The arcs are half circles of radius one around the corners of a regular polygon, each rotated with its corner, with
    Gaussian noise on the radius. The data are similar to those of Dilokthanakul et al. (2016, section 4.1), whose exact
    arcs were not published.

    Parameters
    ----------
    n_samples : int, default=10000
        Divided among the arcs as evenly as possible.
    n_arcs : int, default=5
    noise : float, default=0.06
        Standard deviation of the distance from the arc.
    random_state : int, RandomState or None, default=None

    Returns
    -------
    X : ndarray of shape (n_samples, 2)
        float64, in random order.
    y : ndarray of shape (n_samples,)
        The arc of each point, int64.

    Examples
    --------
    >>> from skgmvae.datasets import make_circle_arcs
    >>> X, y = make_circle_arcs(500, random_state=0)
    >>> X.shape
    (500, 2)
    """
    rng = check_random_state(random_state)
    y = rng.permutation(n_samples) % n_arcs
    turn = 2.0 * np.pi * y / n_arcs
    angle = turn + ARC_TURN + np.pi * rng.uniform(-0.5, 0.5, n_samples)
    radius = 1.0 + noise * rng.standard_normal(n_samples)
    centers = ARC_DISTANCE * np.column_stack([np.cos(turn), np.sin(turn)])
    return centers + radius[:, None] * np.column_stack([np.cos(angle), np.sin(angle)]), y
