"""Samples of a table with columns of several kinds, made fit for a mixture of products of their distributions."""

from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from torch import Tensor

from skgmvae.initialization.views import HEAP, MAX_VALUES, compress, find_codes, find_heaped, find_scales
from skgmvae.models.columns import COUNTS, Column, Columns
from skgmvae.models.missing import estimate_normal
from skgmvae.models.normals import complete_normal, draw_missing
from skgmvae.runtime import MAX_SEED

__all__ = ["ContinuousColumns", "MixedSamples", "Preparation", "are_nearly_constant"]

# Round numbers, set on simulated tables with a flag, a category, and columns of outliers, zeros, integers and counts
FAR = 3.5  # robust standard deviations from the median, beyond which values are compressed …
SLOPE = 0.25  # … to a logarithm times this: outliers in several columns would still be a component
NEARLY_CONSTANT = 0.99  # share of the most frequent value
VERY_FAR = 10.0  # the same of log(1 + x), from which counts have no distribution of counts


def are_nearly_constant(columns: Tensor) -> bool:
    """Whether nearly all samples (N, H) have the same observed value in each column."""
    seen = [column[~column.isnan()] for column in columns.T]
    counts = [torch.unique(values, return_counts=True)[1] for values in seen]
    shares = (int(count.max()) / len(values) for count, values in zip(counts, seen, strict=True) if len(values))
    return all(share >= NEARLY_CONSTANT for share in shares)


class MixedSamples(NamedTuple):
    """Samples of a table with columns of several kinds, continuous ones fit for normal distributions.

    Attributes
    ----------
    completed : Tensor of shape (N, F)
        Missing values of continuous columns, which are the first, are conditional means: for distances.
    drawn : Tensor of shape (N, F)
        They are draws: for mixtures. Means vary less than values do, so that a mixture would have a component for them.
    likelihood : Columns
    """

    completed: Tensor
    drawn: Tensor
    likelihood: Any

    @property
    def n_samples(self) -> int:
        """N."""
        return len(self.completed)

    @property
    def continuous(self) -> NDArray[np.float64]:
        """The completed continuous columns (N, G)."""
        return self.completed[:, : self.completed.shape[1] - self.likelihood.n_heads].numpy()

    def take(self, rows: Any) -> Self:
        """Some of the samples."""
        return self._replace(completed=self.completed[rows], drawn=self.drawn[rows])


class Preparation:
    """What is done to the samples of a table, after one look at those that a mixture is fitted to.

    Counts with values far from all others, or with one frequent value such as zero beside many others, become
    continuous columns, treated as :class:`ContinuousColumns` says: a mixture would have components for those values.

    Parameters
    ----------
    points : Tensor of shape (n, F)
        Standardized samples, as the likelihood has them. Missing values are NaN.
    likelihood : Columns
    """

    def __init__(self, points: Tensor, likelihood: Any) -> None:
        n_counts = likelihood.sizes[-1]
        first = points.shape[1] - n_counts
        counts = points[:, first:].double().numpy()
        moved = [first + j for j in range(n_counts) if _are_no_counts(counts[:, j])]
        self.likelihood = _without(likelihood, [d - first for d in moved]) if moved else likelihood
        G = likelihood.sizes[0]
        self.order = [*range(G), *moved, *(d for d in range(G, points.shape[1]) if d not in moved)]
        self.n_continuous = G + len(moved)
        self.columns = ContinuousColumns(points[:, self.order[: self.n_continuous]].double().numpy())

    def __call__(self, points: Tensor, random_state: np.random.RandomState) -> MixedSamples:
        """The same or further samples (N, F); draws only where values are missing or columns heaped."""
        points, G = points.double()[:, self.order], self.n_continuous
        transformed = torch.from_numpy(self.columns.transform(points[:, :G].numpy(), random_state))
        points = torch.cat([transformed, points[:, G:]], 1)
        if not bool(transformed.isnan().any()):
            return MixedSamples(points, points, self.likelihood)
        normal, missing = estimate_normal(points), points.isnan()
        missing[:, G:] = False
        generator = torch.Generator().manual_seed(int(random_state.randint(MAX_SEED)))
        completed = torch.where(missing, complete_normal(points, points.isnan(), *normal), points)
        drawn = torch.where(missing, draw_missing(points, *normal, generator), points)
        return MixedSamples(completed, drawn, self.likelihood)


def _are_no_counts(logarithms: NDArray[np.float64]) -> bool:
    """Whether some standardized log(1 + x), (n,), are far from the others, or one of many values is frequent."""
    observed = logarithms[~np.isnan(logarithms)]
    values, counts = np.unique(observed, return_counts=True)
    if len(values) < 2:
        return False
    center, scale = find_scales(observed[:, None])
    is_far = np.abs(values - center).max() > VERY_FAR * scale[0]
    return bool(is_far or (len(values) > MAX_VALUES and counts.max() >= HEAP * len(observed)))


def _without(likelihood: Any, moved: list[int]) -> Columns:
    """The likelihood with some of its counts as continuous columns, the last of these, all of them standardized."""
    n_continuous, n_binary, *_ = likelihood.n_columns
    kinds = [Column("gaussian")] * (n_continuous + len(moved)) + [Column("bernoulli")] * n_binary
    kinds += [column for column in likelihood.columns if column.kind == "categorical"]
    counts = [column for kind in COUNTS for column in likelihood.columns if column.kind == kind]
    kept = [j for j in range(len(counts)) if j not in moved]
    of_counts = likelihood.counts.location[kept], likelihood.counts.scale[kept]
    location, scale = (torch.cat([of_counts[0].new_full((len(kinds),), i), of_counts[i]]) for i in (0, 1))
    return Columns([*kinds, *(counts[j] for j in kept)], location, scale).double()


class ContinuousColumns:
    """What is known of the columns after one look at the samples that a mixture is fitted to.

    A value that many samples have, or each of few values, would be a component of a variance of nearly zero, and values
    far from all others would be one of a large variance. Columns with the former become normal scores, with ties broken
    at random; the latter are compressed, or missing if many samples share one, as a code. All other values stay as they
    are.

    Parameters
    ----------
    X : ndarray of shape (n, G)
        Missing values are NaN.
    """

    def __init__(self, X: NDArray[np.float64]) -> None:
        self.scales: list[tuple[float, float]] = []
        self.heaped: dict[int, NDArray[np.float64]] = {}  # ascending values, by the index of a column
        self.codes: dict[int, NDArray[np.float64]] = {}
        for d, column in enumerate(X.T):
            observed = column[~np.isnan(column)]
            if len(observed) == 0 or np.ptp(observed) == 0.0:
                self.scales.append((0.0, np.inf))
                continue
            center, scale = find_scales(observed[:, None])
            self.scales.append((float(center[0]), float(scale[0])))
            if find_heaped(observed[:, None])[0]:
                self.heaped[d] = np.sort(observed)
            self.codes[d] = find_codes(observed)

    def transform(self, X: NDArray[np.float64], random_state: np.random.RandomState) -> NDArray[np.float64]:
        """The columns (N, G) of the same or further samples; draws only where columns are heaped."""
        found = X.copy()
        for d, (center, scale) in enumerate(self.scales):
            column = X[:, d]
            if d in self.heaped:
                found[:, d] = _score(column, self.heaped[d], random_state)
                continue
            z = (column - center) / scale
            is_far = np.abs(z) > FAR
            found[is_far, d] = center + scale * compress(z[is_far], FAR, SLOPE)
            if d in self.codes:
                found[np.isin(column, self.codes[d]), d] = np.nan
        return found


def _score(
    column: NDArray[np.float64], values: NDArray[np.float64], random_state: np.random.RandomState
) -> NDArray[np.float64]:
    """Normal scores (N,) of a column by the ascending values (n,) of samples, equal ones in random order."""
    n = len(values)
    low, high = (np.searchsorted(values, column, side) for side in ("left", "right"))
    within = np.where(high > low + 1, random_state.uniform(size=len(column)), 0.5)
    scores = ndtri(np.clip((low + (high - low) * within) / n, 0.5 / n, 1.0 - 0.5 / n))
    return np.where(np.isnan(column), np.nan, scores)
