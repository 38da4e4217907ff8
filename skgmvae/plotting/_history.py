"""Training curves."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from skgmvae.plotting._axes import COLORS, figure_of, import_pyplot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINE_STYLES = ("-", "--", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)))  # lines cross, and may be printed in gray


class HistoryDisplay:
    """Terms of the bound per epoch (VAE-EM: per EM iteration), and the minimum information λ if it is set.

    Use :meth:`from_estimator`.

    Parameters
    ----------
    history : dict of str to list of float
        The attribute ``history_`` of a fitted estimator.
    min_information : float, default=0.0
        λ, drawn as a dotted line if it is positive.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes, shape (2,)
        The upper axes show the bound and the log-likelihood, the lower ones the divergences.
    figure_ : matplotlib Figure
        Figure with the axes.
    """

    axes_: NDArray[np.object_]
    figure_: "Figure"

    def __init__(self, history: Mapping[str, Sequence[float]], min_information: float = 0.0) -> None:
        self.history = history
        self.min_information = min_information

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> Self:
        """Plot the history of a fitted estimator.

        Parameters
        ----------
        estimator : GMVAEClustering, VaDEClustering or VAEEMClustering
            Fitted.
        ax : matplotlib Axes or sequence of two of them, default=None
            One is divided into two; None: a new figure.

        Returns
        -------
        HistoryDisplay
        """
        check_is_fitted(estimator)
        return cls(estimator.history_, estimator.min_information).plot(ax=ax)

    def plot(self, ax: Any = None, **line_kwargs: Any) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes or sequence of two of them, default=None
            One is divided into two; None: a new figure.
        **line_kwargs : dict
            Passed to :meth:`matplotlib.axes.Axes.plot`.

        Returns
        -------
        HistoryDisplay
            Itself, with ``axes_`` and ``figure_``.
        """
        above, below = _make_pair(ax)
        shown = [name for name, values in self.history.items() if name != "kl_style" or np.any(values)]
        for name, color, style in zip(shown, COLORS, LINE_STYLES, strict=False):
            values = self.history[name]
            options = {"color": color, "linestyle": style, "label": name, **line_kwargs}
            (below if name.startswith("kl_") else above).plot(np.arange(1, len(values) + 1), values, **options)
        if self.min_information > 0.0:
            below.axhline(self.min_information, color="black", linestyle=":", label="min_information")
        for part in (above, below):
            part.set_ylabel("nats / sample")
            # next to the curves, which may be anywhere
            part.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
            part.locator_params(axis="x", integer=True)
        below.set_xlabel("epoch")
        self.axes_, self.figure_ = np.asarray([above, below]), figure_of(above)
        return self


def _make_pair(ax: Any) -> tuple["Axes", "Axes"]:
    """Two axes, one above the other: new ones, those given, or the halves of the one given."""
    if ax is None:
        above, below = import_pyplot().subplots(2, 1, figsize=(6, 5), sharex=True, layout="constrained")[1]
    elif hasattr(ax, "get_subplotspec"):
        above, below = _divide(ax)
    else:
        above, below = ax
    return above, below


def _divide(ax: "Axes") -> tuple["Axes", "Axes"]:
    ax.set_axis_off()
    spec = ax.get_subplotspec()
    if spec is None:  # axes that were positioned manually
        above = ax.inset_axes((0.0, 0.55, 1.0, 0.45))
        return above, ax.inset_axes((0.0, 0.0, 1.0, 0.45), sharex=above)
    pair: Any = spec.subgridspec(2, 1).subplots(sharex=True)
    above, below = pair
    return above, below
