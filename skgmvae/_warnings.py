"""Warnings that point to the user's line."""

import sys
import warnings

__all__ = ["warn"]

# through which a call may pass on its way here: a pipeline or grid, say, a decorator, or a training loop
INSIDE = {"skgmvae", "sklearn", "joblib", "contextlib", "functools", "skorch", "torch"}


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Issue a warning at the line that has called the package, directly or through a library that it plugs into."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in INSIDE:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
