"""Initial responsibilities that the user gives: labels, or a clusterer or function."""

import inspect
import warnings
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.semi_supervised import LabelSpreading

from skgmvae.initialization.neighbor_graph import find_neighbors

__all__ = ["complete_labels", "fit_clusterer", "to_responsibilities"]

Floats: TypeAlias = NDArray[np.float64]
N_NEIGHBORS = 10  # over which given labels spread …
MAX_LINKS = 100  # … along no more links than this


def to_responsibilities(labels: Any, n_samples: int, n_components: int, name: str) -> Floats:
    """Labels or responsibilities as an array (N, K), checked; a row of zeros has no opinion.

    Parameters
    ----------
    labels : array-like of shape (N,) or (N, K)
        Integers from −1, no opinion, to K − 1; or numbers that are not negative, the rows of which add up to one, or to
        zero: no opinion.
    n_samples, n_components : int
        N and K.
    name : str
        What messages call them.

    Raises
    ------
    ValueError
        If shape or values are others.
    """
    N, K = n_samples, n_components
    if np.ma.is_masked(labels):
        raise ValueError(f"{name} must not be masked; use -1 for samples without a label")
    values = np.asarray(labels.detach().cpu().float() if isinstance(labels, torch.Tensor) else labels)
    if values.shape not in ((N,), (N, K)):
        raise ValueError(
            f"{name} must be labels of shape ({N},) or responsibilities of shape ({N}, {K}), as there are {N} samples "
            f"and n_components={K}; got shape {values.shape}"
        )
    if values.dtype.kind not in "iufb":
        raise ValueError(
            f"{name} must contain integers from -1 to {K - 1}, or responsibilities; got dtype {values.dtype}. Encode "
            "other labels, for instance with LabelEncoder."
        )
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError(f"{name} must contain finite numbers; got NaN or infinity. Use -1 where there is no label.")
    if values.ndim == 2:
        return _check_responsibilities(values.astype(np.float64), name)
    integers = values.astype(np.int64)
    if (integers != values).any() or integers.min() < -1 or integers.max() >= K:
        raise ValueError(
            f"{name} must be integers from -1 (no label) to {K - 1}, as n_components={K}; got values from "
            f"{values.min()} to {values.max()}"
        )
    responsibilities = np.zeros((N, K))
    known = np.flatnonzero(integers >= 0)
    responsibilities[known, integers[known]] = 1.0
    return responsibilities


def _check_responsibilities(values: Floats, name: str) -> Floats:
    sums = values.sum(1)
    if values.min() < 0.0 or not (np.isclose(sums, 1.0, atol=1e-3) | (sums == 0.0)).all():
        worst = int(np.argmax(np.abs(np.where(sums == 0.0, 1.0, sums) - 1.0)))
        raise ValueError(
            f"{name} must not be negative, and each row must add up to 1, or to 0 (no label); got a smallest value "
            f"of {values.min():.3g}, and row {worst} adds up to {sums[worst]:.3g}"
        )
    return values / np.where(sums == 0.0, 1.0, sums)[:, None]


def fit_clusterer(
    init_params: Any, X: NDArray[Any], n_components: int, random_state: np.random.RandomState
) -> tuple[str, Floats]:
    """Name and responsibilities (N, K) of a clusterer's or function's labels; rows of zeros have no opinion.

    Raises
    ------
    ValueError
        If there are more clusters than components, or labels of another shape.
    """
    if hasattr(init_params, "fit_predict"):
        name = type(init_params).__name__
        labels = np.asarray(_seeded(clone(init_params, safe=False), random_state).fit_predict(X))
        found = np.unique(labels[labels >= 0])
        if len(found) > n_components:
            raise ValueError(
                f"{name} found {len(found)} clusters, more than n_components={n_components}; set n_components="
                f"{len(found)}, or change the parameters of {name} so that it finds fewer"
            )
        labels = np.where(labels >= 0, np.searchsorted(found, labels), -1)
    else:
        name = getattr(init_params, "__name__", type(init_params).__name__)
        labels = _call(init_params, name, X, n_components, random_state)
    return name, to_responsibilities(labels, len(X), n_components, f"the labels of init_params={name}")


def _call(function: Any, name: str, X: Any, n_components: int, random_state: np.random.RandomState) -> Any:
    """Labels of a function that takes (X, n_components, random_state)."""
    try:
        inspect.signature(function).bind(X, n_components=n_components, random_state=random_state)
    except TypeError as error:
        raise TypeError(
            f"init_params={name} is called with (X, n_components=…, random_state=…), which it does not accept: {error}"
        ) from error
    return function(X, n_components=n_components, random_state=random_state)


def _seeded(clusterer: Any, random_state: np.random.RandomState) -> Any:
    """The clusterer with an integer for every ``random_state`` that is None, its steps' included."""
    parameters = clusterer.get_params() if hasattr(clusterer, "get_params") else {}
    for name, value in sorted(parameters.items()):
        if value is None and (name == "random_state" or name.endswith("__random_state")):
            clusterer.set_params(**{name: int(random_state.randint(2**31 - 1))})
    return clusterer


def complete_labels(responsibilities: Floats, points: NDArray[Any], cluster: Callable[[], Floats]) -> Floats:
    """Responsibilities for the samples without an opinion too.

    The given ones spread along the graph of nearest neighbors (Zhou et al. 2004). Where a component has no sample,
    clusters of all samples are matched with the given labels first, so that the component can be one of the others.

    Parameters
    ----------
    responsibilities : ndarray of shape (N, K)
        Rows of zeros are to be filled in.
    points : ndarray of shape (N, L)
        In which neighbors are looked for.
    cluster : callable
        Gives responsibilities (N, K) of all samples by themselves.

    Returns
    -------
    ndarray of shape (N, K)
    """
    open_rows = responsibilities.sum(1) == 0.0
    if not open_rows.any():
        return responsibilities
    if (responsibilities.sum(0) == 0.0).any():
        found = cluster()
        matched = linear_sum_assignment(responsibilities.T @ found, maximize=True)[1]
        return np.where(open_rows[:, None], found[:, matched], responsibilities)
    labels = np.where(open_rows, -1, responsibilities.argmax(1))
    # a label's share falls with each link on the way: any tolerance would leave out the samples behind many links
    spread = LabelSpreading(kernel=_link_neighbors, alpha=0.2, max_iter=MAX_LINKS, tol=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        distributions = spread.fit(points, labels).label_distributions_
    # a piece of the graph without any label: all components alike
    reached = np.isfinite(distributions).all(1) & (distributions.sum(1) > 0.0)
    distributions = np.where(reached[:, None], distributions, 1.0 / responsibilities.shape[1])
    return np.where(open_rows[:, None], distributions, responsibilities)


def _link_neighbors(points: NDArray[Any], others: NDArray[Any]) -> csr_array:
    """Links (N, N) of each point to itself and to its nearest ones: the kernel 'knn', but of a quicker search."""
    N = len(points)
    nearest = find_neighbors(points, N_NEIGHBORS - 1).indices
    indices = np.hstack([np.arange(N)[:, None], nearest])
    indptr = np.arange(0, indices.size + 1, indices.shape[1])
    return csr_array((np.ones(indices.size), indices.ravel(), indptr), shape=(N, N))
