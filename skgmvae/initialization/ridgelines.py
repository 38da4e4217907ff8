"""Whether the components of a Gaussian mixture hang together: its density along the ridgelines between them."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.stats import binom
from torch import Tensor

from skgmvae.models.linear_path import MixtureMoments

__all__ = ["hang_together"]

# nats by which the density may dip between neighbors, and share of the samples that hang together: what lies apart is
# for other clusters, not for other subcomponents
MOST_DIP, LEAST_SHARE, N_STEPS = 3.5, 0.9, 15
# in which samples are counted, in units of the distance of the means; and probability of as few between these by chance
HALF_WIDTH, LEAST_P = 0.15, 1e-3


def hang_together(mixture: MixtureMoments, points: Tensor) -> bool:
    """Whether there are no gaps among the samples (N, D) between the components, but for those of few samples.

    Between neighbors, neither does the density of the mixture dip much, nor are samples clearly rare.
    """
    i, j = np.triu_indices(len(mixture.weights), 1)
    at_means = torch.logsumexp(mixture.log_joint(mixture.means), -1)
    between = torch.logsumexp(mixture.log_joint(_find_ridges(mixture, i, j).flatten(0, 1)), -1)
    dips = torch.minimum(at_means[i], at_means[j]) - between.unflatten(0, (len(i), -1)).amin(-1)
    joined = (dips <= MOST_DIP).numpy()
    own = mixture.log_joint(points).argmax(-1)
    joined[joined] = [not _is_gap(mixture, points, own, *pair) for pair in zip(i[joined], j[joined], strict=True)]
    graph = csr_array((np.ones(joined.sum()), (i[joined], j[joined])), shape=(len(at_means),) * 2)
    pieces = connected_components(graph, directed=False)[1]
    return bool(np.bincount(pieces, weights=mixture.weights.numpy()).max() >= LEAST_SHARE)


def _is_gap(mixture: MixtureMoments, points: Tensor, own: Tensor, i: int, j: int) -> bool:
    """Whether the samples of two components are clearly rarer halfway between these than around the means of both.

    Along the discriminant of two normals of equal covariance, for the most probable components (N,) of the samples.
    """
    m, C, w = mixture.means, mixture.covariances, mixture.weights
    pooled = (w[i] * C[i] + w[j] * C[j]) / (w[i] + w[j])
    direction = torch.linalg.solve(pooled, m[j] - m[i])
    along = (points[(own == i) | (own == j)] - m[i]) @ direction / ((m[j] - m[i]) @ direction)  # 0 and 1 at the means
    left, middle, right = (int(((along - at).abs() < HALF_WIDTH).sum()) for at in (0.0, 0.5, 1.0))
    return all(binom.cdf(middle, middle + side, 0.5) < LEAST_P for side in (left, right))


def _find_ridges(mixture: MixtureMoments, i: NDArray[np.intp], j: NDArray[np.intp]) -> Tensor:
    """Points (n, S, D) between the means of n pairs of components, on the ridgelines.

    These contain all critical points of the mixture of two Gaussians (Ray & Lindsay 2005).
    """
    precisions = torch.linalg.inv(mixture.covariances)
    heights = (precisions @ mixture.means.unsqueeze(-1)).squeeze(-1)
    share = torch.linspace(0.0, 1.0, N_STEPS + 2, dtype=heights.dtype)[1:-1, None]
    combined = torch.lerp(precisions[i].unsqueeze(1), precisions[j].unsqueeze(1), share.unsqueeze(-1))
    ridges: Tensor = torch.linalg.solve(combined, torch.lerp(heights[i].unsqueeze(1), heights[j].unsqueeze(1), share))
    return ridges
