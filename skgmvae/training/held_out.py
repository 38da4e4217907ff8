"""Samples held out from the training: who they are, and how good a model is for them."""

import copy
import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit
from torch import Tensor, nn

from skgmvae._evaluation import cast_networks, map_chunks, map_shares
from skgmvae.data.arrays import Integers
from skgmvae.data.training_data import TrainingData
from skgmvae.models.density import add_background
from skgmvae.models.points import PointSets, describe_chunks, make_point_sets
from skgmvae.models.subcomponents import add_subcomponents, join_subcomponents

__all__ = ["LEAST_GAIN", "MOST_DIVERGENCE", "HeldOut", "Scores", "is_better", "is_clear", "is_open", "split_rows"]

LEAST_HELD_OUT = 30  # samples, if they are at most a fifth of all
MOST_HELD_OUT = 2000  # more would not make a mean score more certain than it has to be
# of them, those that the checks during a training look at; fewer where each takes longer
LEAST_CHECKED, MOST_CHECKED, CHECKED_VALUES = 60, 500, 2**22
LEAST_GAIN = 0.02  # nats per sample
MOST_DIVERGENCE = 0.05  # nats, of the initial responsibilities from p(c|x): components are the initial clusters
OTHER_CLUSTERS = 0.5  # nats: they are others, as where clusters have nearly the same moments
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
        self.X = np.array(data.X[: len(data)], np.float64, order="C")
        self.responsibilities = responsibilities.double()
        self.points = make_point_sets(width, data.n_features, seed=0)
        # during the training, comparisons of a model with itself a few steps later need no more
        self.few_points = PointSets(self.points.sets[:1], False, 0)
        n_values = responsibilities.shape[1] * width * (width + data.n_features)
        n_checked = min(max(CHECKED_VALUES // n_values, LEAST_CHECKED), MOST_CHECKED, len(data))
        self.checked = np.linspace(0, len(data) - 1, n_checked).astype(np.int64)
        self._scored: tuple[nn.Module, Any] | None = None  # the last model, and its copy

    def score(self, module: nn.Module, *, roughly: bool = False) -> Scores:
        """The scores of a model, by importance sampling; roughly, those of some samples, from fewer points."""
        model = self._copy(module)
        points = self.few_points if roughly else self.points
        X, r = self.X, self.responsibilities
        if roughly:
            X, r = X[self.checked], r[self.checked]

        def estimate(model: Any, x: Tensor) -> Tensor:
            log_joint = join_subcomponents(model.log_joint(x, points), model.subcomponents)
            density = add_background(model, x, torch.logsumexp(log_joint, -1))
            return torch.cat([density.unsqueeze(-1), torch.log_softmax(log_joint, -1)], -1)

        size = describe_chunks(model, self.X.shape[1])
        evaluate = partial(map_chunks, model, estimate, device=torch.device("cpu"), **size)
        found = torch.from_numpy(map_shares(evaluate, X))
        r = add_subcomponents(r, model.subcomponents)
        # NaN of a sample that is too far from all components for a density
        marginal, log_posterior = found[:, 0], found[:, 1:].nan_to_num(-math.inf).clamp_min(LEAST_LOG_POSTERIOR)
        divergence = torch.special.xlogy(r, r).sum(-1) - (r * log_posterior).sum(-1)
        return Scores(marginal.numpy(), divergence.numpy())

    def _copy(self, module: nn.Module) -> Any:
        """The model in float64 on the CPU; to copy the modules at every check would take a third of its time."""
        if self._scored is None or self._scored[0] is not module:
            copied = cast_networks(copy.deepcopy(module).cpu(), torch.float64).eval().requires_grad_(False)
            self._scored = module, copied
        copied = self._scored[1]
        with torch.no_grad():
            for own, other in zip(copied.state_dict().values(), module.state_dict().values(), strict=True):
                own.copy_(other)
        return copied


def is_clear(gains: NDArray[np.float64]) -> bool:
    """Whether the mean of paired gains (n,) is above two standard errors, or more if they are few, and not negligible.

    The factor is the quantile of Student's t-distribution that is as rare as two for many gains.
    """
    error = gains.std(ddof=1) / math.sqrt(len(gains))
    factor = stdtrit(len(gains) - 1, ndtr(2.0))
    return bool(gains.mean() > max(factor * error, LEAST_GAIN))


def is_open(after: Scores, before: Scores) -> bool:
    """Whether a longer training may help: components are not the initial clusters yet.

    Where they are near them, the first training must have had a gain of log p(x, c) or log p(x) that is not negligible.
    """
    divergence = float(after.divergence.mean())
    gains = after.joint - before.joint, after.marginal - before.marginal
    has_gain = max(float(gain.mean()) for gain in gains) > LEAST_GAIN
    return divergence > (MOST_DIVERGENCE if has_gain else OTHER_CLUSTERS)


def is_better(after: Scores, before: Scores) -> bool:
    """Whether log p(x, c) or log p(x) of held-out samples has a clear gain, and the other one no clear loss."""
    marginal, joint = after.marginal - before.marginal, after.joint - before.joint
    return (is_clear(joint) and not is_clear(-marginal)) or (is_clear(marginal) and not is_clear(-joint))
