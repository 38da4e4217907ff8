"""Image encoder for contrastive features: a small residual network."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skgmvae.models.networks import draw_weights, unset

__all__ = ["ImageEncoder", "ResidualBlock"]

FILTERS = (32, 64, 128)  # of the first convolution and of the residual blocks, each of stride 2
N_PROJECTED = 64
MAX_SIDE = 32  # pixels; larger images are reduced to it by averaging


class ResidualBlock(nn.Module):
    """Residual block of two convolutions with batch norm (He et al. 2016), which halves the sides."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            unset(nn.Conv2d, in_channels, out_channels, 3, 2, 1, bias=False),
            nn.BatchNorm2d(out_channels, dtype=torch.float32),
            nn.ReLU(),
            unset(nn.Conv2d, out_channels, out_channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(out_channels, dtype=torch.float32),
        )
        self.shortcut = nn.Sequential(
            unset(nn.Conv2d, in_channels, out_channels, 1, 2, bias=False),
            nn.BatchNorm2d(out_channels, dtype=torch.float32),
        )

    def forward(self, images: Tensor) -> Tensor:
        """From (n, C, H, W) to (n, C', H/2, W/2)."""
        return F.relu(self.residual(images) + self.shortcut(images))


class ImageEncoder(nn.Module):
    """A small residual network; batch norm after the first convolution makes it invariant to the scale of the pixels.

    Parameters
    ----------
    image_shape : (C, H, W)
    generator : torch.Generator, optional
        For the initial weights; None: torch's global generator.
    """

    def __init__(self, image_shape: Sequence[int], generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.image_shape = tuple(image_shape)
        first = FILTERS[0]
        pooled = [min(side, MAX_SIDE) for side in image_shape[1:]]
        self.widest_layer = max(math.prod(image_shape), first * math.prod(math.ceil(side / 2) for side in pooled))
        self.body = nn.Sequential(
            unset(nn.Conv2d, image_shape[0], first, 5, 2, 2, bias=False),
            nn.BatchNorm2d(first, dtype=torch.float32),
            nn.ReLU(),
            *(ResidualBlock(*sizes) for sizes in pairwise(FILTERS)),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        width = FILTERS[-1]
        self.hidden = unset(nn.Linear, width, width)
        self.output = unset(nn.Linear, width, N_PROJECTED)
        draw_weights(self, generator)
        for parameter in self.parameters():
            if parameter.dim() == 4:  # channels last, as the images: a third faster on a CPU
                parameter.data = parameter.data.to(memory_format=torch.channels_last)

    def as_images(self, rows: Tensor) -> Tensor:
        """Rows (n, C·H·W) as images (n, C, h, w) of at most ``MAX_SIDE``, in the dtype of the network."""
        images = rows.to(self.output.weight.dtype).view(-1, *self.image_shape)
        _, height, width = self.image_shape
        if max(height, width) <= MAX_SIDE:
            return images
        return F.adaptive_avg_pool2d(images, (min(height, MAX_SIDE), min(width, MAX_SIDE)))

    def forward(self, images: Tensor) -> Tensor:
        """Projections (n, P) of images (n, C, h, w), for training only; the features are better for clustering."""
        features = self.body(images.to(memory_format=torch.channels_last))
        projections: Tensor = self.output(F.relu(self.hidden(features)))
        return projections

    def embed(self, rows: Tensor) -> Tensor:
        """Features (n, F) of rows (n, C·H·W), with unit norm."""
        images = self.as_images(rows).to(memory_format=torch.channels_last)
        return F.normalize(self.body(images), dim=1)
