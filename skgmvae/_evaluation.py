"""Evaluation of a fitted module on samples: chunk by chunk, in float64 by default."""

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from skgmvae._collectives import exchange
from skgmvae._ranks import n_ranks, part_of
from skgmvae.data.arrays import Array, Floats, Integers
from skgmvae.data.lazy import PickedRows, Samples, iter_chunks
from skgmvae.runtime import limit_threads

__all__ = [
    "cast_networks",
    "chunk_rows",
    "count_weights",
    "generate_chunks",
    "inference_precision",
    "map_chunks",
    "map_shares",
    "model_for_queries",
    "single_precision",
]

CHUNK_VALUES = 2**21  # float64 numbers in the widest layer of one chunk: 16 MiB
CHUNK_VALUES_OFF_CPU = 2**24  # other devices benefit from larger products: 128 MiB, …
CUDA_SHARE = 1 / 128  # … and CUDA devices from this share of their memory, of which a chunk takes many times as much

# samples of a typical step: the number of threads, and with it the last digits, depends on the network alone
SAMPLES_AT_ONCE = 256

Module = TypeVar("Module", bound=nn.Module)

_is_single: ContextVar[bool] = ContextVar("is_single", default=False)


def cast_networks(module: Module, dtype: torch.dtype) -> Module:
    """Parameters and running statistics in ``dtype``, in place; constants of the data stay in float64."""
    for layer in module.modules():
        constants = getattr(layer, "double_buffers", ())
        for parameter in layer.parameters(recurse=False):
            parameter.data = parameter.data.to(dtype)
        for name, buffer in layer.named_buffers(recurse=False):
            if buffer.is_floating_point() and name not in constants:
                buffer.data = buffer.data.to(dtype)
    return module


def model_for_queries(module: Module, device: torch.device) -> Module:
    """``module`` in float64 on ``device``, or in float32 in the context of :func:`single_precision`.

    A fitted module is in float64 already and is returned itself, so that results are those of its present weights; a
    copy is made only for another device or precision.
    """
    dtype = torch.float32 if _is_single.get() else torch.float64
    device = torch.device("cpu") if device.type == "mps" else device  # which has no float64
    parameter = next(module.parameters())
    is_there = parameter.device.type == device.type and device.index in (None, parameter.device.index)
    has_dtype = all(parameter.dtype == dtype for parameter in module.parameters())
    if has_dtype and is_there and not module.training:
        return module
    return cast_networks(copy.deepcopy(module).to(device), dtype).eval()


@contextmanager
def single_precision() -> Iterator[None]:
    """Context in which inference uses float32: about twice as fast, with half the memory.

    For large data. The last digits of the result of a sample then depend on its batch, results are float32 arrays
    (except those of ``reconstruct``, which converts to the units of the data in float64), and a sample between two
    components may get the other label. ``sample`` and ``fit`` are not affected. The context applies to the thread or
    task that enters it.

    Examples
    --------
    >>> from sklearn.datasets import make_blobs
    >>> from skgmvae import VaDEClustering, single_precision
    >>> X, _ = make_blobs(100, centers=2, random_state=0)
    >>> vade = VaDEClustering(2, tol=100.0, random_state=0).fit(X)
    >>> with single_precision():
    ...     vade.predict_proba(X).dtype
    dtype('float32')
    """
    with inference_precision(single=True):
        yield


@contextmanager
def inference_precision(*, single: bool) -> Iterator[None]:
    """Context in which :func:`map_chunks` uses float32 if ``single``, else float64."""
    before = _is_single.set(single)
    try:
        yield
    finally:
        _is_single.reset(before)


def count_weights(module: nn.Module) -> int:
    """Number of parameters: approximately the multiply-adds per sample, unless the module is convolutional."""
    return sum(parameter.numel() for parameter in module.parameters())


def chunk_rows(module: nn.Module, n_copies: int = 1, values_per_row: int = 0) -> int:
    """Rows per chunk, so that the widest layer of ``n_copies`` draws per row fits approximately into the CPU's cache.

    With ``values_per_row``, so many numbers of each row do, if they are more.
    Other devices get many more, since they process a chunk in parallel.
    """
    widest = max((max(p.shape) for p in module.parameters() if p.dim() > 1), default=1)
    widest = getattr(module, "widest_layer", widest)  # of convolutions, whose weights do not determine it
    n_networks = getattr(module, "n_networks", 1)  # stacked; every row passes all of them
    values_per_row = max(values_per_row, widest * n_copies * n_networks)
    device = next(module.parameters()).device
    if device.type != "cpu":
        return max(1, min(65536, _count_values(device) // values_per_row))
    return max(16 // n_networks, 1, min(8192, CHUNK_VALUES // values_per_row))


def _count_values(device: torch.device) -> int:
    """Numbers in the widest layer of a chunk on a device other than the CPU."""
    if device.type != "cuda":
        return CHUNK_VALUES_OFF_CPU
    # of all memory rather than of what is free, so that results do not depend on other processes
    memory = torch.cuda.get_device_properties(device).total_memory
    return max(CHUNK_VALUES_OFF_CPU, int(CUDA_SHARE * memory) // torch.float64.itemsize)


@torch.inference_mode()
def map_chunks(
    module: nn.Module,
    method: Callable[[Any, Tensor], Tensor],
    X: Samples,
    device: torch.device,
    n_copies: int = 1,
    values_per_row: int = 0,
    out: Array | None = None,
) -> Array:
    """``method(module, rows)`` for all samples in ``X``, chunk by chunk.

    Parameters
    ----------
    module : nn.Module
        The fitted model, of any precision.
    method : callable
        From a module, float64 unless within :func:`single_precision`, and rows (n, D) to a tensor whose first axis
        has n entries.
    X : ndarray, LazyRows or PickedRows of shape (N, D)
        Only a chunk or a block of it is converted at a time.
    device : torch.device
    n_copies : int, default=1
        Draws per row that ``method`` makes.
    values_per_row : int, default=0
        Numbers per row that it holds at a time, if they are more than those of its draws.
    out : ndarray of shape (N, ...), optional
        Array for the results; None: a new one of their dtype.

    Returns
    -------
    ndarray of shape (N, ...)
    """
    model = model_for_queries(module, device)
    target = next(model.parameters()).device
    size = chunk_rows(model, n_copies, values_per_row)
    dtype = None if _is_single.get() else np.float64  # float64 rows are centered before they are rounded
    with limit_threads(SAMPLES_AT_ONCE * count_weights(model)):
        for first, chunk in iter_chunks(X, size):
            rows = torch.from_numpy(np.array(chunk, dtype=dtype, order="C")).to(target)
            result = method(model, rows).numpy(force=True)
            if out is None:
                out = np.empty((len(X), *result.shape[1:]), result.dtype)
            out[first : first + len(result)] = result
    if out is None:
        raise ValueError("X has no samples; pass at least one.")
    return out


def map_shares(function: Callable[[Samples], Array], X: Samples) -> Array:
    """``function(X)``, an array of shape (N, ...) for samples (N, D); each rank computes a part of it."""
    N, part = len(X), part_of(len(X))
    if n_ranks() == 1 or n_ranks() > N:
        return function(X)
    own = function(X[part] if isinstance(X, np.ndarray) else PickedRows(X, np.arange(part.start, part.stop)))
    result = np.empty((N, *own.shape[1:]), own.dtype)
    result[part] = own
    exchange(torch.from_numpy(result), torch.arange(N, device="cpu"))
    return result


def generate_chunks(
    module: Any, labels: Integers, seed: int, device: torch.device, **latents: Floats
) -> Iterator[tuple[slice, tuple[Tensor, Tensor]]]:
    """Draws of x | c and E[x|z] for labels (N,), in parts; for sorted labels every part has all components.

    Parameters
    ----------
    module : nn.Module
        With the methods of :class:`~skgmvae.models.contract.Model`.
    labels : ndarray of shape (N,)
        The component of each draw.
    seed : int
    device : torch.device
    **latents : ndarray of shape (N, ...)
        Values of latent variables that are not drawn.

    Yields
    ------
    part : slice
        Indices of the labels.
    drawn : (Tensor, Tensor)
        Draws and means, both (n, D).
    """
    with inference_precision(single=False):
        model = model_for_queries(module, device)
    there = next(model.parameters()).device
    generator = torch.Generator(there).manual_seed(seed)
    n_networks = getattr(model, "n_networks", 1)  # of which each row passes one
    size = chunk_rows(model) * n_networks
    n_parts = math.ceil(len(labels) / size)
    with limit_threads(SAMPLES_AT_ONCE * count_weights(model)):
        for first in range(n_parts):
            part = slice(first, None, n_parts)
            fixed = {name: torch.from_numpy(values[part]).to(there) for name, values in latents.items()}
            with torch.inference_mode():
                drawn = model.generate(torch.from_numpy(labels[part]).to(there), generator, **fixed)
            yield part, drawn
