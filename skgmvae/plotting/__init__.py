"""Plots of fitted estimators, as display classes that follow scikit-learn's conventions.

Each has ``from_estimator`` (that of a search, ``from_search``) and ``plot``, which sets ``figure_`` and ``ax_``.
matplotlib is imported on use.
"""

from skgmvae.plotting._components import ComponentSizesDisplay, ConfidenceDisplay
from skgmvae.plotting._hierarchy import ComponentHierarchyDisplay
from skgmvae.plotting._history import HistoryDisplay
from skgmvae.plotting._latent import LatentSpaceDisplay
from skgmvae.plotting._profiles import ComponentProfilesDisplay
from skgmvae.plotting._reliability import ReliabilityDisplay
from skgmvae.plotting._samples import ComponentSamplesDisplay
from skgmvae.plotting._scatter import ComponentScatterDisplay
from skgmvae.plotting._search import ComponentSearchDisplay
from skgmvae.plotting._traversal import StyleTraversalDisplay

__all__ = [
    "ComponentHierarchyDisplay",
    "ComponentProfilesDisplay",
    "ComponentSamplesDisplay",
    "ComponentScatterDisplay",
    "ComponentSearchDisplay",
    "ComponentSizesDisplay",
    "ConfidenceDisplay",
    "HistoryDisplay",
    "LatentSpaceDisplay",
    "ReliabilityDisplay",
    "StyleTraversalDisplay",
]
