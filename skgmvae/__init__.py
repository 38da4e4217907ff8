"""Deep generative clustering with scikit-learn's interface."""

from skgmvae._evaluation import single_precision
from skgmvae._gmvae import GMVAEClustering
from skgmvae._vade import VaDEClustering
from skgmvae._vaeem import VAEEMClustering

__all__ = ["GMVAEClustering", "VAEEMClustering", "VaDEClustering", "single_precision"]
__version__ = "0.1.0"
