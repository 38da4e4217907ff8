"""Digits of street numbers (SVHN) and of envelopes (USPS), in the files of their distribution."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_svmlight_file

from benchmarks.common.features import read_arrays
from skgmvae.data.arrays import Array, Integers

SVHN_SPLITS = ("train", "test", "extra")
USPS_FILES = {"train": "usps", "test": "usps.t"}
USPS_FEATURES = 256


def load_svhn(
    folder: str | os.PathLike[str], *, split: str = "train", scale: bool = True, flatten: bool = True
) -> tuple[Array, Integers]:
    """Images and labels of Street View House Numbers, format 2: ``train_32x32.mat`` and its like.

    Parameters
    ----------
    folder : str or path-like
        Folder with the files under the names of their distribution.
    split : {'train', 'test', 'extra'}, default='train'
    scale : bool, default=True
        Divide by 255, as float32 in [0, 1]; otherwise the uint8 values of the file, a quarter of the memory.
    flatten : bool, default=True
        One row of 3·32·32 features per image, channel by channel as ``image_shape=(3, 32, 32)`` has it; otherwise
        shape (N, 3, 32, 32).

    Returns
    -------
    X : ndarray of shape (N, 3072) or (N, 3, 32, 32)
        float32 or uint8.
    y : ndarray of shape (N,)
        The digit, int64; the file's 10 is 0.

    Raises
    ------
    FileNotFoundError
        If the file is missing.
    ValueError
        If it holds no such images and labels.
    """
    if split not in SVHN_SPLITS:
        raise ValueError(f"split must be one of {', '.join(map(repr, SVHN_SPLITS))}, got {split!r}")
    path = Path(folder) / f"{split}_32x32.mat"
    arrays = read_arrays(path)
    images, labels = arrays.get("X"), arrays.get("y")
    if images is None or labels is None or images.dtype != np.uint8 or images.shape != (32, 32, 3, labels.size):
        raise ValueError(f"{path} is not SVHN's format 2: it lacks bytes X of shape (32, 32, 3, N) or N labels y")
    X = np.ascontiguousarray(images.transpose(3, 2, 0, 1))
    X = X.reshape(len(X), -1) if flatten else X
    return np.divide(X, 255.0, dtype=np.float32) if scale else X, labels.ravel().astype(np.int64) % 10


def load_usps(folder: str | os.PathLike[str], *, split: str = "train") -> tuple[NDArray[np.float32], Integers]:
    """Images and labels of the USPS digits, from the files ``usps`` and ``usps.t`` of LIBSVM's data sets.

    Parameters
    ----------
    folder : str or path-like
        Folder with the files under the names of their distribution, plain or with the suffix ``.bz2``.
    split : {'train', 'test'}, default='train'

    Returns
    -------
    X : ndarray of shape (N, 256)
        16 × 16 pixels, float32 in [0, 1]; −1 to 1 in the file.
    y : ndarray of shape (N,)
        The digit, int64; one less than in the file.

    Raises
    ------
    FileNotFoundError
        If the file is missing.
    ValueError
        If it is not in that format.
    """
    if split not in USPS_FILES:
        raise ValueError(f"split must be 'train' or 'test', got {split!r}")
    name = USPS_FILES[split]
    path = next((path for path in (Path(folder) / name, Path(folder) / f"{name}.bz2") if path.is_file()), None)
    if path is None:
        raise FileNotFoundError(f"neither {name} nor {name}.bz2 in {folder}")
    try:
        rows, labels = load_svmlight_file(str(path), n_features=USPS_FEATURES, dtype=np.float32)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path} cannot be read ({error}); the file is damaged or of another format") from error
    X = 0.5 * (rows.toarray() + 1.0)
    if X.min() < 0.0 or X.max() > 1.0 or not np.isin(labels, np.arange(1, 11)).all():
        raise ValueError(f"{path} is not LIBSVM's USPS: its values should lie in [-1, 1] and its labels be 1 to 10")
    return X, labels.astype(np.int64) - 1
