"""Annealed importance sampling of log p(x), slow and accurate: what faster estimates are measured by."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from skgmvae.functional import log_mean_exp
from skgmvae.models.contract import Model
from skgmvae.models.density import add_background
from skgmvae.models.importance import LatentPosterior
from skgmvae.models.laplace import Proposal
from skgmvae.models.proposals import propose

__all__ = ["anneal_log_density", "anneal_log_joint"]

WIDEN = 2.0  # factor of the standard deviations of the first distribution
ENCODER_SHARE = 0.1  # of q(z|x) in it; chains from where the posterior has no mass are lost
POWER = 2  # of the temperatures, dense where the first distribution is left
N_LEAPFROG = 3
LEAST_JITTER = 0.3  # of the step size, so that no trajectory is a period long
ACCEPTANCE, PACE = 0.9, 0.5  # what step sizes are adapted to, and how fast


class _State(NamedTuple):
    """Points u (n, G, S, U), both log-densities there, (n, G, S), and their gradients, (n, G, S, U)."""

    u: Tensor
    log_first: Tensor
    log_last: Tensor
    first_gradient: Tensor
    last_gradient: Tensor

    def log_density(self, beta: float) -> Tensor:
        """(1 − β) log f_0 + β log f_1, (n, G, S)."""
        return (1.0 - beta) * self.log_first + beta * self.log_last

    def gradient(self, beta: float) -> Tensor:
        """Of the same, (n, G, S, U)."""
        return (1.0 - beta) * self.first_gradient + beta * self.last_gradient


@dataclass(frozen=True)
class _Path:
    """From a mixture of normals f_0 to f_1(u) = p(x, u), or to p(x, u_c, c) for each component with latents of its own.

    G is one, or the number of components.
    """

    posterior: LatentPosterior
    first: Proposal  # (n, G, J)
    scale: Tensor  # (n, G, U, U), a factor of the covariance of the posterior, roughly

    def visit(self, u: Tensor) -> _State:
        """The state at points (n, G, S, U)."""
        u = u.detach().requires_grad_(True)
        log_first = torch.logsumexp(self.first.log_joint(u), -1)
        log_last = self._log_last(u)
        (first_gradient,) = torch.autograd.grad(log_first.sum(), u)
        (last_gradient,) = torch.autograd.grad(log_last.sum(), u)
        return _State(u.detach(), log_first.detach(), log_last.detach(), first_gradient, last_gradient)

    def _log_last(self, u: Tensor) -> Tensor:  # (n, G, S) at (n, G, S, U)
        if self.posterior.has_own_latents:
            return self.posterior.log_joint(u.transpose(1, 2)).transpose(1, 2)
        return torch.logsumexp(self.posterior.log_joint(u.squeeze(1)), -1).unsqueeze(1)


def anneal_log_density(
    model: Model, x: Tensor, *, n_temperatures: int, n_chains: int, generator: torch.Generator
) -> Tensor:
    """log p(x), (N,), of samples (N, D), with the background; see :func:`anneal_log_joint`."""
    log_joint = anneal_log_joint(
        model.posterior(x), n_temperatures=n_temperatures, n_chains=n_chains, generator=generator
    )
    return add_background(model, x, torch.logsumexp(log_joint, -1))


def anneal_log_joint(
    posterior: LatentPosterior, *, n_temperatures: int, n_chains: int, generator: torch.Generator
) -> Tensor:
    """log p(x), (n, 1), summed over components, or log p(x, c), (n, K), where components have their own latents.

    Annealed importance sampling (Neal 2001) along f_β ∝ f_0^(1−β) f_1^β: a chain starts at a draw from f_0, its weight
    is multiplied by the ratio of successive densities, and it is moved by Hamiltonian Monte Carlo at each of them. f_0
    is a mixture of Laplace approximations and of q(z|x), all ``WIDEN`` times as wide. Step sizes are adapted in a first
    run, and constant in the second, so that the mean weight is an unbiased estimate of p(x), whatever the
    chains have missed; that of log p(x) is low by about half its relative variance.

    Parameters
    ----------
    posterior : LatentPosterior
        Of n samples.
    n_temperatures, n_chains : int
    generator : torch.Generator
    """
    path = _make_path(posterior)
    betas = (torch.linspace(0.0, 1.0, n_temperatures + 1, dtype=torch.float64, device="cpu") ** POWER).tolist()
    _, steps = _run(path, betas, n_chains, generator, None)
    log_weights, _ = _run(path, betas, n_chains, generator, steps)
    return log_mean_exp(log_weights, -1)


@torch.no_grad()
def _make_path(posterior: LatentPosterior) -> _Path:
    # f_0, and the shape (n, G, U, U) of the posterior, by its Laplace approximation
    laplace, log_components = propose(posterior, refines=True)
    if log_components is not None:
        laplace = Proposal(*(part.unsqueeze(1) for part in laplace))
    best = laplace.log_shares.argmax(-1)[..., None, None, None].expand(-1, -1, 1, *laplace.factors.shape[-2:])
    factor = laplace.factors.gather(2, best).squeeze(2)
    identity = torch.eye(factor.shape[-1], dtype=factor.dtype, device=factor.device)
    scale = torch.linalg.solve_triangular(factor.mT, identity.expand_as(factor), upper=True)
    # of the components, not quite as sure as the approximation
    shares = laplace.log_shares if log_components is None else torch.log_softmax(0.5 * log_components, -1).unsqueeze(1)
    wide = Proposal(shares, laplace.means, laplace.factors / WIDEN)
    return _Path(posterior, wide.mix(posterior.mean, WIDEN * posterior.deviation, ENCODER_SHARE), scale)


def _run(
    path: _Path, betas: list[float], n_chains: int, generator: torch.Generator, steps: list[Tensor] | None
) -> tuple[Tensor, list[Tensor]]:
    """Log-weights (n, G, S) of the chains, and the step sizes (n, G, 1, 1) at each β; None: adapted on the way."""
    shape = (*path.scale.shape[:2], n_chains, path.scale.shape[-1])
    options: dict[str, Any] = {"dtype": path.scale.dtype, "device": path.scale.device}
    uniform = torch.rand(*shape[:-1], shape[-1] + 1, generator=generator, **options)
    tiny = torch.finfo(uniform.dtype).eps
    state = path.visit(path.first.draw(uniform.clamp(tiny, 1.0 - tiny)))
    log_weights = torch.zeros(shape[:-1], **options)
    step, used = torch.ones(*shape[:2], 1, 1, **options), []
    for i, (before, after) in enumerate(pairwise(betas)):
        log_weights = log_weights + (after - before) * (state.log_last - state.log_first)
        step = step if steps is None else steps[i]
        used.append(step)
        state, acceptance = _move(path, state, after, step, generator)
        step = step * torch.exp(PACE * (acceptance.mean(-1)[..., None, None] - ACCEPTANCE))
    return log_weights, used


def _move(path: _Path, state: _State, beta: float, step: Tensor, generator: torch.Generator) -> tuple[_State, Tensor]:
    """One transition of Hamiltonian Monte Carlo at β, with step sizes (n, G, 1, 1); its acceptance (n, G, S).

    Momenta are of coordinates in which the Laplace approximation of the posterior is standard normal.
    """
    options: dict[str, Any] = {"dtype": state.u.dtype, "device": state.u.device}
    draws = torch.rand(2, *state.u.shape[:-1], generator=generator, **options)
    step = step * (LEAST_JITTER + (1.0 - LEAST_JITTER) * draws[0].unsqueeze(-1))
    momentum = torch.randn(state.u.shape, generator=generator, **options)
    kinetic = 0.5 * momentum.square().sum(-1)
    new = state
    for _ in range(N_LEAPFROG):
        momentum = momentum + 0.5 * step * (new.gradient(beta) @ path.scale)
        new = path.visit(new.u + step * (momentum @ path.scale.mT))
        momentum = momentum + 0.5 * step * (new.gradient(beta) @ path.scale)
    gain = new.log_density(beta) - state.log_density(beta) + kinetic - 0.5 * momentum.square().sum(-1)
    acceptance = torch.nan_to_num(gain.clamp_max(0.0).exp(), nan=0.0)
    accepted = draws[1] < acceptance
    parts = zip(new, state, strict=True)
    kept = (torch.where(accepted if a.dim() == 3 else accepted.unsqueeze(-1), a, b) for a, b in parts)
    return _State(*kept), acceptance
