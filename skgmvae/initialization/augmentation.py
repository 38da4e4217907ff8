"""Random image augmentation: rotation, scaling, stretching, shear, translation, brightness, cutout."""

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["augment", "cutout"]

MAX_ROTATION = 0.2  # radians
MAX_SCALING = 0.2
MAX_STRETCH = 0.1  # of width against height
MAX_SHEAR = 0.15
MAX_TRANSLATION = 0.1  # of a side
MAX_BRIGHTNESS = 0.3
MAX_CUTOUT = 2.0 / 7.0  # of a side


def augment(images: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Random transformations of each image (n, C, H, W), drawn uniformly and independently; borders are replicated."""
    n = len(images)
    rotation, scaling, stretch, shear, across, down, brightness = _draw(images, generator, 7, n).unbind()
    cosine, sine = (MAX_ROTATION * rotation).cos(), (MAX_ROTATION * rotation).sin()
    scale, stretched = 1.0 + MAX_SCALING * scaling, 1.0 + MAX_STRETCH * stretch
    # maps coordinates of the result to those of the image, whose sides have length 2
    width = torch.stack([scale * stretched * cosine, MAX_SHEAR * shear - sine, 2.0 * MAX_TRANSLATION * across], 1)
    height = torch.stack([sine, scale / stretched * cosine, 2.0 * MAX_TRANSLATION * down], 1)
    grid = F.affine_grid(torch.stack([width, height], 1), list(images.shape), align_corners=False)
    # clamp to the centers of the outermost pixels: border padding, which not every device supports
    inside = [
        axis.clamp(1.0 / side - 1.0, 1.0 - 1.0 / side)
        for axis, side in zip(grid.unbind(3), images.shape[:1:-1], strict=True)
    ]
    moved = F.grid_sample(images, torch.stack(inside, 3), align_corners=False)
    return cutout(moved * (1.0 + MAX_BRIGHTNESS * brightness)[:, None, None, None], generator)


def cutout(images: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Replace a random rectangle of each image by the mean of each channel; its sides are up to ``MAX_CUTOUT``."""
    inside = []
    for side in images.shape[2:]:
        center, half = _draw(images, generator, 2, len(images), 1).unbind()
        middles = torch.arange(0.5, side, dtype=torch.float32, device=images.device) / side
        inside.append(((1.0 + center) / 2.0 - middles).abs() <= (1.0 + half) / 4.0 * MAX_CUTOUT)
    rows, columns = inside
    covered = (rows[:, :, None] & columns[:, None, :])[:, None]
    return torch.where(covered, images.mean((2, 3), keepdim=True), images)


def _draw(like: Tensor, generator: torch.Generator | None, *shape: int) -> Tensor:
    """Uniform numbers in [-1, 1)."""
    return 2.0 * torch.rand(*shape, generator=generator, dtype=like.dtype, device=like.device) - 1.0
