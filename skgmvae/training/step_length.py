"""How far one pass over a block of a stream goes."""

import numpy as np
import torch
from torch import Tensor

from skgmvae.data.training_data import TrainingData
from skgmvae.training.held_out import MOST_CHECKED, HeldOut
from skgmvae.training.net import ELBONet

__all__ = ["shorten_pass"]

SHARES = (1.0, 0.3, 0.1, 0.03, 0.01)  # of the way that are tried


@torch.no_grad()
def shorten_pass(net: ELBONet, before: dict[str, Tensor], data: TrainingData) -> None:
    """Go back towards the state before a pass over a block, as far as the density of the block's samples asks for.

    A few steps of the usual size, too few to settle, may leave a density that is far worse, in small tables above all.
    """
    model = net.module_
    rows = np.unique(np.linspace(0, len(data) - 1, min(len(data), MOST_CHECKED)).astype(np.int64))
    block = HeldOut(data.part(rows), torch.zeros(len(rows), model.n_components), *model.noise_shape)
    after = {name: value.clone() for name, value in model.state_dict().items() if value.is_floating_point()}

    def go(share: float) -> float:
        for name, value in model.state_dict().items():
            if name in after:
                value.copy_(torch.lerp(before[name].to(value), after[name], share))
        return float(block.score(model, roughly=True).marginal.mean())

    scores = {share: go(share) for share in (*SHARES, 0.0)}
    go(max(scores, key=scores.__getitem__))
