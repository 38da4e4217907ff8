"""What a figure depends on besides the code: versions, processor, memory."""

import os
import platform
import resource
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import skgmvae

PACKAGES = {"torch": "torch", "sklearn": "scikit-learn", "skorch": "skorch", "numpy": "numpy"}


def describe(**more: Any) -> dict[str, Any]:
    """Versions and machine, and what else a figure depends on."""
    return {**more, "versions": describe_versions(), "commit": describe_commit(), "machine": describe_machine()}


def describe_versions() -> dict[str, str]:
    """Version of every package that matters, and of Python."""
    versions = {name: version(package) for name, package in PACKAGES.items()}
    return {"skgmvae": skgmvae.__version__, **versions, "python": platform.python_version()}


def describe_commit() -> str | None:
    """The commit of the checkout, with a mark if files differ from it; None outside of a repository."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def describe_machine() -> dict[str, Any]:
    """Processor and the cores this process may use, and the GPU if there is one."""
    gpu = {"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}
    return {"cpu": _cpu_model(), "cores": _count_cores(), "system": platform.system(), **gpu}


def put_in_words(machine: dict[str, Any], versions: dict[str, str]) -> str:
    """What :func:`describe` found, as it stands in a page."""
    numbers = ", ".join(f"{name} {version}" for name, version in versions.items())
    gpu = f", {machine['gpu']}" if "gpu" in machine else ""
    return f"{machine['cpu']}, {machine['cores']} cores{gpu}, {machine['system']}; {numbers}"


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()


def _count_cores() -> int | None:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def peak_memory() -> int:
    """Largest resident size of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def set_threads(n_threads: int) -> None:
    """Limit the numerical libraries of processes started from here on."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(n_threads)
