"""Early stopping: samples held out from the training, and the state of the model that is best for them."""

import copy
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skorch.callbacks import Callback
from torch import Tensor, nn

from skgmvae._evaluation import model_for_queries
from skgmvae.data.arrays import Array, Integers
from skgmvae.data.training_data import TrainingData
from skgmvae.models.density import add_background
from skgmvae.models.importance import PointSets, make_point_sets

__all__ = ["HeldOut", "ValidationStopping", "is_better", "split_rows"]

LEAST_HELD_OUT = 30  # samples, if they are at most a fifth of all
MOST_HELD_OUT = 2000  # more would not make a mean score more certain than it has to be
STEPS_PER_CHECK = 75
LEAST_STEPS = 100  # until the checks show that nothing changes any more
STATE = ("n_epochs_", "best_epoch_", "n_checks_since_", "converged_", "is_free_", "scores_", "values_", "bounds_")
LEAST_GAIN = 0.02  # nats per sample
LEAST_LOG_POSTERIOR = -10.0  # of an initial cluster: one sample of another one should not decide


def split_rows(
    responsibilities: Tensor, fraction: float, random_state: np.random.RandomState
) -> tuple[Integers, Integers]:
    """Indices of the samples to train on and of those held out, each ascending; every cluster gives its share.

    Parameters
    ----------
    responsibilities : Tensor of shape (N, K)
    fraction : float
        Share that is held out, within limits.
    random_state : RandomState
    """
    labels = responsibilities.argmax(-1).numpy(force=True)
    N = len(labels)
    n_held_out = min(max(round(fraction * N), min(LEAST_HELD_OUT, N // 5)), MOST_HELD_OUT)
    order = random_state.permutation(N)
    order = order[np.argsort(labels[order], kind="stable")]
    # equal steps through the samples, cluster after cluster, from a random first one
    places = (random_state.uniform() + np.arange(n_held_out)) * (N / n_held_out)
    is_held_out = np.zeros(N, bool)
    is_held_out[order[places.astype(np.int64)]] = True
    return np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)


@dataclass(frozen=True)
class Scores:
    """Of held-out samples, (n,) each, in nats.

    Attributes
    ----------
    marginal : ndarray
        log p(x).
    divergence : ndarray
        KL(r ‖ p(c|x)) of their initial responsibilities r.
    """

    marginal: NDArray[np.float64]
    divergence: NDArray[np.float64]

    @property
    def joint(self) -> NDArray[np.float64]:
        """Expectation of log p(x, c) over r, plus the entropy of r."""
        return self.marginal - self.divergence


class HeldOut:
    """Samples (n, D) that are not trained on, with their initial responsibilities (n, K).

    Parameters
    ----------
    data : TrainingData
    responsibilities : Tensor of shape (n, K)
    width : int
        Latent variables of the model.
    """

    def __init__(self, data: TrainingData, responsibilities: Tensor, width: int) -> None:
        self.x = torch.from_numpy(np.array(data.X[: len(data)], np.float64, order="C"))
        self.responsibilities = responsibilities.double()
        self.points = make_point_sets(width, data.n_features, seed=0)
        # during the training, comparisons of a model with itself a few steps later need no more
        self.few_points = PointSets(self.points.sets[:1], False, 0)

    @torch.inference_mode()
    def score(self, module: nn.Module, *, roughly: bool = False) -> Scores:
        """The scores of a model, by importance sampling."""
        model: Any = model_for_queries(copy.deepcopy(module).eval(), torch.device("cpu"))
        log_joint = model.log_joint(self.x, self.few_points if roughly else self.points)
        marginal = add_background(model, self.x, torch.logsumexp(log_joint, -1))
        log_posterior = torch.log_softmax(log_joint, -1).clamp_min(LEAST_LOG_POSTERIOR)
        r = self.responsibilities
        divergence = torch.special.xlogy(r, r).sum(-1) - (r * log_posterior).sum(-1)
        return Scores(marginal.numpy(), divergence.numpy())


def is_clear(gains: NDArray[np.float64]) -> bool:
    """Whether the mean of paired gains (n,) is above two standard errors, and not negligible."""
    error = gains.std(ddof=1) / math.sqrt(len(gains))
    return bool(gains.mean() > max(2.0 * error, LEAST_GAIN))


def is_better(after: Scores, before: Scores) -> bool:
    """Whether log p(x, c) or log p(x) of held-out samples has a clear gain, and the other one no clear loss."""
    marginal, joint = after.marginal - before.marginal, after.joint - before.joint
    return (is_clear(joint) and not is_clear(-marginal)) or (is_clear(marginal) and not is_clear(-joint))


class ValidationStopping(Callback):
    """Keep the state that is best for held-out samples; stop when it has not improved for ``patience`` checks.

    While the initial responsibilities are clamped, the best state is that of the highest mean log p(x, c) at the
    initial clusters c. The free epochs begin with it, and their best state, by log p(x), is kept if its gain is clear.

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
        if self.n_checks_since_ >= self.patience:
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
        names = (
            "n_epochs_",
            "best_epoch_",
            "n_checks_since_",
            "converged_",
            "is_free_",
            "scores_",
            "values_",
            "bounds_",
        )
        values = {name: getattr(self, name) for name in names}
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
