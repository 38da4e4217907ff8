"""Isolation from the global state of the process: devices, threads, precision and random generators.

Fits and queries give the same results whatever the caller has set for PyTorch or NumPy, and do not change these
settings. All tensors are created with an explicit dtype, since PyTorch's default dtype is shared by all threads.
Settings of the thread are overridden in :func:`isolated`.
"""

import contextlib
import functools
import math
import os
import sys
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from skgmvae._interrupts import Guard
from skgmvae._ranks import Share, n_ranks
from skgmvae._threads import PARALLEL_WORK, limit_threads, single_thread

__all__ = [
    "MAX_SEED",
    "RandomStream",
    "check_device",
    "choose_autocast_dtype",
    "describe_environment",
    "isolated",
    "limit_threads",
    "single_thread",
    "total_memory",
    "without_autologging",
]

MAX_SEED = 2**31 - 1
NUMPY_DEFAULTS: dict[str, Any] = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}
_PROCESS = os.getpid()


def check_device(device: str) -> torch.device:
    """The torch device for ``device``; ``'auto'`` is CUDA if there is one, else the CPU.

    Raises
    ------
    ValueError
        If torch does not know the device or it is not present.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise ValueError(
            f"device={device!r} is not a torch device; use 'auto', 'cpu', 'cuda', 'cuda:0', … ({error})"
        ) from error
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device={device!r} was requested, but torch finds {torch.cuda.device_count()} CUDA devices; "
            "use device='auto' to fall back to the CPU"
        )
    if found.type not in ("cpu", "cuda", "mps"):
        raise ValueError(f"device={device!r} is not supported; use 'auto', 'cpu', 'cuda', 'cuda:0', … or 'mps'")
    if found.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError("device='mps' was requested, but torch finds no Apple GPU; use device='auto'")
    return found


def choose_autocast_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """bfloat16 if requested or, for ``'auto'``, if the device is fast at it; None is float32."""
    if precision == "auto":
        precision = "bfloat16" if _has_fast_bfloat16(device) else "float32"
    return torch.bfloat16 if precision == "bfloat16" else None


def _has_fast_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    if device.type == "cpu":
        # torch has no public function for this; without such instructions bfloat16 is many times slower than float32
        supports = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
        return any(supported() for supported in supports if supported is not None)
    return False


def describe_environment(work: float = 0.0) -> dict[str, str]:
    """What else than its arguments the result of a training of ``work`` per step depends on, for keys of caches."""
    threads = torch.get_num_threads() if work >= PARALLEL_WORK else 1
    ranks = {"ranks": str(n_ranks())} if n_ranks() > 1 else {}
    instructions = torch.backends.cpu.get_cpu_capability()
    return {**_find_versions(), "instructions": instructions, "threads": str(threads), **ranks}


@functools.cache
def _find_versions() -> dict[str, str]:
    return {name: version(name) for name in ("skgmvae", "torch", "numpy", "scikit-learn")}


def total_memory() -> float:
    """Bytes of memory of the machine; infinite where the system does not tell."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):
        return math.inf


class BatchGenerator(torch.Generator):
    """A generator that :func:`~skgmvae.functional.noise_like` draws the noise of a whole batch from.

    Attributes
    ----------
    share : Share or None
        The rows of the batch whose noise is needed; None: all.
    """

    share: Share | None = None


class RandomStream:
    """Random numbers from one seed, with a separate generator for every device.

    Parameters
    ----------
    seed : int

    Attributes
    ----------
    share : Share or None
        The rows of the present batch that this rank computes; None: all.
    """

    def __init__(self, seed: int) -> None:
        self.seed = int(seed)
        self.share: Share | None = None
        self._generators: dict[str, torch.Generator] = {}

    def on(self, device: torch.device | str, *, share: Share | None = None) -> torch.Generator:
        """The generator that draws on ``device``, for the ``share`` of a batch."""
        name = str(torch.device(device))
        if name not in self._generators:
            self._generators[name] = torch.Generator(name)
            self._generators[name].manual_seed(self.seed)
        generator = self._generators[name]
        if share is not None and not isinstance(generator, BatchGenerator):  # of which CUDA graphs take none
            state, generator = generator.get_state(), BatchGenerator(name)
            generator.set_state(state)
            self._generators[name] = generator
        if isinstance(generator, BatchGenerator):
            generator.share = share
        return generator

    def get_states(self) -> dict[str, torch.Tensor]:
        """State of each generator by the name of its device, uint8."""
        return {name: generator.get_state() for name, generator in self._generators.items()}

    def set_states(self, states: dict[str, torch.Tensor]) -> None:
        """Set the state of each generator."""
        self._generators.clear()
        for name, state in states.items():
            self.on(name).set_state(state)


@contextlib.contextmanager
def isolated() -> Iterator[None]:
    """Compute with default settings, whatever the calling thread has set for PyTorch and NumPy.

    Overrides ``inference_mode``, ``no_grad``, an outer ``autocast``, the default device and ``np.errstate``. A
    forked process is limited to a single thread. Ctrl-C waits while settings are changed. Can also be used as a
    decorator, ``@isolated()``.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(Guard())
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in ("cpu", "cuda", "mps"):
            if torch.is_autocast_enabled(kind):
                # its cached casts of weights would outlive the steps of an optimizer
                stack.enter_context(torch.autocast(kind, enabled=False, cache_enabled=False))
        if torch.empty(0).device.type != "cpu":  # the context slows down every operation
            stack.enter_context(torch.device("cpu"))
        if os.getpid() != _PROCESS:
            # the thread pools of PyTorch and OpenMP do not survive a fork, and waiting for them would never end
            stack.enter_context(threadpool_limits(1))
            stack.enter_context(limit_threads(0.0))
        stack.enter_context(np.errstate(**NUMPY_DEFAULTS))
        stack.enter_context(without_autologging())
        yield


@contextlib.contextmanager
def without_autologging() -> Iterator[None]:
    """Keep the k-means and mixtures that a fit needs out of MLflow's autologging, if the process has imported it."""
    mlflow: Any = sys.modules.get("mlflow.utils.autologging_utils")
    # a nested context would end the outer one: MLflow counts none of them
    if mlflow is None or getattr(mlflow, "_AUTOLOGGING_GLOBALLY_DISABLED", False):
        yield
        return
    with mlflow.disable_autologging():
        yield
