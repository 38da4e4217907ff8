"""IDX files, the format of MNIST."""

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skgmvae.data.arrays import Array, Integers
from skgmvae.datasets._intensities import to_unit_interval

# third byte of the magic number: type of the values, all big-endian
IDX_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
PREFIXES = {"train": "train", "test": "t10k"}
AGAIN = "the file is damaged or cut short, fetch it again"


def load_idx(
    folder: str | os.PathLike[str], *, split: str = "train", scale: bool = True, flatten: bool = True
) -> tuple[Array, Integers]:
    """Load images and labels from a folder of IDX files, the format of MNIST and Fashion-MNIST.

    Reads ``train-images-idx3-ubyte`` and ``train-labels-idx1-ubyte``, or ``t10k-…`` for the test split,
    each plain or with the suffix ``.gz``.

    Parameters
    ----------
    folder : str or path-like
        Folder with the files under the names of their distribution.
    split : {'train', 'test'}, default='train'
    scale : bool, default=True
        Divide by 255, as float32 in [0, 1]; otherwise the uint8 values of the file.
    flatten : bool, default=True
        One row of H·W features per image; otherwise shape (N, H, W).

    Returns
    -------
    X : ndarray of shape (N, H·W) or (N, H, W)
        float32 or uint8.
    y : ndarray of shape (N,)
        int64.

    Raises
    ------
    FileNotFoundError
        If the folder or one of the files is missing.
    ValueError
        If a file is not a valid IDX file of images or labels, or their numbers differ.

    Examples
    --------
    >>> from skgmvae.datasets import load_idx
    >>> X, y = load_idx("data/mnist")  # doctest: +SKIP
    >>> X.shape, X.dtype  # doctest: +SKIP
    ((60000, 784), dtype('float32'))
    """
    if split not in PREFIXES:
        raise ValueError(f"split must be 'train' or 'test', got {split!r}")
    prefix = PREFIXES[split]
    images_path = _find(Path(folder), f"{prefix}-images-idx3-ubyte")
    labels_path = _find(Path(folder), f"{prefix}-labels-idx1-ubyte")
    images, labels = _read_bytes_array(images_path, n_axes=3), _read_bytes_array(labels_path, n_axes=1)
    if len(images) != len(labels):
        raise ValueError(
            f"{images_path} contains {len(images)} images, but {labels_path} contains {len(labels)} labels; "
            "take both files from one distribution"
        )
    X = images.reshape(len(images), math.prod(images.shape[1:])) if flatten else images
    return to_unit_interval(X) if scale else X, labels.astype(np.int64)


def read_idx(path: str | os.PathLike[str]) -> Array:
    """Read the array in an IDX file, plain or gzip-compressed, in native byte order.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    ndarray
        Of the shape and type that the file's header states.

    Raises
    ------
    ValueError
        If the magic number, the type code or the length is not that of an IDX file.
    """
    content = _read(path)
    dtype, n_axes = _parse_magic(content, path)
    start = 4 + 4 * n_axes
    if len(content) < start:
        raise ValueError(
            f"{path} ends inside its header: {len(content)} bytes where {n_axes} dimensions need {start}; {AGAIN}"
        )
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", n_axes, offset=4))
    expected, got = math.prod(shape) * dtype.itemsize, len(content) - start
    if expected != got:
        raise ValueError(
            f"{path} has {got} bytes of values where its dimensions {shape} of {dtype.name} need {expected}; {AGAIN}"
        )
    # a copy: writable, aligned and native
    return np.frombuffer(content, dtype, offset=start).astype(dtype.newbyteorder("=")).reshape(shape)


def _parse_magic(content: bytes, path: str | os.PathLike[str]) -> tuple[np.dtype[Any], int]:
    """Type of the values and number of dimensions."""
    if len(content) < 4 or content[:2] != b"\x00\x00":
        raise ValueError(
            f"{path} is not an IDX file: its first bytes are {content[:4].hex(' ') or 'missing'} where 00 00, "
            "a type code and the number of dimensions are expected"
        )
    code, n_axes = content[2], content[3]
    if code not in IDX_DTYPES:
        known = ", ".join(f"0x{known:02x}" for known in IDX_DTYPES)
        raise ValueError(f"{path} has the unknown IDX type code 0x{code:02x}; known are {known}")
    if n_axes == 0:
        raise ValueError(f"{path} states 0 dimensions; {AGAIN}")
    return np.dtype(IDX_DTYPES[code]), n_axes


def _read(path: str | os.PathLike[str]) -> bytes:
    try:
        content = Path(path).read_bytes()
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} cannot be decompressed ({error}); {AGAIN}") from error


def _find(folder: Path, name: str) -> Path:
    """Path of the plain or compressed file."""
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}; pass the folder that holds the IDX files")
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise FileNotFoundError(f"neither {name} nor {name}.gz in {folder}; pass the folder that holds the IDX files")


def _read_bytes_array(path: Path, n_axes: int) -> NDArray[np.uint8]:
    values = read_idx(path)
    if values.dtype != np.uint8 or values.ndim != n_axes:
        raise ValueError(
            f"{path} holds {values.dtype} values in {values.ndim} dimensions where uint8 in {n_axes} are expected; "
            "check that images and labels are not exchanged"
        )
    return values
