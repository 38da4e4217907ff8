"""The file format of saved estimators: arrays as safetensors, everything else as JSON in its header.

Nothing in a file is executed or unpickled. A digest in the header covers all arrays and metadata, so that damaged files
are rejected. The loader validates the content in addition, and the sizes of the arrays before it reads any.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from safetensors.numpy import save

from skgmvae._atomic_write import write_atomically
from skgmvae.data.arrays import Array

FORMAT_VERSION = 1
KEY = "skgmvae"
DTYPES = ("F32", "F64", "I64")  # as safetensors names them
# types that skops.io.load has to trust; its files contain the whole net, and thus pickled tensors. A list, as MLflow
# needs it for its configuration files.
SKOPS_TYPES = [
    "functools.partial",
    "skgmvae._gmvae.GMVAEClustering",
    "skgmvae._vade.VaDEClustering",
    "skgmvae._vaeem.VAEEMClustering",
    "skgmvae.data.batches.ShuffledBatches",
    "skgmvae.data.categories.Categories",
    "skgmvae.models.columns.Column",
    "skgmvae.model_selection._search.ComponentSearchCV",
    "skgmvae.training.em.EMNet",
    "skgmvae.training.em.EMConfig",
    "skgmvae.training.net.ELBONet",
    "skgmvae.training.objective.NegativeELBO",
    "skgmvae.training.optimizer.Adam",
    "skgmvae.training.config.Architecture",
    "skorch.dataset.Dataset",
    "skorch.history.History",
    "skorch.setter.optimizer_setter",
    "torch.utils.data.dataloader.DataLoader",
]


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
        raise IsADirectoryError(f"{path} is a folder; pass the path of a file in it")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent}; create it or choose another file")
    write_atomically(path, encode(arrays, description, KEY))


def encode(arrays: dict[str, Array], description: dict[str, Any], key: str) -> bytes:
    """The content of a file with these arrays and, under ``key``, their description."""
    text = json.dumps({"format_version": FORMAT_VERSION, **description}, sort_keys=True)
    arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    content: bytes = save(arrays, metadata={key: text, "digest": compute_digest(arrays, text)})
    return content


class SavedFile:
    """A file of :func:`write_file` that is open: its description, and arrays that are not read yet.

    Attributes
    ----------
    description : dict
    shapes : dict of str to tuple of int
        Of the arrays.
    """

    def __init__(self, path: Path, file: Any, key: str) -> None:
        self.path, self._file = path, file
        metadata = file.metadata() or {}
        self._text, self._digest = metadata.get(key, ""), metadata.get("digest")
        self.description = self._parse_description()
        self.shapes: dict[str, tuple[int, ...]] = {}
        for name in file.keys():  # noqa: SIM118
            part = file.get_slice(name)
            if part.get_dtype() not in DTYPES:
                raise NotASavedEstimatorError(f"{path} is damaged: {name} has the type {part.get_dtype()}")
            self.shapes[name] = tuple(part.get_shape())

    def _parse_description(self) -> dict[str, Any]:
        try:
            description = json.loads(self._text)
        except (ValueError, RecursionError) as error:
            raise NotASavedEstimatorError(
                f"{self.path} was not saved by skgmvae: it has no readable description"
            ) from error
        version = description.get("format_version") if isinstance(description, dict) else None
        if not isinstance(version, int) or version < 1:
            raise NotASavedEstimatorError(f"{self.path} was not saved by skgmvae: its format version is {version!r}")
        if version > FORMAT_VERSION:
            raise NotASavedEstimatorError(
                f"{self.path} has format version {version} and this skgmvae reads up to {FORMAT_VERSION}; upgrade "
                "skgmvae"
            )
        return dict(description)

    def read(self, *, all_finite: bool = True) -> dict[str, Array]:
        """The arrays, after the check that they are those that were saved, and finite."""
        try:
            arrays = {name: self._file.get_tensor(name) for name in self.shapes}
        except Exception as error:  # the library raises various errors
            raise NotASavedEstimatorError(f"{self.path} is damaged: {error}") from error
        for name, array in arrays.items():
            if all_finite and not np.isfinite(array).all():
                raise NotASavedEstimatorError(f"{self.path} is damaged: {name} holds values that are not finite")
        if self._digest != compute_digest(arrays, self._text):
            raise NotASavedEstimatorError(
                f"{self.path} is damaged, or was changed after it was saved; download or save it again"
            )
        return arrays


@contextlib.contextmanager
def open_file(path: str | os.PathLike[str], key: str = KEY) -> Iterator[SavedFile]:
    """Open a file written by :func:`write_file`; its arrays are read on request.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    NotASavedEstimatorError
        If it is another kind of file, is damaged or modified, or has a newer version of the format.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        file = safetensors.safe_open(path, framework="numpy")
    except Exception as error:  # the library raises various errors for damaged headers
        raise NotASavedEstimatorError(f"{path} is not a safetensors file, or is damaged: {error}") from error
    with file:
        yield SavedFile(path, file, key)


def read_file(
    path: str | os.PathLike[str], key: str = KEY, *, all_finite: bool = True
) -> tuple[dict[str, Array], dict[str, Any]]:
    """Arrays and description of a file, as :func:`open_file` opens it."""
    with open_file(path, key) as file:
        return file.read(all_finite=all_finite), file.description


def compute_digest(arrays: dict[str, Array], text: str) -> str:
    """SHA-256 of the description and of the name, dtype, shape and values of every array."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(json.dumps([name, str(array.dtype), array.shape]).encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def find_version(package: str) -> str | None:
    """The version of an installed package."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def to_plain(value: Any) -> Any:
    """The value in JSON types; None for other objects."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [to_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(name): to_plain(item) for name, item in value.items()}
    return None
