"""Display of the calibration of responsibilities."""

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike

from skgmvae.data.arrays import Floats, MatrixLike
from skgmvae.metrics import expected_calibration_error
from skgmvae.metrics._calibration import bin_confidences, find_hits
from skgmvae.plotting._axes import COLORS, KEY_ABOVE, figure_of, make_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LARGEST_MARK, SMALLEST_MARK = 120.0, 12.0  # areas in points², in proportion to the samples of a bin


class ReliabilityDisplay:
    """Reliability diagram: accuracy by confidence, in bins of the largest responsibility.

    Components are matched one to one with classes, by the Hungarian algorithm. Points on the diagonal are calibrated;
    below it, responsibilities are too high. The area of a point is proportional to its number of samples. Use
    :meth:`from_estimator` or :meth:`from_predictions`. The legend shows the
    :func:`~skgmvae.metrics.expected_calibration_error`.

    Parameters
    ----------
    confidence : array-like of shape (n_bins,)
        Mean of the largest responsibility in each bin; NaN in empty ones.
    accuracy : array-like of shape (n_bins,)
        Share of the samples whose component is matched with their class.
    counts : array-like of shape (n_bins,)
        Number of samples.
    calibration_error : float
        Expected calibration error.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the diagram.
    figure_ : matplotlib Figure
        Figure with the axes.

    Examples
    --------
    >>> from skgmvae.plotting import ReliabilityDisplay
    >>> display = ReliabilityDisplay.from_predictions([0, 1, 1], [[0.9, 0.1], [0.7, 0.3], [0.0, 1.0]])
    >>> round(display.calibration_error, 3)
    0.267
    """

    ax_: "Axes"
    figure_: "Figure"

    def __init__(self, confidence: ArrayLike, accuracy: ArrayLike, counts: ArrayLike, calibration_error: float) -> None:
        self.confidence = confidence
        self.accuracy = accuracy
        self.counts = counts
        self.calibration_error = calibration_error

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: MatrixLike, y: ArrayLike, *, n_bins: int = 10, ax: "Axes | None" = None, **kwargs: Any
    ) -> Self:
        """Plot the calibration of the responsibilities of the samples in X.

        Parameters
        ----------
        estimator : estimator with ``predict_proba``
            Fitted; may be a Pipeline.
        X : array-like of shape (n_samples, n_features)
            Samples, preferably those that were not used in the fit.
        y : array-like of shape (n_samples,)
            Their classes.
        n_bins : int, default=10
            Bins of equal width in [0, 1].
        ax : matplotlib Axes, default=None
            None: a new figure.
        **kwargs : dict
            As for :meth:`plot`.

        Returns
        -------
        ReliabilityDisplay
        """
        return cls.from_predictions(y, estimator.predict_proba(X), n_bins=n_bins, ax=ax, **kwargs)

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        responsibilities: ArrayLike,
        *,
        n_bins: int = 10,
        ax: "Axes | None" = None,
        **kwargs: Any,
    ) -> Self:
        """Plot the calibration of given responsibilities.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,)
            Classes.
        responsibilities : array-like of shape (n_samples, n_components)
            As returned by ``predict_proba``.
        n_bins : int, default=10
            Bins of equal width in [0, 1].
        ax : matplotlib Axes, default=None
            None: a new figure.
        **kwargs : dict
            As for :meth:`plot`.

        Returns
        -------
        ReliabilityDisplay
        """
        counts, confidence, accuracy = bin_confidences(*find_hits(y_true, responsibilities), n_bins)
        error = expected_calibration_error(y_true, responsibilities, n_bins=n_bins)
        return cls(confidence, accuracy, counts, error).plot(ax=ax, **kwargs)

    def plot(self, ax: "Axes | None" = None, *, name: str | None = None, **line_kwargs: Any) -> Self:
        """Draw the diagram; several in the same axes share one diagonal.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None: a new figure.
        name : str, default=None
            Name in the legend, next to the calibration error.
        **line_kwargs : dict
            Passed to :meth:`matplotlib.axes.Axes.plot`.

        Returns
        -------
        ReliabilityDisplay
            Itself, with ``ax_`` and ``figure_``.
        """
        is_new = ax is None or not ax.get_lines()
        ax = make_axes(ax, (4.0, 4.0))
        counts = np.asarray(self.counts)
        known = counts > 0
        x, y = (np.asarray(values, dtype=float)[known] for values in (self.confidence, self.accuracy))
        if is_new:
            ax.plot([0.0, 1.0], [0.0, 1.0], color="0.6", linestyle="--", linewidth=1.0)
            ax.set(xlim=(0.0, 1.02), ylim=(0.0, 1.02), aspect="equal")
            ax.set(xlabel="largest responsibility", ylabel="share of matched labels")
        label = f"ECE {self.calibration_error:.3f}"
        color = COLORS[(len(ax.get_lines()) - 1) % len(COLORS)]
        options = {"color": color, "linewidth": 1.5, "label": f"{name}: {label}" if name else label, **line_kwargs}
        (line,) = ax.plot(x, y, **options)
        ax.scatter(x, y, s=_areas(counts[known]), color=line.get_color(), zorder=line.get_zorder() + 0.1, clip_on=False)
        ax.legend(**KEY_ABOVE)
        self.ax_, self.figure_ = ax, figure_of(ax)
        return self


def _areas(counts: Floats) -> Floats:
    areas: Floats = np.maximum(SMALLEST_MARK, LARGEST_MARK * counts / counts.max())
    return areas
