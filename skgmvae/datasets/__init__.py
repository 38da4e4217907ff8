"""A loader for images in the format of MNIST, bytes as intensities, rows of Parquet files, and synthetic data."""

from skgmvae.datasets._arcs import make_circle_arcs
from skgmvae.datasets._idx import load_idx
from skgmvae.datasets._intensities import ScaledRows
from skgmvae.datasets._parquet import ParquetRows

__all__ = ["ParquetRows", "ScaledRows", "load_idx", "make_circle_arcs"]
