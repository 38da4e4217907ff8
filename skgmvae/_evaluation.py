"""The one gate from rows to results: chunked, float64 unless asked otherwise, evaluation mode, nothing left behind."""

import copy
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skgmvae.data.lazy import iter_chunks

CHUNK_VALUES = 2**21  # float64 numbers in the widest layer of one chunk: 16 MiB
CHUNK_VALUES_OFF_CPU = 2**24  # other devices gain by larger products: 128 MiB

_is_single: ContextVar[bool] = ContextVar("is_single", default=False)
# float64 copies of fitted modules, outside the estimators so that they are neither pickled nor compared
_doubles: weakref.WeakKeyDictionary[nn.Module, tuple[tuple, nn.Module]] = weakref.WeakKeyDictionary()


def double_precision(module: nn.Module, device: torch.device) -> nn.Module:
    """A float64 copy of ``module`` on ``device``, made once per state of the module."""
    if device.type == "mps":  # no float64 there
        device = torch.device("cpu")
    tensors = module.state_dict(keep_vars=True).values()
    version = (str(device), *((id(tensor), tensor._version) for tensor in tensors))
    if module not in _doubles or _doubles[module][0] != version:
        _doubles[module] = (version, copy.deepcopy(module).double().to(device).eval())
    return _doubles[module][1]


def discard_double_precision(module: nn.Module) -> None:
    """Drop the float64 copy: fused optimizer steps change parameters without counting a version."""
    _doubles.pop(module, None)


@contextmanager
def single_precision() -> Iterator[None]:
    """Within this context, inference computes in float32: about twice as fast, and half the memory.

    For large jobs. The results of a row then depend on its batch in the last digits, arrays are float32 (but for those
    of ``reconstruct``, which goes back to the units of the data in float64), and a row between two components may get
    the other label. ``sample`` and ``fit`` stay as they are. The context is that of the thread or task that enters it.

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
    """The arithmetic of :func:`map_chunks` within this context."""
    before = _is_single.set(single)
    try:
        yield
    finally:
        _is_single.reset(before)


def _at_inference(module: nn.Module, device: torch.device) -> nn.Module:
    """The model to ask: a float64 copy, or, in the context of :func:`single_precision`, as it was trained."""
    if not _is_single.get():
        return double_precision(module, device)
    # constants of the standardization are float64, which Apple's device does not have
    stays = device.type in ("cpu", "mps") and not module.training
    return module if stays else copy.deepcopy(module).to(device).eval()


def chunk_rows(module: nn.Module, n_copies: int = 1) -> int:
    """Rows per chunk such that the widest layer of ``n_copies`` draws per row stays in a processor's cache or near it.

    Many more on other devices, which work on a chunk at once.
    """
    widest = max((max(p.shape) for p in module.parameters() if p.dim() > 1), default=1)
    widest = getattr(module, "widest_layer", widest)  # of convolutions, whose weights do not tell
    n_networks = getattr(module, "n_networks", 1)  # stacked, all of which see every row
    values_per_row = widest * n_copies * n_networks
    if next(module.parameters()).device.type != "cpu":
        return max(1, min(65536, CHUNK_VALUES_OFF_CPU // values_per_row))
    return max(16 // n_networks, 1, min(8192, CHUNK_VALUES // values_per_row))


@torch.inference_mode()
def map_chunks(
    module: nn.Module,
    method: Callable[[Any, Tensor], Tensor],
    X: Any,
    device: torch.device,
    n_copies: int = 1,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """``method(module, rows)`` for all rows of ``X``, chunk by chunk.

    Parameters
    ----------
    module : nn.Module
        The fitted model, in any precision.
    method : callable
        From a module, float64 unless within :func:`single_precision`, and rows (n, D) to a tensor whose first axis
        has n entries.
    X : ndarray, LazyRows or PickedRows of shape (N, D)
        Only a chunk or a block of it is converted at a time.
    device : torch.device
    n_copies : int, default=1
        Draws per row that ``method`` makes.
    out : ndarray of shape (N, ...), optional
        Where the results go; None: a new array of their type.

    Returns
    -------
    ndarray of shape (N, ...)
    """
    model = _at_inference(module, device)
    target = next(model.parameters()).device
    dtype = None if _is_single.get() else np.float64  # float64 rows are centered before they are rounded
    for first, chunk in iter_chunks(X, chunk_rows(model, n_copies)):
        rows = torch.from_numpy(np.array(chunk, dtype=dtype)).to(target)
        result = method(model, rows).numpy(force=True)
        if out is None:
            out = np.empty((len(X), *result.shape[1:]), result.dtype)
        out[first : first + len(result)] = result
    if out is None:
        raise ValueError("X has no rows; pass at least one.")
    return out
