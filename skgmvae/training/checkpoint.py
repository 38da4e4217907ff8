"""Checkpoints: the state of an unfinished fit in a folder, from which the same fit goes on to an equal result.

A file per phase, in the format of saved estimators: arrays and JSON, nothing that could be executed.
"""

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from skorch.callbacks import Callback

from skgmvae._atomic_write import write_atomically
from skgmvae._collectives import from_first
from skgmvae._file_format import NotASavedEstimatorError, encode, read_file
from skgmvae._ranks import is_first
from skgmvae.data.arrays import Array
from skgmvae.training.state import State

__all__ = ["Checkpoint", "PhaseCheckpoint", "TrainingCheckpoint"]

KEY = "skgmvae-checkpoint"
MIN_SECONDS = 10.0  # between two states of a training …
LEAST_RATIO = 50.0  # … and so many times what writing the last one took


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
        if is_first():
            self.folder.mkdir(parents=True, exist_ok=True)

    def phase(self, name: str) -> "PhaseCheckpoint":
        """The state of one phase."""
        return PhaseCheckpoint(self, name)

    def check(self) -> None:
        """Raise if there is a state of another fit in the folder."""
        from_first(lambda: [self._read(path) for path in sorted(self.folder.glob("*.checkpoint"))] and None)

    def read(self, path: Path) -> State | None:
        """The state in a file, which the first rank reads; None if there is no file."""
        return from_first(lambda: self._read(path))

    def _read(self, path: Path) -> State | None:
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
                f"checkpoint={str(self.folder)!r} holds the state of a fit that differs in {', '.join(others)}. "
                "Restore the earlier values, choose another folder, or delete this one to start over."
            )
        return arrays, values

    def clear(self) -> None:
        """Delete the states, and the folder if nothing else is in it."""
        if not is_first():
            return
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
        """Replace the state; on the first rank."""
        if not is_first():
            return
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
        if began - self.last < self.interval or not is_first():
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
