"""Display of the distributions of single features in the components."""

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from skgmvae.data.arrays import Array, Integers
from skgmvae.plotting._axes import KEY_ABOVE, figure_of, import_pyplot, style_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

N_BINS = 30
N_SAMPLES = 4_000  # drawn from the components, whose histograms are shown
WIDTH, HEIGHT = 2.6, 1.9  # of the axes of a feature, in inches
MOST_LETTERS = 24  # below the bars of a feature, if they are written horizontally
MOST_LABELS = 20  # categories that are named
OUTER = 0.005  # share of the samples beyond either end of the axes


class ComponentProfilesDisplay:
    """Distribution of each feature in every component; the features that differ most come first.

    Continuous features and counts are shown as histograms, categories as shares, of samples drawn from the components.
    Use :meth:`from_estimator`.

    Parameters
    ----------
    samples : list of array-like of shape (n_samples,)
        The values of each feature.
    components : array-like of shape (n_samples,)
        The component of each sample.
    names : list of str
        Names of the features.
    categories : list of (list or None)
        Categories of each feature; None if it has none.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes
        One for each feature.
    figure_ : matplotlib Figure
        Figure with the axes.

    Examples
    --------
    >>> from skgmvae.plotting import ComponentProfilesDisplay
    >>> display = ComponentProfilesDisplay(
    ...     [[0.1, 0.2, 0.9], ["a", "a", "b"]], [0, 0, 1], ["x", "y"], [None, ["a", "b"]]
    ... )
    >>> display.names
    ['x', 'y']
    """

    axes_: Array
    figure_: "Figure"

    def __init__(self, samples: Any, components: Any, names: list[str], categories: list[Any]) -> None:
        self.samples = samples
        self.components = components
        self.names = names
        self.categories = categories

    @classmethod
    def from_estimator(cls, estimator: Any, *, n_features: int = 12, random_state: Any = 0, **kwargs: Any) -> Self:
        """Plot the features that distinguish the components most.

        Parameters
        ----------
        estimator : GMVAEClustering, VaDEClustering or VAEEMClustering
            Fitted.
        n_features : int, default=12
            Number of features: those with the largest differences in ``estimator.describe()``.
        random_state : int, RandomState or None, default=0
            Controls the draws.
        **kwargs : dict
            As for :meth:`plot`.

        Returns
        -------
        ComponentProfilesDisplay
        """
        table = estimator.describe()
        order = np.argsort(-np.abs(table["difference"]), kind="stable")
        features = list(dict.fromkeys(table["feature"][order].tolist()))[:n_features]
        all_names = [str(name) for name in getattr(estimator, "feature_names_in_", range(estimator.n_features_in_))]
        samples, components = estimator.sample(N_SAMPLES, random_state=random_state)
        picked = [all_names.index(str(feature)) for feature in features]
        columns = [_get_column(samples, d) for d in picked]
        categories = [None if estimator.categories_[d] is None else list(estimator.categories_[d]) for d in picked]
        return cls(columns, components, [all_names[d] for d in picked], categories).plot(**kwargs)

    def plot(self, *, n_columns: int = 4) -> Self:
        """Draw the features in a grid.

        Parameters
        ----------
        n_columns : int, default=4
            Number of columns of the grid.

        Returns
        -------
        ComponentProfilesDisplay
            Itself, with ``axes_`` and ``figure_``.
        """
        n = len(self.names)
        n_columns = min(n_columns, n)
        n_rows = -(-n // n_columns)
        figure, grid = import_pyplot().subplots(
            n_rows, n_columns, figsize=(WIDTH * n_columns, HEIGHT * n_rows), squeeze=False, layout="constrained"
        )
        axes, components = grid.ravel(), np.asarray(self.components)
        for ax in axes[n:]:
            ax.set_axis_off()
        for ax, values, name, categories in zip(axes, self.samples, self.names, self.categories, strict=False):
            if categories is None:
                _draw_histograms(ax, np.asarray(values, dtype=float), components)
            else:
                _draw_shares(ax, np.asarray(values, dtype=object), components, categories)
            ax.set_title(name, fontsize="medium")
            ax.set_yticks([])
            ax.spines[["left", "right", "top"]].set_visible(False)
        handles, labels = axes[0].get_legend_handles_labels()
        options = {**KEY_ABOVE, "bbox_to_anchor": None, "loc": "outside upper center", "ncols": min(len(labels), 8)}
        figure.legend(handles, labels, title="component", **options)
        self.axes_, self.figure_ = axes[:n], figure_of(axes[0])
        return self


def _get_column(samples: Any, d: int) -> Array:
    if hasattr(samples, "iloc"):
        return np.asarray(samples.iloc[:, d])
    return np.asarray(samples[:, d])


def _draw_histograms(ax: "Axes", values: Array, components: Integers) -> None:
    """A histogram of each component, each of area one."""
    low, high = np.quantile(values, [OUTER, 1.0 - OUTER])
    bins = np.linspace(low, high if high > low else low + 1.0, N_BINS + 1)
    if np.array_equal(values, np.rint(values)):  # a bin for so many whole numbers
        width = max(1.0, np.ceil((high - low) / N_BINS))
        bins = np.arange(low - 0.5, high + width + 0.5, width)
    for c in np.unique(components):
        color = style_of(int(c))[0]
        heights = np.histogram(values[components == c], bins, density=True)[0]
        ax.stairs(heights, bins, color=color, fill=True, alpha=0.25)
        ax.stairs(heights, bins, color=color, linewidth=1.2, label=str(c))


def _draw_shares(ax: "Axes", values: Array, components: Integers, categories: list[Any]) -> None:
    """A group of bars for each category, a bar for each component."""
    numbers = np.unique(components)
    width = 0.8 / len(numbers)
    places = np.arange(len(categories))
    for i, c in enumerate(numbers):
        own = values[components == c]
        shares = [np.mean(own == category) for category in categories]
        offset = (i - 0.5 * (len(numbers) - 1)) * width
        ax.bar(places + offset, shares, width, color=style_of(int(c))[0], alpha=0.8, label=str(c))
    texts = [str(category) if len(categories) <= MOST_LABELS else "" for category in categories]
    ax.set_xticks(places, texts, rotation=90 if sum(map(len, texts)) > MOST_LETTERS else 0, fontsize="small")
