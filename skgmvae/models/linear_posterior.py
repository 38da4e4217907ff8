"""The posterior p(u, c | x) of a linear model, exactly, and what follows from it for missing values."""

from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from skgmvae.models.importance import PointSets
from skgmvae.models.proposals import approximate

__all__ = ["LinearPosterior"]


class LinearPosterior(NamedTuple):
    """A normal of u for each sample and component, of which the decoder's output is a linear function.

    Attributes
    ----------
    log_joint : Tensor of shape (n, K)
        log p(x, c).
    means : Tensor of shape (n, K, U)
    factors : Tensor of shape (n, K, U, U)
        Lower-triangular factors of the precisions.
    posterior : Posterior
        Whose decoder it is.
    """

    log_joint: Tensor
    means: Tensor
    factors: Tensor
    posterior: Any

    @classmethod
    def of(cls, model: Any, x: Tensor, points: PointSets) -> Self:
        """That of samples (n, D); the maximum of an expansion of a linear model is the mean, in a single step."""
        posterior = model.posterior(x)
        found = approximate(posterior, refines=False)
        return cls(model.log_joint(x, points), found.maximum, found.factor, posterior)

    def expect(self, likelihood: Any) -> Tensor:
        """E[x | x_o], (n, F), as ``likelihood.mean``."""
        gaussian, variance = likelihood.gaussian, None
        if gaussian.transform is not None:
            variance = gaussian.log_variance.exp() + self._output_variance()[..., : len(gaussian.location)]
        expected = likelihood.mean(self.posterior.decode_own(self.means), variance)
        means: Tensor = (torch.softmax(self.log_joint, -1).unsqueeze(1) @ expected).squeeze(1)
        return means

    def _output_variance(self) -> Tensor:
        """Variances (n, K, F) of the decoder's outputs, by the derivatives W of these: squared norms of C⁻¹ W."""
        K, U = self.means.shape[1:]
        origin = self.means.new_zeros(1, K, U)
        directions = torch.eye(U, dtype=origin.dtype, device=origin.device).unsqueeze(1).expand(-1, K, -1)
        slopes = (self.posterior.decode_own(directions) - self.posterior.decode_own(origin)).transpose(
            0, 1
        )  # (K, U, F)
        spread = torch.linalg.solve_triangular(self.factors, slopes.expand(len(self.means), -1, -1, -1), upper=False)
        squares: Tensor = spread.square().sum(-2)
        return squares

    def draw(self, generator: torch.Generator, among: slice | None = None) -> tuple[Tensor, Tensor]:
        """Draws of c, (n,), and decoder outputs (n, K, F) at draws of u; ``among``: of some of the components."""
        first = 0 if among is None else among.start
        shares = torch.softmax(self.log_joint if among is None else self.log_joint[:, among], -1)
        components = first + torch.multinomial(shares, 1, generator=generator).squeeze(1)
        noise = torch.empty_like(self.means).normal_(generator=generator).unsqueeze(-1)
        steps = torch.linalg.solve_triangular(self.factors.mT, noise, upper=True).squeeze(-1)
        return components, self.posterior.decode_own(self.means + steps)
