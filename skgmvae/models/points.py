"""Quasi-random points for importance sampling."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.quasirandom import SobolEngine

__all__ = ["FIRST", "MANY_FEATURES", "PointSets", "make_point_sets"]

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
