"""Batches sliced from a tensor: no Python per row, no copy of the data."""

import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor


def as_rows(X: np.ndarray) -> Tensor:
    """A tensor over the memory of ``X`` (also a read-only or memory-mapped one); nothing is copied."""
    with warnings.catch_warnings():
        # torch warns that writing to a read-only array is undefined; rows are only read
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(X)


def place_rows(rows: Tensor, device: torch.device) -> Tensor:
    """The rows on ``device`` if they fit into half of its free memory, else where they are."""
    if device.type == "mps":
        return rows.to(device, torch.float32)
    if device.type != "cuda":
        return rows
    free, _ = torch.cuda.mem_get_info(device)
    return rows.to(device) if rows.numel() * rows.element_size() < free // 2 else rows


class Guide(NamedTuple):
    """Responsibilities that the training holds on to while it begins.

    Attributes
    ----------
    log_responsibilities : Tensor of shape (N, K)
        Finite.
    n_epochs : int
    """

    log_responsibilities: Tensor
    n_epochs: int


class Batches(Protocol):
    """What a net takes its steps on: one batch per step."""

    def __len__(self) -> int:
        """Steps per epoch."""

    def __iter__(self) -> Iterator[Any]:
        """The batches of an epoch."""


def take_rows(rows: Tensor, indices: Tensor, device: torch.device) -> Tensor:
    """``rows[indices]``, shape (*indices.shape, D), on ``device``; pinned on the way if the rows live elsewhere."""
    taken = rows.index_select(0, indices.flatten().to(rows.device)).unflatten(0, indices.shape)
    if taken.device == device:
        return taken
    return taken.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else taken.to(device)


def draw_by_weight(weights: Tensor, n_draws: int) -> Tensor:
    """Row indices (n_draws, K), column c drawn with probabilities weights[:, c] / Σ_n weights[n, c].

    By inversion of the cumulative sums at one uniform number in each of ``n_draws`` equal strata, in random
    order: every draw has that distribution, and together they hold each row as often as it is due, give or
    take one.

    Parameters
    ----------
    weights : Tensor of shape (N, K)
        Not negative. From a column without any weight comes just some row.
    n_draws : int
    """
    N, K = weights.shape
    wide = weights.dtype if weights.device.type == "mps" else torch.float64
    cumulative = weights.T.to(wide).cumsum(1)
    strata = torch.rand(K, n_draws, dtype=wide, device=weights.device)
    strata += torch.arange(n_draws, dtype=wide, device=weights.device)
    levels = strata / n_draws * cumulative[:, -1:]
    indices = torch.searchsorted(cumulative, levels, right=True).clamp_max(N - 1)
    order = torch.rand(K, n_draws, device=weights.device).argsort(1)
    return indices.gather(1, order).T


class ShuffledBatches:
    """All rows once per iteration, in a fresh random order, in batches of nearly equal size.

    Parameters
    ----------
    rows : Tensor of shape (N, D)
    batch_size : int
        Batches have at least this many rows and fewer than twice as many (N, if that is less), so none is
        too small for batch normalisation.
    device : torch.device, optional
        Where the batches go; rows that live elsewhere are sent in pinned blocks.
    guide : Guide, optional
        In its first epochs a batch is a pair: rows, and the log-responsibilities to hold for them.
    """

    def __init__(
        self, rows: Tensor, batch_size: int, device: torch.device | None = None, guide: Guide | None = None
    ) -> None:
        self.rows = rows
        self.guide = guide
        self.n_epochs_begun = 0
        self.n_batches = max(1, len(rows) // batch_size)
        self.device = rows.device if device is None else torch.device(device)

    def __len__(self) -> int:
        return self.n_batches

    def __iter__(self) -> Iterator[Tensor | tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self.rows), device=self.rows.device)
        held = None
        if self.guide is not None and self.n_epochs_begun < self.guide.n_epochs:
            held = self.guide.log_responsibilities
        self.n_epochs_begun += 1
        for indices in order.tensor_split(self.n_batches):
            rows = take_rows(self.rows, indices, self.device)
            yield rows if held is None else (rows, take_rows(held, indices, self.device))
