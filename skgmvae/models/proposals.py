"""Laplace approximations of the posteriors of all components, refined where they matter: proposals for sampling."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from skgmvae.models.laplace import NewtonStep, Proposal, take_newton_step

__all__ = ["Approximation", "approximate", "make_proposal", "propose"]

MOST_MISFIT = 0.02  # nats between an expansion and the density at its maximum that need no further expansion
MAX_REFINEMENTS = 4
MAX_HALVINGS = 4  # of a step that ends lower than it began
FAR_BEHIND = 30.0  # nats below the best component, which a component cannot make up
NEGLIGIBLE, MARGIN = 15.0, 2.0  # nats that suffice where the expansion is accurate, and further ones per misfit
FAR_FROM_ALL = 1e12  # nats, beside which differences between components are lost in rounding
# of the proposal for components of little evidence: by a power of it, so that no two shares are equal
LEAST_SHARE, TEMPERATURE = 0.02, 100.0


class Approximation(NamedTuple):
    """Normals at the maxima of log p(x, u, c), and what they say of log p(x, c).

    Attributes
    ----------
    maximum : Tensor of shape (n, K, U)
    factor : Tensor of shape (n, K, U, U)
        Of the precision.
    log_joint : Tensor of shape (n, K)
        Laplace's log p(x, c).
    is_relevant : Tensor of shape (n, K)
        Which components may have a share of p(x) that is not negligible.
    """

    maximum: Tensor
    factor: Tensor
    log_joint: Tensor
    is_relevant: Tensor


def approximate(posterior: Any, *, refines: bool) -> Approximation:
    """The approximations of some samples' posterior, by a step of Newton's method from the means of q(u|x), or more.

    A step that ends lower than it began is shortened; with ``refines``, further ones follow where it is not enough.
    """
    start = posterior.mean
    expansion = posterior.expand(start)
    step = take_newton_step(expansion, start)
    values = posterior.value(step.maximum)
    too_far = (values < expansion.value) & _matter(step.log_maximum, torch.maximum(values, expansion.value), FAR_BEHIND)
    rows, components = at = too_far.nonzero(as_tuple=True)
    starts = start.expand_as(step.maximum)[at], expansion.value[at]
    maximum, shortened = _shorten(posterior, (rows, components), starts, (step.maximum[at], values[at]))
    step = step._replace(maximum=step.maximum.index_put(at, maximum))
    values = values.index_put(at, shortened)
    for _ in range(MAX_REFINEMENTS if refines else 0):
        rows, components = at = _misfits(values, step).nonzero(as_tuple=True)
        if not len(rows):
            break
        pairs, start = posterior.take_pairs(*at), step.maximum[at].unsqueeze(1)
        again = NewtonStep(*(part.squeeze(1) for part in take_newton_step(pairs.expand(start), start)))
        ends = again.maximum, pairs.value(again.maximum.unsqueeze(1)).squeeze(1)
        maximum, new_values = _shorten(posterior, (rows, components), (start.squeeze(1), values[at]), ends)
        again = again._replace(maximum=maximum)
        step = NewtonStep(*(old.index_put(at, new) for old, new in zip(step, again, strict=True)))
        values = values.index_put(at, new_values)
    # an expansion that promises more than there is would take the share of all others
    found = step.log_integral + values - step.log_maximum
    log_joint = torch.where(found.isfinite(), found, values)
    is_relevant = _misfits(values, step) | _matter(log_joint, log_joint, NEGLIGIBLE)
    is_relevant |= ~(values.abs() < FAR_FROM_ALL).all(-1, keepdim=True)
    return Approximation(step.maximum, step.factor, log_joint, is_relevant)


def propose(posterior: Any, *, refines: bool) -> tuple[Proposal, Tensor | None]:
    """Normals at the maxima of log p(x, u, c): (n, K) of them, or (n, K, 1) if components have their own u.

    Components that share u have a Laplace approximation of log p(c|x), (n, K), too.
    """
    approximation = approximate(posterior, refines=refines)
    log_posterior = None if posterior.has_own_latents else torch.log_softmax(approximation.log_joint, -1)
    return make_proposal(approximation, log_posterior), log_posterior


def make_proposal(approximation: Approximation, log_posterior: Tensor | None) -> Proposal:
    """One normal (n, K, 1) for each component or, with log p(c|x) (n, K), a mixture (n, K) of them."""
    maximum, factor, log_joint, _ = approximation
    if log_posterior is None:
        zero = torch.zeros_like(log_joint)
        return Proposal(zero.unsqueeze(-1), maximum.unsqueeze(-2), factor.unsqueeze(-3))
    others = torch.softmax(log_joint / TEMPERATURE, -1)
    shares = (1.0 - LEAST_SHARE) * log_posterior.exp() + LEAST_SHARE * others
    return Proposal(shares.log(), maximum, factor)


def _shorten(
    posterior: Any, at: tuple[Tensor, Tensor], start: tuple[Tensor, Tensor], end: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Ends of steps of some samples and components, (P,) each: halved while they are lower than where they began.

    Starts and ends are points (P, U) and their values (P,).
    """
    (first, before), (last, values) = start, end
    for _ in range(MAX_HALVINGS):
        low = (values < before).nonzero().flatten()
        if not len(low):
            return last, values
        shorter = 0.5 * (first[low] + last[low])
        there = posterior.take_pairs(at[0][low], at[1][low]).value(shorter.unsqueeze(1)).squeeze(1)
        last, values = last.index_copy(0, low, shorter), values.index_copy(0, low, there)
    is_low = values < before
    return torch.where(is_low.unsqueeze(-1), first, last), torch.where(is_low, before, values)


def _misfits(values: Tensor, step: NewtonStep) -> Tensor:
    """Which expansions, (n, K), differ from the density at their maximum so much that p(c|x) may not be negligible."""
    misfit = (values - step.log_maximum).abs()
    behind = (NEGLIGIBLE + MARGIN * misfit.nan_to_num(FAR_BEHIND)).clamp_max(FAR_BEHIND)
    matters = _matter(torch.maximum(values, step.log_maximum), values, behind)
    return matters & ~(misfit <= MOST_MISFIT)


def _matter(log_joint: Tensor, of_best: Tensor, behind: Tensor | float) -> Tensor:
    """Which components, (n, K), are not so far behind the best."""
    return log_joint > of_best.amax(-1, keepdim=True) - behind
