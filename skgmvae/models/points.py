"""Quasi-random points for importance sampling, and how much they hold at a time."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.quasirandom import SobolEngine

__all__ = ["FIRST", "MANY_FEATURES", "PointSets", "count_values", "describe_chunks", "make_point_sets"]

FIRST, FURTHER = 16, (64, 256)  # points of a sample; further ones where the first are not enough
MANY_FEATURES = 100  # above it, one round and a single Newton step, since the networks are usually large


class PointSets(NamedTuple):
    """Quasi-random points in the unit cube, (S, 1 + U) each, and whether expansions are refined.

    Attributes
    ----------
    sets : sequence of Tensor
        Points of the first estimate, and of each further one.
    refines : bool
    seed : int
        Of the shifts.
    is_of_posterior : bool
        Whether only p(c|x) is of interest: samples with one relevant component need no points then, others fewer.
    """

    sets: Sequence[Tensor]
    refines: bool
    seed: int
    is_of_posterior: bool = False


def make_point_sets(width: int, n_features: int, seed: int) -> PointSets:
    """Scrambled Sobol points for ``width`` latent variables; fewer for many features."""
    few = n_features > MANY_FEATURES
    sizes = (FIRST,) if few else (FIRST, *FURTHER)
    engine = SobolEngine(width + 1, scramble=True, seed=seed)
    points, sets = engine.draw(2 * max(sizes), dtype=torch.float64), []
    for size in sizes:  # aligned blocks of the sequence
        sets.append(points[size : 2 * size])
    return PointSets(sets, not few, seed)


def count_values(model: Any, n_features: int) -> int:
    """Numbers per sample that an estimate holds at a time: Jacobians and precisions of all components."""
    (n_latents,) = model.noise_shape
    return int(model.n_components * n_latents * (n_latents + n_features))


def describe_chunks(model: Any, n_features: int) -> dict[str, Any]:
    """Copies of a sample in the networks, and numbers beside them, for the chunks of ``map_chunks``.

    The closed form of a linear model passes none through the networks.
    """
    if model.is_linear and n_features <= MANY_FEATURES:
        return {"n_copies": 0, "values_per_row": int(model.n_components * n_features)}
    return {"n_copies": FIRST, "values_per_row": count_values(model, n_features)}
