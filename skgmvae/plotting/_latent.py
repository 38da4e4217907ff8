"""Display of the latent space, colored by component."""

from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from skgmvae._vaeem import VAEEMClustering
from skgmvae.data.arrays import Array, Floats, MatrixLike
from skgmvae.plotting._axes import figure_of, import_pyplot, make_axes, style_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POINT_AREA, MIN_POINT_AREA = 40_000.0, 2.0  # square points of all markers together, and of one
MAX_POINT_AREA = 20.0
N_DEVIATIONS = 2.0  # of the ellipses
SHOWN_SHARE, MARGIN = 0.99, 0.1  # share of the samples shown in each direction, and margin relative to their range
MANY_COMPONENTS = 12  # above it, numbers are smaller


class Gaussians(NamedTuple):
    """Means (K, 2) and covariances (K, 2, 2) of the components in the plane of the plot."""

    means: Floats
    covariances: Floats


class LatentSpaceDisplay:
    """Embedded samples in two dimensions, colored and numbered by component.

    Use :meth:`from_estimator`, or pass any points. The axes show the middle 99 % of the samples in each direction, so
    that outliers do not compress the rest, and state how many samples are outside; ``display.ax_.autoscale()`` shows
    all.

    Parameters
    ----------
    embedding : array-like of shape (n_samples, 2)
        Points to plot.
    labels : array-like of shape (n_samples,)
        Component of each point.
    means : array-like of shape (n_components, 2), default=None
        Centers of the components.
    covariances : array-like of shape (n_components, 2, 2), default=None
        Drawn around ``means`` as ellipses of two standard deviations.
    axis_labels : (str, str), default=('z 1', 'z 2')
        Names of the axes.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the points.
    figure_ : matplotlib Figure
        Figure with the axes.
    projector_ : object
        The projector to two dimensions; None if none was needed. Only set by :meth:`from_estimator`.

    Examples
    --------
    >>> from skgmvae.plotting import LatentSpaceDisplay
    >>> display = LatentSpaceDisplay([[0.0, 1.0], [5.0, 4.0], [5.0, 5.0]], labels=[0, 1, 1]).plot()
    >>> [text.get_text() for text in display.ax_.texts]
    ['0', '1']
    """

    ax_: "Axes"
    figure_: "Figure"
    projector_: Any

    def __init__(
        self,
        embedding: ArrayLike,
        labels: ArrayLike,
        *,
        means: ArrayLike | None = None,
        covariances: ArrayLike | None = None,
        axis_labels: tuple[str, str] = ("z 1", "z 2"),
    ) -> None:
        self.embedding = embedding
        self.labels = labels
        self.means = means
        self.covariances = covariances
        self.axis_labels = axis_labels

    @classmethod
    def from_estimator(cls, estimator: Any, X: MatrixLike, *, projector: Any = None, ax: "Axes | None" = None) -> Self:
        """Embed the samples in X, project them if necessary, and plot them.

        The components of a VaDE are drawn as ellipses of two standard deviations if the plot is linear in the latent
        space: with two latent dimensions, or projected by PCA.

        Parameters
        ----------
        estimator : estimator with ``transform`` and ``predict``
            Fitted; may be a Pipeline. The components of ``VAEEMClustering`` share no latent space; its samples are
            represented by √(max_b j_b − j_c), with j_c the log joint of component c, which acts as a distance from it.
        X : array-like of shape (n_samples, n_features)
        projector : object with ``fit_transform``, default=None
            Projector to two dimensions, such as ``PCA``, ``TSNE`` or UMAP, used if the embedding has more. A fitted
            projector with ``transform`` is not refitted. None: PCA.
        ax : matplotlib Axes, default=None
            None: a new figure.

        Returns
        -------
        LatentSpaceDisplay

        Raises
        ------
        ValueError
            If the projector does not return two dimensions.
        """
        check_is_fitted(estimator)
        embedding = _embed(estimator, X)
        if projector is None and embedding.shape[1] > 2:
            projector = PCA(2)
        points = _spread(embedding) if projector is None else _project(projector, embedding)
        gaussians = _find_gaussians(estimator, projector)
        means, covariances = (None, None) if gaussians is None else gaussians
        names = _name_axes(embedding.shape[1], projector)
        display = cls(points, estimator.predict(X), means=means, covariances=covariances, axis_labels=names)
        display.projector_ = projector
        return display.plot(ax=ax)

    def plot(self, ax: "Axes | None" = None, **scatter_kwargs: Any) -> Self:
        """Draw the points.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None: a new figure.
        **scatter_kwargs : dict
            Passed to :meth:`matplotlib.axes.Axes.scatter`.

        Returns
        -------
        LatentSpaceDisplay
            Itself, with ``ax_`` and ``figure_``.

        Raises
        ------
        ValueError
            If the points are not in two dimensions, or there is not one label per point.
        """
        points, labels = np.asarray(self.embedding, dtype=float), np.asarray(self.labels)
        if points.ndim != 2 or points.shape[1] != 2 or labels.shape != (len(points),):
            raise ValueError(
                f"embedding must have shape (n_samples, 2) and labels (n_samples,); got {points.shape} and "
                f"{labels.shape}"
            )
        ax = make_axes(ax)
        area = min(max(POINT_AREA / max(len(points), 1), MIN_POINT_AREA), MAX_POINT_AREA)
        options = {"s": area, "alpha": 0.6, "linewidths": 0.0, "rasterized": len(points) > 5_000, **scatter_kwargs}
        for component in np.unique(labels):
            color, marker = style_of(int(component))
            ax.scatter(*points[labels == component].T, **{"color": color, "marker": marker, **options})
        if self.means is not None and self.covariances is not None:
            _draw_ellipses(ax, np.asarray(self.means), np.asarray(self.covariances))
        self._number_components(ax, points, labels)
        _frame(ax, points)
        ax.set_xlabel(self.axis_labels[0])
        ax.set_ylabel(self.axis_labels[1])
        self.ax_, self.figure_ = ax, figure_of(ax)
        return self

    def _number_components(self, ax: "Axes", points: Floats, labels: Array) -> None:
        """Label each component with its number at its mean, or at the median of its points."""
        import_pyplot()
        from matplotlib.patheffects import withStroke

        components = np.unique(labels)
        size = "medium" if len(components) <= MANY_COMPONENTS else "small"
        for component in components:
            own = points[labels == component]
            place = np.median(own, axis=0) if self.means is None else np.asarray(self.means)[component]
            x, y = place
            text = ax.text(x, y, str(component), ha="center", va="center", weight="bold", size=size, clip_on=True)
            text.set_path_effects([withStroke(linewidth=2.5, foreground="white")])


def _last_step(estimator: Any) -> Any:
    """The estimator itself, or the last one of a pipeline."""
    return estimator[-1] if hasattr(estimator, "named_steps") else estimator


def _embed(estimator: Any, X: MatrixLike) -> Floats:
    embedding = np.asarray(estimator.transform(X))
    if isinstance(_last_step(estimator), VAEEMClustering):
        distances: Floats = np.sqrt(embedding.max(1, keepdims=True) - embedding)
        return distances
    return embedding


def _spread(embedding: Floats) -> Floats:
    """Two columns; a single one is plotted against the index."""
    if embedding.shape[1] == 2:
        return embedding
    return np.column_stack([embedding[:, 0], np.arange(len(embedding))])


def _project(projector: Any, embedding: Floats) -> Floats:
    points = np.asarray(projector.transform(embedding) if _is_fitted(projector) else projector.fit_transform(embedding))
    if points.shape != (len(embedding), 2):
        raise ValueError(
            f"the projector must map {len(embedding)} samples to two dimensions; {projector!r} returned an array of "
            f"shape {points.shape}. Set its n_components to 2."
        )
    return points


def _is_fitted(projector: Any) -> bool:
    if not hasattr(projector, "transform"):
        return False  # such as TSNE, which cannot transform new samples
    try:
        check_is_fitted(projector)
    except (NotFittedError, TypeError):
        return False
    return True


def _find_gaussians(estimator: Any, projector: Any) -> Gaussians | None:
    """The components in the plane of the plot, if it is linear in a space in which they are Gaussian."""
    model = _last_step(estimator)
    is_linear = projector is None or (isinstance(projector, PCA) and not projector.whiten)
    if not hasattr(model, "latent_covariances_") or not is_linear or model.latent_means_.shape[1] < 2:
        return None
    means = model.latent_means_
    covariances = _full(model.latent_covariances_, model.covariance_type, *means.shape)
    if projector is None:
        return Gaussians(means, covariances)
    axes = projector.components_
    return Gaussians(projector.transform(means), axes @ covariances @ axes.T)


def _full(covariances: Floats, covariance_type: str, K: int, L: int) -> Floats:
    """(K, L, L) from the shapes of each ``covariance_type``."""
    if covariance_type == "spherical":
        return covariances[:, None, None] * np.eye(L)
    if covariance_type == "diag":
        return covariances[:, :, None] * np.eye(L)
    return np.broadcast_to(covariances, (K, L, L))


def _name_axes(n_dimensions: int, projector: Any) -> tuple[str, str]:
    if projector is not None:
        name = type(projector).__name__
        return f"{name} 1", f"{name} 2"
    return ("z", "row") if n_dimensions == 1 else ("z 1", "z 2")


def _draw_ellipses(ax: "Axes", means: Floats, covariances: Floats) -> None:
    from matplotlib.patches import Ellipse

    for component, (mean, covariance) in enumerate(zip(means, covariances, strict=True)):
        variances, directions = np.linalg.eigh(covariance)
        width, height = 2.0 * N_DEVIATIONS * np.sqrt(np.maximum(variances, 0.0))
        angle = np.degrees(np.arctan2(directions[1, 0], directions[0, 0]))
        edge = style_of(component)[0]
        ax.add_patch(Ellipse(mean, width, height, angle=angle, fill=False, edgecolor=edge, linewidth=1.5))


def _frame(ax: "Axes", points: Floats) -> None:
    """Set limits around most of the points, and state the number of those outside."""
    low, high = np.quantile(points, [0.5 - SHOWN_SHARE / 2, 0.5 + SHOWN_SHARE / 2], axis=0)
    margin = MARGIN * np.maximum(high - low, np.finfo(float).tiny)
    low, high = np.maximum(low, points.min(0)) - margin, np.minimum(high, points.max(0)) + margin
    ax.set_xlim(low[0], high[0])
    ax.set_ylim(low[1], high[1])
    n_outside = int(((points < low) | (points > high)).any(1).sum())
    if n_outside:
        place: dict[str, Any] = {"transform": ax.transAxes, "ha": "right", "va": "top", "size": "x-small"}
        ax.text(0.99, 0.99, f"{n_outside} samples outside", **place)
