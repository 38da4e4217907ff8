"""The network of the GMVAE's prior p(z | c, w)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skgmvae.models.contract import take_components
from skgmvae.models.networks import GaussianHead, bound_log_variance, unset

__all__ = ["PriorNetwork"]

# the prior network begins almost constant in w: its output weights times this
INITIAL_PRIOR_SLOPE = 0.1


class PriorNetwork(nn.Module):
    """β: from w to the means and log-variances of all K components, in one pass (table A.2).

    Parameters
    ----------
    style_dim : int
        W.
    width : int
        Units of the one hidden layer, with tanh.
    n_components, latent_dim : int
        K and L.
    feature_scale : float, default=1.0
        Factor of the hidden units. As a step of Adam changes every weight by as much, whatever its gradient, it limits
        how fast the outputs change.
    """

    __call__: Callable[..., tuple[Tensor, Tensor]]  # forward
    feature_scale = 1.0  # of pickles that have none

    def __init__(
        self, style_dim: int, width: int, n_components: int, latent_dim: int, *, feature_scale: float = 1.0
    ) -> None:
        super().__init__()
        self.shape, self.feature_scale = (n_components, latent_dim), feature_scale
        self.hidden = nn.Sequential(unset(nn.Linear, style_dim, width), nn.Tanh())
        self.head = GaussianHead(width, n_components * latent_dim)

    def forward(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """μ_c(w) and log σ²_c(w), each of shape (..., K, L), for w of shape (..., W)."""
        mean, log_variance = self.head(self._features(w))
        return mean.unflatten(-1, self.shape), log_variance.unflatten(-1, self.shape)

    def _features(self, w: Tensor) -> Tensor:
        """Hidden units (..., width) at w (..., W)."""
        features: Tensor = self.feature_scale * self.hidden(w)
        return features

    def take(self, w: Tensor, components: Tensor) -> tuple[Tensor, Tensor]:
        """μ_c(w) and log σ²_c(w), each (P, S, L), at w (P, S, W), of one component (P,) for each of the P."""
        order = components.argsort(stable=True)
        counts = torch.bincount(components, minlength=self.shape[0]).tolist()
        parts, back = self._features(w)[order].split(counts), order.argsort()

        def apply(layer: nn.Linear) -> Tensor:
            """Outputs (P, S, L), component by component."""
            weights, biases = (parameter.unflatten(0, self.shape) for parameter in (layer.weight, layer.bias))
            return torch.cat([F.linear(*each) for each in zip(parts, weights, biases, strict=True)])[back]

        return apply(self.head.mean), bound_log_variance(self.head, apply(self.head.log_variance))

    def initialize_at(self, means: Tensor, variances: Tensor, *, slope: float = INITIAL_PRIOR_SLOPE) -> None:
        """Nearly these means and variances, both (K, L), whatever w; exactly for a ``slope`` of zero."""
        for layer, bias in ((self.head.mean, means), (self.head.log_variance, variances.log())):
            layer.weight.mul_(slope)
            layer.bias.copy_(bias.reshape(-1))

    @property
    def is_constant(self) -> bool:
        """Whether means and variances are the same whatever w."""
        return not any(bool(layer.weight.any()) for layer in (self.head.mean, self.head.log_variance))

    def reorder(self, order: Tensor) -> None:
        """Component ``order[i]`` becomes component ``i``, for ``order`` (K,)."""
        for layer in (self.head.mean, self.head.log_variance):
            for parameter in (layer.weight, layer.bias):
                take_components(parameter.unflatten(0, self.shape), order)
