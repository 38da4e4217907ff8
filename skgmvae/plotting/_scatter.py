"""Display of samples and components in pairs of features."""

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.ndimage import gaussian_filter

from skgmvae.data.arrays import Array, Floats, Integers, MatrixLike
from skgmvae.data.frames import find_column
from skgmvae.plotting._axes import KEY_ABOVE, figure_of, import_pyplot, style_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

N_DRAWS = 20_000  # from the components, for contours and histograms
N_CELLS, WIDTH = 70, 3.0  # of the grid in which draws are counted, and of its smoothing, in cells
SHARES = (0.9, 0.5)  # of a component's draws within its contours
OUTER, MARGIN = 0.005, 0.08  # share of the samples beyond either end of the axes, and margin relative to their range
SIDE = 2.2  # of a panel, in inches
POINT_AREA, MIN_POINT_AREA, MAX_POINT_AREA = 5_000.0, 1.0, 12.0  # square points of all markers together, and of one


class ComponentScatterDisplay:
    """Scatter matrix: samples in pairs of features, with contours of the components' densities.

    Below the diagonal, samples have the color of their component, and contours contain 50 % and 90 % of the draws from
    it. The diagonal shows the distributions of the components, weighted by their sizes. All axes are in the units of
    the data. Use :meth:`from_estimator`.

    Parameters
    ----------
    samples : array-like of shape (n_samples, n_features)
        Samples to plot; a sample with NaN in a feature is left out of the panels of that feature.
    labels : array-like of shape (n_samples,)
        Component of each sample.
    draws : array-like of shape (n_draws, n_features)
        Samples drawn from the mixture.
    components : array-like of shape (n_draws,)
        Component of each draw.
    names : list of str
        Names of the features.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes
        Of shape (n_features, n_features); those above the diagonal are off.
    figure_ : matplotlib Figure
        Figure with the axes.

    Examples
    --------
    >>> from skgmvae.plotting import ComponentScatterDisplay
    >>> display = ComponentScatterDisplay(
    ...     [[0.0, 1.0], [5.0, 4.0]], [0, 1], [[0.1, 0.9], [5.1, 4.2]], [0, 1], ["height", "width"]
    ... )
    >>> display.plot().axes_.shape
    (2, 2)
    """

    axes_: Array
    figure_: "Figure"

    def __init__(
        self, samples: ArrayLike, labels: ArrayLike, draws: ArrayLike, components: ArrayLike, names: list[str]
    ) -> None:
        self.samples = samples
        self.labels = labels
        self.draws = draws
        self.components = components
        self.names = names

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: MatrixLike, *, features: Any = None, n_features: int = 4, random_state: Any = 0
    ) -> Self:
        """Plot samples in the features that distinguish the components most.

        Parameters
        ----------
        estimator : GMVAEClustering, VaDEClustering or VAEEMClustering
            Fitted.
        X : array-like of shape (n_samples, n_features)
            Samples to plot.
        features : list of str or int, default=None
            Names or indices of features. None: those with the largest differences in ``estimator.describe()``, without
            categories and flags.
        n_features : int, default=4
            Number of features if they are not given.
        random_state : int, RandomState or None, default=0
            Controls the draws.

        Returns
        -------
        ComponentScatterDisplay

        Raises
        ------
        ValueError
            If there are fewer than two features with numbers, or a feature is unknown.
        """
        D, names = estimator.n_features_in_, getattr(estimator, "feature_names_in_", None)
        if features is None:
            features = _find_telling(estimator, n_features)
        columns = [find_column(feature, names, D, "features") for feature in features]
        found = [str(d if names is None else names[d]) for d in columns]
        if len(found) < 2:
            raise ValueError(
                f"a scatter matrix needs two features of numbers or more; got {found}. ComponentProfilesDisplay draws "
                "single features, and categories too."
            )
        draws, components = estimator.sample(N_DRAWS, random_state=random_state)
        samples, labels = _get_columns(X, columns), estimator.predict(X)
        return cls(samples, labels, _get_columns(draws, columns), components, found).plot()

    def plot(self) -> Self:
        """Draw the matrix.

        Returns
        -------
        ComponentScatterDisplay
            Itself, with ``axes_`` and ``figure_``.
        """
        samples, labels = np.asarray(self.samples, dtype=float), np.asarray(self.labels)
        draws, components = np.asarray(self.draws, dtype=float), np.asarray(self.components)
        n, limits = len(self.names), [_find_limits(column) for column in samples.T]
        figure, grid = import_pyplot().subplots(
            n, n, figsize=(SIDE * n, SIDE * n), sharex="col", squeeze=False, layout="constrained"
        )
        for i, j in np.ndindex(n, n):
            ax = grid[i, j]
            if j > i:
                ax.set_axis_off()
                continue
            ax.set_xlim(limits[j])
            ax.tick_params(labelsize="small")
            if i == j:
                _draw_distributions(ax, draws[:, i], components, limits[i])
            else:
                ax.set_ylim(limits[i])
                _draw_pair(ax, samples[:, [j, i]], labels, draws[:, [j, i]], components)
                ax.tick_params(labelleft=j == 0)
            if j == 0:
                ax.set_ylabel(self.names[i], fontsize="small")
            if i == n - 1:
                ax.set_xlabel(self.names[j], fontsize="small")
        handles, texts = grid[0, 0].get_legend_handles_labels()
        options = {**KEY_ABOVE, "bbox_to_anchor": None, "loc": "outside upper center", "ncols": min(len(texts), 8)}
        figure.legend(handles, texts, title="component", **options)
        self.axes_, self.figure_ = grid, figure_of(grid[0, 0])
        return self


def _find_telling(estimator: Any, n_features: int) -> list[Any]:
    """Names or indices of the features whose components differ most, of those that are numbers."""
    table = estimator.describe()
    is_number = ~np.isin(table["likelihood"].astype(str), ["categorical", "bernoulli"])
    order = np.argsort(-np.abs(table["difference"][is_number]), kind="stable")
    return list(dict.fromkeys(table["feature"][is_number][order].tolist()))[:n_features]


def _get_columns(X: Any, columns: list[int]) -> Floats:
    if hasattr(X, "iloc"):
        return X.iloc[:, columns].to_numpy(dtype=float, na_value=np.nan)  # type: ignore[no-any-return]
    if hasattr(X, "get_column"):  # of polars, which does not take a column twice
        return np.column_stack([X[:, d].to_numpy() for d in columns]).astype(float)
    return np.asarray(np.asarray(X)[:, columns], dtype=float)


def _find_limits(values: Floats) -> tuple[float, float]:
    """Ends of an axis around most of the values."""
    low, high = np.nanquantile(values, [OUTER, 1.0 - OUTER])
    margin = MARGIN * (high - low if high > low else 1.0)
    return float(low - margin), float(high + margin)


def _draw_distributions(ax: "Axes", values: Floats, components: Integers, limits: tuple[float, float]) -> None:
    """Smooth histograms of one feature, of an area in proportion to the number of draws."""
    edges = np.linspace(*limits, N_CELLS + 1)
    for c in np.unique(components):
        counts = np.histogram(values[components == c], edges)[0].astype(float)
        heights, centers = gaussian_filter(counts, WIDTH), 0.5 * (edges[1:] + edges[:-1])
        ax.fill_between(centers, heights, color=style_of(int(c))[0], alpha=0.3, linewidth=0.0, label=str(c))
    ax.set_yticks([])
    ax.set_ylim(bottom=0.0)


def _draw_pair(ax: "Axes", points: Floats, labels: Integers, draws: Floats, components: Integers) -> None:
    """Points and contours in two features."""
    area = min(max(POINT_AREA / max(len(points), 1), MIN_POINT_AREA), MAX_POINT_AREA)
    for c in np.unique(labels):
        color, marker = style_of(int(c))
        options: dict[str, Any] = {"s": area, "alpha": 0.5, "linewidths": 0.0, "rasterized": len(points) > 5_000}
        ax.scatter(*points[labels == c].T, color=color, marker=marker, **options)
    for c in np.unique(components):
        own = draws[components == c]
        edges = [np.linspace(*_find_limits(column), N_CELLS + 1) for column in own.T]
        centers = [0.5 * (edge[1:] + edge[:-1]) for edge in edges]
        density = gaussian_filter(np.histogramdd(own, bins=edges)[0] / len(own), WIDTH)
        levels = _find_levels(density)
        if levels:
            ax.contour(*centers, density.T, levels=levels, colors=style_of(int(c))[0], linewidths=1.2)


def _find_levels(density: Floats) -> list[float]:
    """The densities at the borders of the smallest regions with these shares of the draws, rising."""
    descending = np.sort(density, axis=None)[::-1]
    shares = descending.cumsum()
    reached = [float(descending[np.searchsorted(shares, share)]) for share in SHARES if shares[-1] >= share]
    return sorted({level for level in reached if level > 0.0})
