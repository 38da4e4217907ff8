"""Torch modules of the papers' models, usable in a bare torch loop."""

from skgmvae.models.autoencoder import Autoencoder
from skgmvae.models.contract import ELBOTerms, Model
from skgmvae.models.gmvae import GMVAE
from skgmvae.models.likelihoods import Bernoulli, Gaussian
from skgmvae.models.vade import VaDE

__all__ = ["GMVAE", "Autoencoder", "Bernoulli", "ELBOTerms", "Gaussian", "Model", "VaDE"]
