"""Types of arrays, for annotations."""

from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Array", "Floats", "Integers", "MatrixLike", "Seed", "Sliceable"]

Array: TypeAlias = NDArray[Any]
Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]
Seed: TypeAlias = int | np.random.RandomState | None


class Sliceable(Protocol):
    """What gives arrays when sliced: memory maps, h5py's datasets, zarr's arrays, ``ScaledRows``."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, D)."""

    @property
    def dtype(self) -> Any:
        """Of the values."""

    def __getitem__(self, rows: Any, /) -> Any:
        """A slice of rows."""


MatrixLike: TypeAlias = ArrayLike | Sliceable  # X (N, D) of the estimators: arrays, frames, tensors, files
