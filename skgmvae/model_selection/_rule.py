"""The rule that chooses the number of clusters from the evidence."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skgmvae.data.arrays import Floats

__all__ = ["EVIDENCE", "Numbers", "Rule", "combine", "is_separate"]

# names of that of Numbers
EVIDENCE = ("separation", "information_lost", "dip", "misfit", "tied", "bic", "distinct", "lost_whitened")
LEAST_DIP = 0.65  # √n dip, p = 0.005
UNIMODAL = 0.3  # √n dip, below its mean for uniform samples: pieces of one cluster have less
MOST_MISFIT = 1.2  # √n Kolmogorov–Smirnov distance, about p = 0.1
# of components of equal covariance; pieces of a uniform cluster lose more information, true ones have lost .098 at most
MOST_MISFIT_EQUAL, MOST_LOST_EQUAL = 1.5, 0.1
# of the information lost, the share that whitened columns lose, of clusters apart where the columns hardly vary; pieces
# of a uniform cluster have lost 0.4 of it at least
MOST_OF_LOST = 0.25
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
        The same, where neighbors tell a label up to ``lost_with_links`` of its information.
    with_mixture : float
        The same, for the clusters of a mixture of the lowest BIC whose components are normal distributions, or apart in
        a direction of little variance.
    lost_with_links : float
    most_lost : float
        Share of the information lost, above which clusters are no evidence; pieces of one cluster lose more.
    least : float
        Separation of any number of clusters, where two or more are evident.
    offset : float
        Added to separations before logarithms are compared.
    loss_weight, loss_offset : float
        Weight of the log-ratio of the information lost, and what is added to that.
    bonus : float
        Added to the score of the clusters of such a mixture.
    """

    alone: float = 1.0
    with_dip: float = 0.6
    with_links: float = 0.4
    with_mixture: float = 0.5
    lost_with_links: float = 0.02
    most_lost: float = 0.25
    least: float = 0.25
    offset: float = 0.7
    loss_weight: float = 0.75
    loss_offset: float = 0.003
    bonus: float = 1.0


DEFAULT = Rule()


class Numbers(NamedTuple):
    """Evidence for numbers of clusters, (n,) each; NaN where it is not known.

    Attributes
    ----------
    separation, lost, dip : ndarray of shape (n,)
    misfit, tied : ndarray of shape (n,)
        Known for the number of components of the mixture of the lowest BIC, if it is one of the numbers. ``tied`` is 1
        if its components share one covariance, else 0.
    bic, distinct : ndarray of shape (n,)
        Of tables with categories or counts, where all else is evidence of the continuous columns: the criterion of
        mixtures of all columns; and 1 if their components are apart, and no pieces of clusters of the continuous
        columns, else 0. ``distinct`` is NaN for other tables.
    lost_whitened : ndarray of shape (n,)
        As ``lost``, for the same number as ``misfit``, among neighbors in coordinates in which the mean covariance
        within the clusters is the identity.
    """

    separation: Floats
    lost: Floats
    dip: Floats
    misfit: Floats
    tied: Floats
    bic: Floats
    distinct: Floats
    lost_whitened: Floats

    @classmethod
    def read(cls, values: Mapping[str, Mapping[int, float]], numbers: Sequence[int]) -> "Numbers":
        """From values by the names of :data:`EVIDENCE` and by number."""
        return cls(*(np.array([values.get(name, {}).get(K, np.nan) for K in numbers]) for name in EVIDENCE))

    def take(self, rows: NDArray[np.intp]) -> "Numbers":
        """The evidence for some of the numbers."""
        return Numbers(*(values[rows] for values in self))

    @property
    def is_normal(self) -> NDArray[np.bool_]:
        """Whether the clusters are those of a mixture of the lowest BIC whose components are normal distributions."""
        return np.asarray(self.misfit <= MOST_MISFIT)

    @property
    def is_equal(self) -> NDArray[np.bool_]:
        """Whether they are those of normal distributions of equal covariance: the pieces of a curve are not."""
        is_normal = (self.misfit <= MOST_MISFIT_EQUAL) & (self.tied == 1.0)
        return np.asarray(is_normal & (self.lost <= MOST_LOST_EQUAL))


def _are_across(evidence: Numbers, rule: Rule) -> NDArray[np.bool_]:
    """Whether neighbors miss that clusters (n,) are apart: in a direction in which correlated columns vary little."""
    return np.asarray((evidence.lost > rule.most_lost) & (evidence.lost_whitened <= MOST_OF_LOST * evidence.lost))


def is_separate(evidence: Numbers, rule: Rule = DEFAULT) -> NDArray[np.bool_]:
    """Whether numbers of clusters have a separation (n,) that the pieces of a single cluster do not reach."""
    least = np.where(evidence.dip >= LEAST_DIP, rule.with_dip, rule.alone)
    least = np.where(evidence.lost <= rule.lost_with_links, rule.with_links, least)
    are_across = _are_across(evidence, rule)
    least = np.where(evidence.is_normal | are_across, np.minimum(least, rule.with_mixture), least)
    lost = np.where(are_across, evidence.lost_whitened, evidence.lost)
    return np.asarray((evidence.separation >= least) & (lost <= rule.most_lost))


def combine(numbers: Sequence[int], evidence: Numbers, rule: Rule = DEFAULT, n_searched: int | None = None) -> Floats:
    """Score of each number of clusters; minus infinity without evidence for it.

    For K of two or more, the score is log(separation + offset) less that of the best separation of more clusters, plus
    a weight times log(information lost by the next number / lost by K): high where the separation falls and the loss
    rises after K. The mixture of the lowest BIC has a bonus if its components are normal distributions and separate;
    if they have equal covariances, and lose little information, or are separate in a direction of so little variance
    that neighbors do not tell them, its number is chosen. Clusters with a separation that a
    single cluster may reach are not chosen if two neighboring ones are unimodal on the line between them. If there is
    no evidence for any number, the first is chosen: one, if it is searched.

    In tables with categories or counts, this is a choice by the continuous columns. Among it and more components, that
    number is chosen whose mixture of all columns has the lowest BIC, of those with distinct components.

    Parameters
    ----------
    numbers : sequence of int
        Ascending.
    evidence : Numbers
    rule : Rule
    n_searched : int, optional
        How many of the numbers, the first ones, can be chosen; None: all.

    Returns
    -------
    ndarray of shape (n,)
    """
    scores = _combine_continuous(numbers, evidence, rule)
    first = int(scores[:n_searched].argmax())
    distinct = first + np.flatnonzero((evidence.distinct == 1.0)[first:n_searched])
    if len(distinct):
        best = distinct[evidence.bic[distinct].argmin()]
        of_first = max(scores[first], 0.0)
        scores[best] = of_first + 1.0 if best > first else of_first
    return scores


def _combine_continuous(numbers: Sequence[int], evidence: Numbers, rule: Rule) -> Floats:
    scores, many = np.full(len(numbers), -np.inf), np.asarray(numbers) > 1
    known = np.flatnonzero(np.isfinite(evidence.separation) & many)
    of_known = evidence.take(known)
    separations, are_separate, is_equal = of_known.separation, is_separate(of_known, rule), of_known.is_equal
    if not (are_separate | is_equal).any():
        scores[0] = 0.0
        return scores
    heights = np.log(np.maximum(np.append(separations, BEYOND), LEAST) + rule.offset)
    beyond = np.maximum.accumulate(heights[::-1])[::-1][1:]
    losses = np.log(of_known.lost + rule.loss_offset)
    scores[known] = heights[:-1] - beyond + rule.loss_weight * (np.append(losses[1:], losses[-1:]) - losses)
    scores[known] += np.where(are_separate & of_known.is_normal, rule.bonus, 0.0)
    are_pieces = ~are_separate & (of_known.dip < UNIMODAL)
    scores[known[(separations < rule.least) | are_pieces]] = -np.inf
    scores[known[is_equal | (are_separate & _are_across(of_known, rule))]] = max(scores.max(), 0.0) + 1.0
    return scores
