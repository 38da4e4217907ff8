"""Draws from stacked likelihoods where every sample is of one component."""

from typing import Any

import torch
from torch import Tensor

from skgmvae.models.stacked import lay_out

__all__ = ["draw_own"]


def draw_own(model: Any, z: Tensor, components: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draws of x | z, c and their means E[x|z], each (N, D), at z (N, L) of components (N,).

    Parameters
    ----------
    model : VAEEM
        Its ``decode`` and its likelihood are used.
    z : Tensor of shape (N, L)
    components : Tensor of shape (N,)
    generator : torch.Generator
    """
    place, tables = lay_out(components, model.n_components)
    all_draws, all_means = [], []
    for height, rows in tables:
        at = place[rows], components[rows]
        table = z.new_zeros(height, model.n_components, model.latent_dim)
        table[at] = z[rows]
        output = model.decode(table)
        all_draws.append(model.likelihood.draw(output, generator)[at])
        all_means.append(model.likelihood.collapse(model.likelihood.mean(output)[at]))
    back = torch.cat([rows for _, rows in tables]).argsort()
    return torch.cat(all_draws)[back], torch.cat(all_means)[back]
