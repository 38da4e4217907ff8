"""Metrics: agreement with known classes, stability between fits, calibration, and the error of scores."""

from skgmvae.metrics._calibration import expected_calibration_error
from skgmvae.metrics._clustering import clustering_accuracy, label_stability, most_confident_accuracy, purity_score
from skgmvae.metrics._score_bias import ScoreBias, score_bias

__all__ = [
    "ScoreBias",
    "clustering_accuracy",
    "expected_calibration_error",
    "label_stability",
    "most_confident_accuracy",
    "purity_score",
    "score_bias",
]
