"""Checkpoints: the state of an unfinished fit in a folder, from which the same fit goes on to an equal result.

A file per phase, in the format of saved estimators: arrays and JSON, nothing that could be executed.
"""

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from skorch.callbacks import Callback
from torch import Tensor, nn

from skgmvae._atomic_write import write_atomically
from skgmvae._evaluation import cast_networks
from skgmvae._file_format import NotASavedEstimatorError, encode, read_file
from skgmvae.data.arrays import Array
from skgmvae.initialization.initialize import Initialization
from skgmvae.runtime import RandomStream

__all__ = [
    "Checkpoint",
    "PhaseCheckpoint",
    "TrainingCheckpoint",
    "get_initialization",
    "read_state",
    "set_initialization",
    "write_state",
]

KEY = "skgmvae-checkpoint"
MIN_SECONDS = 10.0  # between two states of a training …
LEAST_RATIO = 50.0  # … and so many times what writing the last one took
State: TypeAlias = tuple[dict[str, Array], dict[str, Any]]  # arrays, and values of JSON types


class Checkpoint:
    """The folder of one fit.

    Parameters
    ----------
    folder : str or path-like
        Created if it does not exist.
    identity : dict of str to str
        What the result of the fit depends on, in digests: a state of another identity is refused.
    """

    def __init__(self, folder: str | os.PathLike[str], identity: dict[str, str]) -> None:
        self.folder, self.identity = Path(folder), identity
        self.folder.mkdir(parents=True, exist_ok=True)

    def phase(self, name: str) -> "PhaseCheckpoint":
        """The state of one phase."""
        return PhaseCheckpoint(self, name)

    def check(self) -> None:
        """Raise if there is a state of another fit in the folder."""
        for path in sorted(self.folder.glob("*.checkpoint")):
            self.read(path)

    def read(self, path: Path) -> State | None:
        """The state in a file; None if there is no file."""
        if not path.exists():
            return None
        try:
            arrays, description = read_file(path, KEY, all_finite=False)  # terms of an undone epoch
            found, values = description["identity"], description["values"]
        except (NotASavedEstimatorError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path} is not a checkpoint, or is damaged ({error}); delete it, or choose another folder"
            ) from error
        others = sorted(name for name in {*found, *self.identity} if found.get(name) != self.identity.get(name))
        if others:
            raise ValueError(
                f"checkpoint={str(self.folder)!r} holds the state of a fit with another {', '.join(others)}. "
                "Restore these, choose another folder, or delete this one to start over."
            )
        return arrays, values

    def clear(self) -> None:
        """Delete the states, and the folder if nothing else is in it."""
        for path in self.folder.glob("*.checkpoint"):
            path.unlink(missing_ok=True)
        if not any(self.folder.iterdir()):
            self.folder.rmdir()


class PhaseCheckpoint:
    """The state of one phase of a fit."""

    def __init__(self, checkpoint: Checkpoint, name: str) -> None:
        self.checkpoint, self.path = checkpoint, checkpoint.folder / f"{name}.checkpoint"

    def beside(self, name: str) -> "PhaseCheckpoint":
        """The state of a phase that is part of this one."""
        return PhaseCheckpoint(self.checkpoint, f"{self.path.stem}-{name}")

    def read(self) -> State | None:
        """The state; None if there is none."""
        return self.checkpoint.read(self.path)

    def write(self, arrays: dict[str, Array], values: dict[str, Any]) -> None:
        """Replace the state."""
        description = {"identity": self.checkpoint.identity, "values": values}
        write_atomically(self.path, encode(arrays, description, KEY))


class TrainingCheckpoint(Callback):
    """Restores the state of a training when it begins, and stores it at ends of epochs, every so many seconds.

    Parameters
    ----------
    phase : PhaseCheckpoint
    callbacks : sequence of callbacks
        Those whose state is part of it.
    """

    def __init__(self, phase: PhaseCheckpoint, callbacks: Iterable[Any]) -> None:
        self.phase = phase
        self.callbacks = [callback for callback in callbacks if hasattr(callback, "get_state")]
        self.state = phase.read()

    @property
    def n_epochs(self) -> int:
        """Epochs that the stored state has behind it."""
        return 0 if self.state is None else len(self.state[1]["history"])

    @property
    def outcome(self) -> dict[str, Any] | None:
        """How the training ended; None if it has not."""
        return None if self.state is None else self.state[1]["outcome"]

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Restore the state, after all others have begun."""
        self.interval, self.last = MIN_SECONDS, time.monotonic()
        if self.state is not None:
            self.restore(net)

    def restore(self, net: Any, *, with_callbacks: bool = True) -> None:
        """Set the state of the net and, while they are in use, of the callbacks."""
        arrays, values = self.state or ({}, {})
        net.set_state(arrays, values)
        if with_callbacks:
            for number, (callback, state) in enumerate(zip(self.callbacks, values["callbacks"], strict=True)):
                callback.set_state(state)
                if hasattr(callback, "set_arrays"):
                    prefix = f"callback.{number}."
                    own = {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}
                    callback.set_arrays(own)
        self.state = None  # it may be large

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Store the state if it is due."""
        began = time.monotonic()
        if began - self.last < self.interval:
            return
        self.store(net)
        self.last = time.monotonic()
        self.interval = max(MIN_SECONDS, LEAST_RATIO * (self.last - began))

    def store(self, net: Any, outcome: dict[str, Any] | None = None) -> None:
        """Store the state, with the outcome if the training is over."""
        arrays, values = net.get_state()
        for number, callback in enumerate(self.callbacks):
            if hasattr(callback, "get_arrays"):
                arrays |= {f"callback.{number}.{name}": array for name, array in callback.get_arrays().items()}
        values |= {"callbacks": [callback.get_state() for callback in self.callbacks], "outcome": outcome}
        self.phase.write(arrays, values)


def write_state(
    module: nn.Module, optimizer: torch.optim.Optimizer | None, random: RandomStream | None
) -> dict[str, Array]:
    """Arrays of the weights, the moments of the optimizer and the generators."""
    arrays = {f"module.{name}": tensor.numpy(force=True) for name, tensor in module.state_dict().items()}
    if optimizer is not None:
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        for number, parameter in enumerate(parameters):
            for name, value in optimizer.state.get(parameter, {}).items():
                arrays[f"optimizer.{number}.{name}"] = value.numpy(force=True)
    if random is not None:
        for device, state in random.get_states().items():
            arrays[f"generator.{device}"] = state.numpy().astype(np.int64)
    return {name: array.astype(np.int64) if array.dtype.kind in "iub" else array for name, array in arrays.items()}


@torch.no_grad()
def read_state(
    arrays: dict[str, Array], module: nn.Module, optimizer: torch.optim.Optimizer | None, random: RandomStream | None
) -> None:
    """Set what :func:`write_state` has written, in place."""
    states = module.state_dict()
    for name, tensor in states.items():
        tensor.copy_(torch.from_numpy(arrays[f"module.{name}"]))
    if optimizer is not None:
        optimizer.state.clear()
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        places = [name.split(".", 2)[1:] for name in arrays if name.startswith("optimizer.")]
        for number, name in sorted(places, key=lambda place: int(place[0])):
            parameter = parameters[int(number)]
            value = torch.from_numpy(arrays[f"optimizer.{number}.{name}"].copy())
            optimizer.state[parameter][name] = value.to(parameter.device)
    if random is not None:
        random.set_states(
            {name[10:]: _to_bytes(array) for name, array in arrays.items() if name.startswith("generator.")}
        )


def get_initialization(model: Any, init: Initialization, random: RandomStream) -> State:
    """The initialized model and its responsibilities, for a checkpoint."""
    arrays = write_state(model, None, random)
    if init.responsibilities is not None:
        arrays["responsibilities"] = init.responsibilities.numpy(force=True)
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    has_table = getattr(model, "initial_responsibilities", None) is not None
    return arrays, {"name": str(init.name), "is_random": init.is_random, "trained": trained, "has_table": has_table}


def set_initialization(
    model: Any, arrays: dict[str, Array], values: dict[str, Any], random: RandomStream
) -> Initialization:
    """Set what :func:`get_initialization` has given, in place."""
    name = next(name for name, _ in model.named_parameters())
    cast_networks(model, torch.from_numpy(arrays[f"module.{name}"]).dtype)
    read_state(arrays, model, None, random)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in values["trained"])
    found = torch.from_numpy(arrays["responsibilities"].copy()) if "responsibilities" in arrays else None
    if values["has_table"]:
        model.initial_responsibilities = found
    return Initialization(values["name"], found, values["is_random"])


def _to_bytes(array: Array) -> Tensor:
    return torch.from_numpy(array.astype(np.uint8))
