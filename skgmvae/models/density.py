"""The density of a model of samples, and the posterior of its components, from estimates of log p(x, c)."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from skgmvae.functional import log_mean_exp
from skgmvae.models.contract import Model
from skgmvae.models.importance import PointSets

__all__ = ["add_background", "compute_background_share", "estimate_log_density", "estimate_log_posterior"]

SURE = 8.0  # nats


def estimate_log_density(model: Model, x: Tensor, points: PointSets) -> Tensor:
    """log p(x), (N,), of samples (N, D): the sum over the components, and the background if there is one.

    Zero, exactly, of samples without any value.
    """
    log_density = add_background(model, x, torch.logsumexp(_log_joint(model, x, points), -1))
    missing = model.likelihood.find_missing(x)
    if missing is not None:
        log_density = log_density.masked_fill(missing.all(-1), 0.0)
    return log_density.masked_fill(~model.likelihood.supports(x), -math.inf)


def add_background(model: Model, x: Tensor, log_density: Tensor) -> Tensor:
    """The log-density (N,) of samples (N, D) from that of the components (N,)."""
    if model.background is None:
        return log_density
    points, own, log_jacobian = _log_background(model, x)
    log_jacobian = log_jacobian.to(log_density)
    mixed: Tensor = model.background.mix(log_density + log_jacobian, points, own) - log_jacobian
    return mixed


def compute_background_share(model: Model, x: Tensor, log_density: Tensor) -> Tensor:
    """Posterior probability (N,) of the background of samples (N, D), from the components' log-density (N,)."""
    points, own, log_jacobian = _log_background(model, x)
    mixed = model.background.mix(log_density + log_jacobian.to(log_density), points, own)
    log_share: Tensor = model.background.log_weight + own - mixed
    return log_share.exp()


def _log_background(model: Model, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Samples (N, D), standardized; the background's log-density (N,) of these; and log abs(dx / d standardized x)."""
    likelihood = model.likelihood
    points = likelihood.standardize(x, torch.float64)
    bounded = model.background.bound(points)
    log_jacobian = likelihood.log_jacobian(points)
    own = model.background(bounded) + (log_jacobian - likelihood.log_jacobian(bounded))
    if model.background.outputs is not None:
        outputs = F.pad(torch.atleast_2d(model.background.outputs), (model.background.n_gaussian, 0)).to(points)
        # of stacked components, which have dispersions of their own, the mean
        own = own + log_mean_exp(likelihood.log_prob_of_heads(points, torch.zeros_like(outputs[:1]), outputs), -1)
    return points, own, log_jacobian


def estimate_log_posterior(model: Model, x: Tensor, points: PointSets, noise: Tensor) -> Tensor:
    """log p(c|x) = log p(x, c) − log p(x), (N, K), of samples (N, D).

    For many features, where the networks are usually large, samples for which q(c|x) leaves no doubt keep it: their
    most probable component is ``SURE`` nats ahead. ``noise`` (S, ...) is that of ``log_responsibilities``.
    """
    points = points._replace(is_of_posterior=True)
    if points.refines or model.n_components == 1:
        return _normalize(_log_joint(model, x, points), model.log_weights())
    log_posterior = model.log_responsibilities(x, noise)
    best = log_posterior.topk(2, -1).values
    unsure = ~(best[:, 0] - best[:, 1] >= SURE)  # or not a number
    if bool(unsure.any()):
        log_posterior[unsure] = _normalize(_log_joint(model, x[unsure], points), model.log_weights())
    return log_posterior


def _log_joint(model: Model, x: Tensor, points: PointSets) -> Tensor:
    """log p(x, c), (n, K), of samples (n, D); log π_c, exactly, of those without any value."""
    log_joint, missing = model.log_joint(x, points), model.likelihood.find_missing(x)
    if missing is None:
        return log_joint
    return torch.where(missing.all(-1, keepdim=True), model.log_weights(), log_joint)


def _normalize(log_joint: Tensor, log_weights: Tensor) -> Tensor:
    """log p(c|x) from log p(x, c), both (n, K); that of samples too far for a density are the weights (K,)."""
    has_density = log_joint.amax(-1, keepdim=True) > -math.inf
    return torch.where(has_density, torch.log_softmax(log_joint, -1), log_weights)
