"""What sets the components apart, feature by feature, as a table."""

from __future__ import annotations

from typing import Any

import numpy as np

from skgmvae._component_moments import component_covariances, component_expectations
from skgmvae.data.arrays import Array, Floats
from skgmvae.runtime import check_device

__all__ = ["describe_components"]

LEAST_SPREAD = 1e-12  # of a feature, in units of its values


def describe_components(estimator: Any) -> dict[str, Array]:
    """Columns with an entry for each component and feature, the largest differences of a component first."""
    device, D = check_device(estimator.device), int(estimator.n_features_in_)
    module = estimator.net_.module_
    expected = component_expectations(module, D, device)
    covariances = component_covariances(module, D, device)
    deviations = np.sqrt(np.maximum(covariances.diagonal(axis1=1, axis2=2), 0.0))
    names = getattr(estimator, "feature_names_in_", np.arange(D))
    kinds, levels = estimator.likelihood_, _find_levels(module.likelihood)
    kinds = [kinds] * D if isinstance(kinds, str) else kinds
    weights = estimator.weights_
    numbers = module.likelihood.to_numbers(expected).numpy(force=True)
    rows: list[dict[str, Any]] = []
    for c in range(len(weights)):
        rest = np.delete(weights, c)
        rest = rest / rest.sum() if rest.sum() > 0.0 else rest
        of_component = []
        for d in range(D):
            if d in levels:
                shares = expected[:, levels[d]].numpy(force=True)
                row = _compare_shares(shares, c, rest, weights)
                row["typical"] = _name_category(estimator, d, row["typical"])
            else:
                row = _compare_means(numbers[:, d], deviations[:, d], c, rest, weights)
            of_component.append({"component": c, "feature": names[d], "likelihood": kinds[d], **row})
        rows += sorted(of_component, key=lambda row: -abs(row["difference"]))
    return {name: _to_column([row[name] for row in rows]) for name in rows[0]}


def _compare_means(means: Floats, deviations: Floats, c: int, rest: Floats, weights: Floats) -> dict[str, Any]:
    """Mean of component c and of the others, in units of the standard deviation within components."""
    of_rest = float(rest @ np.delete(means, c)) if len(rest) else np.nan
    spread = max(float(np.sqrt(weights @ deviations**2)), LEAST_SPREAD)
    difference = (means[c] - of_rest) / spread if len(rest) else 0.0
    return {"typical": means[c], "spread": deviations[c], "rest": of_rest, "difference": float(difference)}


def _compare_shares(shares: Floats, c: int, rest: Floats, weights: Floats) -> dict[str, Any]:
    """Most probable category of component c, its share there and among the others."""
    mode = int(shares[c].argmax())
    of_rest = float(rest @ np.delete(shares[:, mode], c)) if len(rest) else np.nan
    overall = float(weights @ shares[:, mode])
    spread = max(float(np.sqrt(overall * (1.0 - overall))), LEAST_SPREAD)
    difference = (shares[c, mode] - of_rest) / spread if len(rest) else 0.0
    return {"typical": mode, "spread": shares[c, mode], "rest": of_rest, "difference": float(difference)}


def _find_levels(likelihood: Any) -> dict[int, slice]:
    """Where the probabilities of each categorical column are among the expectations."""
    columns, levels = getattr(likelihood, "columns", ()), {}
    begin = sum(likelihood.sizes[:2]) if columns else 0
    for d, column in enumerate(columns):
        if column.kind == "categorical":
            levels[d] = slice(begin, begin + column.n_levels)
            begin += column.n_levels
    return levels


def _name_category(estimator: Any, d: int, level: int) -> Any:
    return estimator._categories.values[d].tolist()[level]


def _to_column(values: list[Any]) -> Array:
    """An array of numbers, or of objects if some are none."""
    is_number = all(isinstance(value, (int, float, np.number)) and not isinstance(value, bool) for value in values)
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column.astype(np.float64 if any(isinstance(v, float) for v in values) else np.int64) if is_number else column
