"""Pickles of fitted estimators across versions."""

import inspect
from typing import Any

__all__ = ["PickleSupport"]


class PickleSupport:
    """Reads estimators that were pickled by earlier versions."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the attributes; parameters that the earlier version did not know have their defaults."""
        parameters = inspect.signature(type(self).__init__).parameters.values()
        defaults = {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}
        super().__setstate__({**defaults, **state})  # type: ignore[misc]
