"""Variational Deep Embedding (Jiang et al. 2017): a Gaussian mixture as the prior of a VAE."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from skgmvae.functional import (
    entropy_normal,
    expected_log_normal,
    kl_categorical,
    mean_over_draws,
    noise_like,
    reparameterize,
    scale_gradient,
    temper_posterior,
)
from skgmvae.models.autoencoder import Autoencoder
from skgmvae.models.columns import Columns
from skgmvae.models.contract import ELBOTerms, take_components
from skgmvae.models.importance import PointSets, estimate_log_joint
from skgmvae.models.likelihoods import Bernoulli, Gaussian
from skgmvae.models.linear_path import MixtureMoments, make_latent
from skgmvae.models.moments import estimate_moments, initial_weight_logits
from skgmvae.models.posteriors import VaDEPosterior
from skgmvae.models.subcomponents import Counts, set_weights

__all__ = ["VaDE"]


class VaDE(nn.Module):
    """c ~ Cat(π);  z | c ~ N(m_c, S_c);  x | z ~ likelihood;  q(z|x) diagonal Gaussian.

    Parameters
    ----------
    autoencoder : Autoencoder
    n_components : int
        K.
    subcomponents : sequence of int, optional
        Numbers of components of each cluster, one after the other; None: each is a cluster.
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
        Shape of S_c, as in :class:`sklearn.mixture.GaussianMixture`.
    learn_weights : bool
        Learn π; otherwise uniform.
    n_mc_samples : int
        M, draws of z per sample and step.
    min_information : float
        λ in nats; q(c|x) is tempered until KL(q(c|x) ‖ π) ≥ λ.
    reg_covar : float
        Added to the diagonal of the initial covariances.
    generator : torch.Generator, optional
        For the initial weights; None: torch's global generator.
    """

    __call__: Callable[..., ELBOTerms]  # forward
    random_init_is_weights = False
    follows_likelihood = False  # rather than the initial clusters
    has_full_covariances = True
    _layout: Tensor

    def __init__(
        self,
        autoencoder: Autoencoder,
        n_components: int,
        *,
        covariance_type: str = "full",
        learn_weights: bool = True,
        n_mc_samples: int = 1,
        min_information: float = 0.0,
        reg_covar: float = 1e-6,
        subcomponents: Counts = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        K, L = n_components, autoencoder.latent_dim
        self.autoencoder = autoencoder
        self.subcomponents = None if subcomponents is None else tuple(subcomponents)
        self.n_components, self.latent_dim, self.embedding_dim, self.noise_shape = K, L, L, (L,)
        self.covariance_type = covariance_type
        self.n_mc_samples, self.min_information, self.reg_covar = n_mc_samples, min_information, reg_covar
        self.background = autoencoder.make_background()
        autoencoder.add_components(K)
        self.n_outputs = autoencoder.n_features
        self.weight_logits = nn.Parameter(torch.zeros(K, dtype=torch.float32), requires_grad=learn_weights)
        self.means = nn.Parameter(torch.randn(K, L, generator=generator, dtype=torch.float32))
        # the factor A of the precision AᵀA: log of its diagonal and, for full covariances, the entries below
        diagonals = {"full": (K, L), "tied": (1, L), "diag": (K, L), "spherical": (K, 1)}
        self.log_diagonal = nn.Parameter(torch.zeros(diagonals[covariance_type], dtype=torch.float32))
        self.below_diagonal = None
        if covariance_type in ("full", "tied"):
            n_below = L * (L - 1) // 2
            self.below_diagonal = nn.Parameter(torch.zeros(len(self.log_diagonal), n_below, dtype=torch.float32))
            self.register_buffer("_layout", _lay_out_factor(L), persistent=False)

    @property
    def likelihood(self) -> Bernoulli | Gaussian | Columns:
        """p(x|z)."""
        return self.autoencoder.likelihood

    @property
    def mixture_options(self) -> dict[str, Any]:
        """Options of ``estimate_mixture`` in the initialization, for :meth:`initialize_as`."""
        return {"reg_covar": self.reg_covar, "is_tied": self.covariance_type == "tied"}

    def residual_squares(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Squared residuals (N, G) of the standardized samples (N, D) at one draw of z each, of Gaussian features."""
        return self.autoencoder.residual_squares(x, generator)

    def log_weights(self) -> Tensor:
        """log π, shape (K,)."""
        return torch.log_softmax(self.weight_logits, -1)

    def precision_factor(self) -> Tensor:
        """Lower-triangular A_c with S_c⁻¹ = A_cᵀ A_c, shape (K, L, L); (1, L, L) if tied."""
        diagonal = self.log_diagonal.exp()
        if self.below_diagonal is None:
            return torch.diag_embed(diagonal.expand(-1, self.latent_dim))
        entries = torch.cat([diagonal, self.below_diagonal, diagonal.new_zeros(len(diagonal), 1)], 1)
        factor: Tensor = entries.index_select(1, self._layout).unflatten(1, (self.latent_dim, self.latent_dim))
        return factor

    def covariances(self) -> Tensor:
        """S_c, shape (K, L, L), or (1, L, L) if tied."""
        identity = torch.eye(self.latent_dim, dtype=self.means.dtype, device=self.means.device)
        inverse: Tensor = torch.linalg.solve_triangular(self.precision_factor(), identity, upper=False)
        return inverse @ inverse.mT  # (AᵀA)⁻¹ = A⁻¹ A⁻ᵀ

    def _expected_log_prior(self, mean_q: Tensor, log_variance_q: Tensor) -> Tensor:
        """g_c = E_q[log N(z; m_c, S_c)], (N, K) for moments (N, L)."""
        log_determinant = self.log_diagonal.sum(-1)
        if self.covariance_type == "spherical":
            log_determinant = self.latent_dim * log_determinant
        return expected_log_normal(mean_q, log_variance_q, self.means, self.precision_factor(), log_determinant)

    def forward(
        self, x: Tensor, log_responsibilities: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> ELBOTerms:
        """Terms (N,) of log_likelihood + Σ_c q_c g_c + H(q(z|x)) − max(λ, KL(q(c|x) ‖ π)) of rows (N, D).

        q(c|x) is the exact maximizer given q(z|x), so no gradient has to pass through it (Danskin); for
        λ = 0 the sum is log_likelihood + logsumexp_c(log π_c + g_c) + H(q(z|x)). If
        given, ``log_responsibilities`` (N, K) are clamped as log q(c|x). Where the likelihood depends on c, q(c|x)
        includes it, and the first term is its expectation.
        """
        standardized = self.autoencoder.standardize(x)
        mean, log_variance = self.autoencoder.encode(standardized)
        z = reparameterize(mean, log_variance, noise_like(mean, self.n_mc_samples, generator=generator))
        log_likelihood = mean_over_draws(self.autoencoder.log_likelihood(standardized, z), self.n_mc_samples)
        g = self._expected_log_prior(mean, log_variance)
        log_weights, depends = self.log_weights(), log_likelihood.dim() > 1  # on c
        log_q, temperature = log_responsibilities, None
        if log_q is None:
            evidence = g + log_likelihood if depends else g
            log_q, temperature = temper_posterior(evidence, log_weights, self.min_information)
        q = log_q.exp()
        log_likelihood = (q * log_likelihood).sum(-1) if depends else log_likelihood
        kl_latent = -((q * g).sum(-1) + entropy_normal(log_variance))
        kl_component = kl_categorical(log_q, log_weights, q)
        if temperature is not None:
            # where the constraint KL = λ is active its multiplier is T, so π gets T times the gradient; the value does
            # not change, so that it cannot fall below λ by rounding
            kl_component = scale_gradient(kl_component, temperature.squeeze(-1))
        return ELBOTerms(log_likelihood, kl_latent, torch.zeros_like(kl_latent), kl_component)

    def embed(self, x: Tensor) -> Tensor:
        """E_q[z], (N, L) for rows (N, D)."""
        return self.autoencoder.embed(x)

    def reconstruct(self, x: Tensor) -> Tensor:
        """E[x | z = embed(x)] in the units of the data, (N, D) for rows (N, D)."""
        depends = self.autoencoder.component_outputs is not None
        return self.autoencoder.reconstruct(x, self.log_responsibilities(x) if depends else None)

    def log_responsibilities(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """log q(c|x) = log softmax_c (log π_c + g_c), (N, K) for rows (N, D); exact, without noise.

        Where the likelihood depends on c, with log p(x|z, c) at the mean of q(z|x).
        """
        standardized = self.autoencoder.standardize(x)
        mean, log_variance = self.autoencoder.encode(standardized)
        g = self._expected_log_prior(mean, log_variance)
        if self.autoencoder.component_outputs is not None:
            g = g + self.autoencoder.log_likelihood(standardized, mean)
        return torch.log_softmax(self.log_weights() + g, -1)

    def posterior(self, x: Tensor) -> VaDEPosterior:
        """p(z, c | x) of rows (N, D), not normalized."""
        standardized = self.autoencoder.standardize(x)
        mean, log_variance = (moment.unsqueeze(1) for moment in self.autoencoder.encode(standardized))
        return VaDEPosterior(self, standardized, mean, torch.exp(0.5 * log_variance))

    def log_joint(self, x: Tensor, points: PointSets) -> Tensor:
        """log p(x, c), (N, K) for rows (N, D): of a linear decoder exactly, else by importance sampling."""
        standardized = self.likelihood.standardize(x, torch.float64)
        if self.is_linear:
            return self.autoencoder.log_joint_of(standardized, self.log_weights(), self.means, self.covariances())
        return estimate_log_joint(self.posterior(x), standardized, points)

    @property
    def is_linear(self) -> bool:
        """Whether the decoder is its linear path alone, which reaches no head."""
        return self.autoencoder.is_linear

    def generate(self, components: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draws of x | c and their means E[x|z], each (N, D), for components (N,)."""
        means = self.means[components]
        noise = torch.randn(means.shape, generator=generator, dtype=means.dtype, device=means.device)
        factors = self.precision_factor().expand(self.n_components, -1, -1)[components]
        # A (z − m) = ε  ⇔  z = m + A⁻¹ ε
        z = means + torch.linalg.solve_triangular(factors, noise.unsqueeze(-1), upper=False).squeeze(-1)
        output = self.autoencoder.decode_of(z, components)
        likelihood = self.likelihood
        return likelihood.draw(output, generator), likelihood.collapse(likelihood.mean(output))

    def component_moments(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """E[x|z] (S, K, F), as ``likelihood.mean``, and Var[x|z], (S, K, D), at z from standard noise (S, L)."""
        factors = self.precision_factor().expand(self.n_components, -1, -1)
        z = self.means + torch.linalg.solve_triangular(
            factors, noise.T.expand(self.n_components, -1, -1), upper=False
        ).movedim(-1, 0)
        output = self.autoencoder.decode_all(z)
        return self.likelihood.mean(output), self.likelihood.variance(output)

    @torch.no_grad()
    def initialize_from(self, embedding: Tensor, responsibilities: Tensor) -> None:
        """Initialize the mixture from an embedding (N, L) and responsibilities (N, K), and a narrow q(z|x)."""
        start = estimate_moments(embedding, responsibilities, self.reg_covar)
        tied = self.covariance_type == "tied"
        self._set_covariances(start.pooled_covariance.unsqueeze(0) if tied else start.covariances)
        self.means.copy_(start.means)
        if self.weight_logits.requires_grad:
            self.weight_logits.copy_(initial_weight_logits(start.counts))
        self.autoencoder.set_posterior_variance(start.posterior_variance)

    @torch.no_grad()
    def initialize_as(self, mixture: MixtureMoments) -> None:
        """Be this mixture, means (K, G), of the standardized inputs, as near as a restricted S_c allows."""
        # one variance for all directions would weigh the distances of the codes differently in each component
        kind = self.covariance_type
        start = make_latent(mixture, self.latent_dim, has_codes=kind != "spherical", is_diagonal=kind == "diag")
        self.autoencoder.initialize_linear(start)
        tied = self.covariance_type == "tied"
        n_used = min(self.latent_dim, mixture.means.shape[1]) or None  # dimensions of z that reach x
        self._set_covariances(start.covariances[:1] if tied else start.covariances, n_used)
        self.means.copy_(start.means)
        set_weights(self, mixture.weights.log())

    def _set_covariances(self, covariances: Tensor, n_used: int | None = None) -> None:
        # (K, L, L), or (1, L, L) if tied
        variances = covariances.diagonal(dim1=-2, dim2=-1)
        if self.covariance_type == "spherical":
            self.log_diagonal.copy_(-0.5 * variances[:, :n_used].mean(-1, keepdim=True).log())
        elif self.below_diagonal is None:
            self.log_diagonal.copy_(-0.5 * variances.log())
        else:
            identity = torch.eye(self.latent_dim, dtype=variances.dtype, device=variances.device)
            factor = torch.linalg.solve_triangular(torch.linalg.cholesky(covariances), identity, upper=False)
            self.log_diagonal.copy_(factor.diagonal(dim1=-2, dim2=-1).log())
            rows, columns = torch.tril_indices(self.latent_dim, self.latent_dim, -1)
            self.below_diagonal.copy_(factor[:, rows, columns])

    def initialize_heads(self, outputs: Tensor) -> None:
        """Let these be the outputs (K, H) of the heads in each component."""
        self.autoencoder.initialize_heads(outputs)

    def reorder(self, order: Tensor) -> None:
        """Component ``order[i]`` becomes component ``i``, for ``order`` (K,)."""
        own = self.weight_logits, self.means, self.log_diagonal, self.below_diagonal
        for parameter in (*own, self.autoencoder.component_outputs):
            if parameter is not None:
                take_components(parameter, order)


def _lay_out_factor(latent_dim: int) -> Tensor:
    """For each entry of A, row by row, (L·L,): its index among the diagonal, the entries below it, and a zero."""
    n_below = (L := latent_dim) * (L - 1) // 2
    layout = torch.full((L, L), L + n_below)
    layout.diagonal().copy_(torch.arange(L))
    rows, columns = torch.tril_indices(L, L, -1)
    layout[rows, columns] = torch.arange(L, L + n_below)
    return layout.flatten()
