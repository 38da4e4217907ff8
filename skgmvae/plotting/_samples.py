"""Samples of each component, as a grid of images."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from skgmvae.data.arrays import Array, Floats, Seed
from skgmvae.plotting._axes import figure_of, make_axes, set_ticks
from skgmvae.plotting._image_grid import GAP_SHARE, Transform, cell_centers, image_shape_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CELL_INCHES = 0.55


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
        shape = image_shape or image_shape_of(estimator, samples)
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


def _figure_size(n_rows: int, shape: tuple[int, ...]) -> tuple[float, float]:
    height = CELL_INCHES * n_rows
    return height * shape[1] / shape[0] + 0.9, height + 0.3


def _label_rows(ax: "Axes", components: Array, shape: tuple[int, ...]) -> None:
    height, width, *_ = shape
    set_ticks(ax, cell_centers(len(components), height), components, vertical=True, aspect=width / height)
    ax.set_ylabel("component")
    ax.set_xticks([])
    ax.tick_params(left=False)
    ax.spines[:].set_visible(False)
