"""Axes, colors and tick labels for the displays."""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# of Okabe & Ito, which color-blind readers can distinguish; their yellow is too pale for lines and points
COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#000000")
MARKERS = ("o", "^", "s", "v", "D", "P", "X")  # the next one whenever all colors have been used
LABEL_POINTS = 12.0  # height of a tick label, with its distance from the next
CHARACTER_POINTS = 7.0  # width of one of its characters
# a legend above the axes, where it cannot cover anything
KEY_ABOVE: dict[str, Any] = {
    "loc": "lower center",
    "bbox_to_anchor": (0.5, 1.0),
    "frameon": False,
    "fontsize": "small",
    "title_fontsize": "small",
    "handlelength": 1.0,
    "columnspacing": 1.0,
}


def import_pyplot() -> Any:
    """matplotlib's pyplot, or an error that states how to install it."""
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("plots need matplotlib; install it with: pip install 'skgmvae[plot]'") from error
    return pyplot


def make_axes(ax: "Axes | None", figsize: tuple[float, float] | None = None) -> "Axes":
    """``ax`` itself, or the axes of a new figure."""
    if ax is None:
        ax = import_pyplot().subplots(figsize=figsize, layout="constrained")[1]
    return ax


def figure_of(ax: "Axes") -> "Figure":
    """The figure, or part of one, that the axes are in."""
    return cast("Figure", ax.figure)  # or a SubFigure, of axes that were made in one


def style_of(component: int) -> tuple[str, str]:
    """Color and marker of a component."""
    n_colors = len(COLORS)
    return COLORS[component % n_colors], MARKERS[component // n_colors % len(MARKERS)]


def set_ticks(
    ax: "Axes", positions: ArrayLike, labels: Iterable[Any], *, vertical: bool, aspect: float | None = None
) -> None:
    """Ticks at ``positions``, with as many labels as fit; ``aspect`` is width by height of the image."""
    texts = [str(label) for label in labels]
    needed = LABEL_POINTS if vertical else CHARACTER_POINTS * (1 + max(map(len, texts)))
    stride = max(1, math.ceil(len(texts) * needed / _available_points(ax, vertical, aspect)))
    shown = [text if i % stride == 0 else "" for i, text in enumerate(texts)]
    (ax.set_yticks if vertical else ax.set_xticks)(np.asarray(positions), labels=shown)


def _available_points(ax: "Axes", vertical: bool, aspect: float | None) -> float:
    box, points_per_pixel = ax.get_window_extent(), 72.0 / figure_of(ax).dpi
    width, height = box.width * points_per_pixel, box.height * points_per_pixel
    if aspect is not None:
        width, height = min(width, height * aspect), min(height, width / aspect)
    return max(height if vertical else width, 1.0)
