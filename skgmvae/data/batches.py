"""Batches of a tensor, or of blocks of a file: no Python loop over rows, no copy of the data."""

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol, TypeAlias

import torch
from torch import Tensor

from skgmvae._ranks import n_ranks
from skgmvae.data.buffers import BufferedRows, make_buffer_memory, plan_buffers
from skgmvae.data.lazy import LazyRows
from skgmvae.runtime import RandomStream

__all__ = [
    "Batches",
    "ClampedResponsibilities",
    "Rows",
    "ShuffledBatches",
    "draw_by_weight",
    "send",
    "take_rows",
]

Rows: TypeAlias = Tensor | LazyRows


class ClampedResponsibilities(NamedTuple):
    """Responsibilities that replace those of the model in the first epochs of a training.

    Attributes
    ----------
    log_responsibilities : Tensor of shape (N, K) or None
        Finite; None for a net with its own table of responsibilities.
    n_epochs : int
    """

    log_responsibilities: Tensor | None
    n_epochs: int


class Batches(Protocol):
    """Batches of an epoch: one per optimizer step."""

    def __len__(self) -> int:
        """Steps per epoch."""

    def __iter__(self) -> Iterator[Any]:
        """The batches of an epoch."""


def send(rows: Tensor, device: torch.device) -> Tensor:
    """The rows on ``device``: sent to CUDA from pinned memory, in float32 on Apple's device, which has no float64."""
    if rows.device.type == device.type and device.index in (None, rows.device.index):
        return rows  # "cuda" is "cuda:0", say, though not equal to it
    if device.type == "cuda":
        return rows.pin_memory().to(device, non_blocking=True)
    return rows.to(device, torch.float32 if device.type == "mps" else rows.dtype)


def take_rows(rows: Tensor, indices: Tensor, device: torch.device) -> Tensor:
    """``rows[indices]``, shape (*indices.shape, D), on ``device``."""
    taken = rows.index_select(0, indices.flatten().to(rows.device))
    return send(taken if indices.dim() == 1 else taken.unflatten(0, indices.shape), device)


def draw_by_weight(weights: Tensor, n_draws: int, random: RandomStream) -> Tensor:
    """Row indices (n_draws, K), column c drawn with probabilities weights[:, c] / Σ_n weights[n, c].

    Stratified sampling: the cumulative sums are inverted at one uniform number in each of ``n_draws`` equal strata, in
    random order. Every draw has that distribution, and the number of draws of a row differs from its expectation by at
    most one.

    Parameters
    ----------
    weights : Tensor of shape (N, K)
        Not negative. A column of zeros gives arbitrary rows.
    n_draws : int
    random : RandomStream
    """
    (N, K), device = weights.shape, weights.device
    wide = weights.dtype if device.type == "mps" else torch.float64
    cumulative = weights.T.to(wide).cumsum(1)
    strata = torch.rand(K, n_draws, generator=random.on(device), dtype=wide, device=device)
    strata += torch.arange(n_draws, dtype=wide, device=device)
    levels = strata / n_draws * cumulative[:, -1:]
    indices = torch.searchsorted(cumulative, levels, right=True).clamp_max(N - 1)
    order = torch.rand(K, n_draws, generator=random.on(device), dtype=torch.float32, device=device).argsort(1)
    return indices.gather(1, order).T


class ShuffledBatches:
    """All rows once per iteration, in a new random order, in batches of nearly equal size.

    Rows of a file are read block by block: blocks in random order, several at a time into a buffer, whose rows are
    shuffled.

    Parameters
    ----------
    rows : Tensor or LazyRows of shape (N, D)
    batch_size : int
        Batches have at least this many rows (or N, if that is less) and fewer than twice as many, so that none is
        too small for batch normalization. Approximate for lazy rows.
    random : RandomStream
        Of the orders.
    device : torch.device, optional
        Device of the batches; rows on another device are sent from pinned memory.
    clamped : ClampedResponsibilities, optional
        In its epochs a batch is a pair: rows, and their clamped log-responsibilities.
    is_shared : bool
        Whether each rank gets its share of every batch, and reads no other blocks of a file.
    """

    def __init__(
        self,
        rows: Rows,
        batch_size: int,
        random: RandomStream,
        *,
        device: torch.device | None = None,
        clamped: ClampedResponsibilities | None = None,
        is_shared: bool = False,
    ) -> None:
        self.rows, self.is_shared = rows, is_shared and n_ranks() > 1
        self.random = random
        self.clamped = clamped
        self.n_epochs_begun = 0
        self.n_batches = max(1, len(rows) // batch_size)
        here = rows.device if isinstance(rows, Tensor) else "cpu"
        self.device = torch.device(here if device is None else device)

    def __len__(self) -> int:
        return self.n_batches

    def __iter__(self) -> Iterator[Tensor | tuple[Tensor, Tensor]]:
        log_responsibilities = self._clamped_now()
        for read in self._buffers():
            generator = self.random.on(read.rows.device)
            order = torch.randperm(read.n_rows, generator=generator, device=read.rows.device)
            for part in order.tensor_split(read.n_batches):
                self.random.share, own = read.share(part) if self.is_shared else (None, part)
                batch = take_rows(read.rows, own, self.device)
                if log_responsibilities is None:
                    yield batch
                else:
                    of_all = own if read.indices is None else read.indices[own]
                    yield batch, take_rows(log_responsibilities, of_all, self.device)

    def _clamped_now(self) -> Tensor | None:
        """The log-responsibilities (N, K) of all rows while they are clamped; counts the epochs."""
        self.n_epochs_begun += 1
        if self.clamped is None or self.n_epochs_begun > self.clamped.n_epochs:
            return None
        return self.clamped.log_responsibilities

    def _buffers(self) -> Iterator[BufferedRows]:
        """Rows that are shuffled together."""
        if isinstance(self.rows, Tensor):
            yield BufferedRows(self.rows, None, len(self.rows), self.n_batches)
            return
        buffers = plan_buffers(self.rows, self.n_batches, self.random)
        own = [buffer.own_blocks() if self.is_shared else (buffer, 0) for buffer in buffers]
        memory = make_buffer_memory(self.rows, [blocks for blocks, _ in own])
        for buffer, (blocks, first) in zip(buffers, own, strict=True):
            rows = blocks.read(self.rows, memory)
            yield BufferedRows(rows, blocks.indices(), len(buffer), buffer.n_batches, first)
