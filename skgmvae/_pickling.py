"""Pickles of fitted estimators across versions."""

import inspect
from typing import Any

__all__ = ["PickleSupport"]


class PickleSupport:
    """Reads estimators that were pickled by earlier versions."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the attributes; what the earlier version did not know has its default."""
        parameters = inspect.signature(type(self).__init__).parameters.values()
        defaults = {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}
        super().__setstate__({**defaults, **state})  # type: ignore[misc]
        net = state.get("net_")
        if net is None:
            return
        vars(self).setdefault("validation_scores_", [])
        vars(self).setdefault("best_iter_", state["n_iter_"])
        if "background" not in net.module_._modules and "background" not in vars(net.module_):
            net.module_.background = None
