"""Buffers of lazy rows: blocks of a file that are read together, and whose rows are shuffled together."""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from skgmvae._ranks import Share, n_ranks, part_of, share_of
from skgmvae.data.arrays import Array
from skgmvae.data.lazy import LazyRows
from skgmvae.runtime import RandomStream

__all__ = ["Buffer", "BufferedRows", "make_buffer_memory", "plan_buffers"]

BUFFER_BYTES = 2**27  # of rows that are shuffled together where they are read from a file


class Buffer(NamedTuple):
    """Blocks of lazy rows that are read together.

    Attributes
    ----------
    blocks : list of slice
        In ascending order.
    n_batches : int
        Of the epoch's batches, those that come from these rows.
    """

    blocks: list[slice]
    n_batches: int

    def __len__(self) -> int:
        return sum(block.stop - block.start for block in self.blocks)

    def read(self, rows: LazyRows, memory: Array) -> Tensor:
        """The rows, shape (n, D), in the first rows of ``memory``."""
        end = 0
        for block in self.blocks:
            begin, end = end, end + block.stop - block.start
            rows.read(block, memory[begin:end])
        return torch.from_numpy(memory[:end])

    def indices(self) -> Tensor:
        """Their indices among all rows."""
        return torch.cat([torch.arange(block.start, block.stop, device="cpu") for block in self.blocks])

    def own_blocks(self) -> tuple["Buffer", int]:
        """The blocks of this rank, and how many rows come before them; of fewer blocks than ranks, all."""
        if len(self.blocks) < n_ranks():
            return self, 0
        part = part_of(len(self.blocks))
        return Buffer(self.blocks[part], self.n_batches), len(Buffer(self.blocks[: part.start], 0))


def plan_buffers(rows: LazyRows, n_batches: int, random: RandomStream) -> list[Buffer]:
    """All blocks in a new random order, in buffers of at most ``BUFFER_BYTES``, with batches in proportion.

    Every buffer has at least one batch, so there are no more buffers than batches.
    """
    N, n_blocks = len(rows), len(rows.edges) - 1
    n_buffers = math.ceil(N * rows.shape[1] * rows.dtype.itemsize / BUFFER_BYTES)
    n_buffers = min(n_buffers, n_blocks, n_batches)
    buffers, n_rows, n_made = [], 0, 0
    order = torch.randperm(n_blocks, generator=random.on("cpu"), device="cpu")
    for n_later, group in zip(reversed(range(n_buffers)), order.tensor_split(n_buffers), strict=True):
        numbers = group.sort().values.tolist()
        blocks = [slice(int(rows.edges[i]), int(rows.edges[i + 1])) for i in numbers]
        n_rows += sum(block.stop - block.start for block in blocks)
        n_due = min(max(n_batches * n_rows // N, n_made + 1), n_batches - n_later)
        buffers.append(Buffer(blocks, n_due - n_made))
        n_made = n_due
    return buffers


def make_buffer_memory(rows: LazyRows, buffers: list[Buffer]) -> Array:
    """An empty array for the largest of the buffers."""
    return np.empty((max(map(len, buffers)), rows.shape[1]), rows.dtype)


class BufferedRows(NamedTuple):
    """Rows that are shuffled together.

    Attributes
    ----------
    rows : Tensor of shape (n, D)
        All of them, or those that this rank has read.
    indices : Tensor of shape (n,) or None
        Indices of ``rows`` among the rows of the file.
    n_rows, n_batches : int
        Of all.
    first : int
        Place of ``rows`` among them.
    """

    rows: Tensor
    indices: Tensor | None
    n_rows: int
    n_batches: int
    first: int = 0

    def share(self, batch: Tensor) -> tuple[Share | None, Tensor]:
        """The share of this rank in a batch of indices, and the places of its rows in ``rows``."""
        if len(self.rows) == self.n_rows:
            share = share_of(len(batch))
            return share, batch if share is None else batch[share.rows]
        places = ((batch >= self.first) & (batch < self.first + len(self.rows))).nonzero().flatten()
        if not len(places):
            return Share(slice(0, 1), len(batch), 0.0), torch.zeros(1, dtype=torch.int64, device=batch.device)
        return Share(places, len(batch), len(places) / len(batch)), batch[places] - self.first
