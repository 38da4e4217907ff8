"""The posteriors of the models' latent variables, as importance sampling sees them."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from skgmvae.functional import log_normal, log_normal_full, log_standard_normal
from skgmvae.models.jacobians import differentiate, differentiate_decoder
from skgmvae.models.laplace import Expansion, add_expansions, expand_likelihood, expand_normal
from skgmvae.models.stacked import lay_out

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
        """The posterior of some of the samples, by a mask or indices (n,)."""
        parts = {name: getattr(self, name)[rows] for name in ("standardized", "mean", "deviation")}
        return replace(self, **parts)


@dataclass(frozen=True)
class _SharedPosterior(_Posterior):
    """Of latent variables that all components share."""

    components: Tensor | None = None  # one for each sample, (n,); None: all

    def take_pairs(self, rows: Tensor, components: Tensor) -> Self:
        """A component each of some samples, (P,): as if it were the only one, K = 1."""
        return replace(self.take(rows), components=components)

    def _select(self, values: Tensor) -> Tensor:
        """Values (K, ...) of the components, or (n, 1, ...) if each sample has one of its own."""
        return values if self.components is None else values[self.components].unsqueeze(1)

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
        return self._log_prob(self._decode_all(z))

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
        log_normals = log_normal_full(u, model.means, model.precision_factor())
        joint: Tensor = self._log_likelihoods(u) + model.log_weights() + log_normals
        return joint


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
        mean, log_variance = self._take_own(torch.stack(self.model.prior(w))).unbind()
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

    def _take_own(self, values: Tensor) -> Tensor:
        """Values (..., n, K, L) of the components, each at its own w, from those of all at every w (..., n, K, K, L).

        If each sample has a component of its own, (..., n, 1, L) from (..., n, 1, K, L).
        """
        if self.components is None:
            return values.diagonal(dim1=-3, dim2=-2).mT
        rows = torch.arange(len(self.components), device=values.device)
        return values.squeeze(-3)[..., rows, self.components, :].unsqueeze(-2)

    def _expand_prior(self, z: Tensor, w: Tensor) -> Expansion:
        """log π_c p(z|w, c) p(w), (n, K), around z (n, 1 or K, L) and w (n, 1 or K, W)."""
        model = self.model
        moments, slopes = differentiate(lambda w: torch.cat(model.prior(w), -1), w)  # (n, 1 or K, K, 2L)
        if self.components is None and w.shape[1] == 1:
            moments, slopes = moments.squeeze(1), slopes.squeeze(1)
        else:  # of each component at its own w
            moments, slopes = self._take_own(moments), self._take_own(slopes.movedim(-2, 0)).movedim(0, -2)
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
        log_prior = self.model.log_weights() + log_normal(z.unsqueeze(-2), *self.model.prior(w))
        joint: Tensor = self._log_likelihoods(z) + log_standard_normal(w).unsqueeze(-1) + log_prior
        return joint


class VAEEMPosterior(_Posterior):
    """p(z, c | x) of standardized samples (n, K, D)."""

    has_own_latents = True

    def take_pairs(self, rows: Tensor, components: Tensor) -> "_VAEEMPairs":
        """A component each of some samples, (P,): as if it were the only one, K = 1."""
        return _VAEEMPairs(self, rows, components)

    def expand(self, u: Tensor) -> Expansion:
        """log p(x, z, c), (n, K), to second order around z_c (n, K, L)."""
        model = self.model
        output, jacobian = differentiate_decoder(model, u)
        slope, curvature = model.likelihood.differentiate(self.standardized, output)
        log_likelihood = model.likelihood.log_prob(self.standardized, output)
        identity = torch.eye(u.shape[-1], dtype=u.dtype, device=u.device)
        prior = Expansion(model.log_weights() + log_standard_normal(u), -u, identity)
        return add_expansions(prior, expand_likelihood(log_likelihood, slope, curvature, jacobian))

    def value(self, u: Tensor) -> Tensor:
        """log p(x, z, c), (n, K), at z_c (n, K, L)."""
        return self.log_joint(u.unsqueeze(1)).squeeze(1)

    def decode_all(self, u: Tensor) -> Tensor:
        """Decoder outputs (..., K, D) at z_c (..., K, L)."""
        output: Tensor = self.model.decode(u)
        return output

    def log_joint(self, u: Tensor) -> Tensor:
        """log p(x, z, c), (n, S, K), at z_c (n, S, K, L)."""
        log_likelihood = self.model.likelihood.log_prob(self.standardized.unsqueeze(1), self.model.decode(u))
        joint: Tensor = log_likelihood + self.model.log_weights() + log_standard_normal(u)
        return joint


class _VAEEMPairs:
    """p(z, c | x) of one component c for each of P samples, which are arranged in tables with a column per component.

    Parameters
    ----------
    posterior : VAEEMPosterior
    rows, components : Tensor of shape (P,)
    """

    has_own_latents = True

    def __init__(self, posterior: VAEEMPosterior, rows: Tensor, components: Tensor) -> None:
        pairs = rows, components
        self.mean, self.deviation = (part[pairs].unsqueeze(1) for part in (posterior.mean, posterior.deviation))
        values, n_components = posterior.standardized, posterior.model.n_components
        place, tables = lay_out(components, n_components)
        self._tables, at = [], []
        for height, part in tables:
            where = place[part], components[part]
            table = values.new_zeros(height, n_components, values.shape[-1])
            table[where] = values[rows[part], components[part]]
            self._tables.append((replace(posterior, standardized=table), part, where))
            at.append(part)
        self._back = torch.cat(at).argsort()

    def expand(self, u: Tensor) -> Expansion:
        """log p(x, z, c), (P, 1), to second order around z (P, 1, L)."""
        found = []
        for table, part, where in self._tables:
            expansion = table.expand(self._lay_out(table, u[part, 0], where))
            found.append([values[where].unsqueeze(1) for values in expansion])
        return Expansion(*(torch.cat(parts)[self._back] for parts in zip(*found, strict=True)))

    def value(self, u: Tensor) -> Tensor:
        """log p(x, z, c), (P, 1), at z (P, 1, L)."""
        return self.log_joint(u.unsqueeze(1)).squeeze(1)

    def log_joint(self, u: Tensor) -> Tensor:
        """log p(x, z, c), (P, S, 1), at z (P, S, 1, L)."""
        found = []
        for table, part, where in self._tables:
            points = self._lay_out(table, u[part].squeeze(2), where).transpose(1, 2)
            found.append(table.log_joint(points).mT[where].unsqueeze(-1))
        return torch.cat(found)[self._back]

    def _lay_out(self, table: VAEEMPosterior, values: Tensor, where: tuple[Tensor, Tensor]) -> Tensor:
        """Values (p, ...) in a table (height, K, ...), zero elsewhere."""
        shape = *table.standardized.shape[:2], *values.shape[1:]
        laid_out = values.new_zeros(shape)
        laid_out[where] = values
        return laid_out
