"""One phase of training: what a step does, what an epoch records and costs, and how it goes wrong in good order."""

import copy
import math

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback, EarlyStopping, LRScheduler
from torch import nn

from skgmvae.data.batches import ClampedResponsibilities
from skgmvae.data.training_data import TrainingData
from skgmvae.models import ELBOTerms, VaDE, vade
from skgmvae.runtime import RandomStream
from skgmvae.training.callbacks import StepSizeSchedule
from skgmvae.training.config import Architecture, TrainConfig
from skgmvae.training.pretraining import make_autoencoder
from skgmvae.training.train import TrainOutcome, make_net, train

CPU = torch.device("cpu")
N, D = 40, 4
ARCHITECTURE = Architecture(D, 2, (8,), None, "gaussian", (1.0,) * D, (2.0,) * D)


def make_config(n_epochs=3, batch_size=10, learning_rate=0.01, **options):
    return TrainConfig(n_epochs, batch_size, learning_rate, **{"device": "cpu", **options})


def draw_rows(n_rows=N, n_features=D, seed=0):
    return torch.randn(n_rows, n_features, generator=torch.Generator().manual_seed(seed))


def make_data(rows):
    """Samples (N, D), a tensor, as training takes them."""
    return TrainingData.from_rows(rows.numpy())


def make_vade(seed=0, **options):
    generator = torch.Generator().manual_seed(seed)
    return VaDE(make_autoencoder(ARCHITECTURE, generator), n_components=3, generator=generator, **options)


def train_new(module, config, seed=0, rows=None, **options):
    net = make_net(module, config)
    outcome = train(net, make_data(draw_rows() if rows is None else rows), config, RandomStream(seed), **options)
    return net, outcome


def parameters_of(module):
    return nn.utils.parameters_to_vector(module.parameters()).detach().clone()


class Parabola(nn.Module):
    """log p(x) = −‖x − center‖² / 2; ``kl_latent`` is ``disturb(i)`` in the i-th forward pass, i = 0, 1, …"""

    def __init__(self, disturb=None):
        super().__init__()
        self.center = nn.Parameter(torch.ones(D))
        self.disturb = disturb
        self.n_calls = 0

    def forward(self, x, generator=None):
        log_likelihood = -0.5 * (x - self.center).square().sum(-1)
        zero = torch.zeros_like(log_likelihood)
        disturbance = self.disturb(self.n_calls) if self.disturb else 0.0
        self.n_calls += 1
        return ELBOTerms(log_likelihood, zero + disturbance * self.center.sum(), zero, zero)


class Columns(nn.Module):
    """The terms of a row are its features, whatever the parameter."""

    def __init__(self):
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(()))

    def forward(self, x, generator=None):
        return ELBOTerms(*(x + 0.0 * self.nothing).unbind(-1))


class Watch(Callback):
    """Notes the parameters before every epoch and the step size of every step."""

    def __init__(self):
        self.states, self.step_sizes = [], []

    def on_epoch_begin(self, net, **kwargs):
        self.states.append(parameters_of(net.module_))

    def on_batch_begin(self, net, **kwargs):
        net.history.record_batch("noted", 1)
        self.step_sizes.append(net.optimizer_.param_groups[0]["lr"])


class LastGradients(Callback):
    """The gradients of the last step, which the net does not keep."""

    def on_train_end(self, net, **kwargs):
        self.of = {parameter: parameter.grad for parameter in net.module_.parameters() if parameter.grad is not None}


# ------------------------------------------------------------------------------------- steps and records


@pytest.mark.parametrize("has_floor", [False, True])
def test_steps_equal_a_hand_written_adam(has_floor):
    rows, n_steps, rate = draw_rows(), 4, 0.01
    model = make_vade()
    model.autoencoder.likelihood.set_variance(torch.ones(rows.shape[1]))
    reference = copy.deepcopy(model)
    # half of the rows are below
    min_information = (
        reference(rows, generator=torch.Generator()).kl_component.quantile(0.5).item() if has_floor else 0.0
    )
    reference.min_information = min_information  # the configured one is given to the other
    train_new(model, make_config(n_steps, N, rate, min_information=min_information))

    generator = RandomStream(0).on("cpu")
    first, second = ([torch.zeros_like(p) for p in reference.parameters()] for _ in range(2))
    for t in range(1, n_steps + 1):
        terms = reference(rows[torch.randperm(N, generator=generator)], generator=generator)
        kl_component = torch.where(terms.kl_component >= min_information, terms.kl_component, min_information)
        loss = (kl_component + terms.kl_latent + terms.kl_style - terms.log_likelihood).sum() / N
        gradients = torch.autograd.grad(loss, list(reference.parameters()))
        step_size = rate * 0.5 * (1.0 + math.cos(math.pi * (t - 1) / n_steps))
        with torch.no_grad():
            for p, g, m, v in zip(reference.parameters(), gradients, first, second, strict=True):
                m.copy_(0.9 * m + 0.1 * g)
                v.copy_(0.999 * v + 0.001 * g**2)
                p -= step_size * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
    torch.testing.assert_close(parameters_of(model), parameters_of(reference), rtol=0, atol=1e-6)


READS = ("item", "cpu", "tolist", "numpy", "__float__", "__int__", "__bool__", "__index__", "__array__")


def test_trained_net_is_left_on_the_cpu_in_evaluation_mode():
    net, _ = train_new(make_vade(), make_config(1))
    assert not net.module_.training and net.device == "cpu"
    assert net.module_.autoencoder.autocast_dtype is None and net.callbacks == []


# -------------------------------------------------------------------------------- clamped responsibilities


@pytest.mark.parametrize("n_clamped", [2, 5])
def test_training_clamps_the_initial_responsibilities_in_as_many_epochs_as_told(n_clamped):
    config, data = make_config(n_epochs=5, learning_rate=1e-3), make_data(draw_rows())
    net = make_net(make_vade(), config)
    logs = torch.full((N, 3), 1e-30).scatter_(1, torch.arange(N).unsqueeze(1) % 3, 1.0).log()
    train(net, data, config, RandomStream(0), clamped=ClampedResponsibilities(logs, n_clamped))
    kl = [record["kl_component"] for record in net.history]
    # one-hot under nearly uniform weights; free, this model has components that overlap
    assert len(kl) == 5 and kl[:n_clamped] == pytest.approx([np.log(3)] * n_clamped, abs=0.02)
    assert max(kl[n_clamped:], default=0.0) < 0.8
    train(net, data, config, RandomStream(0))
    assert net.history[5]["kl_component"] < 0.8  # the next training is free


@pytest.mark.parametrize("n_clamped, n_compared", [(0, 30), (24, 6), (30, 30)])
def test_convergence_is_that_of_the_free_epochs_or_of_all_where_all_are_clamped(n_clamped, n_compared):
    logs = torch.full((N, 3), 1e-30).scatter_(1, torch.arange(N).unsqueeze(1) % 3, 1.0).log()
    config = make_config(n_epochs=30, tol=1e6)
    net = make_net(make_vade(), config)
    clamped = ClampedResponsibilities(logs, n_clamped) if n_clamped else None
    outcome = train(net, make_data(draw_rows()), config, RandomStream(0), clamped=clamped)
    # the first stretch that can be compared, of at most ten epochs, and one epoch before it
    assert outcome.converged and len(net.history) == 30 - n_compared + min(10, n_compared // 2) + 1


# --------------------------------------------------------------------------------- schedule and convergence


def test_schedule_spans_all_steps_of_the_phase():
    watch = Watch()
    train_new(Parabola(), make_config(5, 10, 0.8), callbacks=[watch])
    expected = [0.8 * StepSizeSchedule(20, 2, anneal=True).factor(step) for step in range(20)]
    np.testing.assert_allclose(watch.step_sizes, expected)


def test_faint_moments_are_flushed_while_a_model_is_trained(monkeypatch):
    monkeypatch.setattr("skgmvae.training.callbacks.STEPS_PER_FLUSH", 2)
    monkeypatch.setattr("skgmvae.training.callbacks.FAINT", math.inf)
    gradients = LastGradients()
    # two steps, the second from nothing
    net, _ = train_new(make_vade(), make_config(n_epochs=1, batch_size=N // 2), callbacks=[gradients])
    for parameter, state in net.optimizer_.state.items():
        torch.testing.assert_close(state["exp_avg"], 0.1 * gradients.of[parameter])
    assert all(parameter.grad is None for parameter in net.module_.parameters()), (
        "gradients take memory when it is over"
    )


def test_outcome_tells_whether_it_converged():
    config = make_config(60, N, 0.05, tol=1e-3, anneal=False)
    net, outcome = train_new(Parabola(), config)
    assert outcome == TrainOutcome(converged=True, interrupted=False) and 10 < len(net.history) < 60
    assert not train_new(Parabola(), make_config(5, tol=0.0))[1].converged


# ----------------------------------------------------------------------------------- divergence, Ctrl-C


def test_diverged_epoch_is_undone_and_training_goes_on_with_a_smaller_step():
    # four batches per epoch: the middle of the third epoch diverges
    watch = Watch()
    net, outcome = train_new(
        Parabola(lambda i: math.nan if i == 9 else 0.0), make_config(6, 10, 0.08, anneal=False), callbacks=[watch]
    )
    assert outcome == TrainOutcome(converged=False, interrupted=False)
    assert [math.isfinite(record["lower_bound"]) for record in net.history] == [True, True, False, True, True, True]
    torch.testing.assert_close(watch.states[3], watch.states[2], rtol=0, atol=0)
    assert watch.step_sizes == pytest.approx([0.08] * 12 + [0.02] * 12)
    assert net.history[-1]["lower_bound"] > net.history[1]["lower_bound"], "it learns no more"
    # the moments of the optimizer were nan too; Adam's first step anew is one of the full size
    moved = (watch.states[5] - watch.states[4]).abs()
    assert torch.isfinite(moved).all() and moved.max() > 0.01


def test_repeated_divergence_raises_with_the_rate():
    module = Parabola(lambda i: math.nan if i >= 8 else 0.0)
    with pytest.raises(ValueError, match=r"kl_latent became infinite or NaN .* learning_rate=0\.0039\. Lower"):
        train_new(module, make_config(20, 10, 1.0))
    assert module.n_calls == 4 * (2 + 5), "two good epochs and five attempts"


@pytest.mark.parametrize("batch_size", [N, 10])
def test_repeated_divergence_names_only_the_term_that_began_it(batch_size):
    with pytest.raises(ValueError, match="diverged: kl_latent became infinite or NaN"):
        train_new(Parabola(lambda i: math.nan if i >= 8 else 0.0), make_config(20, batch_size))


def test_large_but_finite_buffers_are_no_divergence():
    module = Parabola()
    module.register_buffer("location", torch.tensor([1e39], dtype=torch.float64))
    module.double_buffers = ("location",)  # a constant of the data, as a likelihood's
    net, _ = train_new(module, make_config(6))
    assert len(net.history) == 6 and net.optimizer_.state, "an epoch was undone"


def interrupt(i):
    if i == 9:
        raise KeyboardInterrupt
    return 0.0


def test_interruption_within_an_epoch_keeps_the_state_and_is_told():
    watch = Watch()
    net, outcome = train_new(Parabola(interrupt), make_config(6, learning_rate=0.08), callbacks=[watch])
    assert outcome == TrainOutcome(converged=False, interrupted=True)
    assert len(watch.states) == 3 and torch.isfinite(net.module_.center).all()
    assert not torch.equal(net.module_.center, watch.states[0]), "nothing of the two epochs is kept"
    assert not net.module_.training
    assert net.optimizer_.state


def test_interruption_after_a_divergence_keeps_the_last_finite_state():
    net, _ = train_new(Parabola(lambda i: math.nan if i == 8 else interrupt(i)), make_config(6))
    assert torch.isfinite(net.module_.center).all()


def test_early_stopping_of_a_user_is_no_interruption():
    stopping = EarlyStopping("lower_bound", patience=2, threshold=1e3, threshold_mode="abs", lower_is_better=False)
    net, outcome = train_new(Parabola(), make_config(8), callbacks=[stopping])
    assert not outcome.interrupted and len(net.history) < 8


def test_interruption_is_forgotten_by_the_next_training():
    net, outcome = train_new(Parabola(interrupt), make_config(6))
    assert outcome.interrupted
    assert not train(net, make_data(draw_rows()), make_config(0), RandomStream(0)).interrupted


# -------------------------------------------------------------------------------------- users' callbacks


def test_schedule_of_a_user_takes_effect():
    watch = Watch()
    scheduler = LRScheduler("StepLR", step_size=2, gamma=0.1, step_every="batch")
    train_new(Parabola(), make_config(1, anneal=False), callbacks=[scheduler, watch])
    assert watch.step_sizes == pytest.approx([0.01, 0.01, 0.001, 0.001])


# ------------------------------------------------------------------------------ -------- precision


def test_bfloat16_is_for_the_networks_alone(monkeypatch):
    seen = {"networks": set(), "mathematics": set()}
    expected_log_normal = vade.expected_log_normal

    def spy(*tensors):
        seen["mathematics"].add(torch.is_autocast_enabled("cpu"))
        result = expected_log_normal(*tensors)
        seen["mathematics"].update(tensor.dtype for tensor in (*tensors, result))
        return result

    monkeypatch.setattr(vade, "expected_log_normal", spy)
    bounds, steps = {}, {}
    for precision in ("float32", "bfloat16"):
        for seen_there in seen.values():
            seen_there.clear()
        model = make_vade()
        before = parameters_of(model)
        for linear in (model.autoencoder.body[0], model.autoencoder.decoder[-1]):
            linear.register_forward_hook(lambda module, args, output: seen["networks"].add(output.dtype))
        net, _ = train_new(model, make_config(1, N, precision=precision))
        assert seen["networks"] == {getattr(torch, precision)}
        assert seen["mathematics"] == {torch.float32, False}
        bounds[precision], steps[precision] = net.history[-1]["lower_bound"], parameters_of(model) - before
    assert bounds["bfloat16"] == pytest.approx(bounds["float32"], rel=1e-2)
    assert bounds["bfloat16"] != bounds["float32"]
    assert torch.cosine_similarity(steps["bfloat16"], steps["float32"], dim=0) > 0.9
