"""Deep generative clustering with scikit-learn's interface."""

import importlib
from typing import Any

from skgmvae._evaluation import single_precision
from skgmvae._file_format import SKOPS_TYPES
from skgmvae._gmvae import GMVAEClustering
from skgmvae._vade import VaDEClustering
from skgmvae._vaeem import VAEEMClustering

__all__ = ["SKOPS_TYPES", "GMVAEClustering", "VAEEMClustering", "VaDEClustering", "single_precision"]
__version__ = "0.1.0"

_SUBMODULES = ("datasets", "functional", "metrics", "model_selection", "models", "plotting")


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"skgmvae.{name}")
    raise AttributeError(f"module 'skgmvae' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_SUBMODULES, "__version__"})
