"""Bytes as intensities in [0, 1]."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skgmvae.data.arrays import Array, Sliceable
from skgmvae.data.lazy import drop_page_cache


def to_unit_interval(values: Array) -> NDArray[np.float32]:
    """Bytes divided by 255, float32."""
    scaled = values.astype(np.float32)
    scaled /= 255.0
    return scaled


class ScaledRows:
    """View of an array whose slices of rows are divided by a number: bytes as intensities in [0, 1].

    The estimators accept it in place of an array and read it slice by slice, so that a file of bytes is never scaled as
    a whole.

    Parameters
    ----------
    array : array, memory map, h5py.Dataset, zarr.Array, … of shape (N, D)
        With ``shape``, ``dtype`` and slices of rows.
    divisor : float, default=255

    Attributes
    ----------
    shape : tuple of int
    dtype : numpy.dtype
        float32.

    Examples
    --------
    >>> import numpy as np
    >>> from skgmvae.datasets import ScaledRows
    >>> ScaledRows(np.array([[0, 51], [102, 255]], dtype=np.uint8))[:]
    array([[0. , 0.2],
           [0.4, 1. ]], dtype=float32)
    """

    dtype = np.dtype(np.float32)

    def __init__(self, array: Sliceable, divisor: float = 255.0) -> None:
        self.array, self.divisor = array, divisor
        self.shape = tuple(array.shape)

    @property
    def chunks(self) -> Any:
        """Shape of the file's own chunks, if it has any."""
        return getattr(self.array, "chunks", None)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> NDArray[np.float32]:
        part = self.array[rows]
        scaled: NDArray[np.float32] = np.asarray(part, dtype=np.float32) / np.float32(self.divisor)
        drop_page_cache(part)
        return scaled
