"""Clusters of several components of a model each: its subcomponents, which follow each other.

``counts`` are the numbers of subcomponents (K,) of the clusters, which sum to the number P of the model's components;
None: every component is a cluster.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = [
    "Counts",
    "add_subcomponents",
    "average_subcomponents",
    "count_clusters",
    "count_subcomponents",
    "find_cluster",
    "find_clusters",
    "find_heaviest",
    "find_subcomponents_of",
    "join_subcomponents",
    "log_cluster_weights",
    "reorder_clusters",
    "set_weights",
    "total_covariances",
]

Counts = Sequence[int] | None


def count_clusters(model: Any) -> int:
    """K."""
    return int(model.n_components) if model.subcomponents is None else len(model.subcomponents)


def count_subcomponents(model: Any) -> Tensor:
    """Number of components (K,) of every cluster."""
    return torch.tensor((1,) * model.n_components if model.subcomponents is None else model.subcomponents)


def find_clusters(counts: Sequence[int]) -> Tensor:
    """The cluster of each component, (P,)."""
    return torch.repeat_interleave(torch.tensor(counts))


def find_cluster(component: int, counts: Counts) -> int:
    """The cluster of a component."""
    return component if counts is None else int(find_clusters(counts)[component])


def find_subcomponents_of(cluster: int, counts: Counts) -> slice:
    """The components of a cluster."""
    first = cluster if counts is None else sum(counts[:cluster])
    return slice(first, first + (1 if counts is None else counts[cluster]))


def find_heaviest(model: Any, cluster: int) -> Tensor:
    """The component of a cluster that has the largest weight, shape (1,)."""
    some = find_subcomponents_of(cluster, model.subcomponents)
    heaviest: Tensor = some.start + model.log_weights()[some].argmax().reshape(1)
    return heaviest


def join_subcomponents(log_values: Tensor, counts: Counts) -> Tensor:
    """log Σ exp over the components of each cluster, (..., K) from (..., P)."""
    if counts is None:
        return log_values
    return torch.stack([torch.logsumexp(part, -1) for part in log_values.split(list(counts), -1)], -1)


def add_subcomponents(values: Tensor, counts: Counts) -> Tensor:
    """Sums over the components of each cluster, (..., K) from (..., P)."""
    if counts is None:
        return values
    return torch.stack([part.sum(-1) for part in values.split(list(counts), -1)], -1)


def log_cluster_weights(model: Any) -> Tensor:
    """log-probabilities (K,) of the clusters."""
    log_weights: Tensor = model.log_weights()
    return join_subcomponents(log_weights, model.subcomponents)


def average_subcomponents(model: Any, values: Tensor) -> Tensor:
    """Means of values (P, ...) over the components of each cluster, by their weights: (K, ...)."""
    if model.subcomponents is None:
        return values
    counts = list(model.subcomponents)
    parts = zip(model.log_weights().split(counts), values.split(counts), strict=True)
    return torch.stack([torch.tensordot(torch.softmax(logs, 0).to(part), part, 1) for logs, part in parts])


def total_covariances(model: Any, means: Tensor, covariances: Tensor) -> Tensor:
    """Covariances (K, L, L) of the clusters from means (P, L) and covariances (P, L, L) of their components."""
    if model.subcomponents is None:
        return covariances
    centered = means - average_subcomponents(model, means)[find_clusters(model.subcomponents)]
    return average_subcomponents(model, covariances + centered.unsqueeze(-1) * centered.unsqueeze(-2))


@torch.no_grad()
def set_weights(model: Any, log_weights: Tensor) -> None:
    """Set initial weights (P,); where clusters are to have equal ones, their components share these accordingly."""
    counts = model.subcomponents
    if model.weight_logits.requires_grad:
        model.weight_logits.copy_(log_weights)
    elif counts is not None:
        model.weight_logits.copy_(log_weights - join_subcomponents(log_weights, counts)[find_clusters(counts)])


def reorder_clusters(model: Any, order: Tensor) -> None:
    """Cluster ``order[i]`` becomes cluster ``i``, for ``order`` (K,)."""
    counts = model.subcomponents
    if counts is None:
        model.reorder(order)
        return
    parts = torch.arange(sum(counts)).split(list(counts))
    model.reorder(torch.cat([parts[cluster] for cluster in order.tolist()]))
    model.subcomponents = tuple(counts[cluster] for cluster in order.tolist())
