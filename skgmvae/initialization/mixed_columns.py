"""Clusters of tables whose columns are of several kinds: a mixture of products of their distributions."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.neighbors import KNeighborsRegressor
from torch import Tensor

from skgmvae.initialization.choice import choose_clusters
from skgmvae.initialization.mixed_samples import MixedSamples
from skgmvae.initialization.neighbor_graph import find_neighbors
from skgmvae.initialization.partitions import fit_kmeans
from skgmvae.initialization.product_mixture import ProductFit, ProductMixture
from skgmvae.runtime import single_thread

__all__ = ["choose_mixed", "weigh_columns"]

MAX_SAMPLES = 5_000  # on which the mixture is fitted; the others follow by their responsibilities
N_RANDOM = 8  # random initializations
N_SHORT, N_FINALISTS = 10, 3  # iterations of EM of all initializations, of which the best go on
CONTINUOUS = "clusters of the continuous columns"
MOST_CROSSING, LEAST_SIZE = 0.03, 0.1  # share of links, and size relative to N / K, of clusters that are apart
N_LINKED = 5  # neighbors
LEAST_EXPLAINED = 0.5  # share of the dependence between columns
HARDLY_BETTER = 0.02  # nats per sample by which more components may be better while K are believed
N_MORE = 3  # components, at most, that are tried in addition
KINDS = ("continuous", "binary", "categorical", "counts")  # as the likelihood orders its outputs


@torch.no_grad()
@single_thread()
def choose_mixed(
    samples: MixedSamples, n_components: int, random_state: np.random.RandomState
) -> tuple[str, NDArray[np.float64]]:
    """Name and responsibilities (N, K): of the mixture of the highest information criterion plus dependence.

    In a component the continuous columns are normal, with a full or a diagonal covariance, and the others independent.
    EM begins from clusters of the continuous columns, from clusters and k-means of all columns with equal weights, and
    at random. Of what it finds, the criterion alone would prefer clusters that fit the shapes of single columns; the
    dependence between columns, added to it, prefers clusters that many columns have in common.

    Clusters of the continuous columns that hardly any link between neighbors crosses are kept instead, if they explain
    much of that dependence and more components fit better: the distributions are then not those of the clusters.

    Parameters
    ----------
    samples : MixedSamples
        N samples.
    n_components : int
        K.
    random_state : RandomState
    """
    K, N = n_components, samples.n_samples
    if K == 1:
        return "single component", np.ones((N, 1))
    chosen = np.arange(N)
    if N > MAX_SAMPLES:
        chosen = np.sort(random_state.choice(N, MAX_SAMPLES, replace=False))
    some = samples.take(chosen)
    mixture = ProductMixture(some.drawn, some.likelihood)
    begun = {name: torch.from_numpy(R) for name, R in _begin(some, K, random_state).items()}
    found, clusters = _find_mixture(mixture, begun), begun.get(CONTINUOUS)
    if (
        clusters is not None
        and _are_apart(some, clusters)
        and _explain_dependence(mixture, clusters, found)
        and _wants_more(mixture, found, random_state)
    ):
        return CONTINUOUS, _spread(clusters.numpy(), samples, chosen)
    R = found.responsibilities
    if len(chosen) < N:
        R = mixture.predict(found, samples.drawn)
    shape = "diagonal" if found.is_diagonal else "full"
    return f"mixture of {shape} normals and products, from {found.name}", R.numpy()


def _find_mixture(mixture: ProductMixture, begun: Mapping[str, Tensor]) -> ProductFit:
    """The fit of the best criterion and most dependence, of those that begin with responsibilities (n, K)."""

    def weigh(fit: ProductFit) -> float:
        return fit.value + mixture.find_dependence(fit)

    best: list[ProductFit] = []
    for kind in mixture.kinds:
        short = sorted((mixture.fit(name, R, kind, N_SHORT) for name, R in begun.items()), key=weigh, reverse=True)
        best += [mixture.fit(fit.name, fit.responsibilities, kind) for fit in short[:N_FINALISTS]]
    return max(best, key=weigh)


def _explain_dependence(mixture: ProductMixture, clusters: Tensor, found: ProductFit) -> bool:
    """Whether clusters (n, K) of some columns explain much of the dependence that a mixture finds in all."""
    explained = max(
        mixture.find_dependence(found._replace(responsibilities=clusters, is_diagonal=kind)) for kind in mixture.kinds
    )
    return explained >= LEAST_EXPLAINED * mixture.find_dependence(found)


def _are_apart(samples: MixedSamples, responsibilities: Tensor) -> bool:
    """Whether hardly any link between neighbors in the continuous columns crosses the clusters (n, K)."""
    labels = responsibilities.argmax(1).numpy()
    n, K = responsibilities.shape
    if np.bincount(labels, minlength=K).min() < LEAST_SIZE * n / K:
        return False
    neighbors = find_neighbors(_standardize(samples), N_LINKED).indices
    return bool((labels[neighbors] != labels[:, None]).mean() <= MOST_CROSSING)


def _standardize(samples: MixedSamples) -> NDArray[np.float64]:
    """The continuous columns (n, G), of unit variance."""
    continuous = samples.continuous
    return np.asarray(continuous / np.maximum(continuous.std(0), np.finfo(np.float64).tiny))


def _wants_more(mixture: ProductMixture, found: ProductFit, random_state: np.random.RandomState) -> bool:
    """Whether a few more components have a clearly better criterion."""
    K, weighted = found.responsibilities.shape[1], weigh_columns(mixture.points, mixture.likelihood)
    for n_more in range(1, min(N_MORE, len(weighted) - K) + 1):
        labels = fit_kmeans(weighted, K + n_more, random_state, n_init=1)[0]
        R = torch.from_numpy(np.eye(K + n_more)[labels])
        if any(mixture.fit("", R, kind).value > found.value + HARDLY_BETTER for kind in (True, False)):
            return True
    return False


def _spread(
    responsibilities: NDArray[np.float64], samples: MixedSamples, chosen: NDArray[np.intp]
) -> NDArray[np.float64]:
    """The clusters (n, K) of the chosen samples for all, by those of their neighbors."""
    if len(chosen) == samples.n_samples:
        return responsibilities
    standardized = _standardize(samples)
    nearest = KNeighborsRegressor(N_LINKED).fit(standardized[chosen], responsibilities)
    return np.asarray(nearest.predict(standardized))


def _begin(
    samples: MixedSamples, n_components: int, random_state: np.random.RandomState
) -> dict[str, NDArray[np.float64]]:
    """Responsibilities (n, K) that EM begins with."""
    K, n, continuous = n_components, samples.n_samples, samples.continuous
    weighted = weigh_columns(samples.completed, samples.likelihood)
    begun = {"k-means of all columns": np.eye(K)[fit_kmeans(weighted, K, random_state, n_init=5)[0]]}
    if n > K + 1:
        if continuous.shape[1] > 0:
            begun[CONTINUOUS] = choose_clusters(continuous, K, random_state).responsibilities
        begun["all columns"] = choose_clusters(_reduce(weighted), K, random_state, leaves_out=False).responsibilities
    for i in range(N_RANDOM):
        begun[f"random responsibilities {i}"] = random_state.dirichlet(np.ones(K), n)
    return begun


def weigh_columns(points: Tensor, likelihood: Any) -> NDArray[np.float64]:
    """Points (N, F) of columns with equal weights: variance one, of all categories of a column together.

    As in a factor analysis of mixed data (Pagès 2004) the indicator of a category is divided by the root of its share.
    Missing values are means.
    """
    parts = []
    for kind, values in zip(KINDS, points.double().split(likelihood.sizes, -1), strict=True):
        X = values.numpy()
        if not X.shape[1]:
            continue
        mean = np.nanmean(X, axis=0)
        centered = np.nan_to_num(X - mean)
        if kind == "categorical":
            one_hots = np.split(centered, np.cumsum(likelihood.categorical.n_levels)[:-1], axis=1)
            for one_hot in one_hots:
                total = math.sqrt(max(float(one_hot.var(0).sum()), 1e-12))
                parts.append(one_hot / total)
        else:
            deviation = centered.std(0)
            parts.append(centered / np.where(deviation > 0.0, deviation, 1.0))
    return np.hstack(parts)


def _reduce(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The principal components (N, P) of more than average variance; at least two if there are as many."""
    centered = points - points.mean(0)
    values, vectors = np.linalg.eigh(centered.T @ centered / len(points))
    kept = max(int((values > values.mean()).sum()), min(2, len(values)))
    return np.asarray(centered @ vectors[:, -kept:])
