"""The autoencoder that the models share and that is pretrained: encoder, decoder, likelihood."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skgmvae.functional import noise_like, reparameterize
from skgmvae.models.background import Background
from skgmvae.models.columns import Columns
from skgmvae.models.contract import ELBOTerms
from skgmvae.models.jacobians import differentiate_decoder
from skgmvae.models.laplace import Expansion, expand_likelihood
from skgmvae.models.likelihoods import Bernoulli, Gaussian
from skgmvae.models.linear_path import LatentMixture, adds_nothing, log_joint_of_mixture
from skgmvae.models.missing import widen
from skgmvae.models.networks import (
    GaussianHead,
    draw_weights,
    make_conv_body,
    make_conv_decoder,
    make_mlp,
    make_mlp_body,
    set_constant_variance,
    unset,
)

__all__ = ["Autoencoder"]


class LinearPath(nn.Module):
    """Linear maps beside the networks: x ≈ b + W z + decoder(z), E_q[z] = v + V x + encoder(x).

    Parameters
    ----------
    n_features, latent_dim : int
    """

    def __init__(self, n_features: int, latent_dim: int) -> None:
        super().__init__()
        self.encoder = unset(nn.Linear, n_features, latent_dim)
        self.decoder = unset(nn.Linear, latent_dim, n_features)


class Autoencoder(nn.Module):
    """Encoder to a diagonal Gaussian q(z|x), decoder and likelihood p(x|z).

    On its own it is the plain autoencoder of the pretraining: its only term is log p(x | z = E_q[z]).

    Parameters
    ----------
    n_features : int
        D; the number of its inputs and outputs if the likelihood has several for a feature.
    latent_dim : int
        L.
    likelihood : Bernoulli, Gaussian or Columns
    hidden_layer_sizes : sequence of int
        Widths of the encoder's hidden layers; the decoder mirrors them.
    image_shape : (C, H, W) or None
        Convolutional networks for images of this shape; None: fully connected networks.
    generator : torch.Generator, optional
        For the initial weights; None: torch's global generator.
    has_linear_path : bool, default=False
        Whether linear maps are added to the mean of q(z|x) and to the decoder.
    """

    __call__: Callable[..., ELBOTerms]  # forward
    # whose moments missing values are completed by; the model's, and in a tuple not a part of this module
    _completion: tuple[Background, ...] = ()

    def __init__(
        self,
        n_features: int,
        latent_dim: int,
        likelihood: Bernoulli | Gaussian | Columns,
        hidden_layer_sizes: Sequence[int],
        image_shape: Sequence[int] | None = None,
        generator: torch.Generator | None = None,
        *,
        has_linear_path: bool = False,
    ) -> None:
        super().__init__()
        self.n_features, self.latent_dim = n_features, latent_dim
        self.hidden_layer_sizes = tuple(hidden_layer_sizes)
        self.autocast_dtype: torch.dtype | None = None  # lower precision for the networks' products only
        self.likelihood = likelihood
        self.decoder: nn.Sequential
        if image_shape is None:
            self.body, width = make_mlp_body(n_features, hidden_layer_sizes)
            self.decoder = make_mlp(latent_dim, tuple(reversed(hidden_layer_sizes)), n_features)
        else:
            self.body, width = make_conv_body(image_shape)
            self.decoder = make_conv_decoder(latent_dim, image_shape)
        self.body_width = width
        self.head = GaussianHead(width, latent_dim)
        self.linear = LinearPath(n_features, latent_dim) if has_linear_path else None
        self.component_outputs: nn.Parameter | None = None
        draw_weights(self, generator, for_relu=True)

    @property
    def n_gaussian(self) -> int:
        """Number of outputs, the first ones, that are means of Gaussians; the others are heads."""
        return self.n_features - self.likelihood.n_heads

    def add_components(self, n_components: int) -> None:
        """Let the outputs of the heads differ between components by constants, beside a linear path."""
        if self.linear is not None and self.likelihood.n_heads:
            outputs = torch.zeros(n_components, self.likelihood.n_heads, dtype=torch.float32)
            self.component_outputs = nn.Parameter(outputs)

    @torch.no_grad()
    def initialize_heads(self, outputs: Tensor) -> None:
        """Let these be the outputs (K, H) of the heads in each component."""
        if self.component_outputs is None:
            raise ValueError("the components have no outputs of their own")
        self.component_outputs.copy_(outputs)

    def outputs_of_components(self) -> Tensor | None:
        """What is added to the decoder's output in each component, (K, F), if anything is."""
        return None if self.component_outputs is None else F.pad(self.component_outputs, (self.n_gaussian, 0))

    def make_background(self) -> Background | None:
        """The background of a model with a linear path; others have none."""
        if self.linear is None:
            return None
        background = Background(self.n_features, self.likelihood.n_heads)
        self._completion = (background,)
        return background

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the networks."""
        return self.head.mean.weight.dtype

    def standardize(self, x: Tensor) -> Tensor:
        """Network input (N, D) for samples (N, D) in the units of the data."""
        return self.likelihood.standardize(x, self.dtype)

    def networks_precision(self, x: Tensor) -> AbstractContextManager[object]:
        """Context for the networks on ``x`` (...); everything outside it uses full precision."""
        if self.autocast_dtype is None:
            return nullcontext()  # a disabled autocast has a cost
        return torch.autocast(x.device.type, dtype=self.autocast_dtype)

    def features(self, standardized: Tensor) -> Tensor:
        """The encoder's last hidden layer (N, body_width) for network input (N, D)."""
        with self.networks_precision(standardized):
            features: Tensor = self.body(standardized).to(standardized.dtype)
        return features

    def encode(self, standardized: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z|x), each (N, L), from network input (N, D)."""
        return self.encode_with_features(standardized)[0]

    def encode_with_features(self, standardized: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """The same, and the encoder's last hidden layer (N, body_width), from network input (N, D)."""
        missing = self.likelihood.find_missing(standardized)
        completed = self._complete(standardized, missing)
        features = self.features(completed)
        mean, log_variance = self.head(features)
        if self.linear is None:
            return (mean, log_variance), features
        gaussian = self.likelihood.gaussian
        if missing is not None and gaussian is not None:
            missing, weight = missing[..., : self.n_gaussian], self.linear.decoder.weight[: self.n_gaussian]
            log_variance = log_variance + widen(missing, weight.T, gaussian.log_variance)
        return (mean + self.linear.encoder(completed), log_variance), features

    def encode_mean(self, standardized: Tensor) -> Tensor:
        """Mean of q(z|x), (N, L), from network input (N, D)."""
        completed = self.complete(standardized)
        mean: Tensor = self.head.mean(self.features(completed))
        return mean if self.linear is None else mean + self.linear.encoder(completed)

    def complete(self, standardized: Tensor) -> Tensor:
        """Network input (N, D) with missing values filled: with a linear path by what the others say of them."""
        return self._complete(standardized, self.likelihood.find_missing(standardized))

    def _complete(self, standardized: Tensor, missing: Tensor | None) -> Tensor:
        """The same where the missing cells (N, D) are known."""
        if missing is None:
            return standardized
        if not self._completion:
            return standardized.masked_fill(missing, self.likelihood.neutral)
        return self._completion[0].complete(standardized, missing)

    def decode(self, z: Tensor) -> Tensor:
        """Decoder output (..., D) for latent points (..., L)."""
        with self.networks_precision(z):
            output: Tensor = self.decoder(z.flatten(0, -2)).to(z.dtype)
        output = output if z.dim() == 2 else output.unflatten(0, z.shape[:-1])
        return output if self.linear is None else output + self.linear.decoder(z)

    def log_likelihood(self, standardized: Tensor, z: Tensor) -> Tensor:
        """log p(x|z), shape (..., N), of samples (N, D) at latent points (..., N, L).

        With component outputs log p(x|z, c), (..., N, K).
        """
        output, of_components = self.decode(z), self.outputs_of_components()
        if of_components is None or not isinstance(self.likelihood, Columns):
            return self.likelihood.log_prob(standardized, output)
        return self.likelihood.log_prob(standardized, output, of_components)

    def decode_of(self, z: Tensor, components: Tensor) -> Tensor:
        """Decoder output (N, D) for latent points (N, L) of components (N,)."""
        output, of_components = self.decode(z), self.outputs_of_components()
        return output if of_components is None else output + of_components[components]

    def decode_all(self, z: Tensor) -> Tensor:
        """Decoder output (..., K, D) for latent points (..., K, L), one of each component."""
        output, of_components = self.decode(z), self.outputs_of_components()
        return output if of_components is None else output + of_components

    def expand(self, standardized: Tensor, z: Tensor, of_components: Tensor | None = None) -> Expansion:
        """log p(x|z) of samples (N, D) to second order around z (N, k, L): k expansions of each sample.

        With ``of_components`` (k, D) or (N, k, D), which is added to the decoder's output.
        """
        output, jacobian = differentiate_decoder(self, z)
        if of_components is not None:
            output = output + of_components
        rows = standardized.unsqueeze(1).expand_as(output)
        log_likelihood = self.likelihood.log_prob(rows, output)
        return expand_likelihood(log_likelihood, *self.likelihood.differentiate(rows, output), jacobian)

    @property
    def is_linear(self) -> bool:
        """Whether the decoder is its linear path alone, which reaches no head."""
        if self.linear is None or self.likelihood.gaussian is None or not adds_nothing(self.decoder):
            return False
        return not bool(self.linear.decoder.weight[self.n_gaussian :].any())

    def log_joint_of(self, x: Tensor, log_weights: Tensor, means: Tensor, covariances: Tensor) -> Tensor:
        """log p(x, c), (N, K), of standardized samples (N, D) where the decoder is linear.

        The components of z have log-weights (K,), means (K, L) and covariances (K or 1, L, L).
        """
        gaussian, G = self.likelihood.gaussian, self.n_gaussian
        if self.linear is None or gaussian is None:
            raise ValueError("the density has a closed form only with a linear path and a Gaussian likelihood")
        W, bias, noise = self.linear.decoder.weight[:G], self.linear.decoder.bias, gaussian.log_variance.exp()
        covariances = (W @ covariances @ W.T + noise.diag()).expand(len(means), -1, -1)
        log_joint = log_joint_of_mixture(x[:, :G], log_weights, means @ W.T + bias[:G], covariances)
        log_joint = (log_joint - self.likelihood.log_jacobian(x).unsqueeze(-1)).to(W.dtype)
        of_components = self.outputs_of_components()
        if of_components is None or not isinstance(self.likelihood, Columns):
            return log_joint
        return log_joint + self.likelihood.log_prob_of_heads(x, bias.unsqueeze(0), of_components)

    def embed(self, x: Tensor) -> Tensor:
        """Posterior mean embedding (N, L) of rows (N, D)."""
        return self.encode_mean(self.standardize(x))

    def reconstruct(self, x: Tensor, log_responsibilities: Tensor | None = None) -> Tensor:
        """E[x | z = embed(x)] in the units of the data, (N, D) for rows (N, D).

        With component outputs by ``log_responsibilities`` (N, K).
        """
        output, of_components = self.decode(self.embed(x)), self.outputs_of_components()
        if of_components is None or log_responsibilities is None:
            return self.likelihood.collapse(self.likelihood.mean(output))
        expected = self.likelihood.mean(output.unsqueeze(1) + of_components)
        return self.likelihood.collapse((log_responsibilities.exp().unsqueeze(1) @ expected).squeeze(1))

    def forward(self, x: Tensor, *, generator: torch.Generator | None = None) -> ELBOTerms:
        """The reconstruction term (N,) of rows (N, D) at the posterior mean, without sampling."""
        standardized = self.standardize(x)
        log_likelihood = self.likelihood.log_prob(standardized, self.decode(self.encode_mean(standardized)))
        zero = torch.zeros_like(log_likelihood)
        return ELBOTerms(log_likelihood, zero, zero, zero)

    def set_posterior_variance(self, variance: float) -> None:
        """Initialize q(z|x) with approximately the given variance for every sample and dimension."""
        set_constant_variance(self.head, variance)

    @torch.no_grad()
    def initialize_linear(self, start: LatentMixture) -> None:
        """Begin as a linear model: the networks add nothing to the linear path, q(z|x) has a constant variance."""
        gaussian, G = self.likelihood.gaussian, self.n_gaussian
        if self.linear is None or gaussian is None:
            raise ValueError("a linear model needs has_linear_path=True and a Gaussian likelihood")
        for layer in (self.head.mean, self.head.log_variance, self.decoder[-1]):
            for parameter in layer.parameters():
                parameter.zero_()
        for parameter in self.linear.parameters():
            parameter.zero_()
        self.linear.encoder.weight[:, :G] = start.encoder_weight
        self.linear.encoder.bias.copy_(start.encoder_bias)
        self.linear.decoder.weight[:G] = start.decoder_weight
        self.linear.decoder.bias[:G] = start.decoder_bias
        self.head.log_variance.bias.copy_(start.posterior_variance.log())
        gaussian.set_variance(start.noise_variance)

    @torch.no_grad()
    def residual_squares(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Squared residuals (N, G) of the standardized samples (N, D) at one draw of z each, of Gaussian features."""
        standardized = self.standardize(x)
        mean, log_variance = self.encode(standardized)
        z = reparameterize(mean, log_variance, noise_like(mean, 1, generator=generator))
        return (standardized - self.decode(z))[:, : self.n_gaussian].square()
