"""Gaussian mixture variational autoencoder (Dilokthanakul et al. 2016)."""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skgmvae.functional import (
    kl_categorical,
    kl_normal,
    kl_standard_normal,
    learn_labels,
    log_mean_exp,
    log_normal,
    mean_over_draws,
    noise_like,
    reparameterize,
)
from skgmvae.models.autoencoder import Autoencoder
from skgmvae.models.columns import Columns
from skgmvae.models.contract import ELBOTerms, take_components
from skgmvae.models.importance import PointSets, estimate_log_joint
from skgmvae.models.likelihoods import Bernoulli, Gaussian
from skgmvae.models.linear_path import MixtureMoments, make_latent, split_covariances
from skgmvae.models.moments import estimate_moments, initial_weight_logits
from skgmvae.models.networks import GaussianHead, draw_weights
from skgmvae.models.posteriors import GMVAEPosterior
from skgmvae.models.prior_network import PriorNetwork
from skgmvae.models.subcomponents import Counts, set_weights

__all__ = ["GMVAE"]


class GMVAE(nn.Module):
    """w ~ N(0, I);  c ~ Cat(π);  z | c, w ~ N(μ_c(w), diag σ²_c(w));  x | z ~ likelihood (Eq. 1).

    The inference networks q(z|x) and q(w|x) are diagonal Gaussians that share the body of the encoder;
    p(c|z,w) follows by Bayes' rule (Eq. 3).

    Parameters
    ----------
    autoencoder : Autoencoder
        Gives q(z|x) and p(x|z).
    n_components : int
        K.
    subcomponents : sequence of int, optional
        Numbers of components of each cluster, one after the other; None: each is a cluster.
    style_dim : int
        W.
    prior_width : int
        Hidden units of the prior network.
    learn_weights : bool
        Learn π; otherwise uniform, as in the paper.
    n_mc_samples : int
        M, joint draws of (z, w) per sample and step.
    min_information : float
        λ in nats. The objective applies it (Eq. 7); the terms do not depend on it.
    generator : torch.Generator, optional
        For the initial weights; None: torch's global generator.
    """

    __call__: Callable[..., ELBOTerms]  # forward
    random_init_is_weights = True
    follows_likelihood = False  # rather than the initial clusters
    learns_labels = False  # clamped ones, in this training
    mixture_options: ClassVar[dict[str, Any]] = {}  # of ``estimate_mixture``, for ``initialize_as``

    def __init__(
        self,
        autoencoder: Autoencoder,
        n_components: int,
        style_dim: int,
        prior_width: int,
        *,
        learn_weights: bool = True,
        n_mc_samples: int = 1,
        min_information: float = 0.0,
        subcomponents: Counts = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        K, L, W = n_components, autoencoder.latent_dim, style_dim
        self.autoencoder = autoencoder
        self.subcomponents = None if subcomponents is None else tuple(subcomponents)
        self.n_components, self.latent_dim, self.embedding_dim, self.style_dim = K, L, L, W
        self.noise_shape = (L + W,)
        self.n_mc_samples, self.min_information = n_mc_samples, min_information
        self.background = autoencoder.make_background()
        autoencoder.add_components(K)
        self.n_outputs = autoencoder.n_features
        self.weight_logits = nn.Parameter(torch.zeros(K, dtype=torch.float32), requires_grad=learn_weights)
        self.style_head = GaussianHead(autoencoder.body_width, W)
        # components that begin apart, in latent variables that do not reach x, stay until the encoder has found them
        feature_scale = 1.0 if autoencoder.linear is None else prior_width**-0.5
        is_linear = autoencoder.linear is not None
        self.prior = PriorNetwork(W, prior_width, K, L, feature_scale=feature_scale, has_linear_path=is_linear)
        draw_weights(self.style_head, generator)
        draw_weights(self.prior, generator)

    @property
    def has_full_covariances(self) -> bool:
        """Whether w has enough dimensions for those of any Gaussian mixture."""
        return self.autoencoder.linear is not None and self.style_dim >= self._n_used

    @property
    def _n_used(self) -> int:
        """Dimensions of z that initially reach x."""
        return min(self.latent_dim, self.autoencoder.n_gaussian)

    @property
    def likelihood(self) -> Bernoulli | Gaussian | Columns:
        """p(x|z)."""
        return self.autoencoder.likelihood

    def residual_squares(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Squared residuals (N, G) of the standardized samples (N, D) at one draw of z each, of Gaussian features."""
        return self.autoencoder.residual_squares(x, generator)

    def log_weights(self) -> Tensor:
        """log π, shape (K,)."""
        return torch.log_softmax(self.weight_logits, -1)

    def encode(self, standardized: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """(mean, log-variance) of q(z|x), each (N, L), and of q(w|x), each (N, W), from network input (N, D)."""
        q_z, features = self.autoencoder.encode_with_features(standardized)
        return q_z, self.style_head(features)

    def _draw(self, q_z: tuple[Tensor, Tensor], q_w: tuple[Tensor, Tensor], noise: Tensor) -> tuple[Tensor, Tensor]:
        """z, shape (..., N, L), and w, shape (..., N, W), from noise that broadcasts to (..., N, L + W)."""
        noise_z, noise_w = noise.split((self.latent_dim, self.style_dim), -1)
        return reparameterize(*q_z, noise_z), reparameterize(*q_w, noise_w)

    def forward(
        self, x: Tensor, log_responsibilities: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> ELBOTerms:
        """The terms (N,) of Eq. 4 of rows (N, D), expectations over q(z|x) q(w|x) estimated with M joint draws.

        If given, ``log_responsibilities`` (N, K) are clamped in place of log p(c|z,w).
        """
        standardized = self.autoencoder.standardize(x)
        q_z, q_w = self.encode(standardized)
        M = self.n_mc_samples
        z, w = self._draw(q_z, q_w, noise_like(q_z[0], M, width=self.latent_dim + self.style_dim, generator=generator))
        prior_mean, prior_log_variance = self.prior(w)
        prior = prior_mean, prior_log_variance, torch.exp(-prior_log_variance)
        log_weights, log_likelihood = self.log_weights(), self.autoencoder.log_likelihood(standardized, z)
        depends = self.autoencoder.component_outputs is not None  # on c
        log_posterior = log_responsibilities
        if log_posterior is None:
            log_joint = _log_joint(z, log_weights, *prior)  # Eq. 3, log p(c|z,w)
            log_posterior = torch.log_softmax(log_joint + log_likelihood if depends else log_joint, -1)
        posterior = log_posterior.exp()
        log_likelihood = (posterior * log_likelihood).sum(-1) if depends else log_likelihood
        kl_component = kl_categorical(log_posterior, log_weights, posterior)  # Eq. 6
        divergences = kl_normal(q_z[0].unsqueeze(-2), q_z[1].unsqueeze(-2), *prior)
        kl_latent = (posterior * divergences).sum(-1)
        if log_responsibilities is not None and self.learns_labels:
            kl_latent = learn_labels(kl_latent, posterior, log_weights - divergences)
        return ELBOTerms(
            log_likelihood=mean_over_draws(log_likelihood, M),
            kl_latent=mean_over_draws(kl_latent, M),  # Eq. 5
            kl_style=kl_standard_normal(*q_w),
            kl_component=mean_over_draws(kl_component, M if log_responsibilities is None else 1),
        )

    def embed(self, x: Tensor) -> Tensor:
        """E_q[z], (N, L) for rows (N, D)."""
        return self.autoencoder.embed(x)

    def reconstruct(self, x: Tensor) -> Tensor:
        """E[x | z = embed(x)] in the units of the data, (N, D) for rows (N, D)."""
        if self.autoencoder.component_outputs is None:
            return self.autoencoder.reconstruct(x)
        at_mean = self.weight_logits.new_zeros(1, *self.noise_shape)
        return self.autoencoder.reconstruct(x, self.log_responsibilities(x, at_mean))

    def log_responsibilities(self, x: Tensor, noise: Tensor) -> Tensor:
        """log (1/S) Σ_s p(c|z_s,w_s), (N, K) for rows (N, D), from noise (S, L + W) shared by all of them."""
        standardized = self.autoencoder.standardize(x)
        q, depends = self.encode(standardized), self.autoencoder.component_outputs is not None
        # draw by draw: all draws at once would need S·N·K·L numbers
        log_weights, log_posteriors = self.log_weights(), []
        for one in noise:
            z, w = self._draw(*q, one)
            log_joint = _log_joint(z, log_weights, *self.prior(w))
            if depends:
                log_joint = log_joint + self.autoencoder.log_likelihood(standardized, z)
            log_posteriors.append(torch.log_softmax(log_joint, -1))
        return log_mean_exp(torch.stack(log_posteriors), 0)

    def posterior(self, x: Tensor) -> GMVAEPosterior:
        """p(z, w, c | x) of rows (N, D), not normalized."""
        standardized = self.autoencoder.standardize(x)
        (z_mean, z_log_variance), (w_mean, w_log_variance) = self.encode(standardized)
        mean, log_variance = torch.cat([z_mean, w_mean], -1), torch.cat([z_log_variance, w_log_variance], -1)
        return GMVAEPosterior(self, standardized, mean.unsqueeze(1), torch.exp(0.5 * log_variance).unsqueeze(1))

    def log_joint(self, x: Tensor, points: PointSets) -> Tensor:
        """log p(x, c), (N, K) for rows (N, D): of a linear decoder exactly, else by importance sampling."""
        standardized = self.likelihood.standardize(x, torch.float64)
        if self.is_linear:
            return self.autoencoder.log_joint_of(standardized, self.log_weights(), *self.prior.linear_moments())
        return estimate_log_joint(self.posterior(x), standardized, points)

    @property
    def is_linear(self) -> bool:
        """Whether the decoder and the prior network are their linear paths alone, which reach no head."""
        return self.autoencoder.is_linear and self.prior.is_linear

    def generate(
        self, components: Tensor, generator: torch.Generator, w: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draws of x | c and their means E[x|z], each (N, D), of components (N,); ``w`` (N, W), else drawn."""
        if w is None:
            w = self.weight_logits.new_empty(len(components), self.style_dim).normal_(generator=generator)
        mean, log_variance = self._prior_of(components, w)
        z = reparameterize(mean, log_variance, torch.empty_like(mean).normal_(generator=generator))
        output = self.autoencoder.decode_of(z, components)
        likelihood = self.likelihood
        return likelihood.draw(output, generator), likelihood.collapse(likelihood.mean(output))

    def component_moments(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """E[x|z] (S, K, F), as ``likelihood.mean``, and Var[x|z], (S, K, D), at z from standard noise (S, L + W)."""
        noise_z, w = noise.split([self.latent_dim, self.style_dim], -1)
        z = reparameterize(*self.prior(w), noise_z.unsqueeze(-2))
        output = self.autoencoder.decode_all(z)
        return self.likelihood.mean(output), self.likelihood.variance(output)

    def traverse(self, components: Tensor, w: Tensor) -> Tensor:
        """E[x | z = μ_c(w)] in the units of the data, shape (N, D), for components (N,) and w (N, W)."""
        output = self.autoencoder.decode_of(self._prior_of(components, w)[0], components)
        return self.likelihood.collapse(self.likelihood.mean(output))

    def _prior_of(self, components: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        """μ_c(w) and log σ²_c(w), each (N, L), of components (N,) at w (N, W)."""
        index = components.reshape(-1, 1, 1).expand(-1, 1, self.latent_dim)
        mean, log_variance = (moment.gather(1, index).squeeze(1) for moment in self.prior(w))
        return mean, log_variance

    @torch.no_grad()
    def initialize_from(self, embedding: Tensor, responsibilities: Tensor) -> None:
        """Initialize the prior network at the moments of the components, q(w|x) at its prior, and a narrow q(z|x).

        From an embedding (N, L) and responsibilities (N, K).
        """
        start = estimate_moments(embedding, responsibilities)
        self.prior.initialize_at(start.means, start.covariances.diagonal(dim1=-2, dim2=-1))
        self._forget_style()
        if self.weight_logits.requires_grad:
            self.weight_logits.copy_(initial_weight_logits(start.counts))
        self.autoencoder.set_posterior_variance(start.posterior_variance)

    @torch.no_grad()
    def initialize_as(self, mixture: MixtureMoments) -> None:
        """Be this mixture, means (K, G), of the standardized inputs: z depends on w by a linear map of each component.

        Exactly, or as near as so few dimensions of w allow.
        """
        start = make_latent(mixture, self.latent_dim, is_diagonal=not self.has_full_covariances)
        self.autoencoder.initialize_linear(start)
        n, variances = self._n_used, start.covariances.diagonal(dim1=-2, dim2=-1).clone()
        slopes, variances[:, :n] = split_covariances(start.covariances[:, :n, :n], self.style_dim)
        slopes = F.pad(slopes, (0, self.latent_dim - n))
        self.prior.initialize_at(start.means, variances, slopes=slopes, slope=0.0)
        self._forget_style()
        set_weights(self, mixture.weights.log())

    def _forget_style(self) -> None:
        """q(w|x) at its prior."""
        for layer in (self.style_head.mean, self.style_head.log_variance):
            layer.weight.zero_()
            layer.bias.zero_()

    def initialize_heads(self, outputs: Tensor) -> None:
        """Let these be the outputs (K, H) of the heads in each component."""
        self.autoencoder.initialize_heads(outputs)

    def reorder(self, order: Tensor) -> None:
        """Component ``order[i]`` becomes component ``i``, for ``order`` (K,)."""
        take_components(self.weight_logits, order)
        if self.autoencoder.component_outputs is not None:
            take_components(self.autoencoder.component_outputs, order)
        self.prior.reorder(order)


def _log_joint(z: Tensor, log_weights: Tensor, *prior: Tensor) -> Tensor:
    """log π_c + log N(z; μ_c(w), σ²_c(w)), (..., K) for z (..., L), by the prior network's output (..., K, L)."""
    return log_weights + log_normal(z.unsqueeze(-2), *prior)
