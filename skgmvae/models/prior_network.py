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
    has_linear_path : bool, default=False
        Whether a linear map of w for each component, initially zero, is added to the mean.
    """

    __call__: Callable[..., tuple[Tensor, Tensor]]  # forward
    feature_scale = 1.0  # of pickles that have none
    has_slopes = False  # nor these
    slopes: nn.Parameter  # (K, W, L), of the linear path

    def __init__(
        self,
        style_dim: int,
        width: int,
        n_components: int,
        latent_dim: int,
        *,
        feature_scale: float = 1.0,
        has_linear_path: bool = False,
    ) -> None:
        super().__init__()
        self.shape, self.feature_scale = (n_components, latent_dim), feature_scale
        self.hidden = nn.Sequential(unset(nn.Linear, style_dim, width), nn.Tanh())
        self.head = GaussianHead(width, n_components * latent_dim)
        self.has_slopes = has_linear_path
        if has_linear_path:
            self.slopes = nn.Parameter(torch.zeros(n_components, style_dim, latent_dim, dtype=torch.float32))

    def forward(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """μ_c(w) and log σ²_c(w), each of shape (..., K, L), for w of shape (..., W)."""
        mean, log_variance = self.head(self._features(w))
        if self.has_slopes:
            mean = mean + w @ self.slopes.movedim(1, 0).flatten(1)
        return mean.unflatten(-1, self.shape), log_variance.unflatten(-1, self.shape)

    def _features(self, w: Tensor) -> Tensor:
        """Hidden units (..., width) at w (..., W)."""
        features: Tensor = self.feature_scale * self.hidden(w)
        return features

    def take(self, w: Tensor, components: Tensor) -> tuple[Tensor, Tensor]:
        """μ_c(w) and log σ²_c(w), each (P, S, L), at w (P, S, W), of one component (P,) for each of the P."""
        own = _OwnComponents(components, self.shape)
        features = self._features(w)
        mean, log_variance = (own.apply(layer, features) for layer in (self.head.mean, self.head.log_variance))
        if self.has_slopes:
            mean = mean + own.multiply(w, self.slopes)
        return mean, bound_log_variance(self.head, log_variance)

    def differentiate(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """(μ_c(w), log σ²_c(w)), (n, K, 2L), and their derivatives with respect to w, (n, K, W, 2L), at w (n, W)."""
        K, L = self.shape
        features, slopes = self._differentiate_features(w)
        layers = self.head.mean, self.head.log_variance
        moments = torch.stack([layer(features).unflatten(-1, (K, L)) for layer in layers], -2)
        derived = torch.stack([(slopes @ layer.weight.T).unflatten(-1, (K, L)) for layer in layers], -2).transpose(1, 2)
        if self.has_slopes:
            moments = moments + _of_mean(torch.einsum("nw,kwl->nkl", w, self.slopes))
            derived = derived + _of_mean(self.slopes)
        return self._join(moments, derived)

    def differentiate_own(self, w: Tensor, components: Tensor) -> tuple[Tensor, Tensor]:
        """The same of one component (P,) for each w (P, W): (P, 2L) and (P, W, 2L)."""
        own = _OwnComponents(components, self.shape)
        features, slopes = self._differentiate_features(w)
        layers = self.head.mean, self.head.log_variance
        moments = torch.stack([own.apply(layer, features.unsqueeze(1)).squeeze(1) for layer in layers], -2)
        derived = torch.stack([own.apply(layer, slopes, has_bias=False) for layer in layers], -2)
        if self.has_slopes:
            moments = moments + _of_mean(own.multiply(w.unsqueeze(1), self.slopes).squeeze(1))
            derived = derived + _of_mean(self.slopes[components])
        return self._join(moments, derived)

    def _differentiate_features(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden units (n, width) and their derivatives (n, W, width) at w (n, W)."""
        hidden, layer = self.hidden(w), self.hidden[0]
        scales = self.feature_scale * (1.0 - hidden.square())
        return self.feature_scale * hidden, layer.weight.T * scales.unsqueeze(-2)

    def _join(self, moments: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
        """Moments (..., 2, L) and slopes (..., W, 2, L), the log-variances bounded, as (..., 2L) and (..., W, 2L)."""
        mean, log_variance = moments.unbind(-2)
        bounded = bound_log_variance(self.head, log_variance)
        is_free = torch.stack([torch.ones_like(mean, dtype=torch.bool), bounded == log_variance], -2)
        return torch.cat([mean, bounded], -1), (slopes * is_free.unsqueeze(-3)).flatten(-2)

    def initialize_at(
        self, means: Tensor, variances: Tensor, *, slopes: Tensor | None = None, slope: float = INITIAL_PRIOR_SLOPE
    ) -> None:
        """Nearly these means and variances, both (K, L), whatever w; exactly for a ``slope`` of zero.

        Of the linear path, with slopes (K, W, L) of the means.
        """
        if self.has_slopes:
            self.slopes.copy_(torch.zeros_like(self.slopes) if slopes is None else slopes)
        for layer, bias in ((self.head.mean, means), (self.head.log_variance, variances.log())):
            layer.weight.mul_(slope)
            layer.bias.copy_(bias.reshape(-1))

    @property
    def is_linear(self) -> bool:
        """Whether variances are the same whatever w, and means linear."""
        return not any(bool(layer.weight.any()) for layer in (self.head.mean, self.head.log_variance))

    def linear_moments(self) -> tuple[Tensor, Tensor]:
        """Means (K, L) and covariances (K, L, L) of z over w, where they are linear."""
        layers = self.head.mean, self.head.log_variance
        means, log_variances = (layer.bias.unflatten(0, self.shape) for layer in layers)
        covariances = bound_log_variance(self.head, log_variances).exp().diag_embed()
        return means, covariances + self.slopes.mT @ self.slopes if self.has_slopes else covariances

    def reorder(self, order: Tensor) -> None:
        """Component ``order[i]`` becomes component ``i``, for ``order`` (K,)."""
        for layer in (self.head.mean, self.head.log_variance):
            for parameter in (layer.weight, layer.bias):
                take_components(parameter.unflatten(0, self.shape), order)
        if self.has_slopes:
            take_components(self.slopes, order)


def _of_mean(values: Tensor) -> Tensor:
    """Values (..., L) for the mean, and zeros for the log-variance, (..., 2, L)."""
    return torch.stack([values, torch.zeros_like(values)], -2)


class _OwnComponents:
    """Rows of which each belongs to one component (P,), for layers whose outputs are those of K components, L each."""

    def __init__(self, components: Tensor, shape: tuple[int, int]) -> None:
        self.shape, self.order = shape, components.argsort(stable=True)
        self.counts = torch.bincount(components, minlength=shape[0]).tolist()
        self.back = self.order.argsort()

    def apply(self, layer: nn.Linear, values: Tensor, *, has_bias: bool = True) -> Tensor:
        """Outputs (P, S, L) of hidden units (P, S, width), component by component."""
        weights, biases = (parameter.unflatten(0, self.shape) for parameter in (layer.weight, layer.bias))
        parts = zip(values[self.order].split(self.counts), weights, biases, strict=True)
        found = [F.linear(part, weight, bias if has_bias else None) for part, weight, bias in parts]
        return torch.cat(found)[self.back]

    def multiply(self, values: Tensor, maps: Tensor) -> Tensor:
        """Values (P, S, W) times the maps (K, W, L), (P, S, L), component by component."""
        parts = zip(values[self.order].split(self.counts), maps, strict=True)
        return torch.cat([part @ own for part, own in parts])[self.back]
