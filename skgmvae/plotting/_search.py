"""Display of a search over the number of components."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.decomposition import PCA
from sklearn.utils.validation import check_is_fitted

from skgmvae.data.arrays import Array, Floats, MatrixLike
from skgmvae.model_selection._evidence import prepare
from skgmvae.plotting._axes import COLORS, import_pyplot, style_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# column of the results, and what its axis says; of tables with categories, BIC takes the place of the information lost
PANELS = {
    "bic": "BIC\n(all columns)",
    "separation": "separation\n(nats)",
    "information_lost": "information\nlost (share)",
    "log_likelihood": "log-likelihood\n(nats / sample)",
    "icl": "ICL\n(nats / sample)",
    "stability": "stability",
    "description_length": "description\nlength (nats / link)",
}
N_COLUMNS = 3
ROW_HEIGHT, SCATTER_HEIGHT, WIDTH = 1.7, 2.4, 8.5  # inches
POINT_AREA, MAX_POINT_AREA = 3_000.0, 12.0  # square points of all markers of a scatter plot together, and of one
MANY_POINTS = 5_000  # drawn, of more samples


class ComponentSearchDisplay:
    """Evidence for each number of components, and the clusters for the chosen number, one fewer and one more.

    Use :meth:`from_search`. Each panel shows one criterion, with standard errors over folds or halves. The vertical
    line is the number that the search chose. The ring is the choice of this criterion alone. Of tables with categories,
    flags or counts, the BIC of mixtures of all columns takes the place of the information lost.

    Parameters
    ----------
    results : dict of str to ndarray
        The attribute ``cv_results_`` of a fitted search.
    best_n_components : int
        The number that is marked.
    choices : dict of str to int, default=None
        The attribute ``best_by_criterion_``.
    embedding : array-like of shape (n_samples, 2), default=None
        Points of the scatter plots; None: no scatter plots.
    partitions : dict of int to array-like of shape (n_samples,), default=None
        Labels of the points by the number of clusters.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes, shape (n_panels,)
        The panels of the criteria, then the scatter plots.
    figure_ : matplotlib Figure
        Figure with the axes.
    """

    axes_: NDArray[np.object_]
    figure_: "Figure"

    def __init__(
        self,
        results: Mapping[str, Array],
        best_n_components: int,
        *,
        choices: Mapping[str, int] | None = None,
        embedding: ArrayLike | None = None,
        partitions: Mapping[int, ArrayLike] | None = None,
    ) -> None:
        self.results = results
        self.best_n_components = best_n_components
        self.choices = choices
        self.embedding = embedding
        self.partitions = partitions

    @classmethod
    def from_search(cls, search: Any, X: MatrixLike | None = None, *, figure: Any = None) -> Self:
        """Plot the evidence of a fitted search.

        Parameters
        ----------
        search : ComponentSearchCV
            Fitted.
        X : array-like of shape (n_samples, n_features), default=None
            The samples of the search, for the scatter plots: in the embedding of ``best_estimator_`` if there is one,
            projected by PCA. Of tables with categories, flags or counts, principal components of all columns. None: no
            scatter plots.
        figure : matplotlib Figure or SubFigure, default=None
            None: a new figure.

        Returns
        -------
        ComponentSearchDisplay

        Raises
        ------
        ValueError
            If the number of samples is not that of the search.
        """
        check_is_fitted(search, "cv_results_")
        embedding = None if X is None else _embed(search, X)
        n_samples = len(next(iter(search.partitions_.values())))
        if embedding is not None and len(embedding) != n_samples:
            raise ValueError(f"X must be the {n_samples} samples of the search; got {len(embedding)}")
        display = cls(
            search.cv_results_,
            search.best_n_components_,
            choices=search.best_by_criterion_,
            embedding=embedding,
            partitions=search.partitions_,
        )
        return display.plot(figure=figure)

    def plot(self, figure: Any = None, **scatter_kwargs: Any) -> Self:
        """Draw the panels.

        Parameters
        ----------
        figure : matplotlib Figure or SubFigure, default=None
            None: a new figure.
        **scatter_kwargs : dict
            Passed to :meth:`matplotlib.axes.Axes.scatter`.

        Returns
        -------
        ComponentSearchDisplay
            Itself, with ``axes_`` and ``figure_``.
        """
        left_out = "information_lost" if "distinct" in self.results else "bic"
        shown = [name for name in PANELS if name != left_out and np.isfinite(self._values(name)).any()]
        numbers = self._neighboring_numbers() if self.embedding is not None else []
        n_rows = -(-len(shown) // N_COLUMNS)
        heights = [ROW_HEIGHT] * n_rows + [SCATTER_HEIGHT] * bool(numbers)
        if figure is None:
            figure = import_pyplot().figure(figsize=(WIDTH, sum(heights)), layout="constrained")
        grid = figure.add_gridspec(len(heights), N_COLUMNS, height_ratios=heights)
        axes = [figure.add_subplot(grid[divmod(i, N_COLUMNS)]) for i in range(len(shown))]
        for ax, name in zip(axes, shown, strict=True):
            self._plot_criterion(ax, name)
        for ax in axes[-N_COLUMNS:]:
            ax.set_xlabel("number of components")
        for column, K in enumerate(numbers):
            axes.append(figure.add_subplot(grid[n_rows, column]))
            self._plot_clusters(axes[-1], K, scatter_kwargs)
        self.axes_, self.figure_ = np.asarray(axes), figure
        return self

    def _plot_criterion(self, ax: "Axes", name: str) -> None:
        K, mean, values = self.results["param_n_components"], f"mean_test_{name}", self._values(name)
        ax.plot(K, values, color=COLORS[0], marker="o", markersize=3.5, linewidth=1.2)
        if mean in self.results and name != "bic":  # that of a fold is of fewer samples
            ax.errorbar(K, values, self.results[f"se_test_{name}"], color=COLORS[0], linestyle="none", capsize=2)
        ax.axvline(self.best_n_components, color="black", linestyle=":", linewidth=1)
        alone = (self.choices or {}).get(name)
        if alone is not None:
            ax.scatter([alone], values[alone == K], s=80, facecolors="none", edgecolors=COLORS[4], zorder=3)
        ax.set_ylabel(PANELS[name], fontsize="small")
        ax.locator_params(axis="x", integer=True)
        ax.tick_params(labelsize="small")

    def _values(self, name: str) -> Floats:
        """Of a criterion: from all samples if there are such; NaN if it was not measured."""
        unknown = np.full(len(self.results["param_n_components"]), np.nan)
        return np.asarray(self.results.get(name, self.results.get(f"mean_test_{name}", unknown)), dtype=float)

    def _neighboring_numbers(self) -> list[int]:
        """The chosen number, and the ones before and after it that have clusters."""
        known = sorted(self.partitions or {})
        at = known.index(self.best_n_components) if self.best_n_components in known else 0
        return known[max(0, at - 1) : at + 2]

    def _plot_clusters(self, ax: "Axes", n_clusters: int, scatter_kwargs: Mapping[str, Any]) -> None:
        points, labels = np.asarray(self.embedding, dtype=float), np.asarray((self.partitions or {})[n_clusters])
        some = np.arange(0, len(points), max(1, len(points) // MANY_POINTS))
        area = min(MAX_POINT_AREA, max(1.0, POINT_AREA / len(some)))
        for c in range(n_clusters):
            color, marker = style_of(c)
            of_cluster = points[some][labels[some] == c]
            ax.scatter(
                *of_cluster.T, **{"s": area, "color": color, "marker": marker, "linewidths": 0, **scatter_kwargs}
            )
        chosen = " (chosen)" if n_clusters == self.best_n_components else ""
        ax.set_title(f"{n_clusters} cluster{'s' if n_clusters > 1 else ''}{chosen}", fontsize="small")
        ax.set_xticks([])
        ax.set_yticks([])


def _embed(search: Any, X: MatrixLike) -> Floats:
    """Points (N, 2): the embedding of the samples, or the samples as the mixture gets them, projected by PCA.

    Of tables with categories it is the latter, since not all columns have a part in the embedding.
    """
    has_embedding = hasattr(search, "best_estimator_") and hasattr(search.best_estimator_, "transform")
    has_embedding &= "distinct" not in search.cv_results_
    points = search.best_estimator_.transform(X) if has_embedding else prepare(search.estimator, X)[0].points
    points = np.asarray(points, dtype=float)
    if points.shape[1] == 1:
        return np.hstack([points, np.zeros_like(points)])
    return points if points.shape[1] == 2 else np.asarray(PCA(2).fit_transform(points))
