"""Loaders for data sets in the format of their distribution, and a generator of synthetic data."""

from skgmvae.datasets._arcs import make_circle_arcs
from skgmvae.datasets._features import load_features
from skgmvae.datasets._idx import load_idx, read_idx
from skgmvae.datasets._intensities import ScaledRows
from skgmvae.datasets._pixels import load_svhn, load_usps

__all__ = ["ScaledRows", "load_features", "load_idx", "load_svhn", "load_usps", "make_circle_arcs", "read_idx"]
