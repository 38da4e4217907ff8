"""The posteriors of latent variables that all components share, as importance sampling sees them."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from skgmvae.functional import LOG_2PI, log_normal, log_normal_full, log_standard_normal
from skgmvae.models.laplace import Expansion, add_expansions, expand_normal

__all__ = ["BasePosterior", "GMVAEPosterior", "VaDEPosterior"]


@dataclass(frozen=True)
class BasePosterior:
    """See :class:`~skgmvae.models.importance.LatentPosterior`."""

    has_own_latents: ClassVar[bool] = False

    model: Any
    standardized: Tensor
    mean: Tensor
    deviation: Tensor

    def take(self, rows: Tensor) -> Self:
        """The posterior of some of the samples, by a mask or indices (n,)."""
        parts = {name: getattr(self, name)[rows] for name in ("standardized", "mean", "deviation")}
        return replace(self, **parts)


@dataclass(frozen=True)
class _SharedPosterior(BasePosterior):
    """Of latent variables that all components share."""

    components: Tensor | None = None  # J for each sample, (n, J); None: all

    def take(self, rows: Tensor) -> Self:
        """The posterior of some of the samples, by a mask or indices (n,)."""
        some = super().take(rows)
        return some if self.components is None else replace(some, components=self.components[rows])

    def take_pairs(self, rows: Tensor, components: Tensor) -> Self:
        """A component each of some samples, (P,): as if it were the only one, K = 1."""
        return replace(self.take(rows), components=components.unsqueeze(1))

    def restrict(self, components: Tensor) -> Self:
        """The same as if each sample had only its own J components, (n, J)."""
        return replace(self, components=components)

    def _select(self, values: Tensor) -> Tensor:
        """Values (K, ...) of the components, or (n, J, ...) of those of each sample."""
        return values if self.components is None else values[self.components]

    def _of_components(self) -> Tensor | None:
        """What is added to the decoder's output in each component, (K, D) or (n, 1, D)."""
        outputs = self.model.autoencoder.outputs_of_components()
        return None if outputs is None else self._select(outputs)

    def _expand_likelihood(self, z: Tensor) -> Expansion:
        """log p(x|z, c) to second order around z (n, 1 or K, L)."""
        expansion: Expansion = self.model.autoencoder.expand(self.standardized, z, self._of_components())
        return expansion

    def _log_likelihood(self, z: Tensor) -> Tensor:
        """log p(x|z, c), (n, K), at z (n, K, L)."""
        return self._log_prob(self._decode_own(z))

    def _decode_own(self, z: Tensor) -> Tensor:
        """Decoder output (n, 1 or K, D) of the components, each at its own z (n, 1 or K, L)."""
        output: Tensor = self.model.autoencoder.decode(z)
        of_components = self._of_components()
        return output if of_components is None else output + of_components

    def _log_likelihoods(self, z: Tensor) -> Tensor:
        """log p(x|z, c), (n, S, 1 or K), at z (n, S, L)."""
        of_components = self._of_components()
        if of_components is None:
            return self._log_prob(self._decode_all(z))
        rows, output = self.standardized.unsqueeze(1), self.model.autoencoder.decode(z)
        log_prob: Tensor = self.model.likelihood.log_prob(rows.expand_as(output), output, of_components)
        return log_prob

    def _decode_all(self, z: Tensor) -> Tensor:
        """Decoder output (n, S, 1 or K, D) of every component at z (n, S, L)."""
        output: Tensor = self.model.autoencoder.decode(z).unsqueeze(2)
        of_components = self._of_components()
        if of_components is None:
            return output
        return output + (of_components if of_components.dim() == 2 else of_components.unsqueeze(1))

    def _log_prob(self, output: Tensor) -> Tensor:
        """log p(x|z, c), (n, ...), for decoder outputs (n, ..., D)."""
        rows = self.standardized[(slice(None), *[None] * (output.dim() - 2))].expand_as(output)
        log_prob: Tensor = self.model.likelihood.log_prob(rows, output)
        return log_prob


class VaDEPosterior(_SharedPosterior):
    """p(z, c | x) of standardized samples (n, D)."""

    def expand(self, u: Tensor) -> Expansion:
        """log p(x, z, c), (n, K), to second order around z (n, 1 or K, L)."""
        return add_expansions(self._expand_prior(u), self._expand_likelihood(u))

    def value(self, u: Tensor) -> Tensor:
        """log p(x, z, c), (n, K), at z (n, K, L)."""
        return self._expand_prior(u).value + self._log_likelihood(u)

    def decode_own(self, u: Tensor) -> Tensor:
        """Decoder output (n, 1 or K, D) of the components, each at its own z (n, 1 or K, L)."""
        return self._decode_own(u)

    def decode_all(self, u: Tensor) -> Tensor:
        """Decoder output (n, S, 1 or K, D) of every component at z (n, S, L)."""
        return self._decode_all(u)

    def _expand_prior(self, u: Tensor) -> Expansion:
        """log π_c p(z|c), (n, K), around z (n, 1 or K, L)."""
        model = self.model
        factor = self._select(model.precision_factor().expand(model.n_components, -1, -1))
        residual = (factor @ (u - self._select(model.means)).unsqueeze(-1)).squeeze(-1)
        prior = expand_normal(residual, factor)
        return prior._replace(value=prior.value + self._select(model.log_weights()))

    def log_joint(self, u: Tensor) -> Tensor:
        """log p(x, z, c), (n, S, K), at z (n, S, L)."""
        model = self.model
        if self.components is None:
            log_prior = log_normal_full(u, model.means, model.precision_factor()) + model.log_weights()
        else:
            log_prior = self._log_prior_of(u)
        joint: Tensor = self._log_likelihoods(u) + log_prior
        return joint

    def _log_prior_of(self, u: Tensor) -> Tensor:
        """log π_c p(z|c), (n, S, J), of the J components of each sample, at z (n, S, L)."""
        model = self.model
        factor = self._select(model.precision_factor().expand(model.n_components, -1, -1))  # (n, J, L, L)
        squares = ((u.unsqueeze(1) - self._select(model.means).unsqueeze(-2)) @ factor.mT).square().sum(-1)
        normalizers = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1) - 0.5 * u.shape[-1] * LOG_2PI
        return (self._select(model.log_weights()) + normalizers).unsqueeze(1) - 0.5 * squares.mT


class GMVAEPosterior(_SharedPosterior):
    """p(z, w, c | x) of standardized samples (n, D)."""

    def expand(self, u: Tensor) -> Expansion:
        """log p(x, z, w, c), (n, K), to second order around (z, w) (n, 1 or K, L + W)."""
        z, w = self._split(u)
        value, gradient, precision = self._expand_likelihood(z)
        W = self.model.style_dim
        padded = Expansion(value, F.pad(gradient, (0, W)), F.pad(precision, (0, W, 0, W)))
        return add_expansions(self._expand_prior(z, w), padded)

    def value(self, u: Tensor) -> Tensor:
        """log p(x, z, w, c), (n, K), at (z, w) (n, K, L + W)."""
        z, w = self._split(u)
        mean, log_variance = self._own_moments(w).chunk(2, -1)
        log_prior = self._select(self.model.log_weights()) + log_normal(z, mean, log_variance) + log_standard_normal(w)
        value: Tensor = self._log_likelihood(z) + log_prior
        return value

    def decode_own(self, u: Tensor) -> Tensor:
        """Decoder output (n, 1 or K, D) of the components, each at its own (z, w) (n, 1 or K, L + W)."""
        return self._decode_own(self._split(u)[0])

    def decode_all(self, u: Tensor) -> Tensor:
        """Decoder output (n, S, 1 or K, D) of every component at (z, w) (n, S, L + W)."""
        return self._decode_all(self._split(u)[0])

    def _split(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """z (..., L) and w (..., W) of u (..., L + W)."""
        z, w = u.split([self.model.latent_dim, self.model.style_dim], -1)
        return z, w

    def _own_moments(self, w: Tensor) -> Tensor:
        """μ_c(w) and log σ²_c(w) of each component at its own w (n, J, W), or at each of (n, J, S, W): (..., 2L)."""
        components = self._list_components(w)
        moments = self.model.prior.take(w.reshape(components.numel(), -1, w.shape[-1]), components.reshape(-1))
        return torch.cat(moments, -1).reshape(*w.shape[:-1], -1)

    def _list_components(self, w: Tensor) -> Tensor:
        """The components (n, J) that w (n, J, ...) belongs to: those of the samples, or all."""
        if self.components is not None:
            return self.components
        return torch.arange(w.shape[1], device=w.device).expand(len(w), -1)

    def _expand_prior(self, z: Tensor, w: Tensor) -> Expansion:
        """log π_c p(z|w, c) p(w), (n, K), around z (n, 1 or K, L) and w (n, 1 or K, W)."""
        model = self.model
        if self.components is None and w.shape[1] == 1:  # the same w for all components
            moments, slopes = model.prior.differentiate(w.squeeze(1))
        else:
            found = model.prior.differentiate_own(w.flatten(0, 1), self._list_components(w).flatten())
            moments, slopes = (each.unflatten(0, w.shape[:2]) for each in found)
        (mean, log_variance), (mean_slope, log_slope) = (each.chunk(2, -1) for each in (moments, slopes))
        scale = torch.exp(-0.5 * log_variance)  # (n, K, L); the slopes are (n, K, W, L)
        residual = (z - mean) * scale
        # of the residual with respect to (z, w), (n, K, L + W, L); σ² enters by its Fisher information
        of_residual = torch.cat([scale.diag_embed(), -mean_slope * scale.unsqueeze(-2)], -2)
        of_log = F.pad(log_slope, (0, 0, model.latent_dim, 0))
        pull = 0.5 * (of_log @ (residual.square() - 1.0).unsqueeze(-1)) - of_residual @ residual.unsqueeze(-1)
        of_w = F.pad(w.expand(-1, mean.shape[1], -1), (model.latent_dim, 0))
        ones = F.pad(torch.ones_like(w[0, 0]), (model.latent_dim, 0)).diag_embed()
        log_weights = self._select(model.log_weights())
        return Expansion(
            log_weights + log_normal(z, mean, log_variance) + log_standard_normal(w),
            pull.squeeze(-1) - of_w,
            of_residual @ of_residual.mT + 0.5 * of_log @ of_log.mT + ones,
        )

    def log_joint(self, u: Tensor) -> Tensor:
        """log p(x, z, w, c), (n, S, K), at (z, w) (n, S, L + W)."""
        z, w = self._split(u)
        if self.components is None:
            log_prior = self.model.log_weights() + log_normal(z.unsqueeze(-2), *self.model.prior(w))
        else:
            J = self.components.shape[1]
            mean, log_variance = self._own_moments(w.unsqueeze(1).expand(-1, J, -1, -1)).chunk(2, -1)
            log_normals = log_normal(z.unsqueeze(1), mean, log_variance).mT  # (n, S, J)
            log_prior = self._select(self.model.log_weights()).unsqueeze(1) + log_normals
        joint: Tensor = self._log_likelihoods(z) + log_standard_normal(w).unsqueeze(-1) + log_prior
        return joint
