"""skorch's net for models of the contract: what an epoch records and reads from the device, and copies of it."""

import copy
import pickle

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback, GradientNormClipping, LRScheduler
from test_train import (
    Columns,
    LastGradients,
    N,
    Parabola,
    Watch,
    draw_rows,
    interrupt,
    make_config,
    make_data,
    make_vade,
    parameters_of,
    train_new,
)

from skgmvae.models import ELBOTerms
from skgmvae.runtime import RandomStream
from skgmvae.training import terms as terms_module
from skgmvae.training.objective import NegativeELBO
from skgmvae.training.train import TrainOutcome, make_net, train

READS = ("item", "cpu", "tolist", "numpy", "__float__", "__int__", "__bool__", "__index__", "__array__")


@pytest.mark.parametrize("batches_per_read", [512, 2, 4])
def test_history_has_the_mean_of_every_term_once_per_epoch(batches_per_read, monkeypatch):
    monkeypatch.setattr(terms_module, "BATCHES_PER_READ", batches_per_read)
    rows = draw_rows(43).abs()  # four batches of unequal size
    net, outcome = train_new(Columns(), make_config(2, 10, min_information=0.7), rows=rows, callbacks=[Watch()])
    assert outcome == TrainOutcome(converged=False, interrupted=False)
    assert len(net.history) == 2
    x = rows.double().numpy()
    bound = x[:, 0] - x[:, 1] - x[:, 2] - np.maximum(0.7, x[:, 3])
    for record in net.history:
        for name, column in zip(("lower_bound", *ELBOTerms._fields), [bound, *x.T], strict=True):
            np.testing.assert_allclose(record[name], column.mean(), rtol=1e-6)
        assert record["batches"] == [{}], "what callbacks noted per batch is kept"
    np.testing.assert_allclose(net.evaluate(make_data(rows)), bound.mean(), rtol=1e-6)


def test_all_parts_are_in_training_mode_from_the_first_step():
    """Those too that the initialization has left in evaluation mode, as it does the autoencoder."""
    module, modes = make_vade(), []

    class Modes(Callback):
        def on_batch_begin(self, net, **kwargs):
            modes.append({part.training for part in net.module_.modules()})

    module.autoencoder.eval()
    net, _ = train_new(module, make_config(1), callbacks=[Modes()])
    assert modes == [{True}] * 4
    assert not any(part.training for part in net.module_.modules())


def test_reads_from_the_device_do_not_grow_with_the_batches(monkeypatch):
    counts = dict.fromkeys(READS, 0)

    def make_counter(name):
        read = getattr(torch.Tensor, name)

        def counter(self, *args, **kwargs):
            counts[name] += 1
            return read(self, *args, **kwargs)

        return counter

    for name in READS:
        monkeypatch.setattr(torch.Tensor, name, make_counter(name))

    def count(n_batches):
        counts.update(dict.fromkeys(READS, 0))
        train_new(make_vade(min_information=0.3), make_config(1, N // n_batches))
        return counts.copy()

    few, many = count(5), count(20)
    assert few == many
    assert sum(few.values()) > 0, "the reads that there are go uncounted"


def test_callbacks_that_record_per_batch_work_and_leave_nothing_behind():
    scheduler = LRScheduler("StepLR", step_size=2, gamma=0.5, step_every="batch")
    net, _ = train_new(Parabola(), make_config(2), callbacks=[("rate", scheduler)])
    assert [record["batches"] for record in net.history] == [[{}], [{}]]
    train(net, make_data(draw_rows()), make_config(2), RandomStream(0), callbacks=[scheduler])
    assert len(net.history) == 4


def test_gradients_are_announced_so_that_they_can_be_clipped():
    # Adam itself does not mind the gradient's scale: look at the gradient that it was given
    gradients = LastGradients()
    net, _ = train_new(Parabola(), make_config(1, N), callbacks=[GradientNormClipping(1e-3), gradients])
    assert 0.0 < gradients.of[net.module_.center].norm() <= 1.001e-3


@pytest.mark.parametrize("duplicate", [lambda net: pickle.loads(pickle.dumps(net)), copy.deepcopy])
def test_a_copy_of_a_trained_net_answers_alike_and_trains_on_alike(duplicate):
    net, _ = train_new(make_vade(), make_config())
    clone = duplicate(net)
    assert clone.module is clone.module_ and net.module is net.module_ and clone.module_ is not net.module_
    assert clone.history.to_list() == net.history.to_list()
    x = draw_rows()
    torch.testing.assert_close(
        clone.module_.log_responsibilities(x), net.module_.log_responsibilities(x), rtol=0, atol=0
    )

    before, config = parameters_of(net.module_), make_config(2)
    for each in (net, clone):
        train(each, make_data(x), config, RandomStream(1))
        assert len(each.history) == 5
        if each is net:
            torch.testing.assert_close(parameters_of(clone.module_), before, rtol=0, atol=0)
    assert not torch.equal(parameters_of(net.module_), before)
    torch.testing.assert_close(parameters_of(clone.module_), parameters_of(net.module_), rtol=0, atol=0)


def test_interrupted_epoch_leaves_no_incomplete_record():
    net, _ = train_new(Parabola(interrupt), make_config(6), callbacks=[Watch()])
    assert [set(record) >= {"lower_bound", *ELBOTerms._fields} for record in net.history] == [True, True]


def test_the_first_terms_that_diverge_are_those_that_are_named(monkeypatch):
    monkeypatch.setattr(terms_module, "BATCHES_PER_JOIN", 1)
    monkeypatch.setattr(terms_module, "BATCHES_PER_READ", 1)
    sums, zero = terms_module.TermSums(NegativeELBO()), torch.zeros(3)
    bad = torch.tensor([0.0, torch.nan, 0.0])
    for terms, diverged in (
        ((zero, zero, zero, zero), []),
        ((zero, bad, zero, bad), ["kl_latent", "kl_component"]),
        ((bad, zero, zero, zero), ["kl_latent", "kl_component"]),
    ):
        sums.add(ELBOTerms(*terms), 3)
        assert sums.diverged == diverged
    assert sums.n_rows == 9


def test_models_are_trained_in_training_mode_and_evaluated_in_evaluation_mode():
    class Look(Callback):
        def on_batch_begin(self, net, **kwargs):
            modes.append(net.module_.training)

    modes, config = [], make_config(2, batch_size=20)
    net = make_net(Parabola().eval(), config)
    for n_trainings in (1, 2):  # the first leaves the model in evaluation mode
        train(net, make_data(draw_rows()), config, RandomStream(0), callbacks=[Look()])
        assert modes == [True] * 4 * n_trainings
    net.module_.train()
    net.evaluate(make_data(draw_rows()))
    assert not net.module_.training
