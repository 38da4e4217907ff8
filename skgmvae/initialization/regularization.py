"""How much covariances of few samples are regularized: the settings that are tried, and in which order."""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

__all__ = ["Regularization", "Score", "climb", "list_settings", "narrow", "take_every_other"]

# what is tried: samples, in units of D + 1, that the pooled covariance weighs, what is added to the variances of the
# standardized inputs, and samples, in the same units, that a covariance without correlations weighs
SHRINKAGES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
ADDED_VARIANCES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
LEAST_ADDED, LEAST_GAIN = 1e-6, 0.1  # tried last; nats by which it must be better: networks learn less beside it
DECORRELATIONS = (0.0, 1.0, 10.0, 100.0)
Score = Callable[[Sequence["Regularization"]], list[float]]


class Regularization(NamedTuple):
    """What keeps covariances of few samples from being singular (Friedman 1989, but towards the diagonal).

    Attributes
    ----------
    shrinkage : float
        Samples, in units of D + 1, with which the pooled covariance counts.
    added_variance : float
        What is added to the variances.
    decorrelation : float, default=0.0
        Samples, in the same units, with which the diagonal of a covariance counts, without what is beside it.
    """

    shrinkage: float
    added_variance: float
    decorrelation: float = 0.0


def list_settings(reg_covar: float, *, is_tied: bool) -> list[Regularization]:
    """The settings that are tried."""
    added = sorted({max(reg_covar, value) for value in ADDED_VARIANCES})
    return [Regularization(*pair) for pair in itertools.product(SHRINKAGES[:1] if is_tied else SHRINKAGES, added)]


def take_every_other(settings: list[Regularization]) -> list[Regularization]:
    """Those of every other shrinkage and every other added variance."""
    first, second, *_ = (sorted(set(values))[::2] for values in zip(*settings, strict=True))
    return [setting for setting in settings if setting.shrinkage in first and setting.added_variance in second]


def climb(settings: list[Regularization], score: Score, best: Regularization) -> Regularization:
    """A setting whose score is not below those of its neighbors, reached from another one by steps to the best."""
    first, second, *_ = (sorted(set(values)) for values in zip(*settings, strict=True))
    known: dict[Regularization, float] = {}
    while True:
        pairs = [*itertools.product(_near(first, best[0]), _near(second, best[1]), best[2:])]
        pairs += itertools.product(best[:1], best[1:2], _near(DECORRELATIONS, best[2]))
        nearby = list(dict.fromkeys(itertools.starmap(Regularization, pairs)))
        new = [setting for setting in nearby if setting not in known]
        known.update(zip(new, score(new), strict=True))
        better = max(nearby, key=known.__getitem__)
        if known[better] <= known[best]:
            return best
        best = better


def _near(values: Sequence[float], value: float) -> Sequence[float]:
    """A value and those before and after it."""
    i = values.index(value)
    return values[max(i - 1, 0) : i + 2]


def narrow(best: Regularization, score: Score, reg_covar: float) -> Regularization:
    """The least added variance in place of the next one, if it is clearly better."""
    if best.added_variance != ADDED_VARIANCES[0]:
        return best
    narrower = best._replace(added_variance=max(reg_covar, LEAST_ADDED))
    of_narrower, of_best = score([narrower, best])
    return narrower if of_narrower > of_best + LEAST_GAIN else best
