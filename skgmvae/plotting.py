"""Pictures of fitted estimators, as Display classes in scikit-learn's manner."""

import math

import numpy as np
from sklearn.utils.validation import check_is_fitted

CELL_INCHES = 0.55
# Okabe & Ito's, which colour-blind readers can tell apart
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00")
GAP_SHARE = 0.1  # of an image's height, at least one pixel


class ComponentSamplesDisplay:
    """Grid of images: one row of samples per component.

    Use :meth:`from_estimator` to draw from a fitted estimator, or pass samples from elsewhere.

    Parameters
    ----------
    samples : array-like of shape (n_samples, n_features)
        Flat images.
    labels : array-like of shape (n_samples,)
        Component of each sample; rows of the grid follow the sorted labels.
    image_shape : (H, W) or (C, H, W)
        Shape of an image; one channel (grey) or three (RGB in [0, 1]).

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

    def __init__(self, samples, labels, image_shape):
        self.samples = samples
        self.labels = labels
        self.image_shape = image_shape

    @classmethod
    def from_estimator(
        cls, estimator, *, n_samples=10, image_shape=None, inverse_transform=None, random_state=None, ax=None
    ):
        """Draw samples from each component of a fitted estimator and plot them.

        Parameters
        ----------
        estimator : estimator with ``sample(n_samples, component=, random_state=)``
            Fitted.
        n_samples : int, default=10
            Images per component.
        image_shape : (H, W) or (C, H, W), default=None
            None: the estimator's ``image_shape``, or else square grey images.
        inverse_transform : callable, default=None
            From the estimator's units to pixels, for instance ``scaler.inverse_transform``.
        random_state : int or None, default=None
            With an int, a column holds the same noise under every component.
        ax : matplotlib Axes, default=None
            None: a new figure.

        Returns
        -------
        ComponentSamplesDisplay
        """
        check_is_fitted(estimator)
        K = len(estimator.weights_)
        draws = [estimator.sample(n_samples, component=c, random_state=random_state)[0] for c in range(K)]
        samples = np.concatenate(draws)
        if inverse_transform is not None:
            samples = inverse_transform(samples)
        shape = image_shape or _image_shape(estimator, samples)
        return cls(samples, np.repeat(np.arange(K), n_samples), shape).plot(ax=ax)

    def plot(self, ax=None, **imshow_kwargs):
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
            If the samples do not have the size of ``image_shape``, or the labels not their number.
        """
        mosaic, components = self._mosaic()
        if ax is None:
            ax = _make_axes(len(components), mosaic.shape)
        ax.imshow(mosaic, **{"cmap": "gray_r", "interpolation": "nearest", **imshow_kwargs})
        _label_rows(ax, components, mosaic.shape[0])
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _mosaic(self):
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

    def _images(self):
        """Samples as (N, H, W), or (N, H, W, 3) for RGB."""
        samples, shape = np.asarray(self.samples, dtype=float), tuple(self.image_shape)
        if samples.ndim != 2 or samples.shape[1] != math.prod(shape):
            raise ValueError(
                f"image_shape {shape} has {math.prod(shape)} pixels but samples have shape {samples.shape}; "
                "pass one flat image per row and the shape it was flattened from"
            )
        if len(samples) == 0 or len(samples) != len(self.labels):
            raise ValueError(f"got {len(samples)} samples and {len(self.labels)} labels; pass one label per sample")
        if len(shape) == 3 and shape[0] == 3:
            return np.moveaxis(samples.reshape(-1, *shape), 1, -1).clip(0.0, 1.0)
        if len(shape) == 2 or (len(shape) == 3 and shape[0] == 1):
            return samples.reshape(-1, *shape[-2:])
        raise ValueError(f"image_shape must be (H, W), (1, H, W) or (3, H, W), got {shape}")


class StyleTraversalDisplay:
    """Grid of images: one row per component, along a line through the style variable w of a GMVAE.

    Use :meth:`from_estimator` (the paper's figure 5b).

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

    def __init__(self, images, values, image_shape):
        self.images = images
        self.values = values
        self.image_shape = image_shape

    @classmethod
    def from_estimator(cls, estimator, *, direction=0, values=None, image_shape=None, inverse_transform=None, ax=None):
        """Decode the centre μ_c(w) of every component at points w on a line through zero.

        Parameters
        ----------
        estimator : GMVAEClustering
            Fitted.
        direction : int or array-like of shape (noise_dim,), default=0
            An axis of w, or any direction.
        values : array-like of shape (n_points,), default=None
            Positions along it, in standard deviations of w; None: nine from −3 to 3.
        image_shape : (H, W) or (C, H, W), default=None
            None: the estimator's ``image_shape``, or else square grey images.
        inverse_transform : callable, default=None
            From the estimator's units to pixels, for instance ``scaler.inverse_transform``.
        ax : matplotlib Axes, default=None
            None: a new figure.

        Returns
        -------
        StyleTraversalDisplay
        """
        check_is_fitted(estimator)
        values = np.linspace(-3.0, 3.0, 9) if values is None else np.asarray(values, dtype=float)
        if np.ndim(direction) == 0:
            direction = np.eye(estimator.noise_dim)[direction]
        w = np.outer(values, direction)
        images = np.concatenate([estimator.traverse(w, component=c) for c in range(len(estimator.weights_))])
        if inverse_transform is not None:
            images = inverse_transform(images)
        return cls(images, values, image_shape or _image_shape(estimator, images)).plot(ax=ax)

    def plot(self, ax=None, **imshow_kwargs):
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
        labels = np.arange(len(self.images)) // len(self.values)
        grid = ComponentSamplesDisplay(self.images, labels, self.image_shape).plot(ax, **imshow_kwargs)
        self.ax_, self.figure_ = grid.ax_, grid.figure_
        ticks = _cell_centres(len(self.values), grid.ax_.get_images()[-1].get_size()[1])
        self.ax_.set_xticks(ticks, labels=[f"{value:.2g}" for value in self.values])
        self.ax_.tick_params(bottom=False)
        self.ax_.set_xlabel("w, along its direction")
        return self


class HistoryDisplay:
    """Terms of the bound per epoch (of an EM iteration for VAE-EM), and the minimum information λ where it is set.

    Use :meth:`from_estimator`.

    Parameters
    ----------
    history : dict of str to list of float
        As ``history_`` of a fitted estimator.
    min_information : float, default=0.0
        λ, drawn as a dotted line beside ``kl_component`` if it is positive.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes, shape (2,)
        Above the bound and the log-likelihood, below the divergences.
    figure_ : matplotlib Figure
    """

    def __init__(self, history, min_information=0.0):
        self.history = history
        self.min_information = min_information

    @classmethod
    def from_estimator(cls, estimator, *, axes=None):
        """Plot the history of a fitted estimator.

        Parameters
        ----------
        estimator : GMVAEClustering, VaDEClustering or VAEEMClustering
            Fitted.
        axes : sequence of two matplotlib Axes, default=None
            None: a new figure.

        Returns
        -------
        HistoryDisplay
        """
        check_is_fitted(estimator)
        return cls(estimator.history_, estimator.min_information).plot(axes=axes)

    def plot(self, axes=None, **line_kwargs):
        """Draw the curves.

        Parameters
        ----------
        axes : sequence of two matplotlib Axes, default=None
            None: a new figure.
        **line_kwargs : dict
            Passed to :meth:`matplotlib.axes.Axes.plot`.

        Returns
        -------
        HistoryDisplay
            Itself, with ``axes_`` and ``figure_``.
        """
        if axes is None:
            axes = _import_pyplot().subplots(2, 1, figsize=(6, 5), sharex=True, layout="constrained")[1]
        above, below = axes
        for (name, values), colour in zip(self.history.items(), COLOURS, strict=False):
            ax = below if name.startswith("kl_") else above
            if name != "kl_noise" or np.any(values):  # zero in models without a noise variable
                epochs = np.arange(1, len(values) + 1)
                ax.plot(epochs, values, **{"color": colour, "label": name, **line_kwargs})
        if self.min_information > 0.0:
            below.axhline(self.min_information, color="black", linestyle=":", label="min_information")
        for ax in axes:
            ax.set_ylabel("nats per row")
            ax.legend(frameon=False)
        below.set_xlabel("epoch")
        self.axes_, self.figure_ = np.asarray(axes), above.figure
        return self


def _image_shape(estimator, images):
    """The estimator's, or a square."""
    return getattr(estimator, "image_shape", None) or _square_shape(images.shape[1])


def _square_shape(n_features):
    side = math.isqrt(n_features)
    if side * side != n_features:
        raise ValueError(f"{n_features} features are no square image; pass image_shape=(H, W)")
    return side, side


def _import_pyplot():
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("plots need matplotlib; install it with: pip install 'skgmvae[plot]'") from error
    return pyplot


def _make_axes(n_rows, shape):
    height = CELL_INCHES * n_rows
    size = (height * shape[1] / shape[0] + 0.9, height + 0.3)
    return _import_pyplot().subplots(figsize=size, layout="constrained")[1]


def _cell_centres(n_cells, length):
    """Where the images of a mosaic's rows or columns have their middle, in its pixels."""
    cell = length / n_cells
    return cell * np.arange(n_cells) + (cell / (1.0 + GAP_SHARE) - 1.0) / 2


def _label_rows(ax, components, height):
    ax.set_yticks(_cell_centres(len(components), height), labels=components)
    ax.set_xticks([])
    ax.set_ylabel("component")
    ax.tick_params(left=False)
    ax.spines[:].set_visible(False)
