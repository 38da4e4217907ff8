"""Features and labels in MATLAB's or NumPy's files, as deep clusterers' benchmarks are passed around."""

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat
from scipy.io.matlab import MatReadError
from scipy.sparse import issparse

from skgmvae.data.arrays import Array, Integers


def load_features(
    path: str | os.PathLike[str], *, features: str = "X", labels: str = "Y"
) -> tuple[NDArray[np.float32], Integers]:
    """Features and labels from a ``.mat`` or ``.npz`` file that holds both under a name.

    The files that the authors of VaDE distribute have this form: ``HAR.mat`` (561 features of human activities, HHAR in
    their paper, of which they use the first 10,200 rows) and ``reuters10k.mat`` (2,000 tf-idf features of 10,000
    articles). So can features of images have, such as those of STL-10 that a pretrained network has computed.

    Parameters
    ----------
    path : str or path-like
        Nothing in the file is executed: ``.npz`` files are read without pickles.
    features, labels : str, default='X' and 'Y'
        Names in the file. Labels may be of shape (N,), (N, 1) or (1, N), or one-hot, (N, K).

    Returns
    -------
    X : ndarray of shape (N, D)
        float32.
    y : ndarray of shape (N,)
        int64, the classes numbered from 0 in the order of the file's labels.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it cannot be read, lacks a name, or holds features and labels that do not fit together.
    """
    arrays = read_arrays(path)
    for name in (features, labels):
        if name not in arrays:
            raise ValueError(f"{path} has no {name!r}; it holds {', '.join(map(repr, sorted(arrays))) or 'nothing'}")
    X, y = arrays[features], arrays[labels]
    X = np.asarray(X.toarray() if issparse(X) else X)
    if X.ndim != 2 or X.dtype.kind not in "fiub":
        raise ValueError(f"{features!r} in {path} must be a matrix of numbers; got shape {X.shape} of {X.dtype}")
    return X.astype(np.float32), _number_classes(np.asarray(y), len(X), f"{labels!r} in {path}")


def read_arrays(path: str | os.PathLike[str]) -> Mapping[str, Any]:
    """The arrays in a ``.mat`` or ``.npz`` file, by name."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        with warnings.catch_warnings():
            # sparse matrices will come as sparse arrays, and either is as good here
            warnings.filterwarnings("ignore", message=".*`spmatrix`", category=DeprecationWarning)
            arrays = loadmat(path)
        return {name: value for name, value in arrays.items() if not name.startswith("__")}
    except NotImplementedError as error:
        raise ValueError(f"{path} is of MATLAB's version 7.3; save it with the option -v7, or as .npz") from error
    except (ValueError, OSError, MatReadError) as error:
        raise ValueError(f"{path} cannot be read ({error}); the file is damaged or of another format") from error


def _number_classes(labels: Array, n_rows: int, name: str) -> Integers:
    is_one_hot = labels.ndim == 2 and min(labels.shape) > 1
    if is_one_hot and not ((labels.sum(1) == 1).all() and np.isin(labels, (0, 1)).all()):
        raise ValueError(f"{name} must be a class per row, or one-hot; got shape {labels.shape}")
    labels = labels.argmax(1) if is_one_hot else labels.ravel()
    if len(labels) != n_rows:
        raise ValueError(f"{name} has {len(labels)} labels for {n_rows} rows; take both from one file")
    return np.unique(labels, return_inverse=True)[1].astype(np.int64).ravel()
