"""The models as plain torch modules, usable in a custom training loop."""

from skgmvae.models.autoencoder import Autoencoder
from skgmvae.models.contract import ELBOTerms, Model
from skgmvae.models.gmvae import GMVAE
from skgmvae.models.likelihoods import Bernoulli, Gaussian
from skgmvae.models.vade import VaDE
from skgmvae.models.vaeem import VAEEM

__all__ = ["GMVAE", "VAEEM", "Autoencoder", "Bernoulli", "ELBOTerms", "Gaussian", "Model", "VaDE"]
