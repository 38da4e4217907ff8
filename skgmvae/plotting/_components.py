"""Displays of the sizes of the components and of the confidence of the assignment."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from skgmvae.data.arrays import Floats, MatrixLike
from skgmvae.plotting._axes import COLORS, KEY_ABOVE, figure_of, import_pyplot, make_axes, set_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BOUNDS = (0.5, 0.9, 0.99)
WIDTH_PER_COMPONENT, MIN_WIDTH, MAX_WIDTH = 0.3, 4.0, 12.0  # inches, of a new figure


class ConfidenceDisplay:
    """Confidence of the assignment: the largest responsibility of the samples of each component, in bands.

    A component in which many samples are below 0.9 overlaps with another one.

    Parameters
    ----------
    responsibilities : array-like of shape (n_samples, n_components)
        As returned by ``predict_proba``.
    bounds : sequence of float, default=(0.5, 0.9, 0.99)
        Bounds between the bands, increasing, between 0 and 1.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the bars.
    figure_ : matplotlib Figure
        Figure with the axes.
    shares_ : ndarray of shape (n_components, n_bands)
        Share of the samples of each component in each band; zeros for an empty component.

    Examples
    --------
    >>> from skgmvae.plotting import ConfidenceDisplay
    >>> display = ConfidenceDisplay([[0.7, 0.3], [0.95, 0.05], [0.0, 1.0]], bounds=(0.9,))
    >>> display.plot().shares_
    array([[0.5, 0.5],
           [0. , 1. ]])
    """

    ax_: "Axes"
    figure_: "Figure"
    shares_: Floats

    def __init__(self, responsibilities: ArrayLike, bounds: Sequence[float] = BOUNDS) -> None:
        self.responsibilities = responsibilities
        self.bounds = bounds

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: MatrixLike, *, bounds: Sequence[float] = BOUNDS, ax: "Axes | None" = None
    ) -> Self:
        """Plot the responsibilities of the samples in X.

        Parameters
        ----------
        estimator : estimator with ``predict_proba``
            Fitted; may be a Pipeline.
        X : array-like of shape (n_samples, n_features)
        bounds : sequence of float, default=(0.5, 0.9, 0.99)
            Bounds between the bands.
        ax : matplotlib Axes, default=None
            None: a new figure.

        Returns
        -------
        ConfidenceDisplay
        """
        return cls(estimator.predict_proba(X), bounds).plot(ax=ax)

    def plot(self, ax: "Axes | None" = None, **bar_kwargs: Any) -> Self:
        """Draw a bar per component.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None: a new figure.
        **bar_kwargs : dict
            Passed to :meth:`matplotlib.axes.Axes.bar`.

        Returns
        -------
        ConfidenceDisplay
            Itself, with ``ax_``, ``figure_`` and ``shares_``.

        Raises
        ------
        ValueError
            If ``bounds`` do not increase from 0 to 1, or the responsibilities are not a matrix.
        """
        self.shares_ = self._measure_shares()
        K, n_bands = self.shares_.shape
        ax = make_axes(ax, _figure_size(K))
        # light for low confidence, dark for high; also in gray, and for color-blind readers
        colors = import_pyplot().get_cmap("cividis_r")(np.linspace(0.05, 0.95, n_bands))
        bottom = np.zeros(K)
        for band, label in enumerate(self._band_names()):
            options = {"color": colors[band], "width": 0.85, "label": label, **bar_kwargs}
            ax.bar(np.arange(K), self.shares_[:, band], bottom=bottom, **options)
            bottom += self.shares_[:, band]
        ax.set_ylim(0.0, 1.0)
        _name_axes(ax, K)
        ax.legend(title="largest responsibility", ncols=min(n_bands, 4), **KEY_ABOVE)
        self.ax_, self.figure_ = ax, figure_of(ax)
        return self

    def _measure_shares(self) -> Floats:
        responsibilities, bounds = np.asarray(self.responsibilities, dtype=float), np.asarray(self.bounds, dtype=float)
        if responsibilities.ndim != 2:
            raise ValueError(
                f"responsibilities must have shape (n_samples, n_components), as of predict_proba; got "
                f"{responsibilities.shape}"
            )
        if len(bounds) == 0 or not (np.diff([0.0, *bounds, 1.0]) > 0.0).all():
            raise ValueError(f"bounds must increase between 0 and 1; got {tuple(self.bounds)}")
        labels, largest = responsibilities.argmax(1), responsibilities.max(1)
        counts = np.zeros((responsibilities.shape[1], len(bounds) + 1))
        np.add.at(counts, (labels, np.searchsorted(bounds, largest, side="right")), 1.0)
        shares: Floats = counts / np.maximum(counts.sum(1, keepdims=True), 1.0)
        return shares

    def _band_names(self) -> list[str]:
        bounds = [f"{bound:g}" for bound in self.bounds]
        between = [f"{low} – {high}" for low, high in pairwise(bounds)]
        return [f"< {bounds[0]}", *between, f"≥ {bounds[-1]}"]


class ComponentSizesDisplay:
    """Number of samples of each component, as bars, with the mixing weights π as marks.

    If a mark is far from its bar, the component's share of the labels differs from its weight. Uniform weights
    (``learn_weights=False``) form a horizontal line.

    Parameters
    ----------
    counts : array-like of shape (n_components,)
        Number of samples per component.
    weights : array-like of shape (n_components,), default=None
        π; None: bars only.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the bars.
    figure_ : matplotlib Figure
        Figure with the axes.

    Examples
    --------
    >>> from skgmvae.plotting import ComponentSizesDisplay
    >>> display = ComponentSizesDisplay([60, 40], weights=[0.58, 0.42]).plot()
    >>> display.ax_.get_xlabel()
    'component'
    """

    ax_: "Axes"
    figure_: "Figure"

    def __init__(self, counts: ArrayLike, weights: ArrayLike | None = None) -> None:
        self.counts = counts
        self.weights = weights

    @classmethod
    def from_estimator(cls, estimator: Any, X: MatrixLike | None = None, *, ax: "Axes | None" = None) -> Self:
        """Plot the sizes of the components of a fitted estimator.

        Parameters
        ----------
        estimator : GMVAEClustering, VaDEClustering or VAEEMClustering
            Fitted.
        X : array-like of shape (n_samples, n_features), default=None
            Samples to count; None: the training samples, by ``labels_``.
        ax : matplotlib Axes, default=None
            None: a new figure.

        Returns
        -------
        ComponentSizesDisplay
        """
        check_is_fitted(estimator)
        labels = estimator.labels_ if X is None else estimator.predict(X)
        return cls(np.bincount(labels, minlength=len(estimator.weights_)), estimator.weights_).plot(ax=ax)

    def plot(self, ax: "Axes | None" = None, **bar_kwargs: Any) -> Self:
        """Draw a bar and a mark per component.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None: a new figure.
        **bar_kwargs : dict
            Passed to :meth:`matplotlib.axes.Axes.bar`.

        Returns
        -------
        ComponentSizesDisplay
            Itself, with ``ax_`` and ``figure_``.

        Raises
        ------
        ValueError
            If there is not one weight per component.
        """
        counts = np.asarray(self.counts)
        K, n_rows = len(counts), max(int(counts.sum()), 1)
        if self.weights is not None and np.shape(self.weights) != (K,):
            raise ValueError(f"weights must have shape ({K},), one per component; got {np.shape(self.weights)}")
        ax = make_axes(ax, _figure_size(K))
        ax.bar(np.arange(K), counts / n_rows, **{"color": COLORS[0], "width": 0.85, "label": "samples", **bar_kwargs})
        if self.weights is not None:
            marks: dict[str, Any] = {
                "marker": "D",
                "markersize": 5,
                "markerfacecolor": COLORS[1],
                "markeredgecolor": "black",
            }
            ax.plot(np.arange(K), np.asarray(self.weights), linestyle="none", label="weight π", **marks)
        _name_axes(ax, K)
        ax.secondary_yaxis("right", functions=_to_rows_and_back(n_rows)).set_ylabel("samples")
        ax.legend(ncols=2, **KEY_ABOVE)
        self.ax_, self.figure_ = ax, figure_of(ax)
        return self


def _to_rows_and_back(n_rows: int) -> Any:
    return (lambda share: share * n_rows, lambda rows: rows / n_rows)


def _figure_size(K: int) -> tuple[float, float]:
    return min(max(MIN_WIDTH, WIDTH_PER_COMPONENT * K), MAX_WIDTH), 3.0


def _name_axes(ax: "Axes", K: int) -> None:
    set_ticks(ax, range(K), range(K), vertical=False)
    ax.set_xlim(-0.6, K - 0.4)
    ax.set_xlabel("component")
    ax.set_ylabel("share of samples")
