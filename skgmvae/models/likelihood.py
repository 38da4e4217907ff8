"""What all likelihoods have in common."""

from typing import Any

from torch import Tensor, nn

from skgmvae.models.missing import find_missing

__all__ = ["Likelihood"]


class Likelihood(nn.Module):
    """What all likelihoods know of missing values, and of features with one output of the decoder each."""

    neutral = 0.0  # input of networks in place of a missing value
    has_missing = False  # in training, whether there are any: to look in every batch would take time
    n_heads = 0  # outputs of the decoder, the last ones, that differ between components by a constant

    @property
    def gaussian(self) -> Any:
        """The likelihood of the first outputs if it is Gaussian."""
        return None

    def find_missing(self, x: Tensor) -> Tensor | None:
        """Which cells of samples (..., D) are missing, in a shape that broadcasts to theirs; None if none is."""
        return None if self.training and not self.has_missing else find_missing(x)

    def log_jacobian(self, x: Tensor) -> Tensor:
        """log abs(d x / d standardized x) of standardized samples (N, D), (): they are the samples themselves."""
        return x.new_zeros(())

    def collapse(self, expected: Tensor) -> Tensor:
        """The values (..., D) that stand for expectations of ``mean`` (..., F): of categories the most probable."""
        return expected

    def to_numbers(self, expected: Tensor) -> Tensor:
        """The expectations (..., D) of the values as numbers, from those of ``mean`` (..., F)."""
        return expected
