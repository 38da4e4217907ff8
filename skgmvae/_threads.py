"""Numbers of threads: one where computations are so small that threads would only wait for each other."""

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

import torch
from threadpoolctl import ThreadpoolController

__all__ = ["PARALLEL_WORK", "limit_threads", "single_thread"]

# multiply-adds per step above which a second thread saves a quarter of the time; with fewer it saves little, and where
# other processes need the cores, a step takes a hundred times as long, since its many small operations wait for threads
PARALLEL_WORK = 2.0**27


class _Libraries:
    """The libraries with threads of their own; to find them takes longer than what their threads slow down."""

    def __init__(self) -> None:
        self._found: ThreadpoolController | None = None
        self._n_modules = 0

    def limit(self, user_api: str) -> Any:
        """Context with a single thread of those with this interface, "blas" or "openmp"."""
        # another library comes with a module of Python
        if self._found is None or self._n_modules != len(sys.modules):
            self._n_modules = len(sys.modules)
            self._found = ThreadpoolController()
        return self._found.limit(limits=1, user_api=user_api)


class _BlasLimit:
    """A single thread of BLAS, whose number all threads of the process share, until the last concurrent user leaves."""

    def __init__(self) -> None:
        self.begin_in_fork()

    def begin_in_fork(self) -> None:
        """Forget the threads of the parent process."""
        self._lock, self._n_users, self._limits = threading.Lock(), 0, contextlib.ExitStack()

    def lower(self) -> None:
        with self._lock:
            if self._n_users == 0:
                self._limits.enter_context(_libraries.limit("blas"))
            self._n_users += 1

    def restore(self) -> None:
        with self._lock:
            self._n_users -= 1
            if self._n_users == 0:
                self._limits.close()


class _ThreadCount:
    """PyTorch's number of threads, lowered by concurrent fits and restored by each to what the first of them found.

    The number belongs to a thread, but a new thread begins with the one that was set last, in whatever thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_users = 0
        self._found = 1
        self._local = threading.local()

    def begin_in_fork(self) -> None:
        """Forget the threads of the parent process, one of which may contain the lock."""
        self._lock = threading.Lock()
        self._n_users = getattr(self._local, "depth", 0)

    def lower(self) -> None:
        depth = getattr(self._local, "depth", 0)
        with self._lock:
            if self._n_users == 0:
                self._found = torch.get_num_threads()
            self._n_users += 1
        self._local.depth = depth + 1
        if depth == 0:
            torch.set_num_threads(1)

    def restore(self) -> None:
        self._local.depth -= 1
        with self._lock:
            self._n_users -= 1
        if self._local.depth == 0:
            torch.set_num_threads(self._found)


_libraries, _thread_count, _blas_limit = _Libraries(), _ThreadCount(), _BlasLimit()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_thread_count.begin_in_fork)
    os.register_at_fork(after_in_child=_blas_limit.begin_in_fork)


@contextlib.contextmanager
def limit_threads(work: float) -> Iterator[None]:
    """Context with a single thread of PyTorch if ``work``, in multiply-adds per step, is small.

    Threads spin while they wait for each other, and a step of a small network ends before they have started.
    """
    if work >= PARALLEL_WORK:
        yield
        return
    _thread_count.lower()
    try:
        yield
    finally:
        _thread_count.restore()


@contextlib.contextmanager
def single_thread() -> Iterator[None]:
    """Context, or decorator, for many small computations: a single thread of PyTorch, of OpenMP and of BLAS.

    Threads that wait for each other after each of them would take most of the time, and several times as much where
    other processes need the cores.
    """
    with limit_threads(0.0), _libraries.limit("openmp"):  # OpenMP's number belongs to the calling thread
        _blas_limit.lower()
        try:
            yield
        finally:
            _blas_limit.restore()
