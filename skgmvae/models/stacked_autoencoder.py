"""K autoencoders side by side, one per component: what the parts of a mixture of autoencoders compute together."""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn

from skgmvae.functional import kl_standard_normal, mean_over_draws, noise_like, reparameterize
from skgmvae.models.autoencoder import Autoencoder
from skgmvae.models.columns import Columns
from skgmvae.models.contract import ComponentTerms
from skgmvae.models.likelihoods import Bernoulli, Gaussian
from skgmvae.models.linear_path import MixtureMoments, adds_nothing, log_joint_of_mixture, make_latent
from skgmvae.models.missing import complete_linear, widen
from skgmvae.models.moments import ComponentMoments
from skgmvae.models.networks import set_constant_variance
from skgmvae.models.stacked import (
    StackedGaussianHead,
    StackedLinearPath,
    copy_linear_layers,
    draw_stacked_weights,
    make_stacked_body,
    make_stacked_conv_body,
    make_stacked_conv_decoder,
    make_stacked_mlp,
    stacked_layer,
)

__all__ = ["StackedAutoencoder", "make_stacked_networks"]


def make_stacked_networks(
    autoencoder: Autoencoder,
    n_components: int,
    sizes: Sequence[int] | None,
    image_shape: Sequence[int] | None,
    generator: torch.Generator | None,
) -> tuple[nn.Sequential, nn.Sequential, StackedGaussianHead, StackedLinearPath | None]:
    """Body, decoder, head and linear path with random weights; by default of the autoencoder's sizes."""
    K, L = n_components, autoencoder.latent_dim
    if image_shape is not None:
        body, width = make_stacked_conv_body(K, image_shape)
        decoder = make_stacked_conv_decoder(K, L, image_shape)
    else:
        n_features = autoencoder.n_features
        sizes = autoencoder.hidden_layer_sizes if sizes is None else sizes
        body, width = make_stacked_body(K, n_features, sizes)
        decoder = make_stacked_mlp(K, L, tuple(reversed(sizes)), n_features)
    head = StackedGaussianHead(K, width, L)
    has_linear_path = autoencoder.linear is not None
    linear = StackedLinearPath(K, autoencoder.n_features, L) if has_linear_path else None
    for network in (body, decoder, head):
        draw_stacked_weights(network, generator)
    return body, decoder, head, linear


class StackedAutoencoder(NamedTuple):
    """Encoders, decoders and likelihoods of K components, as :class:`~skgmvae.models.autoencoder.Autoencoder`.

    It is no module: its parts are registered in the model, under their names, and nothing is stored here.

    Attributes
    ----------
    likelihood : Bernoulli, Gaussian or Columns
        Of stacked outputs.
    body, decoder : nn.Sequential
    head : StackedGaussianHead
    linear : StackedLinearPath or None
    n_gaussian : int
        Number of outputs, the first ones, that are means of Gaussians.
    autocast_dtype : torch.dtype or None
        Lower precision for the networks' products only.
    """

    likelihood: Bernoulli | Gaussian | Columns
    body: nn.Sequential
    decoder: nn.Sequential
    head: StackedGaussianHead
    linear: StackedLinearPath | None
    n_gaussian: int
    autocast_dtype: torch.dtype | None

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the networks."""
        return self.head.mean.weight.dtype

    def _networks_precision(self, x: Tensor) -> AbstractContextManager[object]:
        """Context for the networks on ``x`` (...); everything outside it uses full precision."""
        return nullcontext() if self.autocast_dtype is None else torch.autocast(x.device.type, self.autocast_dtype)

    def standardize(self, x: Tensor) -> Tensor:
        """Network input (N, K, D) for samples (N, D), shared by all components, or (N, K, D), separate for each."""
        standardized, n_components = self.likelihood.standardize(x, self.dtype), len(self.head.mean.weight)
        return standardized.unsqueeze(1).expand(-1, n_components, -1) if x.dim() == 2 else standardized

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

    def component_terms(self, x: Tensor, n_draws: int | None, generator: torch.Generator | None) -> ComponentTerms:
        """The two terms of ELBO_c of samples (N, D) or (N, K, D), at draws of z from q_c(z|x); None: at its mean."""
        standardized = self.standardize(x)
        mean, log_variance = self.encode(standardized)
        z = mean
        if n_draws is not None:
            z = reparameterize(mean, log_variance, noise_like(mean, n_draws, generator=generator))
        log_likelihood = mean_over_draws(self.likelihood.log_prob(standardized, self.decode(z)), n_draws or 1)
        return ComponentTerms(log_likelihood, kl_standard_normal(mean, log_variance))

    def residual_squares(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        """Squared residuals (N, K, G) of standardized samples (N, D) at one draw of z of each component."""
        standardized = self.standardize(x)
        mean, log_variance = self.encode(standardized)
        z = reparameterize(mean, log_variance, noise_like(mean, 1, generator=generator))
        return (standardized - self.decode(z))[..., : self.n_gaussian].square()

    # -------------------------------------------------------------------------------- linear decoders

    @property
    def is_linear(self) -> bool:
        """Whether the decoders are their linear paths alone, which reach no head."""
        if self.linear is None or self.likelihood.gaussian is None or not adds_nothing(self.decoder):
            return False
        return not bool(self.linear.decoder.weight[..., self.n_gaussian :].any())

    def log_joint_of(self, standardized: Tensor, log_weights: Tensor) -> Tensor:
        """log p(x, c), (N, K), of standardized samples (N, D), exactly, if the decoders are linear; log π (K,)."""
        gaussian, G = self.likelihood.gaussian, self.n_gaussian
        if self.linear is None or gaussian is None:
            raise ValueError("the density has a closed form only with a linear path and a Gaussian likelihood")
        W, bias = self.linear.decoder.weight[..., :G], self.linear.decoder.bias
        covariances = W.mT @ W + gaussian.log_variance.exp().diag_embed()
        log_joint = log_joint_of_mixture(standardized[:, :G], log_weights, bias[:, :G], covariances)
        log_joint = (log_joint - self.likelihood.log_jacobian(standardized).unsqueeze(-1)).to(W.dtype)
        if not isinstance(self.likelihood, Columns):
            return log_joint
        return log_joint + self.likelihood.log_prob_of_heads(standardized, torch.zeros_like(bias[:1]), bias)

    # -------------------------------------------------------------------------------- initialization

    @torch.no_grad()
    def copy_from(self, autoencoder: Autoencoder) -> None:
        """Copy the networks of an autoencoder of the same sizes to all components."""
        copy_linear_layers(self.body, autoencoder.body)
        copy_linear_layers(self.decoder, autoencoder.decoder)
        self.head.mean.copy_from(autoencoder.head.mean)
        self.head.log_variance.copy_from(autoencoder.head.log_variance)

    def set_posterior_variance(self, variance: float) -> None:
        """Initialize every q_c(z|x) with approximately the given variance for every sample and dimension."""
        set_constant_variance(self.head, variance)

    @torch.no_grad()
    def initialize_as(self, mixture: MixtureMoments) -> None:
        """Be the components of this mixture, means (K, G), of the standardized inputs: linear decoders and encoders."""
        gaussian, G = self.likelihood.gaussian, self.n_gaussian
        if self.linear is None or gaussian is None:
            raise ValueError("a mixture of the inputs needs a linear path and a Gaussian likelihood")
        for layer in (self.head.mean, self.head.log_variance, stacked_layer(self.decoder, -1)):
            for parameter in layer.parameters():
                parameter.zero_()
        for parameter in self.linear.parameters():
            parameter.zero_()
        latent_dim = self.head.mean.weight.shape[-1]
        starts = [make_latent(part, latent_dim, has_codes=False) for part in mixture.split()]
        for c, start in enumerate(starts):
            self.linear.encoder.weight[c, :G] = start.encoder_weight.T
            self.linear.encoder.bias[c] = start.encoder_bias
            self.linear.decoder.weight[c, :, :G] = start.decoder_weight.T
            self.linear.decoder.bias[c, :G] = start.decoder_bias
            self.head.log_variance.bias[c] = start.posterior_variance.log()
        gaussian.set_variance(torch.stack([start.noise_variance for start in starts]))

    @torch.no_grad()
    def initialize_heads(self, outputs: Tensor) -> None:
        """Let these be the outputs (K, H) of the heads in each component."""
        if self.linear is None:
            raise ValueError("outputs of components need a linear path")
        self.linear.decoder.bias[:, self.n_gaussian :] = outputs

    @torch.no_grad()
    def whiten(self, start: ComponentMoments) -> None:
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
