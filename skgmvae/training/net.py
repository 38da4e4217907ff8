"""A skorch net for models that return the terms of a bound.

The loop makes no host-device transfer per batch: terms stay on the device and are read rarely.
"""

import copy
from typing import Any

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback
from torch import Tensor, nn

from skgmvae._collectives import average_over_ranks, is_any
from skgmvae._file_format import to_plain
from skgmvae._interrupts import check_interrupt, take_interrupt
from skgmvae._ranks import n_ranks
from skgmvae.data.arrays import Array
from skgmvae.data.batches import Batches, ClampedResponsibilities
from skgmvae.data.training_data import TrainingData
from skgmvae.models.contract import ELBOTerms
from skgmvae.models.subcomponents import reorder_clusters
from skgmvae.runtime import RandomStream
from skgmvae.training.objective import NegativeELBO
from skgmvae.training.optimizer import Adam
from skgmvae.training.state import State, read_state, write_state
from skgmvae.training.step import StepGraphs, make_graphs, take_step
from skgmvae.training.terms import TermSums

__all__ = ["ELBONet"]

BATCHES_PER_INTERRUPT = 64  # after which the ranks of a shared fit look for Ctrl-C, all at once
BATCH_HOOKS = ("on_grad_computed", "on_batch_end")  # called only if a callback implements them


def _check_interrupt(step: int) -> None:
    """Raise the KeyboardInterrupt that is waiting on any rank, on all at the same step."""
    if n_ranks() == 1:
        check_interrupt()
    elif step % BATCHES_PER_INTERRUPT == 0 and is_any(take_interrupt()):
        raise KeyboardInterrupt


def _inputs(batch: Any) -> tuple[Tensor, ...]:
    """A batch as arguments of the module: samples, and their clamped log-responsibilities if there are any."""
    return batch if isinstance(batch, tuple) else (batch,)


def _running_statistics(module: nn.Module) -> list[Tensor]:
    """Those of batch normalization, which on each rank are of its own share."""
    buffers = [dict(layer.named_buffers(recurse=False)) for layer in module.modules()] if n_ranks() > 1 else []
    return [layer[name] for layer in buffers for name in ("running_mean", "running_var") if name in layer]


class ELBONet(NeuralNet):
    """A :class:`skorch.NeuralNet` whose module is a model of the contract.

    ``history`` has one row per epoch: ``lower_bound`` and every term of
    :class:`~skgmvae.models.contract.ELBOTerms`, each the mean over the epoch's samples in nats.

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

    has_own_table = False  # whether it keeps its own table of responsibilities, with the initial ones

    def __init__(self, module: nn.Module, *, min_information: float = 0.0, learning_rate: float = 1e-3, **options: Any):
        self.min_information = min_information
        self.learning_rate = learning_rate
        fixed: dict[str, Any] = {
            "criterion": NegativeELBO,
            "criterion__min_information": min_information,
            "optimizer": Adam,
            "optimizer__fused": True,
            "lr": learning_rate,
            "train_split": None,
            "verbose": 0,
        }
        super().__init__(module, **{**fixed, **options})
        self.random_: RandomStream | None = None  # of the current training
        self.clamped_: ClampedResponsibilities | None = None  # in its first epochs
        self.awaited_: tuple[str, ...] = BATCH_HOOKS  # those that some callback implements
        self.graphs_: StepGraphs | None = None  # of the steps of the current training
        self.interrupted_ = False
        self.n_restored_ = 0  # epochs of the current training that are those of a checkpoint
        self.diverged_: list[str] = []  # terms of the epoch's first sample that is not finite

    @property
    def _default_callbacks(self) -> list[Any]:
        return []  # skorch's own read the loss on the host after every batch

    def begin_training(self, random: RandomStream, clamped: ClampedResponsibilities | None) -> None:
        """Set the random numbers and the clamped responsibilities of the next training."""
        self.random_, self.clamped_, self.interrupted_, self.n_restored_ = random, clamped, False, 0
        self.module_.train()  # all its parts: the autoencoder has been initialized in evaluation mode
        self.graphs_ = make_graphs(self)

    def end_training(self) -> None:
        """Delete the state of a training except the parameters; move them to the CPU, in evaluation mode."""
        self.random_, self.clamped_, self.graphs_ = None, None, None
        self.move_to(torch.device("cpu"))
        for parameter in self.module_.parameters():
            parameter.grad = None
        self.module_.eval()

    def on_batch_begin(self, net: Any, batch: Any = None, training: bool = False, **kwargs: Any) -> None:
        """Do not create a record per batch, as skorch does: there is one per epoch."""

    def get_dataset(self, X: TrainingData, y: Any = None) -> TrainingData:
        """The samples themselves."""
        return X

    def get_iterator(self, dataset: TrainingData, training: bool = False) -> Batches:
        """Shuffled batches on the net's device."""
        clamped, here = self.clamped_ if training else None, torch.device(self.device)
        batches = dataset.batches(self.batch_size, self._stream(), here, clamped, is_shared=training)
        batches.n_epochs_begun = self.n_restored_ if training else 0
        return batches

    def _stream(self) -> RandomStream:
        """Random numbers of the current training; outside of a training, always the same."""
        return self.random_ if self.random_ is not None else RandomStream(0)

    def _generator(self, device: torch.device) -> torch.Generator:
        """Of the noise of the present batch, or of this rank's share of it."""
        random = self._stream()
        return random.on(device, share=random.share)

    def train_step(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        """One optimizer step on the mean bound of ``batch``; the loss is known only if a callback awaits it."""
        if self.graphs_ is not None and not self.awaited_ and self._stream().share is None:
            return {"y_pred": self.graphs_(batch)}
        loss, terms = take_step(self, batch)
        return {"loss": loss, "y_pred": terms}

    def compute_terms(self, batch: Any) -> ELBOTerms:
        """Terms of the bound, one per sample of ``batch``."""
        inputs = _inputs(batch)
        terms: ELBOTerms = self.module_(*inputs, generator=self._generator(inputs[0].device))
        return terms

    def run_single_epoch(self, iterator: Any, training: bool, prefix: str, step_fn: Any, **fit_params: Any) -> None:
        """Run one pass over the batches and record the terms."""
        if iterator is None:
            return
        self._begin_epoch(training)
        terms = TermSums(self.criterion_)
        try:
            for number, batch in enumerate(iterator):
                _check_interrupt(number)
                self.notify("on_batch_begin", batch=batch, training=training)
                step, share = step_fn(batch, **fit_params), self._stream().share
                if share is None or share.weight:
                    terms.add(step["y_pred"], len(_inputs(batch)[0]))
                if "on_batch_end" in self.awaited_:
                    self.notify("on_batch_end", batch=batch, training=training, **step)
        except KeyboardInterrupt:
            self.interrupted_ = True  # skorch swallows Ctrl-C silently
            self.history.pop()  # the record of an incomplete epoch
            raise
        terms.join_ranks()
        average_over_ranks(_running_statistics(self.module_))
        self.record_terms(terms)
        self.history[-1]["batches"][:] = [{}]  # skorch's Checkpoint looks for a last one

    def _begin_epoch(self, training: bool) -> None:
        if self.module_.training is not training:
            self.module_.train(training)
        self.history[-1]["batches"][:] = [{}]  # one record for all batches: what callbacks record per batch is not kept
        self.awaited_ = tuple(hook for hook in BATCH_HOOKS if self._awaits(hook))

    def _awaits(self, hook: str) -> bool:
        """Whether a callback overrides this method of skorch, which does nothing."""
        methods = (getattr(callback, hook) for _, callback in self.callbacks_)
        return any(getattr(method, "__func__", None) is not getattr(Callback, hook) for method in methods)

    def record_terms(self, terms: TermSums) -> None:
        """Record the bound and its terms, means over the samples, for the last epoch."""
        means = terms.means()
        self.diverged_ = terms.diverged
        names = ("lower_bound", *ELBOTerms._fields)
        self.history[-1].update(zip(names, means.tolist(), strict=True))

    def record_all(self, terms: ELBOTerms) -> None:
        """As :meth:`record_terms`, from the terms of all samples."""
        sums = TermSums(self.criterion_)
        sums.add(terms, len(terms.log_likelihood))
        self.record_terms(sums)

    @torch.no_grad()
    def evaluate(self, data: TrainingData) -> float:
        """Mean bound of the samples in nats, in evaluation mode."""
        self.module_.eval()
        batches = self.get_iterator(data)
        totals = torch.stack([self.criterion_.per_row(self.compute_terms(batch)).sum() for batch in batches])
        return float(totals.sum()) / len(data)

    def set_callbacks(self, callbacks: list[Any]) -> None:
        """Replace all callbacks."""
        self.callbacks = callbacks
        self.initialize_callbacks()

    def reorder(self, order: Tensor) -> None:
        """Renumber the clusters: ``order[i]`` becomes ``i``; the optimizer forgets the moments of the old numbers."""
        reorder_clusters(self.module_, order)
        self.optimizer_.state.clear()

    def move_to(self, device: torch.device) -> None:
        """Move the module and the optimizer's state; parameters keep their identity."""
        self.device = str(device)
        self.module_.to(device)
        for state in self.optimizer_.state.values():
            for key, value in state.items():
                if isinstance(value, Tensor):
                    state[key] = value.to(device)

    def get_state(self) -> State:
        """What a training changes, for a checkpoint: weights, moments, generators, history."""
        rates = [group["lr"] for group in self.optimizer_.param_groups]
        values = {"history": [to_plain(record) for record in self.history], "lr": self.lr, "rates": rates}
        return write_state(self.module_, self.optimizer_, self.random_), values

    def set_state(self, arrays: dict[str, Array], values: dict[str, Any]) -> None:
        """Set what :meth:`get_state` has given."""
        read_state(arrays, self.module_, self.optimizer_, self.random_)
        self.lr, self.n_restored_ = values["lr"], len(values["history"])
        for group, rate in zip(self.optimizer_.param_groups, values["rates"], strict=True):
            group["lr"] = rate
        self.history.clear()
        self.history.extend(values["history"])

    def __getstate__(self) -> dict[str, Any]:
        # the instance given as `module` is `module_`: pickle it once; graphs cannot be pickled
        return {**super().__getstate__(), "module": None, "graphs_": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if any(tensor.is_inference() for tensor in self.module_.state_dict().values()):
            with torch.inference_mode(False):  # other kernels, with other roundings, compute with inference tensors
                self.__dict__.update(copy.deepcopy(self.__dict__))  # together with the optimizer, which refers to them
        self.module = self.module_
