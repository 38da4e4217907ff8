"""Expectation-maximization with skorch: one epoch is an M-step of many optimizer steps, then an E-step."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from skgmvae._ranks import share_of
from skgmvae.data.arrays import Array
from skgmvae.data.batches import draw_by_weight, take_rows
from skgmvae.data.buffers import make_buffer_memory, plan_buffers
from skgmvae.data.training_data import TrainingData
from skgmvae.models.contract import ELBOTerms
from skgmvae.models.moments import initial_weight_logits
from skgmvae.models.vaeem import VAEEM
from skgmvae.runtime import RandomStream
from skgmvae.training.e_step import EStep
from skgmvae.training.net import ELBONet
from skgmvae.training.reseeding import reseed_empty_components
from skgmvae.training.state import State

__all__ = ["EMConfig", "EMNet", "MStepBatches", "count_steps"]

MIN_CLAMPED_STEPS = 200  # optimizer steps before the first update of the responsibilities if weights are random
PASSES = 2.0  # average number of times that an M-step draws each sample, by default
MIN_STEPS = 5  # minimum number of steps, by default


@dataclass(frozen=True)
class EMConfig:
    """Configuration of EM; see :class:`~skgmvae.VAEEMClustering` for the first two.

    Attributes
    ----------
    steps_per_iter : int or None
    m_step : {'sampled', 'weighted'}
    pairs_per_row : float
        Pairs of sample and component that an E-step evaluates, per sample, once responsibilities are settled; a
        complete E-step has K. Since it does not grow with K, the time of an iteration hardly does.
    min_rows : float
        A component whose responsibilities sum to less is reseeded.
    max_reseeds : int
        Maximum number per component and training.
    """

    steps_per_iter: int | None = None
    m_step: str = "sampled"
    pairs_per_row: float = 2.5
    min_rows: float = 1.0
    max_reseeds: int = 2


def count_steps(em: EMConfig, n_rows: int, batch_size: int, n_components: int) -> int:
    """Optimizer steps of an M-step."""
    if em.steps_per_iter is not None:
        return em.steps_per_iter
    # a component has about N / K samples: the total number of draws does not depend on K
    n_draws = batch_size * n_components if em.m_step == "sampled" else min(batch_size, n_rows)
    return max(MIN_STEPS, round(PASSES * n_rows / n_draws))


class MStepBatches:
    """The batches of an M-step: pairs of rows and weights of their terms.

    Rows (B, K, D), drawn for each component in proportion to its responsibilities, and the shares (K,) of the
    components; or, for the weighted form, rows (B, D) in repeated random passes over all rows, and their
    responsibilities (B, K).

    Each buffer of blocks of a file gives a part of the steps. With the shares of the buffer, the steps follow on
    average the gradient of the sum over all rows, however the file is sorted.
    """

    def __init__(self, net: "EMNet", n_rows: int, random: RandomStream) -> None:
        self.net, self.n_rows, self.random = net, n_rows, random
        self.is_sampled = net.em.m_step == "sampled"
        self.batch_size = net.batch_size if self.is_sampled else min(net.batch_size, n_rows)
        self.n_steps = count_steps(net.em, n_rows, net.batch_size, net.module_.n_components)

    def __len__(self) -> int:
        return self.n_steps

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        device = self.net.e_step_.device
        for rows, u, n_steps in self._buffers():
            shares = u.mean(0)
            # on the device of the rows, all at once: a transfer per step would stall the device
            for drawn in self._draw(u, n_steps).to(rows.device).split(self.batch_size):
                self.random.share = share = share_of(len(drawn))
                indices = drawn if share is None else drawn[share.rows]
                yield take_rows(rows, indices, device), shares if self.is_sampled else u[indices.to(u.device)]

    def _buffers(self) -> Iterator[tuple[Tensor, Tensor, int]]:
        """Rows to draw from, their responsibilities, and for how many steps."""
        rows, u = self.net.e_step_.rows, self.net.e_step_.responsibilities
        if isinstance(rows, Tensor):
            yield rows, u, self.n_steps
            return
        buffers = plan_buffers(rows, self.n_steps, self.random)
        memory = make_buffer_memory(rows, buffers)
        for buffer in buffers:
            yield buffer.read(rows, memory), u[buffer.indices().to(u.device)], buffer.n_batches

    def _draw(self, u: Tensor, n_steps: int) -> Tensor:
        """Indices for ``n_steps`` steps among the rows of responsibilities ``u``."""
        n_draws = n_steps * self.batch_size
        if self.is_sampled:
            return draw_by_weight(u, n_draws, self.random)
        n_passes = math.ceil(n_draws / len(u))
        generator = self.random.on(u.device)
        passes = [torch.randperm(len(u), generator=generator, device=u.device) for _ in range(n_passes)]
        return torch.cat(passes)[:n_draws]


class EMNet(ELBONet):
    """A :class:`ELBONet` for :class:`~skgmvae.models.VAEEM`: an epoch is an M-step, then an E-step.

    ``history`` has, for every EM iteration, the terms at its E-step, with z at the means of q_c(z|x) (the bound is then
    too high by about half a nat per active latent dimension), and ``evaluated_share``, the share of all pairs of sample
    and component that the E-step evaluated. The last E-step of a training is complete. While the initial
    responsibilities are clamped, M-steps use them and E-steps do not change them.

    Parameters
    ----------
    module : VAEEM
    em : EMConfig
    **options
        As for :class:`ELBONet`.
    """

    has_own_table = True

    def __init__(self, module: VAEEM, *, em: EMConfig, **options: Any) -> None:
        self.em = em
        super().__init__(module, **options)

    def get_iterator(self, dataset: TrainingData, training: bool = False) -> MStepBatches:
        """The M-step's samples and their weights."""
        return MStepBatches(self, len(dataset), self._stream())

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Use the initial responsibilities, or run an E-step if there was an earlier training."""
        super().on_train_begin(net, X=X, y=y, **kwargs)
        initial, self.module_.initial_responsibilities = self.module_.initial_responsibilities, None
        self.e_step_ = EStep(X.rows, torch.device(self.device), self._stream(), initial)
        self.n_reseeds_ = [0] * self.module_.n_components
        self.is_first_iteration_ = True
        self.n_clamped_ = self._count_clamped_iterations(len(self.get_iterator(X))) if initial is not None else 0
        if initial is None:
            self._e_step()

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Reseed empty components, and update π in closed form."""
        super().on_epoch_begin(net, **kwargs)
        # not in the first iteration: a block of a stream may lack the samples of a component
        if not self.is_first_iteration_ and self.n_clamped_ <= 0:
            reseed_empty_components(self)
        self.is_first_iteration_ = False
        if self.module_.weight_logits.requires_grad:
            counts = self.e_step_.responsibilities.sum(0)
            self.module_.weight_logits.data.copy_(initial_weight_logits(counts))

    def compute_terms(self, batch: Any) -> ELBOTerms:
        """Terms of the objective of the M-step, one per draw or sample."""
        x, weights = batch
        terms_of = self.module_.drawn_terms if x.dim() == 3 else self.module_.weighted_terms
        terms: ELBOTerms = terms_of(x, weights, generator=self._generator(x.device))
        return terms

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """The E-step; its terms are the epoch's record."""
        super().on_epoch_end(net, **kwargs)
        self.n_clamped_ -= 1
        if self.n_clamped_ == 0:
            self.e_step_.may_be_partial = False  # the tables are those of earlier networks
        self._record(self._e_step(self.em.pairs_per_row, clamp=self.n_clamped_ > 0))

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Complete the last E-step, and delete its tables."""
        super().on_train_end(net, X=X, y=y, **kwargs)
        e_step = self.e_step_
        if e_step.evaluated_share < 1.0 and len(self.history):
            e_step.may_be_partial = False
            self._record(self._e_step())
        # a tensor outside the module would be pickled together with its device
        del self.e_step_

    def get_state(self) -> State:
        """As for an :class:`ELBONet`, with the tables of the E-step while there are some."""
        arrays, values = super().get_state()
        values["reseeded"] = [list(pair) for pair in self.module_.reseeded]
        if hasattr(self, "e_step_"):
            counts = self.e_step_.add_state(arrays)
            values["e_step"] = [counts, self.n_reseeds_, self.is_first_iteration_, self.n_clamped_]
        return arrays, values

    def set_state(self, arrays: dict[str, Array], values: dict[str, Any]) -> None:
        """Set what :meth:`get_state` has given."""
        super().set_state(arrays, values)
        self.module_.reseeded = [tuple(pair) for pair in values["reseeded"]]
        if "e_step" in values:
            counts, self.n_reseeds_, self.is_first_iteration_, self.n_clamped_ = values["e_step"]
            self.e_step_.set_state(arrays, counts)

    def _count_clamped_iterations(self, n_steps: int) -> int:
        """Iterations of ``n_steps`` whose M-steps use the initial responsibilities; the first always does."""
        n_clamped = max(1, self.clamped_.n_epochs if self.clamped_ is not None else 0)
        if self.module_.copies_autoencoder or self.module_.linear is not None:
            return n_clamped
        # random networks explain every sample equally well, and would undo even a random initialization
        n_needed: int = math.ceil(min(MIN_CLAMPED_STEPS, self.max_epochs * n_steps // 2) / n_steps)
        return max(n_clamped, n_needed)

    def _e_step(self, pairs_per_row: float = math.inf, *, clamp: bool = False) -> ELBOTerms:
        self.module_.eval()
        try:
            return self.e_step_.update(self.module_, pairs_per_row, clamp=clamp)
        except KeyboardInterrupt:
            self.interrupted_ = True  # skorch swallows Ctrl-C silently
            raise

    def _record(self, terms: ELBOTerms) -> None:
        self.record_all(terms)
        self.history.record("evaluated_share", self.e_step_.evaluated_share)

    @torch.no_grad()
    def evaluate(self, data: TrainingData) -> float:
        """Mean bound of the samples in nats, at the means of q_c(z|x)."""
        terms = EStep(data.rows, torch.device(self.device), self._stream()).update(self.module_.eval())
        return float(self.criterion_.per_row(terms).double().mean())
