"""Columns of ``cv_results_``, and the number of components that each criterion chooses."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from skgmvae.data.arrays import Array, Floats
from skgmvae.model_selection._evidence import Values
from skgmvae.model_selection._rule import EVIDENCE, Numbers, combine, is_separate

__all__ = ["ALWAYS", "CRITERIA", "choose_each", "make_results"]

CRITERIA = ("combined", "separation", "bic", "log_likelihood", "icl", "stability", "description_length")
ALWAYS = CRITERIA[:3]  # measured
# of the mixture of the lowest BIC, whose number another fold does not share
OF_ONE_NUMBER = ("misfit", "tied", "lost_whitened")
ROUNDING = 1e-9
LOWER_IS_BETTER = ("bic", "description_length", "information_lost")


def make_results(
    parameter: str,
    numbers: Sequence[int],
    criteria: Sequence[str],
    of_all: Values,
    of_splits: Sequence[Values],
) -> dict[str, Array]:
    """The table as a dict of columns, as GridSearchCV's ``cv_results_``.

    Parameters
    ----------
    parameter : str
        Name of the number of components.
    numbers : sequence of int
    criteria : sequence of str
        That the table contains beside the evidence of the rule.
    of_all : dict of str to dict of int to float
        From all samples, by criterion and number.
    of_splits : sequence of dict of str to dict of int to float
        From folds or halves, each with the same criteria or fewer.
    """
    columns: dict[str, Any] = {
        "param_n_components": np.array(numbers),
        "params": np.array([{parameter: K} for K in numbers], dtype=object),
    }
    wanted = (*EVIDENCE, *criteria)
    columns |= {criterion: _column(values, numbers) for criterion, values in of_all.items() if criterion in wanted}
    examined = sorted({*numbers, *of_all["separation"]})  # beyond the largest number too
    scores = combine(examined, Numbers.read(of_all, examined), n_searched=len(numbers))
    columns["combined"] = scores[: len(numbers)]
    of_folds = tuple(name for name in wanted if name not in (*OF_ONE_NUMBER, "distinct"))
    measured = dict.fromkeys(criterion for values in of_splits for criterion in values if criterion in of_folds)
    for criterion in measured:
        splits = [_column(values[criterion], numbers) for values in of_splits if criterion in values]
        columns |= {f"split{i}_test_{criterion}": values for i, values in enumerate(splits)}
        table = np.stack(splits)
        deviation = table.std(0, ddof=1) if len(splits) > 1 else np.zeros(len(numbers))
        columns[f"mean_test_{criterion}"] = table.mean(0)
        columns[f"std_test_{criterion}"] = table.std(0)
        columns[f"se_test_{criterion}"] = deviation / np.sqrt(len(splits))
        columns[f"rank_test_{criterion}"] = _rank(table.mean(0), lower_is_better=criterion in LOWER_IS_BETTER)
    return columns


def _column(by_number: Mapping[int, float], numbers: Sequence[int]) -> Floats:
    return np.array([by_number.get(K, np.nan) for K in numbers])


def _rank(values: Floats, *, lower_is_better: bool) -> Array:
    """1 for the best; the last for what was not measured."""
    keys = np.nan_to_num(values if lower_is_better else -values, nan=np.inf)
    return np.asarray((keys[:, None] > keys).sum(1) + 1, dtype=np.int32)


def choose_each(results: Mapping[str, Array]) -> dict[str, int]:
    """Index of the choice of each criterion that was measured."""
    unknown = np.full(len(results["combined"]), np.nan)
    separate = np.flatnonzero(is_separate(Numbers(*(results.get(name, unknown) for name in EVIDENCE))))
    choices = {
        "combined": int(results["combined"].argmax()),
        **({"separation": int(separate[-1]) if len(separate) else 0} if _is_known(results, "separation") else {}),
        "bic": int(np.nan_to_num(results["bic"], nan=np.inf).argmin()),
    }
    for criterion in ("log_likelihood", "icl"):
        if f"mean_test_{criterion}" in results:
            choices[criterion] = _within_one_error(_splits(results, criterion))
    if "mean_test_stability" in results:
        stability = np.nan_to_num(results["mean_test_stability"], nan=-np.inf)
        choices["stability"] = int(np.flatnonzero(stability >= stability.max() - ROUNDING)[-1])
    if _is_known(results, "description_length"):
        choices["description_length"] = int(np.nan_to_num(results["description_length"], nan=np.inf).argmin())
    return choices


def _is_known(results: Mapping[str, Array], name: str) -> bool:
    """Whether a criterion has a value for any number: some have none in tables without continuous columns."""
    return bool(np.isfinite(results.get(name, np.nan)).any())


def _splits(results: Mapping[str, Array], criterion: str) -> Floats:
    columns = [name for name in results if name.startswith("split") and name.endswith(f"_test_{criterion}")]
    table: Floats = np.nan_to_num(np.stack([results[name] for name in columns]), nan=-np.inf)
    return table


def _within_one_error(scores: Floats) -> int:
    """The first that falls short of the best by no more than the standard error, over the splits, of the difference."""
    best = int(scores.mean(0).argmax())
    shortfall = scores[:, [best]] - scores
    with np.errstate(invalid="ignore"):
        error = shortfall.std(0, ddof=1) / np.sqrt(len(scores)) if len(scores) > 1 else np.zeros(scores.shape[1])
    return int(np.flatnonzero(shortfall.mean(0) <= np.nan_to_num(error))[0])
