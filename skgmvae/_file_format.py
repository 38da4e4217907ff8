"""The file format of saved estimators: arrays as safetensors, everything else as JSON in its header.

Nothing in a file is executed or unpickled. A digest in the header covers all arrays and metadata, so that damaged files
are rejected. The loader validates the content in addition.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from safetensors.numpy import save

from skgmvae.data.arrays import Array

FORMAT_VERSION = 1
KEY = "skgmvae"
DTYPES = ("float32", "float64", "int64")
# types that skops.io.load has to trust; its files contain the whole net, and thus pickled tensors
SKOPS_TYPES = (
    "functools.partial",
    "skgmvae._gmvae.GMVAEClustering",
    "skgmvae._vade.VaDEClustering",
    "skgmvae._vaeem.VAEEMClustering",
    "skgmvae.data.batches.ShuffledBatches",
    "skgmvae.training.em.EMNet",
    "skgmvae.training.em.EMConfig",
    "skgmvae.training.net.ELBONet",
    "skgmvae.training.objective.NegativeELBO",
    "torch.optim.adam.Adam",
    "skgmvae.training.config.Architecture",
    "skorch.dataset.Dataset",
    "skorch.history.History",
    "skorch.setter.optimizer_setter",
    "torch.utils.data.dataloader.DataLoader",
)


class NotASavedEstimatorError(ValueError):
    """The file is not a saved estimator, is damaged, or is inconsistent."""


def write_file(path: str | os.PathLike[str], arrays: dict[str, Array], description: dict[str, Any]) -> None:
    """Write arrays and their description to one file, atomically.

    Parameters
    ----------
    path : str or path-like
        An existing file is replaced.
    arrays : dict of str to ndarray
        float32, float64 or int64.
    description : dict
        Of JSON types.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; name a file in it")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent}; create it or name another file")
    text = json.dumps({"format_version": FORMAT_VERSION, **description}, sort_keys=True)
    arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.unfinished")
    try:
        unfinished.write_bytes(save(arrays, metadata={KEY: text, "digest": compute_digest(arrays, text)}))
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def read_file(path: str | os.PathLike[str]) -> tuple[dict[str, Array], dict[str, Any]]:
    """Read a file written by :func:`write_file`.

    Returns
    -------
    arrays : dict of str to ndarray
    description : dict

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    NotASavedEstimatorError
        If it is another kind of file, is damaged or modified, or has a newer version of the format.
    """
    arrays, metadata = _read_safetensors(Path(path))
    text = metadata.get(KEY, "")
    try:
        description = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotASavedEstimatorError(f"{path} was not saved by skgmvae: it has no readable description") from error
    version = description.get("format_version") if isinstance(description, dict) else None
    if not isinstance(version, int) or version < 1:
        raise NotASavedEstimatorError(f"{path} was not saved by skgmvae: its format version is {version!r}")
    if version > FORMAT_VERSION:
        raise NotASavedEstimatorError(
            f"{path} has format version {version} and this skgmvae reads up to {FORMAT_VERSION}; upgrade skgmvae"
        )
    if metadata.get("digest") != compute_digest(arrays, text):
        raise NotASavedEstimatorError(f"{path} is damaged, or was changed after it was saved; fetch or save it again")
    return arrays, description


def compute_digest(arrays: dict[str, Array], text: str) -> str:
    """SHA-256 of the description and of the name, dtype, shape and values of every array."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(json.dumps([name, str(array.dtype), array.shape]).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _read_safetensors(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except Exception as error:  # the library raises various errors for damaged headers
        raise NotASavedEstimatorError(f"{path} is not a safetensors file, or is damaged: {error}") from error
    for name, array in arrays.items():
        if str(array.dtype) not in DTYPES or not np.isfinite(array).all():
            raise NotASavedEstimatorError(f"{path} is damaged: {name} holds values that are not finite numbers")
    return arrays, metadata
