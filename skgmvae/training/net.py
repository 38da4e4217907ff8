"""skorch's net, set up for models that return the terms of a bound.

The loop makes no host-device transfer per batch: terms are kept on the device and read once per epoch.
"""

from typing import Any

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback
from skorch.utils import TeeGenerator
from torch import Tensor, nn

from skgmvae._evaluation import discard_double_precision
from skgmvae.data.batches import Batches, ClampedResponsibilities, Rows, ShuffledBatches
from skgmvae.models.contract import ELBOTerms, join_terms
from skgmvae.training.objective import NegativeELBO

BATCH_HOOKS = ("on_grad_computed", "on_batch_end")  # not called unless awaited: every step counts
BATCHES_PER_READ = 512  # how many batches' terms may wait on the device
BATCHES_PER_JOIN = 16  # so many are joined: many small tensors between large ones that come and go waste memory


def _inputs(batch: Any) -> tuple[Tensor, ...]:
    """A batch as the module's arguments: rows, and the responsibilities to hold if there are any."""
    return batch if isinstance(batch, tuple) else (batch,)


class ELBONet(NeuralNet):
    """A :class:`skorch.NeuralNet` whose module is a model of the contract.

    ``history`` has one row per epoch: ``lower_bound`` and every term of
    :class:`~skgmvae.models.contract.ELBOTerms`, each the mean over the epoch's rows in nats.

    Parameters
    ----------
    module : nn.Module
        An instance; it is trained in place.
    min_information : float
        λ of the objective.
    learning_rate : float
        Adam's step size.
    **options
        As for :class:`skorch.NeuralNet`.
    """

    has_own_table = False  # of responsibilities, in which it finds the start's

    def __init__(self, module: nn.Module, *, min_information: float = 0.0, learning_rate: float = 1e-3, **options: Any):
        self.min_information = min_information
        self.learning_rate = learning_rate
        fixed: dict[str, Any] = {
            "criterion": NegativeELBO,
            "criterion__min_information": min_information,
            "optimizer": torch.optim.Adam,
            "optimizer__fused": True,
            "lr": learning_rate,
            "iterator_train": ShuffledBatches,
            "train_split": None,
            "verbose": 0,
        }
        super().__init__(module, **{**fixed, **options})
        self.clamped_: ClampedResponsibilities | None = None  # what to hold on to in the first epochs of the next run
        self.awaited_: tuple[str, ...] = BATCH_HOOKS  # of these, what some callback does something at
        self.interrupted_ = False
        self.diverged_: list[str] = []  # terms of the epoch's first row that is not finite

    @property
    def _default_callbacks(self) -> list:
        return []  # skorch's own read the loss on the host after every batch

    def on_batch_begin(self, net: Any, batch: Any = None, training: bool = False, **kwargs: Any) -> None:
        """Not a record per batch, as skorch makes: there is one, which lasts for an epoch."""

    def get_dataset(self, X: Rows, y: Any = None) -> Rows:
        """The rows themselves."""
        return X

    def get_iterator(self, dataset: Rows, training: bool = False) -> Batches:
        """Shuffled batches on the net's device."""
        return ShuffledBatches(dataset, self.batch_size, torch.device(self.device), self.clamped_ if training else None)

    def train_step(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        """One optimizer step on the mean bound of ``batch``."""
        for group in self.optimizer_.param_groups:
            for parameter in group["params"]:
                parameter.grad = None  # as zero_grad does, which keeps a profiler's record of it as well
        terms = self.compute_terms(batch)
        loss = self.criterion_(terms)
        loss.backward()
        if "on_grad_computed" in self.awaited_:
            parameters = TeeGenerator(self.module_.named_parameters())
            self.notify("on_grad_computed", named_parameters=parameters, batch=batch, training=True)
        self.optimizer_.step()
        return {"loss": loss, "y_pred": terms}

    def compute_terms(self, batch: Any) -> ELBOTerms:
        """Terms of the bound, one per row of ``batch``."""
        return self.module_(*_inputs(batch))

    def run_single_epoch(self, iterator: Any, training: bool, prefix: str, step_fn: Any, **fit_params: Any) -> None:
        """One pass over the batches; terms are read from the device when it ends."""
        if iterator is None:
            return
        if self.module_.training is not training:
            self.module_.train(training)
        waiting: list[ELBOTerms] = []
        latest: list[ELBOTerms] = []
        per_join = min(BATCHES_PER_JOIN, BATCHES_PER_READ)
        totals = torch.zeros(len(ELBOTerms._fields) + 1, dtype=torch.float64)
        n_rows = 0
        discard_double_precision(self.module_)
        self.diverged_ = []
        record = self.history[-1]
        record["batches"][:] = [{}]  # one for all batches: whatever callbacks note per batch is not kept
        self.awaited_ = tuple(hook for hook in BATCH_HOOKS if self._awaits(hook))
        try:
            for batch in iterator:
                self.notify("on_batch_begin", batch=batch, training=training)
                step = step_fn(batch, **fit_params)
                latest.append(ELBOTerms(*(term.detach() for term in step["y_pred"])))
                n_rows += len(_inputs(batch)[0])
                if len(latest) == per_join:
                    waiting.append(join_terms(latest))
                    latest.clear()
                if len(waiting) * per_join >= BATCHES_PER_READ:
                    totals += self._sum_terms(waiting)
                    waiting.clear()
                if "on_batch_end" in self.awaited_:
                    self.notify("on_batch_end", batch=batch, training=training, **step)
        except KeyboardInterrupt:
            self.interrupted_ = True  # skorch swallows Ctrl-C silently
            self.history.pop()  # the record of an epoch that is not over
            raise
        if waiting or latest:
            totals += self._sum_terms([*waiting, *latest])
        self.record_terms(totals / n_rows)
        record["batches"][:] = [{}]  # skorch's Checkpoint looks for a last one

    def _awaits(self, hook: str) -> bool:
        """Whether a callback overrides this method of skorch's, which does nothing."""
        methods = (getattr(callback, hook) for _, callback in self.callbacks_)
        return any(getattr(method, "__func__", None) is not getattr(Callback, hook) for method in methods)

    def record_terms(self, means: Tensor) -> None:
        """Note the bound and its terms as those of the last epoch."""
        names = ("lower_bound", *ELBOTerms._fields)
        self.history[-1].update(zip(names, means.tolist(), strict=True))

    def _sum_terms(self, waiting: list[ELBOTerms]) -> Tensor:
        terms = join_terms(waiting)
        # Apple's device has no float64: sum there in float32
        wide = torch.float64 if terms[0].device.type != "mps" else torch.float32
        sums = torch.stack([column.sum(dtype=wide) for column in (self.criterion_.per_row(terms), *terms)])
        sums = sums.cpu().double()
        if not self.diverged_ and not sums.isfinite().all():
            bad = ~torch.isfinite(torch.stack(terms)).cpu()
            first = int(bad.any(0).int().argmax())
            self.diverged_ = [
                name for name, is_bad in zip(ELBOTerms._fields, bad[:, first].tolist(), strict=True) if is_bad
            ]
        return sums

    @torch.no_grad()
    def evaluate(self, rows: Rows) -> float:
        """Mean bound of ``rows`` in nats, in evaluation mode, with fresh Monte Carlo noise."""
        self.module_.eval()
        batches = self.get_iterator(rows)
        totals = torch.stack([self.criterion_.per_row(self.module_(batch)).sum() for batch in batches])
        return float(totals.sum()) / len(rows)

    def set_callbacks(self, callbacks: list) -> None:
        """Replace all callbacks."""
        self.callbacks = callbacks
        self.initialize_callbacks()

    def move_to(self, device: torch.device) -> None:
        """Move the module and the optimizer's state; parameters keep their identity."""
        self.device = str(device)
        self.module_.to(device)
        for state in self.optimizer_.state.values():
            for key, value in state.items():
                if isinstance(value, Tensor):
                    state[key] = value.to(device)

    def __getstate__(self) -> dict[str, Any]:
        # the instance given as `module` is `module_`: pickle it once
        return {**super().__getstate__(), "module": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.module = self.module_
