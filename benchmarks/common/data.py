"""The data sets of the benchmarks, by name.

Protocols: ``all`` fits and measures on all samples, as is usual for clustering; ``split`` holds samples out: the
distributed test images, or a fifth of the samples of the other sets, always the same ones.

The first 10,000 training images of MNIST and Fashion-MNIST are sets of their own, ``mnist-10k`` and
``fashion-mnist-10k``, measured on all test images: for methods that need hours for all of them. ``digits`` are
standardized, as the other tables are; ``digits-images`` are the same with pixels in [0, 1], known to be images.

Files that are not bundled are looked for in a folder with a folder per set, under the names of their distribution:
``mnist`` and ``fashion-mnist`` (IDX), ``svhn`` (``train_32x32.mat``, ``test_32x32.mat``), ``usps`` (LIBSVM's ``usps``
and ``usps.t``), ``hhar`` (``HAR.mat``), ``reuters10k`` (``reuters10k.mat``) and ``stl10`` (``features.npz`` with the
features ``X`` that some network has computed, and the labels ``Y``).
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn import datasets
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from benchmarks.common.features import load_features
from benchmarks.common.pixels import load_svhn, load_usps
from skgmvae.datasets import load_idx

Loader = Callable[..., tuple[np.ndarray, np.ndarray]]
# distributed with a test set
IMAGES: dict[str, Loader] = {"mnist": load_idx, "fashion-mnist": load_idx, "svhn": load_svhn, "usps": load_usps}
IMAGE_SHAPES = {"mnist": (1, 28, 28), "fashion-mnist": (1, 28, 28), "svhn": (3, 32, 32), "usps": (1, 16, 16)}
DIGITS_SHAPE = (1, 8, 8)
FEATURES = {"hhar": "HAR.mat", "reuters10k": "reuters10k.mat", "stl10": "features.npz"}
N_HHAR = 10_200  # the first samples, as in the VaDE paper
SUBSETS = {"mnist-10k": "mnist", "fashion-mnist-10k": "fashion-mnist"}
N_SUBSET = 10_000
PROTOCOLS = ("auto", "all", "split")
N_SYNTHETIC = 1500
SPLIT_SEED = 0


class Data(NamedTuple):
    """Samples to fit and samples to test; the same ones under the protocol ``all``."""

    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray
    protocol: str
    image_shape: tuple[int, int, int] | None = None  # channels first

    @property
    def n_classes(self) -> int:
        """Number of classes, the K of the benchmarks."""
        return len(np.unique(self.train_labels))


def load(name: str, *, data_dir: str | Path | None = None, protocol: str = "auto", seed: int = SPLIT_SEED) -> Data:
    """The data set ``name``.

    Parameters
    ----------
    name : str
        One of ``NAMES``.
    data_dir : path, optional
        Folder with a folder for each set that is not bundled; default: environment variable SKGMVAE_DATA.
    protocol : {'auto', 'all', 'split'}
        'auto': 'split' for the image sets, which are distributed with a test set, 'all' for the others.
    seed : int
        Of the split and of the synthetic sets.

    Returns
    -------
    Data
    """
    _check(name, protocol)
    if name in SUBSETS:
        data = load(SUBSETS[name], data_dir=data_dir, protocol="split")
        return data._replace(train=data.train[:N_SUBSET], train_labels=data.train_labels[:N_SUBSET])
    if name in IMAGES:
        folder = _find_folder(name, data_dir)
        images = _load_images(IMAGES[name], folder, "split" if protocol == "auto" else protocol)
        return images._replace(image_shape=IMAGE_SHAPES[name])
    protocol = "all" if protocol == "auto" else protocol
    if name in FEATURES:
        X, y = load_features(_find_folder(name, data_dir) / FEATURES[name])
        n_samples = N_HHAR if name == "hhar" else len(X)
        return _split(X[:n_samples], y[:n_samples], protocol, seed)
    if name == "digits-images":
        X, y = datasets.load_digits(return_X_y=True)
        return _split((X / 16.0).astype(np.float32), y, protocol, seed)._replace(image_shape=DIGITS_SHAPE)
    return _standardize(_split(*LOADERS[name](seed), protocol, seed))


def _check(name: str, protocol: str) -> None:
    if name not in NAMES:
        raise ValueError(f"unknown data set {name!r}; there are {', '.join(NAMES)}")
    if protocol not in PROTOCOLS:
        raise ValueError(f"unknown protocol {protocol!r}; there are {', '.join(PROTOCOLS)}")


def _find_folder(name: str, data_dir: str | Path | None) -> Path:
    data_dir = data_dir or os.environ.get("SKGMVAE_DATA")
    if data_dir is None:
        raise ValueError(f"{name} is read from files; name the parent of their folder by --data-dir or SKGMVAE_DATA")
    return Path(data_dir) / name


def _load_images(read: Loader, folder: Path, protocol: str) -> Data:
    train, test = read(folder, split="train"), read(folder, split="test")
    if protocol == "split":
        return Data(*train, *test, protocol)
    X, y = (np.concatenate(pair) for pair in zip(train, test, strict=True))
    return Data(X, y, X, y, protocol)


def _split(X: np.ndarray, y: np.ndarray, protocol: str, seed: int) -> Data:
    if protocol == "all":
        return Data(X, y, X, y, protocol)
    train, test, train_labels, test_labels = train_test_split(X, y, test_size=0.2, random_state=seed, stratify=y)
    return Data(train, train_labels, test, test_labels, protocol)


def _standardize(data: Data) -> Data:
    scaler = StandardScaler().fit(data.train)
    return data._replace(train=scaler.transform(data.train), test=scaler.transform(data.test))


def _make_aniso(seed: int) -> tuple[np.ndarray, np.ndarray]:
    X, y = datasets.make_blobs(N_SYNTHETIC, centers=3, random_state=seed)
    return X @ np.array([[0.6, -0.6], [-0.4, 0.8]]), y


def _make_unequal_digits(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Digits of which each class has 15 % fewer samples than the one before."""
    X, y = datasets.load_digits(return_X_y=True)
    kept = [np.flatnonzero(y == c)[: int(170 * 0.85**c)] for c in range(10)]
    return X[np.concatenate(kept)], y[np.concatenate(kept)]


LOADERS: dict[str, Loader] = {
    "digits": lambda seed: datasets.load_digits(return_X_y=True),
    "digits-unequal": _make_unequal_digits,
    "iris": lambda seed: datasets.load_iris(return_X_y=True),
    "wine": lambda seed: datasets.load_wine(return_X_y=True),
    "breast_cancer": lambda seed: datasets.load_breast_cancer(return_X_y=True),
    "blobs": lambda seed: datasets.make_blobs(N_SYNTHETIC, centers=3, random_state=seed),
    "moons": lambda seed: datasets.make_moons(N_SYNTHETIC, noise=0.05, random_state=seed),
    "circles": lambda seed: datasets.make_circles(N_SYNTHETIC, factor=0.5, noise=0.05, random_state=seed),
    "aniso": _make_aniso,
}
NAMES = (*LOADERS, "digits-images", *IMAGES, *SUBSETS, *FEATURES)
