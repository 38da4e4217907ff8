"""Deep generative clustering with scikit-learn's interface."""

from skgmvae._gmvae import GMVAEClustering
from skgmvae._vade import VaDEClustering

__all__ = ["GMVAEClustering", "VaDEClustering"]
__version__ = "0.1.0"
