"""Reading images in the format of MNIST, showing bytes as intensities, and making a data set."""

from skgmvae.datasets._arcs import make_circle_arcs
from skgmvae.datasets._idx import load_idx
from skgmvae.datasets._intensities import ScaledRows

__all__ = ["ScaledRows", "load_idx", "make_circle_arcs"]
