"""How a model is to be initialized, and what it was initialized with."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skgmvae.initialization.given_mixture import MixtureInit
from skgmvae.models.image_encoder import ImageEncoder

__all__ = ["InitConfig", "Initialization", "MakeModel"]

MakeModel: TypeAlias = Callable[..., Any]  # of the subcomponents of the clusters, by default none


@dataclass(frozen=True)
class InitConfig:
    """How a model is initialized.

    Attributes
    ----------
    init_params : str, clusterer or callable
        As the estimator's parameter.
    image_shape : (C, H, W), optional
        If the samples are images: 'auto' then uses their HOG features instead of their pixels.
    labels : ndarray of shape (N, K), optional
        Given responsibilities; a row of zeros has no opinion.
    mixture : MixtureInit
        Given parameters of a mixture of the inputs.
    device : torch.device
        Where representations are computed.
    encoder : ImageEncoder, optional
        The encoder of contrastive features, for 'contrastive'.
    is_pretrained : bool
        Whether the embedding is that of a trained autoencoder; otherwise 'auto' does not use it, if possible.
    for_all_samples : bool
        Whether responsibilities are needed for all samples, or only for the subsample that is clustered.
    max_subcomponents : int
        The most Gaussians of a cluster.
    may_move : bool
        Whether a training may take other clusters for a clearly higher likelihood.
    """

    init_params: Any = "auto"
    image_shape: tuple[int, ...] | None = None
    labels: NDArray[np.float64] | None = None
    mixture: MixtureInit = field(default_factory=MixtureInit)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    encoder: ImageEncoder | None = None
    is_pretrained: bool = True
    for_all_samples: bool = True
    max_subcomponents: int = 1
    may_move: bool = False

    @property
    def is_random(self) -> bool:
        """Whether the initialization is that of the papers, without clusters."""
        return self.labels is None and not self.mixture.is_given and self.init_params == "random"

    @property
    def is_open(self) -> bool:
        """Whether the clusters are for the package to choose."""
        return self.labels is None and not self.mixture.is_given and self.init_params == "auto"


class Initialization(NamedTuple):
    """What a model was initialized with.

    Attributes
    ----------
    name : str
    responsibilities : Tensor of shape (N, K) or None
        None where the model keeps its random weights, or where nobody needs them.
        Of subcomponents, (N, P), where clusters are divided.
    is_random : bool
    model : Model
    """

    name: str
    responsibilities: Tensor | None
    is_random: bool = False
    model: Any = None
