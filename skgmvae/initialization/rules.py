"""The rules by which one of the candidate partitions is chosen, and what they compare."""

from typing import NamedTuple

from skgmvae.initialization.candidates import Candidates

__all__ = ["DEFAULT", "Evidence", "Thresholds", "choose_name"]


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
    clearly_less_wide, mostly_kept : float
        With many features, where the criterion of the mixture says less: the same among the neighbors of the samples,
        for a partition that keeps the second share of the information. Of others, neighbors say little, too.
    """

    clear_gap: float = 2.0
    hardly_better: float = 0.02
    clearly_less: float = 1 / 3
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
    among_points, within : float
        Information lost by the best other partition, relative to that lost by the mixture: among the neighbors of the
        samples, and where the mixture's clusters are spherical.
    kept : float
        Share of the information that the partition of the graph keeps.
    is_expected : bool
        Whether the first ratio is small, but not for samples drawn from the mixture.
    best : str
        Candidate of the highest sum of information kept and agreement.
    """

    gap: float
    gain: float
    among_points: float
    within: float
    kept: float
    is_expected: bool
    best: str

    @property
    def ratio(self) -> float:
        """The larger ratio: each view alone speaks against some mixtures that are right."""
        return max(self.among_points, self.within)


DEFAULT = Thresholds()


def choose_name(found: Candidates, evidence: Evidence, thresholds: Thresholds = DEFAULT) -> str:
    """The name of the candidate by the four rules of :func:`~skgmvae.initialization.choice.choose_clusters`."""
    if evidence.gap >= thresholds.clear_gap:
        return "single linkage"
    if found.is_wide:
        is_vague = evidence.kept < thresholds.mostly_kept
        is_certain = evidence.within * thresholds.clearly_less >= 1.0
        is_believed = evidence.among_points >= thresholds.clearly_less_wide or is_vague or is_certain
        is_alone = evidence.among_points * thresholds.clearly_less >= 1.0
    else:
        is_believed = is_alone = evidence.among_points >= thresholds.clearly_less or evidence.is_expected
        is_alone = is_alone and evidence.ratio * thresholds.clearly_less >= 1.0
    if is_believed and evidence.gain <= thresholds.hardly_better:
        return found.mixture_name
    if is_alone:  # all others lose clearly more than the mixture
        return found.mixture_name
    return found.graph_name if found.is_wide else evidence.best
