"""Early stopping: samples held out from the training, and the state of the model that is best for them."""

import math
from typing import Any

import torch
from skorch.callbacks import Callback
from torch import Tensor

from skgmvae.data.arrays import Array
from skgmvae.training.held_out import LEAST_GAIN, MOST_DIVERGENCE, HeldOut, Scores, is_clear

__all__ = ["ValidationStopping"]

STEPS_PER_CHECK = 75
LEAST_STEPS = 100  # until the checks show that nothing changes any more
# after which a training without any gain ends if components are the clusters already: a share of all, within limits
FUTILE_SHARE, LEAST_FUTILE, MOST_FUTILE = 0.2, 150, 300
STATE = (
    *("n_epochs_", "best_epoch_", "n_checks_since_", "converged_", "is_free_", "may_be_futile_"),
    *("scores_", "values_", "bounds_"),
)


class ValidationStopping(Callback):
    """Keep the state that is best for held-out samples; stop when it has not improved for ``patience`` checks.

    While the initial responsibilities are clamped, the best state is that of the highest mean log p(x, c) at the
    initial clusters c. The free epochs begin with it, and their best state, by log p(x), is kept if its gain is clear.
    Where the components are the initial clusters from the first, a training without a gain after some hundred steps
    ends: nor has it one later, as a rule.

    Attributes
    ----------
    scores_ : list of float
        Mean of log p(x) at each check, the first before the training.
    best_epoch_ : int
        Epochs before the state that is kept.
    best_ : Scores
    converged_ : bool
        Whether the last checks of a phase have brought no gain, or less than ``tol``.
    """

    def __init__(
        self, held_out: HeldOut, n_epochs: int, n_clamped: int, steps_per_epoch: int, patience: int, tol: float
    ) -> None:
        self.held_out, self.n_epochs, self.n_clamped, self.patience = held_out, n_epochs, n_clamped, patience
        self.steps_per_epoch, self.tol = steps_per_epoch, tol
        self.every = math.ceil(STEPS_PER_CHECK / steps_per_epoch)

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """The first check."""
        self.n_epochs_, self.best_epoch_, self.n_checks_since_ = 0, 0, 0
        self.bounds_: list[float] = []  # of the epochs of the present phase
        self.converged_, self.is_free_ = False, self.n_clamped == 0
        self.best_ = self.held_out.score(net.module_, roughly=True)
        self.clamped_: tuple[Scores, int, dict[str, Tensor]] | None = None  # best, of the clamped epochs
        self.may_be_futile_ = bool(self.best_.divergence.mean() <= MOST_DIVERGENCE)
        self.scores_ = [float(self.best_.marginal.mean())]
        self.values_ = [self._value(self.best_)]
        self.state_ = self._snapshot(net)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Check every few epochs, and after the last."""
        self.n_epochs_ += 1
        bound = net.history[-1]["lower_bound"]
        if math.isfinite(bound):
            self.bounds_.append(bound)
        if self.n_epochs_ == self.n_clamped < self.n_epochs:
            self._check(net)
            self._begin_free(net)
            return
        if self.n_epochs_ % self.every and self.n_epochs_ != self.n_epochs:
            return
        self._check(net)
        if self.n_checks_since_ >= self.patience or self._is_futile():
            self.converged_ = True
            raise KeyboardInterrupt  # skorch's way to stop a fit

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Restore the best state."""
        self._judge()
        if self.clamped_ is not None and not is_clear(self.best_.marginal - self.clamped_[0].marginal):
            self.best_, self.best_epoch_, self.state_ = self.clamped_
        self._restore(net)
        self.state_, self.clamped_ = {}, None

    def get_state(self) -> dict[str, Any]:
        """What a checkpoint needs beside :meth:`get_arrays`."""
        values = {name: getattr(self, name) for name in STATE}
        return {**values, "clamped_epoch": None if self.clamped_ is None else self.clamped_[1]}

    def set_state(self, state: dict[str, Any]) -> None:
        """Set what :meth:`get_state` has given."""
        state = dict(state)
        self.clamped_epoch = state.pop("clamped_epoch")
        for name, value in state.items():
            setattr(self, name, value)

    def get_arrays(self) -> dict[str, Array]:
        """Scores and weights of the best states."""
        states = {"best": (self.best_, self.state_)}
        if self.clamped_ is not None:
            states["clamped"] = self.clamped_[0], self.clamped_[2]
        arrays: dict[str, Array] = {}
        for which, (scores, state) in states.items():
            arrays |= {f"{which}.marginal": scores.marginal, f"{which}.divergence": scores.divergence}
            arrays |= {f"{which}.state.{name}": tensor.numpy(force=True) for name, tensor in state.items()}
        return arrays

    def set_arrays(self, arrays: dict[str, Array]) -> None:
        """Set what :meth:`get_arrays` has given."""

        def read(which: str) -> tuple[Scores, dict[str, Tensor]]:
            prefix = f"{which}.state."
            state = {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}
            tensors = {name: torch.from_numpy(array.copy()) for name, array in state.items()}
            return Scores(arrays[f"{which}.marginal"], arrays[f"{which}.divergence"]), tensors

        self.best_, self.state_ = read("best")
        if self.clamped_epoch is not None:
            scores, state = read("clamped")
            self.clamped_ = scores, self.clamped_epoch, state

    def _judge(self) -> None:
        """Whether the last checks of a phase, or epochs of a short one, have brought less than ``tol``."""
        values = self.values_ if self.n_epochs_ * self.steps_per_epoch >= LEAST_STEPS else self.bounds_
        n_recent = min(self.patience, len(values) // 2)
        if n_recent and max(values[-n_recent:]) - max(values[:-n_recent]) < self.tol:
            self.converged_ = True

    def _is_futile(self) -> bool:
        """Whether a training of components that are the initial clusters has brought next to nothing so far."""
        n_futile = min(max(FUTILE_SHARE * self.n_epochs * self.steps_per_epoch, LEAST_FUTILE), MOST_FUTILE)
        is_late = self.n_epochs_ * self.steps_per_epoch >= n_futile and self.clamped_ is None
        return self.may_be_futile_ and is_late and self._value(self.best_) - self.values_[0] < LEAST_GAIN

    def _begin_free(self, net: Any) -> None:
        self._restore(net)
        self.is_free_, self.n_checks_since_ = True, 0
        self._judge()
        self.values_, self.bounds_ = [self._value(self.best_)], []
        self.clamped_ = self.best_, self.best_epoch_, self.state_

    def _check(self, net: Any) -> None:
        if not math.isfinite(net.history[-1]["lower_bound"]):
            return  # an epoch that was undone
        scores = self.held_out.score(net.module_, roughly=True)
        self.scores_.append(float(scores.marginal.mean()))
        self.n_checks_since_ += 1
        self.values_.append(self._value(scores))
        if self.values_[-1] > self._value(self.best_):
            self.best_, self.best_epoch_, self.n_checks_since_ = scores, self.n_epochs_, 0
            self.state_ = self._snapshot(net)

    def _value(self, scores: Scores) -> float:
        return float((scores.marginal if self.is_free_ else scores.joint).mean())

    def _snapshot(self, net: Any) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in net.module_.state_dict().items()}

    def _restore(self, net: Any) -> None:
        net.module_.load_state_dict(self.state_)
        net.optimizer_.state.clear()  # of other weights
