"""The posteriors of the models' latent variables, as importance sampling sees them."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from skgmvae.functional import log_normal, log_normal_full, log_standard_normal
from skgmvae.models.laplace import Expansion, add_expansions, differentiate, expand_likelihood, expand_normal

__all__ = ["GMVAEPosterior", "VAEEMPosterior", "VaDEPosterior"]


@dataclass(frozen=True)
class _Posterior:
    """See :class:`~skgmvae.models.importance.LatentPosterior`."""

    has_own_latents: ClassVar[bool] = False

    model: Any
    standardized: Tensor
    mean: Tensor
    deviation: Tensor

    def take(self, rows: Tensor) -> Self:
        """The posterior of some of the samples, by a mask (n,)."""
        parts = {name: getattr(self, name)[rows] for name in ("standardized", "mean", "deviation")}
        return replace(self, **parts)


class VaDEPosterior(_Posterior):
    """p(z, c | x) of standardized samples (n, D)."""

    def expand(self, u: Tensor) -> Expansion:
        """log p(x, z, c), (n, K), to second order around z (n, 1 or K, L)."""
        model = self.model
        factor = model.precision_factor().expand(model.n_components, -1, -1)
        residual = (factor @ (u - model.means).unsqueeze(-1)).squeeze(-1)
        prior = expand_normal(residual, factor)
        prior = prior._replace(value=prior.value + model.log_weights())
        return add_expansions(prior, model.autoencoder.expand(self.standardized, u))

    def log_joint(self, u: Tensor) -> Tensor:
        """log p(x, z, c), (n, S, K), at z (n, S, L)."""
        model = self.model
        log_normals = log_normal_full(u, model.means, model.precision_factor())
        log_likelihood = model.autoencoder.log_likelihood(self.standardized.unsqueeze(1).expand(-1, u.shape[1], -1), u)
        joint: Tensor = log_likelihood.unsqueeze(-1) + model.log_weights() + log_normals
        return joint


class GMVAEPosterior(_Posterior):
    """p(z, w, c | x) of standardized samples (n, D)."""

    def expand(self, u: Tensor) -> Expansion:
        """log p(x, z, w, c), (n, K), to second order around (z, w) (n, 1 or K, L + W)."""
        z, w = u.split([self.model.latent_dim, self.model.style_dim], -1)
        value, gradient, precision = self.model.autoencoder.expand(self.standardized, z)
        W = self.model.style_dim
        padded = Expansion(value, F.pad(gradient, (0, W)), F.pad(precision, (0, W, 0, W)))
        return add_expansions(self._expand_prior(z, w), padded)

    def _expand_prior(self, z: Tensor, w: Tensor) -> Expansion:
        """log π_c p(z|w, c) p(w), (n, K), around z (n, 1 or K, L) and w (n, 1 or K, W)."""
        model = self.model
        moments, slopes = differentiate(lambda w: torch.cat(model.prior(w), -1), w)  # (n, 1 or K, K, 2L)
        if w.shape[1] == 1:
            moments, slopes = moments.squeeze(1), slopes.squeeze(1)
        else:  # of each component at its own w
            moments = moments.diagonal(dim1=1, dim2=2).mT
            slopes = slopes.diagonal(dim1=1, dim2=2).movedim(-1, 1)
        (mean, log_variance), (mean_slope, log_slope) = (each.chunk(2, -1) for each in (moments, slopes))
        scale = torch.exp(-0.5 * log_variance)  # (n, K, L); the slopes are (n, K, W, L)
        residual = (z - mean) * scale
        # of the residual with respect to (z, w), (n, K, L + W, L); σ² enters by its Fisher information
        of_residual = torch.cat([scale.diag_embed(), -mean_slope * scale.unsqueeze(-2)], -2)
        of_log = F.pad(log_slope, (0, 0, model.latent_dim, 0))
        pull = 0.5 * (of_log @ (residual.square() - 1.0).unsqueeze(-1)) - of_residual @ residual.unsqueeze(-1)
        of_w = F.pad(w.expand(-1, mean.shape[1], -1), (model.latent_dim, 0))
        ones = F.pad(torch.ones_like(w[0, 0]), (model.latent_dim, 0)).diag_embed()
        return Expansion(
            model.log_weights() + log_normal(z, mean, log_variance) + log_standard_normal(w),
            pull.squeeze(-1) - of_w,
            of_residual @ of_residual.mT + 0.5 * of_log @ of_log.mT + ones,
        )

    def log_joint(self, u: Tensor) -> Tensor:
        """log p(x, z, w, c), (n, S, K), at (z, w) (n, S, L + W)."""
        model = self.model
        z, w = u.split([model.latent_dim, model.style_dim], -1)
        log_likelihood = model.autoencoder.log_likelihood(self.standardized.unsqueeze(1).expand(-1, u.shape[1], -1), z)
        log_prior = model.log_weights() + log_normal(z.unsqueeze(-2), *model.prior(w))
        joint: Tensor = (log_likelihood + log_standard_normal(w)).unsqueeze(-1) + log_prior
        return joint


class VAEEMPosterior(_Posterior):
    """p(z, c | x) of standardized samples (n, K, D)."""

    has_own_latents = True

    def expand(self, u: Tensor) -> Expansion:
        """log p(x, z, c), (n, K), to second order around z_c (n, K, L)."""
        model = self.model
        output, jacobian = differentiate(model.decode, u)
        slope, curvature = model.likelihood.differentiate(self.standardized, output)
        log_likelihood = model.likelihood.log_prob(self.standardized, output)
        identity = torch.eye(u.shape[-1], dtype=u.dtype, device=u.device)
        prior = Expansion(model.log_weights() + log_standard_normal(u), -u, identity)
        return add_expansions(prior, expand_likelihood(log_likelihood, slope, curvature, jacobian))

    def log_joint(self, u: Tensor) -> Tensor:
        """log p(x, z, c), (n, S, K), at z_c (n, S, K, L)."""
        log_likelihood = self.model.likelihood.log_prob(self.standardized.unsqueeze(1), self.model.decode(u))
        joint: Tensor = log_likelihood + self.model.log_weights() + log_standard_normal(u)
        return joint
