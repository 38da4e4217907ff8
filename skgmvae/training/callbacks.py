"""Training callbacks: step size, convergence, divergence, denormal moments."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from skorch.callbacks import Callback
from torch import Tensor, nn

from skgmvae._progress import LOGGER

__all__ = ["ConvergenceStopping", "DivergenceGuard", "FlushDenormals", "StepSizeSchedule", "TrainingDivergedError"]

FAINT = 1e-24
STEPS_PER_FLUSH = 256  # from FAINT a first moment decays to 2e-36, not yet denormal


class StepSizeSchedule(Callback):
    """Step size schedule: a linear warm-up and a cosine decay to zero, or constant.

    Parameters
    ----------
    n_steps : int
        Optimizer steps planned.
    n_warmup : int
        Steps of the warm-up; at most a tenth of ``n_steps`` is used.
    anneal : bool
        If False, the step size is constant.
    """

    def __init__(self, n_steps: int, n_warmup: int, *, anneal: bool) -> None:
        self.n_steps = n_steps
        self.n_warmup = min(n_warmup, n_steps // 10)
        self.anneal = anneal

    def factor(self, step: int) -> float:
        """Share of the full step size at ``step``, counted from 0."""
        if not self.anneal:
            return 1.0
        if step < self.n_warmup:
            return (step + 1) / (self.n_warmup + 1)
        progress = (step - self.n_warmup) / max(1, self.n_steps - self.n_warmup)
        return 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0)))

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Reset the step to 0."""
        self.step_ = 0

    def get_state(self) -> int:
        """The step, for a checkpoint."""
        return self.step_

    def set_state(self, state: int) -> None:
        """Set the step."""
        self.step_ = state

    def on_batch_begin(self, net: Any, **kwargs: Any) -> None:
        """Set the step size of the next step."""
        for group in net.optimizer_.param_groups:
            group["lr"] = net.lr * self.factor(self.step_)
        self.step_ += 1


class FlushDenormals(Callback):
    """Periodically set moments of Adam to zero that are too small to change a parameter.

    If a gradient stays zero (a unit that no sample activates, a pixel that is always 0), its moments decay without end.
    Below 1e-38 they are denormal numbers, with which a CPU computes many times slower: on MNIST they double the
    training time. A moment below ``FAINT`` changes a parameter by less than 1e-16 step sizes, since Adam divides by at
    least 1e-8. (``torch.set_flush_denormal`` would affect a single thread, or permanently those of the pool.)
    """

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Reset the step to 0."""
        self.step_ = 0

    def get_state(self) -> int:
        """The step, for a checkpoint."""
        return self.step_

    def set_state(self, state: int) -> None:
        """Set the step."""
        self.step_ = state

    def on_batch_begin(self, net: Any, **kwargs: Any) -> None:
        """Flush all moments every ``STEPS_PER_FLUSH`` steps."""
        self.step_ += 1
        if self.step_ % STEPS_PER_FLUSH == 0:
            self._flush(net.optimizer_.state.values())

    @torch.no_grad()
    def _flush(self, states: Iterable[dict[str, Tensor]]) -> None:
        for state in states:
            for name in state.keys() & {"exp_avg", "exp_avg_sq"}:  # none before the first step
                state[name].copy_(nn.functional.hardshrink(state[name], FAINT))


class ConvergenceStopping(Callback):
    """Stop when the best bound of the last ``patience`` epochs is within ``tol`` of the best before them.

    A bound that falls has not converged; it often falls during the warm-up of the step size. The first ``n_ignored``
    epochs are ignored. ``converged_`` is True if training has converged.
    """

    def __init__(self, tol: float, patience: int, n_ignored: int = 0) -> None:
        self.tol = tol
        self.n_ignored = n_ignored
        self.patience = max(1, patience)

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Reset the state."""
        self.converged_ = False
        self.bounds_: list[float] = []
        self.n_epochs_ = 0

    def get_state(self) -> list[Any]:
        """Bounds and number of epochs, for a checkpoint."""
        return [self.bounds_, self.n_epochs_]

    def set_state(self, state: list[Any]) -> None:
        """Set bounds and number of epochs."""
        self.bounds_, self.n_epochs_ = state

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Compare the last epochs with those before them."""
        bound = net.history[-1]["lower_bound"]
        self.n_epochs_ += 1
        if self.n_epochs_ <= self.n_ignored or not math.isfinite(bound):
            return  # ignored, or an epoch that was undone
        self.bounds_.append(bound)
        recent, earlier = self.bounds_[-self.patience :], self.bounds_[: -self.patience]
        if earlier and abs(max(recent) - max(earlier)) < self.tol:
            self.converged_ = True
            raise KeyboardInterrupt  # skorch's way to stop a fit


class TrainingDivergedError(ValueError):
    """A training has diverged again and again."""


class DivergenceGuard(Callback):
    """Return to the last finite epoch, with a smaller step size, when the bound is no longer finite.

    Parameters
    ----------
    max_failures : int, default=4
        After more failures in one training, a TrainingDivergedError names the term that diverged.
    """

    def __init__(self, max_failures: int = 4) -> None:
        self.max_failures = max_failures

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Take the first snapshot."""
        self.failures_ = 0
        # the state that training changes: parameters, and the running statistics of batch norm
        parameters = [parameter.detach() for parameter in net.module_.parameters()]
        dtype = parameters[0].dtype
        self.tensors_ = parameters + [buffer for buffer in net.module_.buffers() if buffer.dtype == dtype]
        self.snapshot_ = self._flatten()

    def get_state(self) -> int:
        """The number of failures, for a checkpoint."""
        return self.failures_

    def set_state(self, state: int) -> None:
        """Set the number of failures, and take a snapshot."""
        self.failures_ = state
        self.snapshot_ = self._flatten()

    def _flatten(self) -> Tensor:
        # a single tensor, so that copying and checking it are one operation each
        return torch.cat([tensor.reshape(-1) for tensor in self.tensors_])

    @torch.no_grad()
    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Keep a finite state; undo an epoch with any other."""
        state = self._flatten()
        if math.isfinite(net.history[-1]["lower_bound"]) and _is_finite(state):
            self.snapshot_ = state
            return
        self.failures_ += 1
        if self.failures_ > self.max_failures:
            raise TrainingDivergedError(self._describe(net.diverged_, net.lr))
        self._restore(net)
        net.lr = net.lr / 4.0
        for group in net.optimizer_.param_groups:
            group["lr"] /= 4.0
        message = "Epoch %d is undone: %s became infinite or NaN. Training continues with learning_rate=%.2g."
        LOGGER.info(message, len(net.history), _name_culprits(net.diverged_), net.lr)

    @torch.no_grad()
    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Undo an interrupted epoch that has diverged; delete the snapshot."""
        if not _is_finite(self._flatten()):
            self._restore(net)
        self.snapshot_, self.tensors_ = torch.empty(0, device="cpu"), []

    def _restore(self, net: Any) -> None:
        parts = self.snapshot_.split([tensor.numel() for tensor in self.tensors_])
        for tensor, kept in zip(self.tensors_, parts, strict=True):
            tensor.copy_(kept.view_as(tensor))
        net.optimizer_.state.clear()

    @staticmethod
    def _describe(culprits: list[str], lr: float) -> str:
        return (
            f"Training diverged: {_name_culprits(culprits)} became infinite or NaN repeatedly, last "
            f"with learning_rate={lr:.2g}. Lower learning_rate, scale the features, or look for extreme values in X."
        )


def _is_finite(state: Tensor) -> bool:
    """Whether all values are finite; only then is their sum."""
    return math.isfinite(state.sum().item())


def _name_culprits(terms: list[str]) -> str:
    return ", ".join(terms) or "a parameter"
