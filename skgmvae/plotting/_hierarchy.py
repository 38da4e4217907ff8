"""Dendrogram of the components of a mixture."""

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.cluster.hierarchy import dendrogram

from skgmvae.data.arrays import MatrixLike
from skgmvae.model_selection import merge_components
from skgmvae.plotting._axes import COLORS, figure_of, make_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class ComponentHierarchyDisplay:
    """Dendrogram of the components of a mixture: which merge, and at which separation of the density.

    Use :meth:`from_estimator`. Components that merge near zero share a mode of the density; a long vertical line marks
    a well-separated cluster.

    Parameters
    ----------
    linkage : array-like of shape (n_components - 1, 4)
        The attribute ``linkage`` of what :func:`skgmvae.model_selection.merge_components` returns.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the dendrogram.
    figure_ : matplotlib Figure
        Figure with the axes.
    """

    ax_: "Axes"
    figure_: "Figure"

    def __init__(self, linkage: ArrayLike) -> None:
        self.linkage = linkage

    @classmethod
    def from_estimator(cls, estimator: Any, X: MatrixLike, *, ax: "Axes | None" = None) -> Self:
        """Merge the components of a fitted mixture, and plot how.

        Parameters
        ----------
        estimator : estimator with ``predict`` and ``score_samples``
            Fitted; may be a Pipeline.
        X : array-like of shape (n_samples, n_features)
            Samples, such as those of the training.
        ax : matplotlib Axes, default=None
            None: a new figure.

        Returns
        -------
        ComponentHierarchyDisplay

        Raises
        ------
        ValueError
            If the estimator has one component.
        """
        return cls(merge_components(estimator, X).linkage).plot(ax=ax)

    def plot(self, ax: "Axes | None" = None, **dendrogram_kwargs: Any) -> Self:
        """Draw the dendrogram.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None: a new figure.
        **dendrogram_kwargs : dict
            Passed to :func:`scipy.cluster.hierarchy.dendrogram`.

        Returns
        -------
        ComponentHierarchyDisplay
            Itself, with ``ax_`` and ``figure_``.

        Raises
        ------
        ValueError
            If there is one component.
        """
        linkage = np.asarray(self.linkage, dtype=float).reshape(-1, 4)
        if len(linkage) == 0:
            raise ValueError("a single component has no hierarchy; fit a mixture with two or more")
        ax = make_axes(ax)
        options = {"color_threshold": 0.0, "above_threshold_color": COLORS[0], **dendrogram_kwargs}
        dendrogram(linkage, ax=ax, **options)
        top = ax.get_ylim()[1]
        ax.set_ylim(-0.02 * top, top)  # otherwise the frame hides components that merge at zero
        ax.set_xlabel("component")
        ax.set_ylabel("separation (nats)")
        self.ax_, self.figure_ = ax, figure_of(ax)
        return self
