"""Selection of the number of components, with evidence."""

from skgmvae.model_selection._merging import ComponentHierarchy, merge_components
from skgmvae.model_selection._search import ComponentSearchCV

__all__ = ["ComponentHierarchy", "ComponentSearchCV", "merge_components"]
