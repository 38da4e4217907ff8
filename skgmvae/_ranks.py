"""One fit on several processes, the ranks of ``torch.distributed``.

Every rank has all samples, the same parameters and the same random numbers, and so takes the same decisions. The ranks
share the samples of each step and of each evaluation. Outside of :func:`joined` there is one rank.
"""

import atexit
import contextlib
import datetime
import multiprocessing
import os
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from skgmvae._interrupts import is_run_by_joblib

__all__ = ["Share", "alone", "get_group", "is_first", "joined", "n_ranks", "part_of", "share_of"]

# ranks wait for the initialization on the first of them; one that fails or ends is noticed at once
TIMEOUT = datetime.timedelta(days=1)
LAUNCHED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # what torchrun tells the processes that it starts


class _Ranks(NamedTuple):
    """The ranks of a fit, and which of them this process is."""

    group: Any
    number: int
    place: int


class Share(NamedTuple):
    """The rows of a batch that one rank computes.

    Attributes
    ----------
    rows : slice or Tensor
        Their places in the batch. At least one: where the batch has none for a rank, the first stands in.
    n_rows : int
        Rows of the whole batch.
    weight : float
        Share of the rows; 0 where another rank has them all.
    """

    rows: slice | Tensor
    n_rows: int
    weight: float


ALONE = _Ranks(None, 1, 0)
_present: ContextVar[_Ranks | None] = ContextVar("ranks", default=None)


@contextlib.contextmanager
def joined(distributed: bool | str) -> Iterator[None]:
    """Context in which the fits of all ranks are one, if ``distributed`` and the way of launch say so.

    The ranks have a group of their own. It is destroyed at the end, whether the fit succeeds or fails: ranks that still
    wait for this one then fail, too.

    Raises
    ------
    ValueError
        If ``distributed`` is True and this process is the only one.
    RuntimeError
        If another rank fails.
    """
    if _present.get() is not None or not _is_shared(distributed):
        yield
        return
    group = _make_group()
    token = _present.set(_Ranks(group, dist.get_world_size(), dist.get_rank()))
    del group
    try:
        with _own_device():
            yield
    finally:
        group = _ranks().group
        _present.reset(token)
        dist.destroy_process_group(group)


def _is_shared(distributed: bool | str) -> bool:
    """Whether there are other ranks, and the fit is to be shared with them."""
    if distributed != "auto" and not distributed:
        return False
    if dist.is_available() and dist.is_initialized():
        n_processes = dist.get_world_size()
    elif dist.is_available() and all(name in os.environ for name in LAUNCHED) and not multiprocessing.parent_process():
        n_processes = int(os.environ["WORLD_SIZE"])
    elif distributed != "auto":
        raise ValueError(
            "distributed=True needs several processes: start the script with `torchrun --nproc-per-node 2 script.py`, "
            "or use distributed='auto'"
        )
    else:
        return False
    return n_processes > 1 and not (distributed == "auto" and is_run_by_joblib())


def _make_group() -> Any:
    """A group of all processes: gloo for tensors on the CPU, NCCL for those on CUDA."""
    has_nccl = torch.cuda.is_available() and dist.is_nccl_available()
    backend = "cpu:gloo,cuda:nccl" if has_nccl else "gloo"
    if not dist.is_initialized():  # for the rest of the process: a second one could not use the same store
        dist.init_process_group(backend)
        atexit.register(_leave)
    return dist.new_group(backend=backend, timeout=TIMEOUT)


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def _own_device() -> contextlib.AbstractContextManager[Any]:
    """Context in which 'cuda' is the device of this rank."""
    number = int(os.environ.get("LOCAL_RANK", -1))
    return torch.cuda.device(number) if 0 <= number < torch.cuda.device_count() else contextlib.nullcontext()


def _ranks() -> _Ranks:
    return _present.get() or ALONE


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Context in which this rank does something that the others do not."""
    token = _present.set(ALONE)
    try:
        yield
    finally:
        _present.reset(token)


def get_group() -> Any:
    """The process group of the ranks."""
    return _ranks().group


def n_ranks() -> int:
    """Number of ranks of the present fit."""
    return _ranks().number


def is_first() -> bool:
    """Whether this rank is the one that initializes, writes files and shows progress."""
    return _ranks().place == 0


def part_of(n_rows: int, place: int | None = None) -> slice:
    """Consecutive rows of this rank, or of another, out of ``n_rows``."""
    number, here = n_ranks(), _ranks().place if place is None else place
    return slice(n_rows * here // number, n_rows * (here + 1) // number)


def share_of(n_rows: int) -> Share | None:
    """The rows of this rank in a batch of ``n_rows``; None if there is one rank."""
    if n_ranks() == 1:
        return None
    part = part_of(n_rows)
    n_own = part.stop - part.start
    return Share(part if n_own else slice(0, 1), n_rows, n_own / n_rows)
