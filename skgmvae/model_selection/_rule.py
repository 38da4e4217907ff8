"""The rule that chooses the number of clusters from the evidence."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skgmvae.data.arrays import Floats

__all__ = ["Rule", "combine", "is_separate"]

LEAST_DIP = 0.65  # √n dip, p = 0.005
LEAST, BEYOND = -0.5, -0.2  # separations below the first count as equal to it; of more clusters than were tried


class Rule(NamedTuple):
    """Constants of the rule: round numbers, chosen with the labels of the benchmark's development data in sight.

    Attributes
    ----------
    alone : float
        Nats of separation that are evidence for two clusters or more; uniform samples have reached 0.86.
    with_dip : float
        The same, where all pairs of neighboring clusters are bimodal on the line between their means.
    with_links : float
        The same, where neighbors tell a label up to ``most_lost`` of its information.
    most_lost : float
    least : float
        Separation of any number of clusters, where two or more are evident.
    offset : float
        Added to separations before logarithms are compared.
    loss_weight, loss_offset : float
        Weight of the log-ratio of the information lost, and what is added to that.
    """

    alone: float = 1.0
    with_dip: float = 0.6
    with_links: float = 0.4
    most_lost: float = 0.02
    least: float = 0.25
    offset: float = 0.7
    loss_weight: float = 0.75
    loss_offset: float = 0.003


DEFAULT = Rule()


def is_separate(separations: Floats, lost: Floats, dips: Floats, rule: Rule = DEFAULT) -> NDArray[np.bool_]:
    """Whether numbers of clusters have a separation (n,) that a single cluster does not reach."""
    least = np.where(dips >= LEAST_DIP, rule.with_dip, rule.alone)
    return np.asarray(separations >= np.where(lost <= rule.most_lost, rule.with_links, least))


def combine(numbers: Sequence[int], separations: Floats, lost: Floats, dips: Floats, rule: Rule = DEFAULT) -> Floats:
    """Score of each number of clusters; minus infinity without evidence for it.

    For K of two or more, the score is log(separation + offset) less that of the best separation of more clusters, plus
    a weight times log(information lost by the next number / lost by K): high where the separation falls and the loss
    rises after K. If no number has a separation that a single cluster does not reach, the first number is chosen: one,
    if it is searched.

    Parameters
    ----------
    numbers : sequence of int
        Ascending.
    separations, lost, dips : ndarray of shape (n,)
        NaN where they are not known.
    rule : Rule

    Returns
    -------
    ndarray of shape (n,)
    """
    scores, many = np.full(len(numbers), -np.inf), np.asarray(numbers) > 1
    known = np.flatnonzero(np.isfinite(separations) & many)
    if not is_separate(separations[known], lost[known], dips[known], rule).any():
        scores[0] = 0.0
        return scores
    heights = np.log(np.maximum(np.append(separations[known], BEYOND), LEAST) + rule.offset)
    beyond = np.maximum.accumulate(heights[::-1])[::-1][1:]
    losses = np.log(lost[known] + rule.loss_offset)
    scores[known] = heights[:-1] - beyond + rule.loss_weight * (np.append(losses[1:], losses[-1:]) - losses)
    scores[known[separations[known] < rule.least]] = -np.inf
    return scores
