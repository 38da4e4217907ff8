"""A loader for images in the format of MNIST, scaling of bytes to intensities, and a generator of synthetic data."""

from skgmvae.datasets._arcs import make_circle_arcs
from skgmvae.datasets._idx import load_idx
from skgmvae.datasets._intensities import ScaledRows

__all__ = ["ScaledRows", "load_idx", "make_circle_arcs"]
