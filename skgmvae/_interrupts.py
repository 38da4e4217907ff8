"""Ctrl-C while this package computes: between two steps of a training, and never while a state is half changed.

Python raises KeyboardInterrupt at whatever line it has reached. In the contexts of this module it waits where it would
do damage: within a step of the optimizer, while a context is entered or left, which changes settings of the process or
attributes of the estimator, and in code of others that would drop it. A second Ctrl-C does not wait. Only the main
thread receives signals; in others, and where the program has its own way to handle them, nothing is changed.
"""

import os
import signal
import sys
import threading
import types
from typing import Any, Literal

__all__ = ["Guard", "check_interrupt", "held", "is_run_by_joblib", "take_interrupt", "was_forced"]

DELICATE = (
    "__enter__",
    "__exit__",
    "__del__",
)  # frames in which an exception would leave a context half entered or left
SWALLOWING = ("joblib.func_inspect", "joblib._store_backends", "weakref")  # modules that drop any exception in places


class Guard:
    """Context in which Ctrl-C waits at delicate places; nested ones belong to the outermost.

    An interrupt that has waited is raised by :func:`check_interrupt`, or at the end of the outermost context.
    """

    active: "Guard | None" = None

    def __init__(self) -> None:
        self.n_holds = 0
        self.is_pending = False
        self.was_forced = False
        self._former: Any = None
        self._is_outermost = False

    def __enter__(self) -> "Guard":
        if Guard.active is not None or threading.current_thread() is not threading.main_thread():
            return self
        self._former = signal.getsignal(signal.SIGINT)
        if self._former is not signal.default_int_handler:
            return self
        self.n_holds, self.is_pending, self.was_forced, self._is_outermost = 1, False, False, True
        signal.signal(signal.SIGINT, self._receive)
        Guard.active = self
        self.n_holds = 0
        return self

    def __exit__(self, *exception: object) -> Literal[False]:
        if not self._is_outermost:
            return False
        self.n_holds = 1
        Guard.active, self._is_outermost = None, False
        signal.signal(signal.SIGINT, self._former)
        if self.is_pending and exception[0] is None:
            raise KeyboardInterrupt
        return False

    def _receive(self, number: int, frame: types.FrameType | None) -> None:
        """The handler of the signal."""
        if self.is_pending:
            self.was_forced = True
        elif self.n_holds or _is_delicate(frame):
            self.is_pending = True
            return
        raise KeyboardInterrupt


class held:
    """Context in which Ctrl-C waits for :func:`check_interrupt`, within a :class:`Guard`."""

    def __enter__(self) -> None:
        self._guard = _find_guard()
        if self._guard is not None:
            self._guard.n_holds += 1

    def __exit__(self, *exception: object) -> None:
        if self._guard is not None:
            self._guard.n_holds -= 1


def check_interrupt() -> None:
    """Raise the KeyboardInterrupt that is waiting, if any: at a place where nothing is half done."""
    if take_interrupt():
        raise KeyboardInterrupt


def take_interrupt() -> bool:
    """Whether an interrupt is waiting; it no longer does."""
    guard = _find_guard()
    if guard is None or not guard.is_pending:
        return False
    guard.is_pending = False
    return True


def was_forced() -> bool:
    """Whether a second interrupt has not waited."""
    guard = _find_guard()
    return guard is not None and guard.was_forced


def is_run_by_joblib() -> bool:
    """Whether this is one of many fits, as in a grid search, or one whose result is cached."""
    frame: types.FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_globals.get("__name__", "").split(".")[0] == "joblib":
            return True
        frame = frame.f_back
    return False


def _find_guard() -> Guard | None:
    return Guard.active if threading.current_thread() is threading.main_thread() else None


def _is_delicate(frame: types.FrameType | None) -> bool:
    """Whether the frame, or one that has called it, enters or leaves a context, or may drop an exception."""
    while frame is not None:
        if frame.f_code.co_name in DELICATE or frame.f_globals.get("__name__") in SWALLOWING:
            return True
        frame = frame.f_back
    return False


def _begin_in_fork() -> None:
    """A forked process is in none of the contexts of its parent."""
    if Guard.active is not None:
        Guard.active = None
        signal.signal(signal.SIGINT, signal.default_int_handler)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_fork)
