"""The posteriors of latent variables of each component, as importance sampling sees them."""

from dataclasses import replace

import torch
from torch import Tensor

from skgmvae.functional import log_standard_normal
from skgmvae.models.jacobians import differentiate_decoder
from skgmvae.models.laplace import Expansion, add_expansions, expand_likelihood
from skgmvae.models.posteriors import BasePosterior
from skgmvae.models.stacked import lay_out

__all__ = ["VAEEMPosterior"]


class VAEEMPosterior(BasePosterior):
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

    decode_own = decode_all

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
