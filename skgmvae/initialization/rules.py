"""The rules by which one of the candidate partitions is chosen, and what they compare."""

from typing import NamedTuple

from skgmvae.initialization.candidates import Candidates
from skgmvae.initialization.comparison import Losses
from skgmvae.initialization.mixture_search import MERGED

__all__ = ["DEFAULT", "Evidence", "Thresholds", "choose_name", "speak_against_mixture"]


class Thresholds(NamedTuple):
    """Constants of the rules; round numbers, chosen with the reference labels of the development data in sight.

    Attributes
    ----------
    clear_gap : float
        Ratio of edge lengths from which single linkage is certain.
    hardly_better : float
        Nats per sample by which more components may be better while K Gaussians are believed.
    clearly_less : float
        A partition that loses less than this share of the information lost by a mixture is preferred to it.
    in_doubt : float
        One that loses less than this share is a reason to look harder for better mixtures of more components.
    hardly_lost : float
        Share of the information; a mixture that loses less where its clusters are spherical is believed, whatever the
        neighbors among the points say.
    clearly_less_wide, mostly_kept : float
        With many features, where the criterion of the mixture says less: the same among the neighbors of the samples,
        for a partition that keeps the second share of the information. Of others, neighbors say little, too.
    """

    clear_gap: float = 2.0
    hardly_better: float = 0.02
    clearly_less: float = 1 / 3
    in_doubt: float = 3 / 4
    hardly_lost: float = 0.2
    clearly_less_wide: float = 3 / 4
    mostly_kept: float = 1 / 2


class Evidence(NamedTuple):
    """What the rules compare with the thresholds.

    Attributes
    ----------
    gap : float
        Of single linkage; 1 where one of its clusters is tiny.
    gain : float
        Of more components.
    losses : Losses
        Of the best other partition, relative to the mixture.
    kept : float
        Share of the information that the partition of the graph keeps.
    is_expected : bool
        Whether the losses speak against the mixture, but for samples drawn from it, too.
    best : str
        Candidate of the highest sum of information kept and agreement.
    """

    gap: float
    gain: float
    losses: Losses
    kept: float
    is_expected: bool
    best: str


DEFAULT = Thresholds()


def speak_against_mixture(losses: Losses, thresholds: Thresholds = DEFAULT) -> bool:
    """Whether another partition loses clearly less, in both views or among the points alone.

    The latter only speaks against a mixture whose clusters are not apart in the second view, either. Those of one that
    is right are, however long and thin; rings in a plane of correlated columns are not.
    """
    if losses.larger < thresholds.clearly_less:
        return True
    return losses.among_points < thresholds.clearly_less and losses.of_mixture >= thresholds.hardly_lost


def choose_name(found: Candidates, evidence: Evidence, thresholds: Thresholds = DEFAULT) -> str:
    """The name of the candidate by the four rules of :func:`~skgmvae.initialization.choice.choose_clusters`."""
    losses = evidence.losses
    if evidence.gap >= thresholds.clear_gap:
        return "single linkage"
    if found.is_line:  # which loses little information wherever it is cut
        is_enough = evidence.gain <= thresholds.hardly_better or MERGED not in found.labels
        return found.mixture_name if is_enough else MERGED
    if found.is_wide:
        is_vague = evidence.kept < thresholds.mostly_kept
        is_certain = losses.within * thresholds.clearly_less >= 1.0
        is_believed = losses.among_points >= thresholds.clearly_less_wide or is_vague or is_certain
        is_alone = losses.among_points * thresholds.clearly_less >= 1.0
    else:
        is_believed = evidence.is_expected or not speak_against_mixture(losses, thresholds)
        is_alone = is_believed and losses.larger * thresholds.clearly_less >= 1.0
    if is_believed and evidence.gain <= thresholds.hardly_better:
        return found.mixture_name
    if is_alone:  # all others lose clearly more than the mixture
        return found.mixture_name
    return found.graph_name if found.is_wide else evidence.best
