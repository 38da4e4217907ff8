"""Grids of images: samples of each component, and style traversals."""

import math
from collections.abc import Callable, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from skgmvae.data.arrays import Array, Floats, Seed
from skgmvae.plotting._axes import figure_of, make_axes, set_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Transform = Callable[[Array], Array]
CELL_INCHES = 0.55
GAP_SHARE = 0.1  # of an image's height, at least one pixel


class ComponentSamplesDisplay:
    """Grid of images: one row of samples per component.

    Use :meth:`from_estimator` to draw from a fitted estimator, or pass any samples.

    Parameters
    ----------
    samples : array-like of shape (n_samples, n_features)
        Flat images.
    labels : array-like of shape (n_samples,)
        Component of each sample; rows of the grid follow the sorted labels.
    image_shape : (H, W) or (C, H, W)
        Shape of an image; one channel (gray) or three (RGB in [0, 1]).

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the grid.
    figure_ : matplotlib Figure
        Figure with the axes.

    Examples
    --------
    >>> from skgmvae.plotting import ComponentSamplesDisplay
    >>> display = ComponentSamplesDisplay([[0, 1, 2, 3], [3, 2, 1, 0]], labels=[0, 1], image_shape=(2, 2))
    >>> display.plot().figure_.savefig("samples.png")  # doctest: +SKIP
    """

    ax_: "Axes"
    figure_: "Figure"

    def __init__(self, samples: ArrayLike, labels: ArrayLike, image_shape: Sequence[int]) -> None:
        self.samples = samples
        self.labels = labels
        self.image_shape = image_shape

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        n_samples: int = 10,
        expected: bool = False,
        image_shape: Sequence[int] | None = None,
        inverse_transform: Transform | None = None,
        random_state: Seed = None,
        ax: "Axes | None" = None,
        **imshow_kwargs: Any,
    ) -> Self:
        """Draw samples from each component of a fitted estimator and plot them.

        Parameters
        ----------
        estimator : estimator with ``sample(n_samples, component=, expected=, random_state=)``
            Fitted.
        n_samples : int, default=10
            Images per component.
        expected : bool, default=False
            Show E[x | z], without the noise of the likelihood.
        image_shape : (H, W) or (C, H, W), default=None
            None: the estimator's ``image_shape``, or else square gray images.
        inverse_transform : callable, default=None
            From the estimator's units to pixels, for instance ``scaler.inverse_transform``.
        random_state : int or None, default=None
            With an integer, all components have the same noise within a column.
        ax : matplotlib Axes, default=None
            None: a new figure.
        **imshow_kwargs : dict
            As for :meth:`plot`, for instance ``vmin`` and ``vmax``.

        Returns
        -------
        ComponentSamplesDisplay
        """
        check_is_fitted(estimator)
        K = len(estimator.weights_)
        options = {"expected": expected, "random_state": random_state}
        draws = [estimator.sample(n_samples, component=c, **options)[0] for c in range(K)]
        samples = np.concatenate(draws)
        if inverse_transform is not None:
            samples = inverse_transform(samples)
        shape = image_shape or _image_shape(estimator, samples)
        return cls(samples, np.repeat(np.arange(K), n_samples), shape).plot(ax=ax, **imshow_kwargs)

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
        ComponentSamplesDisplay
            Itself, with ``ax_`` and ``figure_``.

        Raises
        ------
        ImportError
            If ``ax`` is None and matplotlib is not installed.
        ValueError
            If the samples do not have the size of ``image_shape``, or there is not one label per sample.
        """
        mosaic, components = self._mosaic()
        ax = make_axes(ax, _figure_size(len(components), mosaic.shape))
        ax.imshow(mosaic, **{"cmap": "gray_r", "interpolation": "nearest", **imshow_kwargs})
        _label_rows(ax, components, mosaic.shape)
        self.ax_, self.figure_ = ax, figure_of(ax)
        return self

    def _mosaic(self) -> tuple[Floats, Array]:
        """One image (height, width[, 3]) of all samples, empty where there are none, and the row labels."""
        images, labels = self._images(), np.asarray(self.labels)
        components, counts = np.unique(labels, return_counts=True)
        _, H, W, *channels = images.shape
        gap = max(1, round(GAP_SHARE * H))
        # NaN is drawn as background
        cells = np.full((len(components), counts.max(), H + gap, W + gap, *channels), np.nan)
        for row, component in zip(cells, components, strict=True):
            members = images[labels == component]
            row[: len(members), :H, :W] = members
        mosaic = cells.swapaxes(1, 2).reshape(len(components) * (H + gap), counts.max() * (W + gap), *channels)
        return mosaic, components

    def _images(self) -> Floats:
        """Samples as (N, H, W), or (N, H, W, 3) for RGB."""
        samples, shape = np.asarray(self.samples, dtype=float), tuple(self.image_shape)
        if samples.ndim != 2 or samples.shape[1] != math.prod(shape):
            raise ValueError(
                f"image_shape {shape} has {math.prod(shape)} pixels but samples have shape {samples.shape}; "
                "pass one flat image per sample, and the shape before it was flattened"
            )
        if len(samples) == 0 or len(samples) != np.size(self.labels):
            raise ValueError(f"got {len(samples)} samples and {np.size(self.labels)} labels; pass one label per sample")
        if len(shape) == 3 and shape[0] == 3:
            return np.moveaxis(samples.reshape(-1, *shape), 1, -1).clip(0.0, 1.0)
        if len(shape) == 2 or (len(shape) == 3 and shape[0] == 1):
            return samples.reshape(-1, *shape[-2:])
        raise ValueError(f"image_shape must be (H, W), (1, H, W) or (3, H, W), got {shape}")


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
        w = np.outer(values, _direction(direction, estimator.style_dim))
        images = np.concatenate([estimator.traverse(w, component=c) for c in range(len(estimator.weights_))])
        if inverse_transform is not None:
            images = inverse_transform(images)
        return cls(images, values, image_shape or _image_shape(estimator, images)).plot(ax=ax, **imshow_kwargs)

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
        set_ticks(self.ax_, _cell_centers(len(values), width), names, vertical=False, aspect=width / height)
        self.ax_.tick_params(bottom=False)
        self.ax_.set_xlabel("w, along its direction")
        return self


def _image_shape(estimator: Any, images: Array) -> Sequence[int]:
    """The estimator's ``image_shape``, or a square."""
    return getattr(estimator, "image_shape", None) or _square_shape(images.shape[1])


def _square_shape(n_features: int) -> tuple[int, int]:
    side = math.isqrt(n_features)
    if side * side != n_features:
        raise ValueError(f"{n_features} features are not a square image; pass image_shape=(H, W)")
    return side, side


def _direction(direction: int | ArrayLike, style_dim: int) -> Floats:
    """A vector in the space of w."""
    if np.ndim(direction) > 0:
        return np.asarray(direction, dtype=float)
    if not isinstance(direction, Integral) or direction not in range(style_dim):
        raise ValueError(f"direction must be an axis of w from 0 to {style_dim - 1}, or a vector; got {direction!r}")
    return np.eye(style_dim)[int(direction)]


def _figure_size(n_rows: int, shape: tuple[int, ...]) -> tuple[float, float]:
    height = CELL_INCHES * n_rows
    return height * shape[1] / shape[0] + 0.9, height + 0.3


def _cell_centers(n_cells: int, length: int) -> Array:
    """Centers of the images along the rows or columns of a mosaic, in pixels."""
    cell = length / n_cells
    return cell * np.arange(n_cells) + (cell / (1.0 + GAP_SHARE) - 1.0) / 2


def _label_rows(ax: "Axes", components: Array, shape: tuple[int, ...]) -> None:
    height, width, *_ = shape
    set_ticks(ax, _cell_centers(len(components), height), components, vertical=True, aspect=width / height)
    ax.set_ylabel("component")
    ax.set_xticks([])
    ax.tick_params(left=False)
    ax.spines[:].set_visible(False)
