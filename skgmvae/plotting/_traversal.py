"""Style traversals of a GMVAE, as a grid of images."""

from collections.abc import Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from skgmvae.data.arrays import Floats
from skgmvae.plotting._axes import set_ticks
from skgmvae.plotting._image_grid import Transform, cell_centers, image_shape_of
from skgmvae.plotting._samples import ComponentSamplesDisplay

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class StyleTraversalDisplay:
    """Grid of images: one row per component, along a line through the style variable w of a GMVAE.

    Use :meth:`from_estimator` (Fig. 5b of the paper).

    Parameters
    ----------
    images : array-like of shape (n_components * n_points, n_features)
        Flat images, component by component.
    values : array-like of shape (n_points,)
        Positions along the line.
    image_shape : (H, W) or (C, H, W)

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the grid.
    figure_ : matplotlib Figure
        Figure with the axes.
    """

    ax_: "Axes"
    figure_: "Figure"

    def __init__(self, images: ArrayLike, values: ArrayLike, image_shape: Sequence[int]) -> None:
        self.images = images
        self.values = values
        self.image_shape = image_shape

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        direction: int | ArrayLike = 0,
        values: ArrayLike | None = None,
        image_shape: Sequence[int] | None = None,
        inverse_transform: Transform | None = None,
        ax: "Axes | None" = None,
        **imshow_kwargs: Any,
    ) -> Self:
        """Decode the center μ_c(w) of every component at points w on a line through zero.

        Parameters
        ----------
        estimator : GMVAEClustering
            Fitted.
        direction : int or array-like of shape (style_dim,), default=0
            An axis of w, or any direction.
        values : array-like of shape (n_points,), default=None
            Positions along it, in standard deviations of w; None: nine values from −3 to 3.
        image_shape : (H, W) or (C, H, W), default=None
            None: the estimator's ``image_shape``, or else square gray images.
        inverse_transform : callable, default=None
            From the estimator's units to pixels, for instance ``scaler.inverse_transform``.
        ax : matplotlib Axes, default=None
            None: a new figure.
        **imshow_kwargs : dict
            As for :meth:`plot`, for instance ``vmin`` and ``vmax``.

        Returns
        -------
        StyleTraversalDisplay

        Raises
        ------
        TypeError
            If the estimator has no style variable.
        ValueError
            If ``direction`` is not an axis of w.
        """
        if not hasattr(estimator, "traverse"):
            raise TypeError(f"{type(estimator).__name__} has no style variable w; pass a fitted GMVAEClustering")
        check_is_fitted(estimator)
        values = np.linspace(-3.0, 3.0, 9) if values is None else np.asarray(values, dtype=float)
        w = np.outer(values, _direction(direction, estimator.style_dim_))
        images = np.concatenate([estimator.traverse(w, component=c) for c in range(len(estimator.weights_))])
        if inverse_transform is not None:
            images = inverse_transform(images)
        return cls(images, values, image_shape or image_shape_of(estimator, images)).plot(ax=ax, **imshow_kwargs)

    def plot(self, ax: "Axes | None" = None, **imshow_kwargs: Any) -> Self:
        """Draw the grid.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None: a new figure of the size of the grid.
        **imshow_kwargs : dict
            Passed to :meth:`matplotlib.axes.Axes.imshow`; by default dark ink on white.

        Returns
        -------
        StyleTraversalDisplay
            Itself, with ``ax_`` and ``figure_``.
        """
        values = np.asarray(self.values, dtype=float)
        labels = np.arange(len(np.asarray(self.images))) // len(values)
        grid = ComponentSamplesDisplay(self.images, labels, self.image_shape).plot(ax, **imshow_kwargs)
        self.ax_, self.figure_ = grid.ax_, grid.figure_
        height, width = grid.ax_.get_images()[-1].get_size()
        names = [f"{value:.2g}" for value in values]
        set_ticks(self.ax_, cell_centers(len(values), width), names, vertical=False, aspect=width / height)
        self.ax_.tick_params(bottom=False)
        self.ax_.set_xlabel("w, along its direction")
        return self


def _direction(direction: int | ArrayLike, style_dim: int) -> Floats:
    """A vector in the space of w."""
    if np.ndim(direction) > 0:
        return np.asarray(direction, dtype=float)
    if not isinstance(direction, Integral) or direction not in range(style_dim):
        raise ValueError(f"direction must be an axis of w from 0 to {style_dim - 1}, or a vector; got {direction!r}")
    return np.eye(style_dim)[int(direction)]
