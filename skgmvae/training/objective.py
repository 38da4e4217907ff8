"""The objective: applies λ and the signs of the terms, and averages over the batch."""

from collections.abc import Callable

from torch import Tensor, nn

from skgmvae.models.contract import ELBOTerms

__all__ = ["NegativeELBO"]


class NegativeELBO(nn.Module):
    """Negative mean over samples of log_likelihood − kl_latent − kl_style − max(λ, kl_component).

    Parameters
    ----------
    min_information : float, default=0.0
        λ in nats (Dilokthanakul et al. 2016, Eq. 7, per row).
    """

    __call__: Callable[..., Tensor]  # forward

    def __init__(self, min_information: float = 0.0) -> None:
        super().__init__()
        self.min_information = min_information

    def per_row(self, terms: ELBOTerms) -> Tensor:
        """The bound of every sample in nats, shape (N,)."""
        return terms.log_likelihood - self._penalties(terms)

    def forward(self, terms: ELBOTerms) -> Tensor:
        """The loss to minimize, a scalar."""
        return (self._penalties(terms) - terms.log_likelihood).mean()

    def _penalties(self, terms: ELBOTerms) -> Tensor:
        """The divergences that are subtracted from the log-likelihood."""
        kl_component = terms.kl_component
        if self.min_information > 0.0:
            kl_component = kl_component.clamp_min(self.min_information)
        return terms.kl_latent + terms.kl_style + kl_component
