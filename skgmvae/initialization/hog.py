"""Histograms of oriented gradients (HOG) of images, which are robust to small translations and to contrast."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["hog_descriptors"]

N_ORIENTATIONS = 8
N_BLOCKS = 9  # along each side; a cell is two by two blocks, so that cells overlap by half


def hog_descriptors(rows: Tensor, image_shape: Sequence[int]) -> Tensor:
    """Histograms of oriented gradients in overlapping cells of the images.

    A gradient is weighted by its magnitude, which is interpolated between the two nearest orientations. The histograms
    of an image are normalized to sum to one and their square roots are taken, so that Euclidean distances are Hellinger
    distances: descriptors as in SIFT (Lowe 2004) and HOG (Dalal & Triggs 2005), compared as by Arandjelović & Zisserman
    (2012). At each pixel, the channel with the largest gradient is used.

    Parameters
    ----------
    rows : Tensor of shape (n, C·H·W)
        Pixels, channels first, in any unit.
    image_shape : (C, H, W)
        H and W at least 2.

    Returns
    -------
    descriptors : Tensor of shape (n, F)
        Of unit length, or zero for an image without edges. F = 8 · 8 · 8, orientations and cells; fewer for sides below
        9 pixels.
    """
    lengths, turns = _measure_gradients(rows.reshape(-1, *image_shape))
    height, width = (min(N_BLOCKS, side) for side in image_shape[1:])
    cells = []
    for orientation in range(N_ORIENTATIONS):
        away = (turns - orientation).remainder(N_ORIENTATIONS)
        shares = (1.0 - torch.minimum(away, N_ORIENTATIONS - away)).clamp_min(0.0)
        blocks = F.adaptive_avg_pool2d(lengths * shares, (height, width))
        cells.append(F.avg_pool2d(blocks, 2, stride=1))
    histograms = torch.cat(cells, 1).flatten(1)
    totals = histograms.sum(1, keepdim=True)
    return (histograms / torch.where(totals > 0.0, totals, 1.0)).sqrt()


def _measure_gradients(images: Tensor) -> tuple[Tensor, Tensor]:
    """Magnitude (n, 1, H, W) of the largest gradient at each pixel, and its direction in units of the orientations."""
    padded = F.pad(images, (1, 1, 1, 1), mode="replicate")  # no edges where the image ends
    across = padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]
    down = padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]
    lengths, channels = torch.hypot(across, down).max(1, keepdim=True)
    angles = torch.atan2(down.gather(1, channels), across.gather(1, channels))
    return lengths, angles * (N_ORIENTATIONS / (2.0 * math.pi))
