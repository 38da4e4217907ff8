"""Models with a linear path begin as Gaussian mixtures: of the clusters, or of several Gaussians for each."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from skgmvae._evaluation import cast_networks
from skgmvae.data.lazy import Samples
from skgmvae.initialization.config import InitConfig, MakeModel
from skgmvae.initialization.divide_cluster import LEAST_GAIN
from skgmvae.initialization.likeliest import find_likeliest
from skgmvae.initialization.moments import estimate_mixture, weigh_components
from skgmvae.initialization.observed_moments import estimate_observed_mixture
from skgmvae.initialization.subcomponents import Division, find_division
from skgmvae.models.missing import find_missing
from skgmvae.models.subcomponents import join_subcomponents
from skgmvae.runtime import single_thread

__all__ = ["initialize_linear", "initialize_mixture"]

LEAST_LOG = -1e4  # nats, of a density: a sample far from all components does not decide


def initialize_mixture(
    make_model: MakeModel,
    model: Any,
    points: Tensor,
    samples: Samples,
    responsibilities: Tensor,
    config: InitConfig,
    random_state: np.random.RandomState,
) -> tuple[Any, Tensor, Division | None]:
    """The model as a mixture of the clusters (N, K); its responsibilities (N, P); how the clusters are divided."""
    state, continuous = random_state.get_state(), points[:, : points.shape[1] - model.likelihood.n_heads]

    def initialize(model: Any, shares: Tensor) -> None:
        random_state.set_state(state)  # as if no subcomponents had been looked for
        initialize_linear(model, points, shares, random_state)

    division = _find_division(model, continuous, responsibilities, config, random_state)
    if division is None:
        initialize(model, responsibilities)
        return model, responsibilities, None
    is_exact, score = model.has_full_covariances and model.latent_dim >= continuous.shape[1], -np.inf
    if not is_exact:
        initialize(model, responsibilities)
        score = _score_joint(model, samples, responsibilities)
    divided, shares = make_model(division.counts), division.divide(continuous, responsibilities)
    initialize(divided, shares)
    if is_exact or _score_joint(divided, samples, responsibilities) > score:
        return divided, shares, division
    whole = make_model()  # the other one had the same networks
    initialize(whole, responsibilities)
    return whole, responsibilities, None


def _find_division(
    model: Any, points: Tensor, responsibilities: Tensor, config: InitConfig, random_state: np.random.RandomState
) -> Division | None:
    """How the clusters are divided, by the continuous columns (N, G)."""
    if config.max_subcomponents == 1:
        return None
    division = find_division(points, responsibilities, config.max_subcomponents, random_state)
    if division is None or not (config.may_move and model.follows_likelihood) or model.likelihood.n_heads:
        return division
    # other clusters, one Gaussian each, may describe the samples about as well: a training will find them
    likeliest = find_likeliest(points.double(), responsibilities.double(), random_state)
    if likeliest is None:
        return division
    gain = division.estimate_gain(points, responsibilities, random_state)
    return None if float(likeliest.gains.mean()) > gain - LEAST_GAIN else division


def _score_joint(model: Any, samples: Samples, responsibilities: Tensor) -> float:
    """Mean of log p(x, c) of samples (N, D) and their clusters (N, K) under a model that is a Gaussian mixture."""
    rows = torch.from_numpy(np.array(samples[: len(samples)], np.float64))
    with torch.no_grad():
        log_joint = join_subcomponents(model.log_joint(rows, None), model.subcomponents)
    return float((responsibilities * log_joint.clamp_min(LEAST_LOG)).sum(-1).mean())


@single_thread()
def initialize_linear(
    model: Any, points: Tensor, responsibilities: Tensor, random_state: np.random.RandomState
) -> None:
    """Let the model, in float64, be the mixture of standardized samples (N, D) with responsibilities (N, K)."""
    likelihood, points = cast_networks(model, torch.float64).likelihood, points.double()
    model.background.fit(points, likelihood.gaussian.is_log)
    continuous = points[:, : points.shape[1] - likelihood.n_heads]
    if continuous.shape[1] == 0:
        model.initialize_as(weigh_components(responsibilities))
    else:
        estimate = estimate_mixture if find_missing(continuous) is None else estimate_observed_mixture
        model.initialize_as(estimate(continuous, responsibilities, random_state, **model.mixture_options))
    if likelihood.n_heads:
        model.background.outputs.copy_(likelihood.estimate_heads(points, points.new_ones(len(points), 1))[0])
        model.initialize_heads(likelihood.estimate_heads(points, responsibilities))
    if hasattr(model, "initial_responsibilities"):
        model.initial_responsibilities = responsibilities  # for its first M-steps
