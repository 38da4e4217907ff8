"""Which components samples are drawn from."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skgmvae.data.arrays import Integers, Seed
from skgmvae.models.subcomponents import count_clusters, find_clusters, find_subcomponents_of
from skgmvae.runtime import MAX_SEED

__all__ = ["check_component", "check_n_samples", "draw_components", "to_labels"]


def draw_components(estimator: Any, n_samples: int, component: int | None, random_state: Seed) -> tuple[Integers, int]:
    """Components of the model of ``n_samples`` samples, sorted, and a seed for the samples themselves."""
    check_is_fitted(estimator)
    model = estimator.net_.module_
    check_n_samples(n_samples)
    if component is not None:
        check_component(estimator, component)
    rng = check_random_state(estimator.random_state if random_state is None else random_state)
    with torch.inference_mode():  # of the net as it is now, as every other answer
        weights = model.log_weights().exp().double().numpy(force=True)
    some = slice(None) if component is None else find_subcomponents_of(int(component), model.subcomponents)
    counts = np.zeros(len(weights), np.int64)
    if component is None or len(weights[some]) > 1:
        counts[some] = rng.multinomial(int(n_samples), weights[some] / weights[some].sum())
    else:
        counts[some] = int(n_samples)
    return np.repeat(np.arange(len(counts)), counts), int(rng.randint(MAX_SEED))


def to_labels(estimator: Any, components: Integers) -> Integers:
    """The clusters of components (n,) of the model."""
    counts = estimator.net_.module_.subcomponents
    return components if counts is None else find_clusters(counts).numpy()[components]


def check_n_samples(n_samples: Any) -> None:
    """Raise unless it is a positive integer."""
    if not isinstance(n_samples, Integral) or n_samples < 1:
        raise ValueError(f"n_samples must be an integer of at least 1; got {n_samples!r}")


def check_component(estimator: Any, component: Any) -> None:
    K = count_clusters(estimator.net_.module_)
    if isinstance(component, bool) or not (isinstance(component, Integral) and 0 <= int(component) < K):
        raise ValueError(f"component must be an integer from 0 to {K - 1}; got {component!r}")
