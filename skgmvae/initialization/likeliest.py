"""Mixtures of Gaussians of the highest likelihood, whatever clusters they find: densities to compare others with."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skgmvae.initialization.bootstrap import crosses_as_expected
from skgmvae.initialization.comparison import link_points, lost_relative_to
from skgmvae.initialization.left_out import draw_folds, score_left_out
from skgmvae.initialization.mixture import Mixture, fit_from_each, fit_mixture, has_samples_for, log_joint
from skgmvae.initialization.mixture_search import MANY_FEATURES, MORE_FEATURES
from skgmvae.initialization.moments import is_near
from skgmvae.initialization.partitions import fit_kmeans
from skgmvae.initialization.rules import speak_against_mixture
from skgmvae.initialization.views import Views
from skgmvae.runtime import single_thread

__all__ = ["Likeliest", "find_likeliest"]

N_KMEANS = 5  # initializations from k-means
MOST_SAMPLES, MOST_WORK = 10_000, 2e7  # that EM looks at; fewer where an iteration would take more multiply-adds
LEAST_SAMPLES = 5  # of a component with a diagonal covariance
SHORT, LONG, AGAIN = 20, 200, 50  # EM iterations of all initializations, of the best, and without a fold
TOLERANCE = 1e-5  # nats per sample: unlike for clusters, the last gain in likelihood counts


class Likeliest(NamedTuple):
    """A mixture fitted by likelihood alone.

    Attributes
    ----------
    points : Tensor of shape (N, D)
        Samples it was fitted to.
    mixture : Mixture
    gains : Tensor of shape (N,)
        Of log p(x) of these, each left out, over the mixture that the initial responsibilities stand for.
    """

    points: Tensor
    mixture: Mixture
    gains: Tensor

    def assign(self, others: Tensor) -> Tensor:
        """Responsibilities (n, K) of samples (n, D)."""
        log_shares = log_joint(self.mixture, self.points.numpy(), others.numpy())
        return torch.softmax(torch.from_numpy(log_shares), -1)


@single_thread()
def find_likeliest(points: Tensor, responsibilities: Tensor, random_state: np.random.RandomState) -> Likeliest | None:
    """The mixture, with full or diagonal covariances, that is best for samples left out.

    EM begins from the initial responsibilities and from k-means. There is none if the initial clusters speak against
    it as they would in the choice of initial clusters, as rings do.

    Parameters
    ----------
    points : Tensor of shape (N, D)
        Standardized samples, in float64, of which at most :data:`MOST_SAMPLES` are used.
    responsibilities : Tensor of shape (N, K)
    random_state : RandomState

    Returns
    -------
    Likeliest or None
        None of K = 1, of fewer samples, or more features, than covariances allow, and where initial clusters are clear.
    """
    D, K = points.shape[1], responsibilities.shape[1]
    near = is_near(points).nonzero().flatten()
    n_most = min(MOST_SAMPLES, max(int(MOST_WORK / (K * D**2)), 4 * K * (D + 1)))
    some = near[torch.from_numpy(random_state.permutation(len(near))[:n_most])]
    points, responsibilities = points[some], responsibilities[some]
    X, N = points.numpy(), len(some)
    kinds = [kind for kind in ("full", "diag") if K > 1 and _allows(kind, N, D, K)]
    if not kinds:
        return None
    starts = [responsibilities.numpy(), *(np.eye(K)[fit_kmeans(X, K, random_state)[0]] for _ in range(N_KMEANS))]
    found = [mixture for kind in kinds if (mixture := _fit(X, starts, kind)) is not None]
    fold = draw_folds(N, random_state)

    def score_refitted(mixture: Mixture) -> Tensor:
        R = mixture.responsibilities

        def refit(rest: Tensor) -> Tensor:
            some = rest.numpy()
            again = fit_mixture(X[some], R[some], K, mixture.kind, max_iter=AGAIN, tolerance=TOLERANCE)
            return torch.from_numpy(again.responsibilities)

        return score_left_out(points, torch.from_numpy(R), fold, refit, random_state)

    before = score_left_out(points, responsibilities, fold, lambda rest: responsibilities[rest], random_state)
    scored = [Likeliest(points, mixture, score_refitted(mixture) - before) for mixture in found]
    best = max(scored, key=lambda one: float(one.gains.mean()), default=None)
    if best is None or _is_contradicted(best.mixture, responsibilities.argmax(-1).numpy(), X, random_state):
        return None
    return best


def _is_contradicted(
    mixture: Mixture, initial: NDArray[np.intp], points: NDArray[np.float64], random_state: np.random.RandomState
) -> bool:
    """Whether the initial clusters speak against a mixture, more than against one whose samples are drawn from it."""
    K = mixture.responsibilities.shape[1]
    losses = lost_relative_to(mixture.labels, [initial], points, link_points(points), K)
    if not speak_against_mixture(losses):
        return False
    return not crosses_as_expected(Views(points, points), mixture, losses, K, random_state)


def _allows(kind: str, n_samples: int, n_features: int, n_components: int) -> bool:
    if kind == "diag":
        return n_features <= MORE_FEATURES and n_samples >= 2 * LEAST_SAMPLES * n_components
    return 1 < n_features <= MANY_FEATURES and has_samples_for(n_components, n_samples, n_features)


def _fit(points: NDArray[np.float64], starts: list[NDArray[np.float64]], kind: str) -> Mixture | None:
    """The mixture of highest likelihood, if all its components have samples enough."""
    least, K = points.shape[1] + 2 if kind == "full" else LEAST_SAMPLES, starts[0].shape[1]

    def rank(mixture: Mixture) -> tuple[bool, float]:
        return bool(mixture.responsibilities.sum(0).min() >= least), mixture.bound

    best = max(fit_from_each(points, starts, K, kind, max_iter=SHORT), key=rank)
    best = fit_mixture(points, best.responsibilities, K, kind, max_iter=LONG, tolerance=TOLERANCE)
    return best if rank(best)[0] else None
