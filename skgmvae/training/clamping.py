"""The initial responsibilities as clamped ones."""

import torch

from skgmvae.data.batches import ClampedResponsibilities
from skgmvae.data.lazy import empty_or_memmap
from skgmvae.initialization.config import Initialization
from skgmvae.training.config import TrainConfig

__all__ = ["clamp_responsibilities"]

CLAMP_ROWS = 2**17  # at a time
# shares below e^-30 are set to e^-200, which is 0: tiny shares cause denormal gradients, which slow down all products
LEAST_LOG, LOG_OF_NONE = -30.0, -200.0


def clamp_responsibilities(
    init: Initialization, config: TrainConfig, *, has_own_table: bool = False
) -> ClampedResponsibilities | None:
    """The initial responsibilities for the first epochs; none where they are random."""
    if init.is_random or init.responsibilities is None or config.n_clamped == 0:
        return None
    if has_own_table:
        return ClampedResponsibilities(None, config.n_clamped)
    logs = torch.from_numpy(empty_or_memmap(tuple(init.responsibilities.shape)))
    for log_part, part in zip(logs.split(CLAMP_ROWS), init.responsibilities.split(CLAMP_ROWS), strict=True):
        torch.log(part.float(), out=log_part)
        log_part.masked_fill_(log_part < LEAST_LOG, LOG_OF_NONE)
    return ClampedResponsibilities(logs, config.n_clamped)
