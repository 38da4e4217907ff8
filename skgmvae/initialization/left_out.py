"""How well mixtures describe samples that they were not fitted to."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from skgmvae.initialization.moments import N_FOLDS, choose_regularization, mixture_log_prob, regularize, sum_up
from skgmvae.models.background import Background

__all__ = ["draw_folds", "score_folds", "score_left_out"]


def draw_folds(n_samples: int, random_state: np.random.RandomState) -> Tensor:
    """The fold (N,) of each sample."""
    return torch.from_numpy(random_state.permutation(n_samples) % N_FOLDS)


def score_left_out(
    points: Tensor,
    responsibilities: Tensor,
    fold: Tensor,
    refit: Callable[[Tensor], Tensor],
    random_state: np.random.RandomState,
) -> Tensor:
    """log p(x) (N,) of every sample under the mixture of the other folds, with the background.

    Parameters
    ----------
    points : Tensor of shape (N, D)
    responsibilities : Tensor of shape (N, K)
        Of all samples, by which covariances are regularized.
    fold : Tensor of shape (N,)
    refit : callable
        Maps indices (n,) of some samples to their responsibilities (n, K), found without the others.
    random_state : RandomState
    """
    scores = points.new_empty(len(points))
    for left, values in score_folds(points, responsibilities, fold, refit, random_state):
        scores[left] = values
    return scores


def score_folds(
    points: Tensor,
    responsibilities: Tensor,
    fold: Tensor,
    refit: Callable[[Tensor], Tensor],
    random_state: np.random.RandomState,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Fold by fold, which samples it has, (N,), and their scores (n,) as :func:`score_left_out`."""
    setting = choose_regularization(points, responsibilities, random_state)[0]
    background = Background(points.shape[1]).fit(points)
    for k in range(N_FOLDS):
        rest, left = (fold != k).nonzero().flatten(), fold == k
        mixture = regularize(sum_up(points[rest], refit(rest)), setting, is_tied=False)
        yield left, background.mix(mixture_log_prob(points[left], mixture), points[left])
