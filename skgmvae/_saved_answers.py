"""What a model from a file answers."""

from typing import Any

import numpy as np

from skgmvae._evaluation import inference_precision
from skgmvae._file_format import NotASavedEstimatorError

__all__ = ["check_answers"]

N_SPREADS = 10.0  # from the means: where else a model must have answers


def check_answers(estimator: Any) -> None:
    """Raise unless the model gives finite answers at the means of its components, and around them."""
    spread = N_SPREADS * np.array(estimator._fitted_architecture.scale or 0.0)
    X = np.concatenate([estimator.means_, estimator.means_ - spread, estimator.means_ + spread])
    if estimator._fitted_architecture.columns:  # other values may be impossible
        codes = estimator._generate(np.arange(len(X)) % len(estimator.means_), 0, expected=False)
        X, categories = codes.astype(object), estimator._categories
        for d in () if categories is None else categories.values:
            X[:, d] = categories.decode_column(d, codes[:, d])
    with inference_precision(single=False):
        for query in ("predict_proba", "score_samples", "transform", "reconstruct"):
            answers = getattr(estimator, query)(X)
            if query != "reconstruct" and not np.isfinite(answers).all():
                raise NotASavedEstimatorError(f"the model's {query} gives values that are not finite")
        if not np.isfinite(estimator._generate(np.arange(len(X)) % len(estimator.means_), 0, expected=False)).all():
            raise NotASavedEstimatorError("the model's samples are not finite")
