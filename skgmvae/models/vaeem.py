"""A mixture of variational autoencoders, one per component (Adipoetra & Martin 2025)."""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from skgmvae.functional import (
    kl_categorical,
    kl_standard_normal,
    mean_over_draws,
    noise_like,
    reparameterize,
    scale_gradient,
    temper_posterior,
)
from skgmvae.models.autoencoder import Autoencoder
from skgmvae.models.columns import Columns
from skgmvae.models.contract import ELBOTerms
from skgmvae.models.importance import PointSets, estimate_log_joint
from skgmvae.models.linear_path import MixtureMoments, adds_nothing, log_joint_of_mixture, make_latent
from skgmvae.models.missing import complete_linear, widen
from skgmvae.models.moments import ComponentMoments, estimate_moments, initial_weight_logits
from skgmvae.models.own_posteriors import VAEEMPosterior
from skgmvae.models.stacked import (
    StackedGaussianHead,
    StackedLinearPath,
    copy_linear_layers,
    draw_stacked_weights,
    lay_out,
    make_stacked_body,
    make_stacked_conv_body,
    make_stacked_conv_decoder,
    make_stacked_mlp,
    stacked_layer,
    take_own,
)

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
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        K, L = n_components, autoencoder.latent_dim
        self.n_components, self.latent_dim, self.embedding_dim, self.noise_shape = K, L, K, (L,)
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
        self._make_networks(autoencoder, hidden_layer_sizes, image_shape, generator)

    def _make_networks(
        self,
        autoencoder: Autoencoder,
        sizes: Sequence[int] | None,
        image_shape: Sequence[int] | None,
        generator: torch.Generator | None,
    ) -> None:
        K, L = self.n_components, self.latent_dim
        self.decoder: nn.Sequential
        if image_shape is not None:
            self.body, width = make_stacked_conv_body(K, image_shape)
            self.decoder = make_stacked_conv_decoder(K, L, image_shape)
        else:
            n_features = autoencoder.n_features
            sizes = autoencoder.hidden_layer_sizes if sizes is None else sizes
            self.body, width = make_stacked_body(K, n_features, sizes)
            self.decoder = make_stacked_mlp(K, L, tuple(reversed(sizes)), n_features)
        self.head = StackedGaussianHead(K, width, L)
        has_linear_path = autoencoder.linear is not None
        self.linear = StackedLinearPath(K, autoencoder.n_features, L) if has_linear_path else None
        for network in (self.body, self.decoder, self.head):
            draw_stacked_weights(network, generator)
        if self.copies_autoencoder:
            copy_linear_layers(self.body, autoencoder.body)
            copy_linear_layers(self.decoder, autoencoder.decoder)
            self.head.mean.copy_from(autoencoder.head.mean)
            self.head.log_variance.copy_from(autoencoder.head.log_variance)
        with torch.no_grad():
            self.head.log_variance.weight.mul_(0.1)
            self.head.log_variance.bias.fill_(math.log(FRESH_POSTERIOR_VARIANCE))

    # -------------------------------------------------------------------------------- networks

    @property
    def n_gaussian(self) -> int:
        """Number of outputs, the first ones, that are means of Gaussians."""
        return self.n_outputs - self.likelihood.n_heads

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the networks."""
        return self.head.mean.weight.dtype

    def _networks_precision(self, x: Tensor) -> AbstractContextManager[object]:
        """Context for the networks on ``x`` (...); everything outside it uses full precision."""
        return nullcontext() if self.autocast_dtype is None else torch.autocast(x.device.type, self.autocast_dtype)

    def casts_kept(self) -> AbstractContextManager[object]:
        """Context for several passes through networks with constant weights, which are then cast once.

        Cached casts are deleted when the outermost autocast context ends; this one does not cast itself.
        """
        device = self.head.mean.weight.device
        return nullcontext() if self.autocast_dtype is None else torch.autocast(device.type, enabled=False)

    def _stack(self, x: Tensor) -> Tensor:
        """Network input (N, K, D) for samples (N, D), shared by all components, or (N, K, D), separate for each."""
        standardized = self.likelihood.standardize(x, self.dtype)
        return standardized.unsqueeze(1).expand(-1, self.n_components, -1) if x.dim() == 2 else standardized

    def encode(self, standardized: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of every q_c(z|x), each (N, K, L), from (N, K, D)."""
        missing = self.likelihood.find_missing(standardized)
        if missing is not None:
            standardized = self._complete(standardized, missing)
        with self._networks_precision(standardized):
            features: Tensor = self.body(standardized)
        mean, log_variance = self.head(features.to(standardized.dtype))
        if self.linear is None:
            return mean, log_variance
        gaussian, G = self.likelihood.gaussian, self.n_gaussian
        if missing is not None and gaussian is not None:
            weight = self.linear.decoder.weight[..., :G]
            log_variance = log_variance + widen(missing[..., :G], weight, gaussian.log_variance)
        return mean + self.linear.encoder(standardized), log_variance

    def _complete(self, standardized: Tensor, missing: Tensor) -> Tensor:
        """Network input (N, K, D) with missing values filled, by the linear path of each component."""
        gaussian, G = self.likelihood.gaussian, self.n_gaussian
        if self.linear is None or gaussian is None:
            return standardized.masked_fill(missing, self.likelihood.neutral)
        weight, bias = self.linear.decoder.weight[..., :G], self.linear.decoder.bias[:, :G]
        parts = standardized[..., :G], missing[..., :G], weight, bias, gaussian.log_variance
        heads = standardized[..., G:].masked_fill(missing[..., G:], self.likelihood.neutral)
        return torch.cat([complete_linear(*parts), heads], -1)

    def decode(self, z: Tensor) -> Tensor:
        """Decoder outputs (..., N, K, D) for latent points (..., N, K, L)."""
        flat = z.flatten(0, -3)
        with self._networks_precision(z):
            output: Tensor = self.decoder(flat).to(z.dtype)
        if self.linear is not None:
            output = output + self.linear.decoder(flat)
        return output if z.dim() == 3 else output.unflatten(0, z.shape[:-2])

    # -------------------------------------------------------------------------------- bound

    def component_terms(
        self, x: Tensor, *, sampled: bool, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
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
        standardized = self._stack(x)
        mean, log_variance = self.encode(standardized)
        n_draws = self.n_mc_samples if sampled else 1
        z = reparameterize(mean, log_variance, noise_like(mean, n_draws, generator=generator)) if sampled else mean
        log_likelihood = mean_over_draws(self.likelihood.log_prob(standardized, self.decode(z)), n_draws)
        return log_likelihood, kl_standard_normal(mean, log_variance)

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
        return _sum_over_components(self.component_terms(x, sampled=True, generator=generator), responsibilities)

    def drawn_terms(self, x: Tensor, shares: Tensor, *, generator: torch.Generator | None = None) -> ELBOTerms:
        """The M-step on samples drawn for each component: an unbiased estimate of the same sum.

        Parameters
        ----------
        x : Tensor of shape (B, K, D)
            ``x[:, c]`` are drawn with probabilities u_nc / Σ_n u_nc.
        shares : Tensor of shape (K,)
            Σ_n u_nc / N.
        """
        return _sum_over_components(self.component_terms(x, sampled=True, generator=generator), shares)

    def forward(self, x: Tensor, *, generator: torch.Generator | None = None) -> ELBOTerms:
        """Terms (N,) of Σ_c u_c ELBO_c(x) − max(λ, KL(u ‖ π)) of rows (N, D), u of the E-step, new draws of z."""
        with torch.no_grad():
            log_u, temperature = self.assign(_elbo(self.component_terms(x, sampled=False)))
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
        """log π_c + ELBO_c(x) at the means of q_c(z|x), (N, K) for rows (N, D)."""
        return self.log_weights() + _elbo(self.component_terms(x, sampled=False))

    def log_responsibilities(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """log softmax_c (log π_c + ELBO_c(x)), (N, K) for rows (N, D); at the means of q_c(z|x), without noise."""
        return torch.log_softmax(self.embed(x), -1)

    def reconstruct(self, x: Tensor) -> Tensor:
        """E[x | z, c] at the most probable c and the mean of q_c(z|x), (N, D) for rows (N, D)."""
        standardized = self._stack(x)
        mean, log_variance = self.encode(standardized)
        output = self.decode(mean)
        elbo = self.likelihood.log_prob(standardized, output) - kl_standard_normal(mean, log_variance)
        expected = take_own(self.likelihood.mean(output), (self.log_weights() + elbo).argmax(-1))
        return self.likelihood.collapse(expected)

    def posterior(self, x: Tensor) -> VAEEMPosterior:
        """p(z, c | x) of rows (N, D), not normalized."""
        standardized = self._stack(x)
        mean, log_variance = self.encode(standardized)
        return VAEEMPosterior(self, standardized, mean, torch.exp(0.5 * log_variance))

    def log_joint(self, x: Tensor, points: PointSets) -> Tensor:
        """log p(x, c), (N, K) for rows (N, D): of linear decoders exactly, else by importance sampling."""
        standardized = self.likelihood.standardize(x, torch.float64)
        if self.is_linear:
            return self._log_joint_of_linear(standardized)
        return estimate_log_joint(self.posterior(x), standardized, points)

    @property
    def is_linear(self) -> bool:
        """Whether the decoders are their linear paths alone, which reach no head."""
        if self.linear is None or self.likelihood.gaussian is None or not adds_nothing(self.decoder):
            return False
        return not bool(self.linear.decoder.weight[..., self.n_gaussian :].any())

    def _log_joint_of_linear(self, standardized: Tensor) -> Tensor:
        """log p(x, c), (N, K), of standardized samples (N, D), exactly, if the decoders are linear."""
        gaussian, G = self.likelihood.gaussian, self.n_gaussian
        if self.linear is None or gaussian is None:
            raise ValueError("the density has a closed form only with a linear path and a Gaussian likelihood")
        W, bias = self.linear.decoder.weight[..., :G], self.linear.decoder.bias
        covariances = W.mT @ W + gaussian.log_variance.exp().diag_embed()
        log_joint = log_joint_of_mixture(standardized[:, :G], self.log_weights(), bias[:, :G], covariances)
        log_joint = (log_joint - self.likelihood.log_jacobian(standardized).unsqueeze(-1)).to(W.dtype)
        if not isinstance(self.likelihood, Columns):
            return log_joint
        return log_joint + self.likelihood.log_prob_of_heads(standardized.unsqueeze(1), bias)

    def generate(self, components: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draws of x | c and their means E[x|z], each (N, D), for components (N,).

        The samples are arranged in a table with a column for each component, so that balanced samples pass one decoder
        each; samples of a single component pass all K.
        """
        weight = self.head.mean.weight
        shape = (len(components), self.latent_dim)  # sample by sample: each component has the same draws for a seed
        z = torch.randn(shape, generator=generator, dtype=weight.dtype, device=weight.device)
        place, tables = lay_out(components, self.n_components)
        all_draws, all_means = [], []
        for height, rows in tables:
            at = place[rows], components[rows]
            table = z.new_zeros(height, self.n_components, self.latent_dim)
            table[at] = z[rows]
            output = self.decode(table)
            all_draws.append(self.likelihood.draw(output, generator)[at])
            all_means.append(self.likelihood.collapse(self.likelihood.mean(output)[at]))
        back = torch.cat([rows for _, rows in tables]).argsort()
        return torch.cat(all_draws)[back], torch.cat(all_means)[back]

    def component_moments(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """E[x|z, c] (S, K, F), as ``likelihood.mean``, and Var[x|z, c], (S, K, D), at standard normal z (S, L)."""
        output = self.decode(noise.unsqueeze(1).expand(-1, self.n_components, -1))
        return self.likelihood.mean(output), self.likelihood.variance(output)

    @torch.no_grad()
    def residual_squares(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Squared residuals (N, G) of standardized samples (N, D) at one draw of z of the most probable component."""
        standardized = self._stack(x)
        mean, log_variance = self.encode(standardized)
        z = reparameterize(mean, log_variance, noise_like(mean, 1, generator=generator))
        squares = (standardized - self.decode(z))[..., : self.n_gaussian].square()
        return take_own(squares, self.embed(x).argmax(-1))

    # ------------------------------------------------------- initialization, renumbering

    @torch.no_grad()
    def initialize_from(self, embedding: Tensor, responsibilities: Tensor) -> None:
        """Store the responsibilities (N, K) for the first M-steps, and whiten the embedding (N, L) of each component.

        Only networks copied from the autoencoder are whitened, see ``_whiten``. The initial components are then a
        full-covariance Gaussian mixture in the embedding.
        """
        self.initial_responsibilities = responsibilities
        start = estimate_moments(embedding, responsibilities)
        if self.weight_logits.requires_grad:
            self.weight_logits.copy_(initial_weight_logits(start.counts))
        if self.copies_autoencoder:
            self._whiten(start)

    @torch.no_grad()
    def initialize_as(self, mixture: MixtureMoments) -> None:
        """Be this mixture, means (K, G), of the standardized inputs; for L < G, on each component's principal axes.

        As q_c(z|x) is then the posterior, ELBO_c is the log-density of the component.
        """
        gaussian, G = self.likelihood.gaussian, self.n_gaussian
        if self.linear is None or gaussian is None:
            raise ValueError("a mixture of the inputs needs a linear path and a Gaussian likelihood")
        for layer in (self.head.mean, self.head.log_variance, stacked_layer(self.decoder, -1)):
            for parameter in layer.parameters():
                parameter.zero_()
        for parameter in self.linear.parameters():
            parameter.zero_()
        starts = [make_latent(part, self.latent_dim, has_codes=False) for part in mixture.split()]
        for c, start in enumerate(starts):
            self.linear.encoder.weight[c, :G] = start.encoder_weight.T
            self.linear.encoder.bias[c] = start.encoder_bias
            self.linear.decoder.weight[c, :, :G] = start.decoder_weight.T
            self.linear.decoder.bias[c, :G] = start.decoder_bias
            self.head.log_variance.bias[c] = start.posterior_variance.log()
        gaussian.set_variance(torch.stack([start.noise_variance for start in starts]))
        if self.weight_logits.requires_grad:
            self.weight_logits.copy_(mixture.weights.log())

    @torch.no_grad()
    def initialize_heads(self, outputs: Tensor) -> None:
        """Let these be the outputs (K, H) of the heads in each component."""
        if self.linear is None:
            raise ValueError("outputs of components need a linear path")
        self.linear.decoder.bias[:, self.n_gaussian :] = outputs

    def _whiten(self, start: ComponentMoments) -> None:
        """Change coordinates so that N(0, I) corresponds to N(m_c, S_c) in the embedding, m (K, L) and S (K, L, L).

        With S = V Λ Vᵀ, encoder c is followed by z' = Λ^(−1/2) Vᵀ (z − m_c) and decoder c is preceded by
        z = V Λ^(1/2) z' + m_c; a variance v of q(z|x) in all directions becomes v / Λ.
        """
        variances, vectors = (tensor.to(self.dtype) for tensor in torch.linalg.eigh(start.covariances))
        deviations = variances.sqrt().unsqueeze(1)  # (K, 1, L)
        means = start.means.to(self.dtype).unsqueeze(1)
        head, first = self.head.mean, stacked_layer(self.decoder, 0)
        forward, backward = vectors / deviations, vectors * deviations  # (K, L, L)
        head.weight.copy_(head.weight @ forward)
        head.bias.copy_(((head.bias.unsqueeze(1) - means) @ forward).squeeze(1))
        first.bias.add_((means @ first.weight).squeeze(1))
        first.weight.copy_(backward.mT @ first.weight)
        self.head.log_variance.bias.copy_(math.log(start.posterior_variance) - variances.log())

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


def _elbo(terms: tuple[Tensor, Tensor]) -> Tensor:
    """ELBO_c (N, K) from its two terms (N, K)."""
    log_likelihood, kl_latent = terms
    return log_likelihood - kl_latent


def _sum_over_components(terms: tuple[Tensor, Tensor], shares: Tensor) -> ELBOTerms:
    """Terms (N,) of Σ_c shares_c ELBO_c, from those of ELBO_c (N, K) and shares (N, K) or (K,)."""
    log_likelihood, kl_latent = ((shares * term).sum(-1) for term in terms)
    zero = torch.zeros_like(log_likelihood)
    return ELBOTerms(log_likelihood, kl_latent, zero, zero)
