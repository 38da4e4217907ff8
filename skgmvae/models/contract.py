"""The interface of the models: the terms of the bound, and the protocol that every model implements."""

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

__all__ = ["ComponentTerms", "ELBOTerms", "Model", "join_terms", "take_components"]


class ELBOTerms(NamedTuple):
    """Terms of the evidence lower bound, one value per sample, in nats, each with its natural sign.

    ELBO = log_likelihood − kl_latent − kl_style − max(λ, kl_component); the objective, not the model,
    combines them.

    Attributes
    ----------
    log_likelihood : Tensor of shape (N,)
        E_q[log p(x|z)], in the units of the data.
    kl_latent : Tensor of shape (N,)
        E_q[KL(q(z|x) ‖ p(z|c, ·))].
    kl_style : Tensor of shape (N,)
        KL(q(w|x) ‖ p(w)); zero for models without a style variable.
    kl_component : Tensor of shape (N,)
        KL(q(c|x) ‖ π).
    """

    log_likelihood: Tensor
    kl_latent: Tensor
    kl_style: Tensor
    kl_component: Tensor


class ComponentTerms(NamedTuple):
    """Terms of the bound of each component, where every one has an encoder of its own.

    Attributes
    ----------
    log_likelihood : Tensor of shape (N, K)
        E_{q_c}[log p_c(x|z)].
    kl_latent : Tensor of shape (N, K)
        KL(q_c(z|x) ‖ N(0, I)).
    """

    log_likelihood: Tensor
    kl_latent: Tensor

    @property
    def elbo(self) -> Tensor:
        """ELBO_c, (N, K)."""
        return self.log_likelihood - self.kl_latent

    def sum_over_components(self, shares: Tensor) -> ELBOTerms:
        """Terms (N,) of Σ_c shares_c ELBO_c, from shares (N, K) or (K,)."""
        log_likelihood, kl_latent = ((shares * term).sum(-1) for term in self)
        zero = torch.zeros_like(log_likelihood)
        return ELBOTerms(log_likelihood, kl_latent, zero, zero)


def join_terms(parts: Iterable[ELBOTerms]) -> ELBOTerms:
    """Concatenate the terms (N,) of several parts, each of (n,)."""
    return ELBOTerms(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


class Model(Protocol):
    """A deep mixture: a plain :class:`torch.nn.Module` with these methods.

    ``x`` is in the units of the data; standardization is part of the model. ``N`` samples, ``D`` features,
    ``L`` latent dimensions, ``K`` components, ``S`` draws per sample; ``noise`` is standard normal, of shape
    ``(S, *noise_shape)``, shared by all samples.
    """

    n_components: int
    subcomponents: tuple[int, ...] | None  # of each cluster; None: every component is a cluster
    likelihood: Any
    background: Any  # beside the components; None: nothing
    embedding_dim: int
    noise_shape: tuple[int, ...]
    random_init_is_weights: bool  # init_params='random' means random weights instead of random responsibilities
    follows_likelihood: bool  # other clusters than the initial ones may be taken for a clearly higher likelihood
    has_full_covariances: bool  # those of any Gaussian mixture can be represented
    is_linear: bool  # a Gaussian mixture: the networks add nothing to linear paths
    n_mc_samples: int  # this and the next may change between trainings
    min_information: float

    def __call__(
        self, x: Tensor, log_responsibilities: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> ELBOTerms:
        """Terms of the bound for the samples ``x`` of shape (N, D), with new Monte Carlo noise from the generator.

        Finite ``log_responsibilities`` (N, K) are clamped as log q(c|x) in place of those of the model.
        """

    def embed(self, x: Tensor) -> Tensor:
        """What ``transform`` returns, (N, embedding_dim) of rows (N, D): usually the posterior mean of z."""

    def reconstruct(self, x: Tensor) -> Tensor:
        """E[x | z] at the posterior mean of z, in the units of the data, (N, D) for rows (N, D)."""

    def log_responsibilities(self, x: Tensor, noise: Tensor) -> Tensor:
        """log q(c|x) of the bound, (N, K), for rows (N, D) and noise ``(S, *noise_shape)``; ignored by an exact q."""

    def posterior(self, x: Tensor) -> Any:
        """The posterior of the latent variables of rows (N, D): a ``models.importance.LatentPosterior``."""

    def log_joint(self, x: Tensor, points: Any) -> Tensor:
        """log p(x, c), (N, K) of rows (N, D), by importance sampling with points of ``models.importance``."""

    def log_weights(self) -> Tensor:
        """log π, shape (K,)."""

    def residual_squares(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Squared residuals (N, D) of the standardized samples (N, D) at one draw of z each."""

    def generate(self, components: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Samples drawn from the given components (N,), and their means E[x|z]; both of shape (N, D)."""

    def component_moments(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """E[x|z] and Var[x|z], (S, K, D), at latent variables of each component from noise ``(S, *noise_shape)``."""

    def initialize_from(self, embedding: Tensor, responsibilities: Tensor) -> None:
        """Initialize the mixture from responsibilities (N, K) of the samples at ``embedding`` (N, L)."""

    def reorder(self, order: Tensor) -> None:
        """Renumber the components: component ``order[i]`` becomes component ``i``; ``order`` is of shape (K,)."""


def take_components(parameter: Tensor, order: Tensor) -> None:
    """Reorder ``parameter`` (K, ...) by ``order`` (K,) in place; one that all components share, (1, ...), stays."""
    if len(parameter) == len(order):
        with torch.no_grad():
            parameter.copy_(parameter[order])
