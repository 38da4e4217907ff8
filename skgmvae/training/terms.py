"""Sums of the terms of the bound over an epoch, without a transfer per batch."""

import torch
from torch import Tensor

from skgmvae._collectives import add_over_ranks, from_all
from skgmvae._ranks import n_ranks
from skgmvae.models.contract import ELBOTerms, join_terms
from skgmvae.training.objective import NegativeELBO

__all__ = ["TermSums"]

BATCHES_PER_READ = 512  # batches whose terms may stay on the device
BATCHES_PER_JOIN = 16  # batches whose terms are joined: many small tensors fragment memory


class TermSums:
    """Sums of the bound and its terms over the samples of an epoch, read from the device periodically.

    Attributes
    ----------
    diverged : list of str
        Terms of the first sample for which one is not finite.
    """

    def __init__(self, criterion: NegativeELBO) -> None:
        self.criterion = criterion
        self.latest: list[ELBOTerms] = []
        self.waiting: list[ELBOTerms] = []
        self.totals = torch.zeros(len(ELBOTerms._fields) + 1, dtype=torch.float64, device="cpu")
        self.n_rows = 0
        self.diverged: list[str] = []

    def add(self, terms: ELBOTerms, n_rows: int) -> None:
        """Add a batch."""
        self.latest.append(ELBOTerms(*(term.detach() for term in terms)))
        self.n_rows += n_rows
        if len(self.latest) == min(BATCHES_PER_JOIN, BATCHES_PER_READ):
            self.waiting.append(join_terms(self.latest))
            self.latest.clear()
        if len(self.waiting) * BATCHES_PER_JOIN >= BATCHES_PER_READ:
            self._read()

    def join_ranks(self) -> None:
        """Add the sums of the other ranks, of whose samples these are not."""
        if n_ranks() == 1:
            return
        self._read()
        totals = add_over_ranks(torch.cat([self.totals, self.totals.new_tensor([self.n_rows])]))
        self.totals, self.n_rows = totals[:-1], int(totals[-1])
        if not totals.isfinite().all():
            self.diverged = next(filter(None, from_all(self.diverged)), [])

    def means(self) -> Tensor:
        """Means over the samples: the bound, then every term."""
        self._read()
        return self.totals / self.n_rows

    def _read(self) -> None:
        parts = [*self.waiting, *self.latest]
        self.waiting.clear()
        self.latest.clear()
        if not parts:
            return
        terms = join_terms(parts)
        # Apple's device has no float64: sum there in float32
        wide = torch.float64 if terms[0].device.type != "mps" else torch.float32
        sums = torch.stack([column.sum(dtype=wide) for column in (self.criterion.per_row(terms), *terms)])
        self.totals += sums.cpu().double()
        if not self.diverged and not sums.isfinite().all():
            self._find_diverged(terms)

    def _find_diverged(self, terms: ELBOTerms) -> None:
        bad = ~torch.isfinite(torch.stack(terms)).cpu()
        first = int(bad.any(0).int().argmax())
        flags = bad[:, first].tolist()
        self.diverged = [name for name, is_bad in zip(ELBOTerms._fields, flags, strict=True) if is_bad]
