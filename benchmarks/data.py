"""The data sets of the benchmarks, by name.

Protocols: ``all`` fits and measures on all rows, as is usual for clustering; ``split`` holds rows out: the
distributed test images, or a fifth of the rows of the other sets, always the same ones.
"""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn import datasets
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from skgmvae.datasets import load_idx

IMAGES = ("mnist", "fashion-mnist")
PROTOCOLS = ("auto", "all", "split")
N_SYNTHETIC = 1500
SPLIT_SEED = 0


class Data(NamedTuple):
    """Rows to fit and rows to test; the same ones under the protocol ``all``."""

    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray
    protocol: str

    @property
    def n_classes(self):
        """Number of classes, the K of the benchmarks."""
        return len(np.unique(self.train_labels))


def load(name, *, data_dir=None, protocol="auto", seed=SPLIT_SEED):
    """The data set ``name``.

    Parameters
    ----------
    name : str
        One of ``NAMES``.
    data_dir : path, optional
        Folder with a folder of IDX files for each image set; default: environment variable SKGMVAE_DATA.
    protocol : {'auto', 'all', 'split'}
        'auto': 'split' for the image sets, which are distributed with a test set, 'all' for the others.
    seed : int
        Of the split and of the synthetic sets.

    Returns
    -------
    Data
    """
    _check(name, protocol)
    if name in IMAGES:
        return _load_images(_find_folder(name, data_dir), "split" if protocol == "auto" else protocol)
    X, y = LOADERS[name](seed)
    return _standardise(X, y, "all" if protocol == "auto" else protocol, seed)


def _check(name, protocol):
    if name not in NAMES:
        raise ValueError(f"unknown data set {name!r}; there are {', '.join(NAMES)}")
    if protocol not in PROTOCOLS:
        raise ValueError(f"unknown protocol {protocol!r}; there are {', '.join(PROTOCOLS)}")


def _find_folder(name, data_dir):
    data_dir = data_dir or os.environ.get("SKGMVAE_DATA")
    if data_dir is None:
        raise ValueError(f"{name} is read from IDX files; name their parent folder by --data-dir or SKGMVAE_DATA")
    return Path(data_dir) / name


def _load_images(folder, protocol):
    train, test = load_idx(folder, split="train"), load_idx(folder, split="test")
    if protocol == "split":
        return Data(*train, *test, protocol)
    X, y = (np.concatenate(pair) for pair in zip(train, test, strict=True))
    return Data(X, y, X, y, protocol)


def _standardise(X, y, protocol, seed):
    if protocol == "all":
        X = StandardScaler().fit_transform(X)
        return Data(X, y, X, y, protocol)
    train, test, train_labels, test_labels = train_test_split(X, y, test_size=0.2, random_state=seed, stratify=y)
    scaler = StandardScaler().fit(train)
    return Data(scaler.transform(train), train_labels, scaler.transform(test), test_labels, protocol)


def _make_aniso(seed):
    X, y = datasets.make_blobs(N_SYNTHETIC, centers=3, random_state=seed)
    return X @ np.array([[0.6, -0.6], [-0.4, 0.8]]), y


LOADERS = {
    "digits": lambda seed: datasets.load_digits(return_X_y=True),
    "iris": lambda seed: datasets.load_iris(return_X_y=True),
    "wine": lambda seed: datasets.load_wine(return_X_y=True),
    "breast_cancer": lambda seed: datasets.load_breast_cancer(return_X_y=True),
    "blobs": lambda seed: datasets.make_blobs(N_SYNTHETIC, centers=3, random_state=seed),
    "moons": lambda seed: datasets.make_moons(N_SYNTHETIC, noise=0.05, random_state=seed),
    "circles": lambda seed: datasets.make_circles(N_SYNTHETIC, factor=0.5, noise=0.05, random_state=seed),
    "aniso": _make_aniso,
}
NAMES = (*LOADERS, *IMAGES)
