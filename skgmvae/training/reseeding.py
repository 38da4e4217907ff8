"""Components of VAE-EM that have lost their samples are reseeded with samples of another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from skgmvae._progress import LOGGER
from skgmvae.functional import noise_like

if TYPE_CHECKING:
    from skgmvae.training.em import EMNet

__all__ = ["copy_component", "reseed_empty_components"]

PERTURBATION = 0.01  # relative, of the weights that a reseeded component copies from another
RESEEDED = "Iteration %d: component %d lost its samples; reseeded with half of component %d"


@torch.no_grad()
def reseed_empty_components(net: EMNet) -> None:
    """Reseed each component that has lost its samples with half of the largest component."""
    model, e_step = net.module_, net.e_step_
    for component in (e_step.responsibilities.sum(0) < net.em.min_rows).nonzero().flatten().tolist():
        donor = int(e_step.responsibilities.sum(0).argmax())
        if net.n_reseeds_[component] < net.em.max_reseeds and e_step.give_worst_half(donor, component):
            copy_component(net, donor, component)
            net.n_reseeds_[component] += 1
            model.reseeded.append((len(net.history), component))
            LOGGER.info(RESEEDED, len(net.history), component, donor)


def copy_component(net: EMNet, donor: int, component: int) -> None:
    """Copy the weights of ``donor`` to ``component``, with a small perturbation; reset its state in the optimizer."""
    blocks = net.module_.blocks
    for group in net.optimizer_.param_groups:
        for parameter in group["params"]:
            weights = blocks(parameter)
            noise = noise_like(weights[donor], 1, generator=net._stream().on(weights.device))
            weights[component] = weights[donor] * (1.0 + PERTURBATION * noise)
            for value in net.optimizer_.state.get(parameter, {}).values():  # none after an undone epoch
                if value.shape == parameter.shape:
                    blocks(value)[component] = 0.0
