"""A mixture of variational autoencoders, one per component (Adipoetra & Martin 2025)."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from skgmvae.functional import kl_categorical, kl_standard_normal, scale_gradient, temper_posterior
from skgmvae.models.autoencoder import Autoencoder
from skgmvae.models.contract import ComponentTerms, ELBOTerms
from skgmvae.models.importance import PointSets, estimate_log_joint
from skgmvae.models.linear_path import MixtureMoments
from skgmvae.models.moments import estimate_moments, initial_weight_logits
from skgmvae.models.own_draws import draw_own
from skgmvae.models.own_posteriors import VAEEMPosterior
from skgmvae.models.stacked import take_own
from skgmvae.models.stacked_autoencoder import StackedAutoencoder, make_stacked_networks
from skgmvae.models.subcomponents import Counts, count_clusters, join_subcomponents, set_weights

__all__ = ["VAEEM"]

FRESH_POSTERIOR_VARIANCE = 0.1  # of q(z|x) if the initial weights are random


class VAEEM(nn.Module):
    """c ~ Cat(π);  z ~ N(0, I);  x | z, c ~ likelihood of decoder c;  q_c(z|x) diagonal Gaussian of encoder c.

    ELBO_c(x) = E_{q_c}[log p_c(x|z)] − KL(q_c(z|x) ‖ N(0, I)), and the bound of a sample is
    Σ_c u_c ELBO_c(x) − KL(u ‖ π) with responsibilities u.

    The first axis of every parameter is the components'.

    Parameters
    ----------
    autoencoder : Autoencoder
        Provides the likelihood and its standardization; it is not stored.
    n_components : int
        K.
    subcomponents : sequence of int, optional
        Numbers of components of each cluster, one after the other; None: each is a cluster.
    hidden_layer_sizes : sequence of int, optional
        Hidden layers of the encoder of every component, mirrored by its decoder; random weights. None: sizes and
        weights of the autoencoder.
    image_shape : (C, H, W), optional
        Convolutional networks with random weights.
    learn_weights : bool
        Whether π may change; otherwise uniform.
    n_mc_samples : int
        M, draws of z per sample, component and step.
    min_information : float
        λ in nats; u is tempered until KL(u ‖ π) ≥ λ.
    generator : torch.Generator, optional
        For the initial weights; None: torch's global generator.
    """

    __call__: Callable[..., ELBOTerms]  # forward
    random_init_is_weights = False  # random responsibilities, as in the paper
    follows_likelihood = True  # rather than the initial clusters: so does EM
    has_full_covariances = True
    mixture_options: ClassVar[dict[str, Any]] = {}  # of ``estimate_mixture``, for ``initialize_as``

    def __init__(
        self,
        autoencoder: Autoencoder,
        n_components: int,
        *,
        hidden_layer_sizes: Sequence[int] | None = None,
        image_shape: Sequence[int] | None = None,
        learn_weights: bool = True,
        n_mc_samples: int = 1,
        min_information: float = 0.0,
        subcomponents: Counts = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        K, L = n_components, autoencoder.latent_dim
        self.n_components, self.latent_dim, self.noise_shape = K, L, (L,)
        self.subcomponents = None if subcomponents is None else tuple(subcomponents)
        self.embedding_dim = count_clusters(self)
        self.n_networks = K  # networks that every sample passes
        self.n_mc_samples, self.min_information = n_mc_samples, min_information
        self.autocast_dtype: torch.dtype | None = None  # lower precision for the networks' products only
        self.initial_responsibilities: Tensor | None = None  # (N, K), for the first M-steps
        self.reseeded: list[tuple[int, int]] = []  # (EM iteration, component)
        self.background = autoencoder.make_background()
        self.weight_logits = nn.Parameter(torch.zeros(K, dtype=torch.float32), requires_grad=learn_weights)
        self.likelihood = autoencoder.likelihood.repeat(K)
        self.n_outputs = autoencoder.n_features
        self.copies_autoencoder = hidden_layer_sizes is None and image_shape is None
        parts = make_stacked_networks(autoencoder, K, hidden_layer_sizes, image_shape, generator)
        self.body, self.decoder, self.head, self.linear = parts
        if self.copies_autoencoder:
            self._autoencoders.copy_from(autoencoder)
        self._autoencoders.set_posterior_variance(FRESH_POSTERIOR_VARIANCE)

    # -------------------------------------------------------------------------------- networks

    @property
    def n_gaussian(self) -> int:
        """Number of outputs, the first ones, that are means of Gaussians."""
        return self.n_outputs - self.likelihood.n_heads

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the networks."""
        return self.head.mean.weight.dtype

    @property
    def _autoencoders(self) -> StackedAutoencoder:
        """The autoencoder of every component."""
        networks = self.body, self.decoder, self.head, self.linear
        return StackedAutoencoder(self.likelihood, *networks, self.n_gaussian, self.autocast_dtype)

    def casts_kept(self) -> AbstractContextManager[object]:
        """Context for several passes through networks with constant weights, which are then cast once.

        Cached casts are deleted when the outermost autocast context ends; this one does not cast itself.
        """
        device = self.head.mean.weight.device
        return nullcontext() if self.autocast_dtype is None else torch.autocast(device.type, enabled=False)

    def encode(self, standardized: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of every q_c(z|x), each (N, K, L), from (N, K, D)."""
        return self._autoencoders.encode(standardized)

    def decode(self, z: Tensor) -> Tensor:
        """Decoder outputs (..., N, K, D) for latent points (..., N, K, L)."""
        return self._autoencoders.decode(z)

    # -------------------------------------------------------------------------------- bound

    def component_terms(self, x: Tensor, *, sampled: bool, generator: torch.Generator | None = None) -> ComponentTerms:
        """The two terms of ELBO_c.

        Parameters
        ----------
        x : Tensor of shape (N, D) or (N, K, D)
            Samples for all components, or separate samples for each.
        sampled : bool
            Draw z ``n_mc_samples`` times from q_c(z|x); otherwise z is its mean.
        generator : torch.Generator, optional
            For the draws; None: torch's global generator.

        Returns
        -------
        log_likelihood : Tensor of shape (N, K)
            E_{q_c}[log p_c(x|z)], estimated.
        kl_latent : Tensor of shape (N, K)
            KL(q_c(z|x) ‖ N(0, I)).
        """
        n_draws = self.n_mc_samples if sampled else None
        return self._autoencoders.component_terms(x, n_draws, generator)

    def assign(self, elbo: Tensor) -> tuple[Tensor, Tensor | None]:
        """The E-step for given ELBO_c (N, K): log u (N, K) and the temperature (N, 1) that satisfies λ.

        u maximizes Σ_c u_c ELBO_c − max(λ, KL(u ‖ π)); no gradient passes through it.
        """
        return temper_posterior(elbo, self.log_weights(), self.min_information)

    def weighted_terms(
        self, x: Tensor, responsibilities: Tensor, *, generator: torch.Generator | None = None
    ) -> ELBOTerms:
        """The M-step as in the paper: terms (N,) of Σ_c u_c ELBO_c(x) for samples (N, D), u (N, K).

        ``kl_component`` is zero: given u it does not depend on the networks.
        """
        return self.component_terms(x, sampled=True, generator=generator).sum_over_components(responsibilities)

    def drawn_terms(self, x: Tensor, shares: Tensor, *, generator: torch.Generator | None = None) -> ELBOTerms:
        """The M-step on samples drawn for each component: an unbiased estimate of the same sum.

        Parameters
        ----------
        x : Tensor of shape (B, K, D)
            ``x[:, c]`` are drawn with probabilities u_nc / Σ_n u_nc.
        shares : Tensor of shape (K,)
            Σ_n u_nc / N.
        """
        return self.component_terms(x, sampled=True, generator=generator).sum_over_components(shares)

    def forward(self, x: Tensor, *, generator: torch.Generator | None = None) -> ELBOTerms:
        """Terms (N,) of Σ_c u_c ELBO_c(x) − max(λ, KL(u ‖ π)) of rows (N, D), u of the E-step, new draws of z."""
        with torch.no_grad():
            log_u, temperature = self.assign(self.component_terms(x, sampled=False).elbo)
        log_weights = self.log_weights()
        kl_component = kl_categorical(log_u, log_weights)
        if temperature is not None:
            # the multiplier of the constraint KL = λ is T: see VaDE.forward
            kl_component = scale_gradient(kl_component, temperature.squeeze(-1))
        return self.weighted_terms(x, log_u.exp(), generator=generator)._replace(kl_component=kl_component)

    # ------------------------------------------------------------------------------ inference

    def log_weights(self) -> Tensor:
        """log π, shape (K,)."""
        return torch.log_softmax(self.weight_logits, -1)

    def embed(self, x: Tensor) -> Tensor:
        """log π_c + ELBO_c(x) at the means of q_c(z|x), (N, K) for rows (N, D); log of their sums over a cluster."""
        return join_subcomponents(self._bound_log_joint(x), self.subcomponents)

    def _bound_log_joint(self, x: Tensor) -> Tensor:
        """log π_c + ELBO_c(x), of every component: (N, P) for rows (N, D)."""
        return self.log_weights() + self.component_terms(x, sampled=False).elbo

    def log_responsibilities(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """log softmax_c (log π_c + ELBO_c(x)), (N, K) for rows (N, D); at the means of q_c(z|x), without noise."""
        return torch.log_softmax(self._bound_log_joint(x), -1)

    def reconstruct(self, x: Tensor) -> Tensor:
        """E[x | z, c] at the most probable c and the mean of q_c(z|x), (N, D) for rows (N, D)."""
        standardized = self._autoencoders.standardize(x)
        mean, log_variance = self.encode(standardized)
        output = self.decode(mean)
        elbo = self.likelihood.log_prob(standardized, output) - kl_standard_normal(mean, log_variance)
        expected = take_own(self.likelihood.mean(output), (self.log_weights() + elbo).argmax(-1))
        return self.likelihood.collapse(expected)

    def posterior(self, x: Tensor) -> VAEEMPosterior:
        """p(z, c | x) of rows (N, D), not normalized."""
        standardized = self._autoencoders.standardize(x)
        mean, log_variance = self.encode(standardized)
        return VAEEMPosterior(self, standardized, mean, torch.exp(0.5 * log_variance))

    def log_joint(self, x: Tensor, points: PointSets) -> Tensor:
        """log p(x, c), (N, K) for rows (N, D): of linear decoders exactly, else by importance sampling."""
        standardized = self.likelihood.standardize(x, torch.float64)
        if self.is_linear:
            return self._autoencoders.log_joint_of(standardized, self.log_weights())
        return estimate_log_joint(self.posterior(x), standardized, points)

    @property
    def is_linear(self) -> bool:
        """Whether the decoders are their linear paths alone, which reach no head."""
        return self._autoencoders.is_linear

    def generate(self, components: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draws of x | c and their means E[x|z], each (N, D), for components (N,).

        The samples are arranged in a table with a column for each component, so that balanced samples pass one decoder
        each; samples of a single component pass all K.
        """
        weight = self.head.mean.weight
        shape = (len(components), self.latent_dim)  # sample by sample: each component has the same draws for a seed
        z = torch.randn(shape, generator=generator, dtype=weight.dtype, device=weight.device)
        return draw_own(self, z, components, generator)

    def component_moments(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """E[x|z, c] (S, K, F), as ``likelihood.mean``, and Var[x|z, c], (S, K, D), at standard normal z (S, L)."""
        output = self.decode(noise.unsqueeze(1).expand(-1, self.n_components, -1))
        return self.likelihood.mean(output), self.likelihood.variance(output)

    @torch.no_grad()
    def residual_squares(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Squared residuals (N, G) of standardized samples (N, D) at one draw of z of the most probable component."""
        squares = self._autoencoders.residual_squares(x, generator)
        return take_own(squares, self._bound_log_joint(x).argmax(-1))

    # ------------------------------------------------------- initialization, renumbering

    @torch.no_grad()
    def initialize_from(self, embedding: Tensor, responsibilities: Tensor) -> None:
        """Store the responsibilities (N, K) for the first M-steps, and whiten the embedding (N, L) of each component.

        Only networks copied from the autoencoder are whitened, see ``StackedAutoencoder.whiten``. The initial
        components are then a full-covariance Gaussian mixture in the embedding.
        """
        self.initial_responsibilities = responsibilities
        start = estimate_moments(embedding, responsibilities)
        if self.weight_logits.requires_grad:
            self.weight_logits.copy_(initial_weight_logits(start.counts))
        if self.copies_autoencoder:
            self._autoencoders.whiten(start)

    @torch.no_grad()
    def initialize_as(self, mixture: MixtureMoments) -> None:
        """Be this mixture, means (K, G), of the standardized inputs; for L < G, on each component's principal axes.

        As q_c(z|x) is then the posterior, ELBO_c is the log-density of the component.
        """
        self._autoencoders.initialize_as(mixture)
        set_weights(self, mixture.weights.log())

    @torch.no_grad()
    def initialize_heads(self, outputs: Tensor) -> None:
        """Let these be the outputs (K, H) of the heads in each component."""
        self._autoencoders.initialize_heads(outputs)

    @torch.no_grad()
    def reorder(self, order: Tensor) -> None:
        """Component ``order[i]`` becomes component ``i``, for ``order`` (K,)."""
        for parameter in self.parameters():
            blocks = self.blocks(parameter)
            blocks.copy_(blocks[order])
        positions = {int(component): position for position, component in enumerate(order)}
        self.reseeded = [(iteration, positions[component]) for iteration, component in self.reseeded]

    def blocks(self, parameter: Tensor) -> Tensor:
        """View (K, n, ...) of a parameter (K·n, ...), or of a tensor of its shape."""
        blocks: Tensor = parameter.detach().unflatten(0, (self.n_components, len(parameter) // self.n_components))
        return blocks
