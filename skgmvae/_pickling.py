"""Pickles of fitted estimators across versions."""

import inspect
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skgmvae.models.likelihoods import Gaussian
from skgmvae.models.transforms import Transform

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
        module = net.module_
        vars(self).setdefault("n_subcomponents_", np.ones_like(state["weights_"], np.int64))
        vars(module).setdefault("subcomponents", None)
        if "background" not in module._modules and "background" not in vars(module):
            module.background = None
        if "n_outputs" not in vars(module):
            _complete_modules(module, int(state["n_features_in_"]))
        for part in module.modules():
            if isinstance(part, Gaussian) and not hasattr(part, "transform"):
                part.transform = _make_transform(part._buffers.pop("is_log", None))


def _complete_modules(module: Any, n_features: int) -> None:
    """What the modules of versions with one likelihood for all features lack."""
    module.n_outputs = n_features
    for part in module.modules():
        if type(part).__name__ == "Autoencoder":
            part._parameters.setdefault("component_outputs", None)
        elif type(part).__name__ == "Background":
            part._buffers.setdefault("outputs", None)
            part.n_gaussian = n_features


def _make_transform(is_log: Tensor | None) -> Transform | None:
    """That of versions with log-normal features alone, by which features (D,) these are."""
    if is_log is None:
        return None
    kinds = ["log_normal" if each else "gaussian" for each in is_log.tolist()]
    constants = torch.zeros(len(kinds), dtype=torch.float64)
    return Transform(kinds, constants, constants + 1.0)
