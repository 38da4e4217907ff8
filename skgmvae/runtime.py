"""Where and in which arithmetic a model is trained, and whose random numbers it draws."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

MAX_SEED = 2**31 - 1


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
            f"device={device!r} was asked for, but torch sees {torch.cuda.device_count()} CUDA devices; "
            "use device='auto' to fall back to the CPU"
        )
    if found.type not in ("cpu", "cuda", "mps"):
        raise ValueError(f"device={device!r} is not supported; use 'auto', 'cpu', 'cuda', 'cuda:0', … or 'mps'")
    if found.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError("device='mps' was asked for, but torch sees no Apple GPU; use device='auto'")
    return found


def choose_autocast_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """bfloat16 where asked for or, for ``'auto'``, where products in it are fast; None is float32."""
    if precision == "auto":
        precision = "bfloat16" if _has_fast_bfloat16(device) else "float32"
    return torch.bfloat16 if precision == "bfloat16" else None


def _has_fast_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    if device.type == "cpu":
        # torch has no public query; without such instructions bfloat16 is many times slower than float32
        supports = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
        return any(supported() for supported in supports if supported is not None)
    return False


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Draw from torch's generators as seeded, and leave them as they were found."""
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.default_generator.manual_seed(seed)
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield
