"""Steps as graphs: the same training, recorded again whenever what they refer to has moved."""

import copy
import pickle

import pytest
import torch
from skorch.callbacks import Callback
from test_em import make_em_net, make_model
from test_net import draw_rows, make_config, make_data, make_vade, parameters_of
from torch import Tensor

from skgmvae.data.batches import ClampedResponsibilities
from skgmvae.runtime import RandomStream
from skgmvae.training import step as step_module
from skgmvae.training.em import EMNet
from skgmvae.training.net import ELBONet
from skgmvae.training.step import StepGraphs, make_graphs
from skgmvae.training.train import make_net, train

N = 43  # four batches of two shapes
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
LOGS = torch.full((N, 3), 1e-30).scatter_(1, torch.arange(N).unsqueeze(1) % 3, 1.0).log()


class MemoryOfAStep:
    """As a graph's: the memory of inputs and terms is always the same, and so is that of the step size."""

    made = 0

    def __init__(self, step, batch, generator, stream):
        assert isinstance(generator, torch.Generator) and stream is None
        MemoryOfAStep.made += 1
        self.step, self.inputs, self.terms = step, tuple(tensor.clone() for tensor in batch), None

    def replay(self, batch) -> Tensor:
        for tensor, values in zip(self.inputs, batch, strict=True):
            tensor.copy_(values)
        terms = self.step(self.inputs)
        self.terms = terms if self.terms is None else self.terms.copy_(terms)
        return self.terms.clone()


@pytest.fixture
def with_graphs(monkeypatch):
    """Nets on the CPU take their steps as those on CUDA do."""
    monkeypatch.setattr(step_module, "N_BEFORE", 2)
    monkeypatch.setattr("skgmvae.training.net.make_graphs", lambda net: StepGraphs(net, MemoryOfAStep))
    monkeypatch.setattr(MemoryOfAStep, "made", 0)


class Forget(Callback):
    """The optimizer forgets its moments after the second epoch, as when an epoch is undone."""

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 2:
            net.optimizer_.state.clear()


class PerBatch(Callback):
    """Awaits every batch."""

    def __init__(self):
        self.losses = []

    def on_batch_end(self, net, loss, **kwargs):
        self.losses.append(loss.item())


class Copy(Callback):
    """Copies the net after every epoch."""

    copies = ()

    def on_epoch_end(self, net, **kwargs):
        assert net.graphs_ is not None
        Copy.copies = (pickle.loads(pickle.dumps(net)), copy.deepcopy(net))


def make(kind, device="cpu"):
    """A net, and its clamped responsibilities if there are any."""
    config = make_config(5, 10, min_information=0.3 if kind == "vade" else 0.0, device=device)
    if kind in ("sampled", "weighted"):
        rows = draw_rows(N)
        model = make_model(labels=torch.arange(N) % 3, rows=rows)
        return make_em_net(model, config, m_step=kind, steps_per_iter=4), config, None
    module = make_vade().autoencoder if kind == "autoencoder" else make_vade()
    return make_net(module, config), config, ClampedResponsibilities(LOGS, 2) if kind == "clamped" else None


def run(kind, device="cpu", callbacks=()):
    net, config, clamped = make(kind, device)
    train(net, make_data(draw_rows(N)), config, RandomStream(0), clamped=clamped, callbacks=list(callbacks))
    return net


KINDS = ["vade", "clamped", "autoencoder", "sampled", "weighted"]


@pytest.mark.parametrize("callbacks", [[], [Forget()]], ids=["undisturbed", "forgetful"])
@pytest.mark.parametrize("kind", KINDS)
def test_recorded_steps_are_the_same_training(kind, callbacks, request):
    reference = run(kind, callbacks=callbacks)
    request.getfixturevalue("with_graphs")
    net = run(kind, callbacks=callbacks)
    torch.testing.assert_close(parameters_of(net.module_), parameters_of(reference.module_), rtol=0, atol=0)
    assert net.history[:, "lower_bound"] == reference.history[:, "lower_bound"]
    n_shapes = 2 if kind in ("vade", "autoencoder") else 1
    assert MemoryOfAStep.made > n_shapes if callbacks else MemoryOfAStep.made >= n_shapes
    assert net.graphs_ is None


def test_a_callback_of_each_batch_gets_its_loss_and_no_recording(with_graphs):
    watch = PerBatch()
    run("vade", callbacks=[watch])
    assert len(watch.losses) == 20 and MemoryOfAStep.made == 0


def test_a_net_can_be_copied_while_it_trains(with_graphs):
    run("vade", callbacks=[Copy()])
    assert [net.graphs_ for net in Copy.copies] == [None, None]


def test_where_a_step_cannot_be_recorded_the_training_goes_on(with_graphs, monkeypatch, caplog):
    reference = run("vade")

    def refuse(*args):
        raise RuntimeError("operation not permitted")

    monkeypatch.setattr("skgmvae.training.net.make_graphs", lambda net: StepGraphs(net, refuse))
    net = run("vade")
    torch.testing.assert_close(parameters_of(net.module_), parameters_of(reference.module_), rtol=0, atol=0)
    assert [record.message.split(":")[1] for record in caplog.records] == [" operation not permitted"]


def test_only_cuda_has_graphs_and_only_without_missing_values():
    net = make("vade")[0]
    assert make_graphs(net) is None
    net.device = "cuda"
    net.module_.likelihood.has_missing = True
    assert make_graphs(net) is None


@needs_cuda
@pytest.mark.parametrize("kind", KINDS)
def test_graphs_of_a_device_are_the_same_training(kind, monkeypatch):
    monkeypatch.setattr(step_module, "N_BEFORE", 2)
    counts = []

    class Count(Callback):
        def on_epoch_end(self, net, **kwargs):
            counts.append(0 if net.graphs_ is None else len(net.graphs_.graphs))

    net = run(kind, "cuda", [Count()])
    assert counts[-1] > 0
    monkeypatch.setattr("skgmvae.training.net.make_graphs", lambda net: None)
    reference = run(kind, "cuda", [Count()])
    assert counts[-1] == 0
    torch.testing.assert_close(parameters_of(net.module_), parameters_of(reference.module_), rtol=1e-4, atol=1e-5)
    assert net.history[:, "lower_bound"] == pytest.approx(reference.history[:, "lower_bound"], rel=1e-4)


@needs_cuda
@pytest.mark.parametrize("kind", ["vade", "sampled"])
def test_a_step_that_reads_the_device_is_not_recorded(kind, monkeypatch, caplog):
    monkeypatch.setattr(step_module, "N_BEFORE", 2)
    compute = ELBONet.compute_terms if kind == "vade" else EMNet.compute_terms

    def read(net, batch):
        terms = compute(net, batch)
        assert terms.log_likelihood.sum().item() < 0.0
        return terms

    monkeypatch.setattr(ELBONet if kind == "vade" else EMNet, "compute_terms", read)
    net = run(kind, "cuda")
    assert len(net.history) == 5 and len(caplog.records) == 1
