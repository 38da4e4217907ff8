"""Incremental E-step: responsibilities of all samples, updated by evaluating some of them."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from skgmvae._collectives import exchange
from skgmvae._evaluation import chunk_rows
from skgmvae._ranks import part_of
from skgmvae.data.arrays import Array
from skgmvae.data.batches import Rows, send, take_rows
from skgmvae.data.lazy import LazyRows, PickedRows, empty_or_memmap, iter_chunks
from skgmvae.models.contract import ELBOTerms, join_terms
from skgmvae.models.vaeem import VAEEM
from skgmvae.runtime import RandomStream

__all__ = ["EStep"]

SETTLED = 0.99  # a sample is settled if its largest responsibility is above this
PART_VALUES = 2**22  # entries of a table that are processed at a time if the rows are lazy
TABLES = ("log_likelihood", "kl_latent", "responsibilities", "seen")  # that a checkpoint stores …
COUNTS = ("n_steps", "evaluated_share", "may_be_partial")  # … with these values
MOVED_SHARE = 0.01  # E-steps may be partial while at most this share of the settled samples evaluated has moved


class EStep:
    """State of the E-steps of one training.

    Large tables (N, K) are stored in temporary files (see :func:`~skgmvae.data.lazy.empty_or_memmap`).

    Parameters
    ----------
    rows : Tensor or LazyRows of shape (N, D)
    device : torch.device
        Device of the model; the rows may be on another.
    random : RandomStream
    responsibilities : Tensor of shape (N, K), optional
        Initial responsibilities.

    Attributes
    ----------
    responsibilities : Tensor of shape (N, K)
        u, on ``device``.
    evaluated_share : float
        Share of the samples that the last E-step evaluated.
    """

    def __init__(
        self, rows: Rows, device: torch.device, random: RandomStream, responsibilities: Tensor | None = None
    ) -> None:
        self.rows, self.device, self.random = rows, device, random
        empty = torch.empty(0, dtype=torch.float32, device=device)
        self.log_likelihood = self.kl_latent = self.responsibilities = empty  # (N, K) after the first E-step
        if responsibilities is not None:
            self.responsibilities = responsibilities.to(device, torch.float32)
        self.seen = torch.zeros(len(rows), dtype=torch.float32, device=device)  # when each row was last evaluated
        self.n_steps = 0
        self.evaluated_share = 0.0
        self.may_be_partial = False

    def add_state(self, arrays: dict[str, Array]) -> dict[str, Any]:
        """Add the tables to the arrays of a checkpoint; returns what is known of them."""
        arrays.update({f"e_step.{name}": getattr(self, name).numpy(force=True) for name in TABLES})
        return {name: getattr(self, name) for name in COUNTS}

    def set_state(self, arrays: dict[str, Array], values: dict[str, Any]) -> None:
        """Set what :meth:`add_state` has given."""
        for name in TABLES:
            setattr(self, name, torch.from_numpy(arrays[f"e_step.{name}"].copy()).to(self.device))
        for name in COUNTS:
            setattr(self, name, values[name])

    def update(self, model: VAEEM, pairs_per_row: float = math.inf, *, clamp: bool = False) -> ELBOTerms:
        """Run an E-step and return the terms of the bound, each (N,); u does not change if they are not finite.

        With ``clamp``, u does not change either, and the terms are those of the clamped u.
        """
        chosen = self._choose_rows(model.n_components, pairs_per_row)
        self.evaluated_share = 1.0 if chosen is None else len(chosen) / len(self.rows)
        self._evaluate(model, chosen)
        terms, u, is_finite = self._assign(model, clamp=clamp)
        if is_finite:
            self._keep(u, chosen)
        else:
            self.may_be_partial = False
        return terms

    def _assign(self, model: VAEEM, *, clamp: bool) -> tuple[ELBOTerms, Tensor, bool]:
        """Terms, u, and whether all are finite, from the tables; part by part if the rows are lazy."""
        N, K = self.log_likelihood.shape
        size = max(1, PART_VALUES // K) if isinstance(self.rows, LazyRows) else N
        if size >= N:
            return self._assign_part(model, slice(0, N), clamp=clamp)
        u, all_terms, all_finite = self._make_table(K), [], True
        for first in range(0, N, size):
            part = slice(first, first + size)
            terms, u[part], is_finite = self._assign_part(model, part, clamp=clamp)
            all_terms.append(terms)
            all_finite &= is_finite
        return join_terms(all_terms), u, all_finite

    def _assign_part(self, model: VAEEM, part: slice, *, clamp: bool) -> tuple[ELBOTerms, Tensor, bool]:
        log_likelihood, kl_latent = self.log_likelihood[part], self.kl_latent[part]
        elbo = log_likelihood - kl_latent
        u = self.responsibilities[part] if clamp else model.assign(elbo)[0].exp()
        kl_component = torch.special.xlogy(u, u).sum(-1) - u @ model.log_weights().detach()
        log_likelihood, kl_latent = ((u * term).sum(-1) for term in (log_likelihood, kl_latent))
        terms = ELBOTerms(log_likelihood, kl_latent, torch.zeros_like(kl_latent), kl_component)
        return terms, u, bool(elbo.isfinite().all())

    def _make_table(self, K: int) -> Tensor:
        """An empty table (N, K) on the device of the model."""
        if self.device.type != "cpu":
            return torch.empty(len(self.rows), K, dtype=torch.float32, device=self.device)
        return torch.from_numpy(empty_or_memmap((len(self.rows), K)))

    def _choose_rows(self, K: int, pairs_per_row: float) -> Tensor | None:
        """Indices of the rows to evaluate; None: all of them.

        At most half are unsettled rows; the others are settled rows in rotation. In both groups, those evaluated the
        longest ago come first.
        """
        N = len(self.rows)
        n_chosen = min(float(N), N * pairs_per_row / K)
        if n_chosen >= N or not self.may_be_partial:
            return None
        by_age = self.seen.argsort()
        settled = self._is_settled()[by_age]
        open_rows = by_age[~settled][: math.ceil(n_chosen / 2)]
        return torch.cat([open_rows, by_age[settled][: math.ceil(n_chosen) - len(open_rows)]])

    def _is_settled(self) -> Tensor:
        return self.responsibilities.amax(-1) > SETTLED

    def give_worst_half(self, donor: int, component: int) -> bool:
        """Assign the half of the donor's rows that it explains worst to ``component``; False if there are too few."""
        of_donor = (self.responsibilities.argmax(-1) == donor).nonzero().flatten()
        if len(of_donor) < 2:
            return False
        explained = self.log_likelihood[of_donor, donor] - self.kl_latent[of_donor, donor]
        given = of_donor[explained.argsort()[: len(of_donor) // 2]]
        self.responsibilities[given] = 0.0
        self.responsibilities[given, component] = 1.0
        self.may_be_partial = False
        return True

    @torch.no_grad()
    def _evaluate(self, model: VAEEM, chosen: Tensor | None) -> None:
        """Both terms of ELBO_c of the chosen rows under all K components, chunk by chunk; each rank computes a part."""
        if not len(self.log_likelihood):
            self.log_likelihood, self.kl_latent = (self._make_table(model.n_components) for _ in range(2))
        indices = torch.arange(len(self.rows), device=self.device) if chosen is None else chosen
        if isinstance(self.rows, LazyRows):
            indices = indices.sort().values  # in file order
        with model.casts_kept():
            for part, x in self._chunks(indices[part_of(len(indices))], chunk_rows(model)):
                terms = model.component_terms(x, sampled=False)
                self.log_likelihood[part], self.kl_latent[part] = (term.float() for term in terms)
        for table in (self.log_likelihood, self.kl_latent):
            exchange(table, indices)

    def _chunks(self, indices: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Indices of ``size`` rows at a time, and these rows."""
        if isinstance(self.rows, Tensor):
            for part in indices.split(size):
                yield part, take_rows(self.rows, part, self.device)
            return
        for first, x in iter_chunks(PickedRows(self.rows, indices.numpy(force=True)), size):
            yield indices[first : first + len(x)], send(torch.from_numpy(x), self.device)

    def _keep(self, u: Tensor, chosen: Tensor | None) -> None:
        """Store the new responsibilities, and count the settled rows that have moved."""
        self.n_steps += 1
        if len(self.responsibilities):
            # rows that were not evaluated cannot have moved
            looked_at = self._is_settled() if chosen is None else self._is_settled()[chosen]
            moved = self.responsibilities.argmax(-1) != u.argmax(-1)
            moved = moved if chosen is None else moved[chosen]
            self.may_be_partial = bool((moved & looked_at).sum() <= MOVED_SHARE * looked_at.sum())
        self.responsibilities = u
        # a random fraction, so that rows of the same age are not in the order of the data
        n, generator = len(self.rows) if chosen is None else len(chosen), self.random.on(self.device)
        age = self.n_steps + torch.rand(n, generator=generator, dtype=torch.float32, device=self.device)
        if chosen is None:
            self.seen = age
        else:
            self.seen[chosen] = age
