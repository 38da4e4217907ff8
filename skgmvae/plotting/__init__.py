"""Plots of fitted estimators, as display classes that follow scikit-learn's conventions.

Each has ``from_estimator`` and ``plot(ax=)``, which set ``figure_`` and ``ax_``. matplotlib is imported on use.
"""

from skgmvae.plotting._components import ComponentSizesDisplay, ConfidenceDisplay
from skgmvae.plotting._grids import ComponentSamplesDisplay, StyleTraversalDisplay
from skgmvae.plotting._history import HistoryDisplay
from skgmvae.plotting._latent import LatentSpaceDisplay

__all__ = [
    "ComponentSamplesDisplay",
    "ComponentSizesDisplay",
    "ConfidenceDisplay",
    "HistoryDisplay",
    "LatentSpaceDisplay",
    "StyleTraversalDisplay",
]
