"""One optimizer step, and on CUDA its recording as a graph, which is launched at once.

A step of a small network is about two hundred kernels of a few microseconds. A host takes longer to launch them one by
one than a device to execute them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import torch
from skorch.utils import TeeGenerator
from torch import Tensor

from skgmvae._collectives import add_gradients
from skgmvae._progress import LOGGER
from skgmvae.models.contract import ELBOTerms
from skgmvae.models.pace import take_paced

if TYPE_CHECKING:
    from skgmvae.training.net import ELBONet

__all__ = ["StepGraphs", "make_graphs", "take_step"]

N_BEFORE = 10  # steps that are taken before one is recorded: a recording takes as long as many steps
MAX_GRAPHS = 4  # by the shapes of batches: those of a pass differ by one row at most, but those of a file may vary

Key: TypeAlias = tuple[Any, ...]
Step: TypeAlias = Callable[[Any], Tensor]  # from a batch to the stacked terms (4, n)


def take_step(net: ELBONet, batch: Any) -> tuple[Tensor, ELBOTerms]:
    """One step on the mean bound of a batch: the loss and the terms."""
    _forget_gradients(net)
    terms = net.compute_terms(batch)
    loss: Tensor = net.criterion_(terms)
    loss.backward()
    add_gradients(net.module_.parameters(), net._stream().share)
    if "on_grad_computed" in net.awaited_:
        parameters = TeeGenerator(net.module_.named_parameters())
        net.notify("on_grad_computed", named_parameters=parameters, batch=batch, training=True)
    take_paced(net.module_, net.optimizer_.step)
    return loss, terms


def _forget_gradients(net: ELBONet) -> None:
    for group in net.optimizer_.param_groups:
        for parameter in group["params"]:
            parameter.grad = None  # as zero_grad does, without its record for a profiler


class Recording(Protocol):
    """A step that can be repeated."""

    def replay(self, batch: tuple[Tensor, ...]) -> Tensor:
        """Take the step on a batch of the same shapes; the stacked terms (4, n)."""


class CUDARecording:
    """A step recorded as a CUDA graph; it reads and writes the same memory at each replay.

    Parameters
    ----------
    step : callable
    batch : tuple of Tensor
        Its shapes are those of all batches.
    generator : torch.Generator
        From which the step draws.
    stream : torch.cuda.Stream
        On which the step has been taken before.
    """

    def __init__(
        self, step: Step, batch: tuple[Tensor, ...], generator: torch.Generator, stream: torch.cuda.Stream
    ) -> None:
        self.inputs = tuple(tensor.clone() for tensor in batch)
        self.graph = torch.cuda.CUDAGraph()
        self.graph.register_generator_state(generator)
        # other threads may use the device meanwhile
        with torch.cuda.graph(self.graph, stream=stream, capture_error_mode="thread_local"):
            self.terms = step(self.inputs)

    def replay(self, batch: tuple[Tensor, ...]) -> Tensor:
        """Take the step on a batch of the same shapes; the stacked terms (4, n)."""
        for tensor, values in zip(self.inputs, batch, strict=True):
            tensor.copy_(values, non_blocking=True)
        self.graph.replay()
        return self.terms.clone()


class StepGraphs:
    """Steps of a training on a CUDA device: the first are taken one operation at a time, the others as graphs.

    A graph is valid as long as parameters and moments stay where they are in memory, and becomes invalid when the
    optimizer forgets its moments. The step size is read from memory.

    Parameters
    ----------
    net : ELBONet
    record : callable
        Makes a :class:`CUDARecording`.
    """

    def __init__(self, net: ELBONet, record: Callable[..., Recording] = CUDARecording) -> None:
        self.net, self.record = net, record
        self.device = torch.device(net.device)
        self.stream = torch.cuda.Stream(self.device) if record is CUDARecording else None
        groups = net.optimizer_.param_groups
        self.rates = [torch.zeros((), dtype=torch.float32, device=self.device) for _ in groups]
        self.parameters = [parameter for group in groups for parameter in group["params"]]
        self.max_graphs = MAX_GRAPHS
        self._clear(())

    def _clear(self, places: Key) -> None:
        self.places = places
        self.graphs: dict[Key, Recording] = {}
        self.counts: Counter[Key] = Counter()

    def __call__(self, batch: Any) -> ELBOTerms:
        """Take a step."""
        batch = batch if isinstance(batch, tuple) else (batch,)
        places = self._find_places()
        if places != self.places:
            self._clear(places)
        key = tuple((tensor.shape, tensor.dtype) for tensor in batch)
        if key not in self.graphs:
            self.counts[key] += 1
            if self.counts[key] <= N_BEFORE or len(self.graphs) >= self.max_graphs or not self._record(key, batch):
                return ELBOTerms(*self._step_aside(batch))
        for rate, group in zip(self.rates, self.net.optimizer_.param_groups, strict=True):
            rate.fill_(float(group["lr"]))
        return ELBOTerms(*self.graphs[key].replay(batch))

    def _find_places(self) -> Key:
        """Where the state of the training is in memory."""
        state = self.net.optimizer_.state
        moments = next((state[parameter]["exp_avg"] for parameter in self.parameters if parameter in state), None)
        return (id(moments), *(parameter.data_ptr() for parameter in self.parameters))

    def _step_aside(self, batch: tuple[Tensor, ...]) -> Tensor:
        """A step on the stream of the recordings: what it allocates must not belong to another one."""
        if self.stream is None:
            return self._step(batch)
        present = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(present)
        with torch.cuda.stream(self.stream):
            terms = self._step(batch)
        present.wait_stream(self.stream)
        return terms

    def _step(self, batch: tuple[Tensor, ...]) -> Tensor:
        _, terms = take_step(self.net, batch if len(batch) > 1 else batch[0])
        return torch.stack([term.detach() for term in terms])

    def _record(self, key: Key, batch: tuple[Tensor, ...]) -> bool:
        """Whether the step can be recorded; where not, later ones are not tried."""
        groups, random = self.net.optimizer_.param_groups, self.net._stream()
        rates, states = [group["lr"] for group in groups], random.get_states()
        for group, rate in zip(groups, self.rates, strict=True):
            group["lr"], group["capturable"] = rate, True
        _forget_gradients(self.net)  # those of the graph are its own
        try:
            self.graphs[key] = self.record(self._step, batch, random.on(batch[0].device), self.stream)
        except RuntimeError as error:
            LOGGER.warning("Steps are not recorded as CUDA graphs, without which training takes longer: %s", error)
            random.set_states(states)
            self.max_graphs = 0
        finally:
            for group, number in zip(groups, rates, strict=True):
                group["lr"], group["capturable"] = number, False
            _forget_gradients(self.net)
        return key in self.graphs


def make_graphs(net: ELBONet) -> StepGraphs | None:
    """Graphs for a training of the net; None where its device has none, or its steps depend on values on the host."""
    has_graphs = torch.device(net.device).type == "cuda" and hasattr(torch.cuda.CUDAGraph, "register_generator_state")
    looks_for_missing = any(getattr(layer, "has_missing", False) for layer in net.module_.modules())
    return StepGraphs(net) if has_graphs and not looks_for_missing else None
