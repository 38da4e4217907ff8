"""The loop: what a step does, what an epoch records and costs, and how a training goes wrong in good order."""

import copy
import math
import pickle
from types import SimpleNamespace

import joblib
import numpy as np
import pytest
import torch
from skorch.callbacks import Callback, EarlyStopping, GradientNormClipping, LRScheduler
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from tqdm import tqdm

from skgmvae.data.batches import ClampedResponsibilities, ShuffledBatches, as_rows
from skgmvae.initialization.initialize import Initialization
from skgmvae.models import ELBOTerms, VaDE, vade
from skgmvae.runtime import check_device, choose_autocast_dtype, seeded
from skgmvae.training import net as net_module
from skgmvae.training.callbacks import ConvergenceStopping, FlushDenormals, StepSizeSchedule
from skgmvae.training.fitting import clamp_responsibilities, fit_from_scratch
from skgmvae.training.pretraining import Architecture, make_autoencoder, pretrain
from skgmvae.training.train import TrainConfig, TrainOutcome, make_net, train

CPU = torch.device("cpu")
N, D = 40, 4
ARCHITECTURE = Architecture(D, 2, (8,), None, "gaussian", (1.0,) * D, (2.0,) * D)


def make_plan(n_epochs=3, batch_size=10, learning_rate=0.01, **options):
    return TrainConfig(n_epochs, batch_size, learning_rate, **{"device": "cpu", **options})


def draw_rows(n_rows=N, n_features=D, seed=0):
    return torch.randn(n_rows, n_features, generator=torch.Generator().manual_seed(seed))


def make_vade(seed=0, **options):
    torch.manual_seed(seed)
    return VaDE(make_autoencoder(ARCHITECTURE), n_components=3, **options)


def train_new(module, plan, seed=0, rows=None, **options):
    net = make_net(module, plan)
    torch.manual_seed(seed)
    outcome = train(net, draw_rows() if rows is None else rows, plan, **options)
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

    def forward(self, x):
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

    def forward(self, x):
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


# ------------------------------------------------------------------------------------- steps and records


@pytest.mark.parametrize("has_floor", [False, True])
def test_steps_equal_a_hand_written_adam(has_floor):
    rows, n_steps, rate = draw_rows(), 4, 0.01
    model = make_vade()
    model.autoencoder.likelihood.set_variance(torch.ones(rows.shape[1]))
    reference = copy.deepcopy(model)
    # half of the rows are below
    min_information = reference(rows).kl_component.quantile(0.5).item() if has_floor else 0.0
    reference.min_information = min_information  # the plan's is given to the other
    train_new(model, make_plan(n_steps, N, rate, min_information=min_information))

    torch.manual_seed(0)
    first, second = ([torch.zeros_like(p) for p in reference.parameters()] for _ in range(2))
    for t in range(1, n_steps + 1):
        terms = reference(rows[torch.randperm(N)])
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


@pytest.mark.parametrize("batches_per_read", [512, 2, 4])
def test_history_holds_the_mean_of_every_term_once_per_epoch(batches_per_read, monkeypatch):
    monkeypatch.setattr(net_module, "BATCHES_PER_READ", batches_per_read)
    rows = draw_rows(43).abs()  # four batches of unequal size
    net, outcome = train_new(Columns(), make_plan(2, 10, min_information=0.7), rows=rows, callbacks=[Watch()])
    assert outcome == TrainOutcome(converged=False, interrupted=False)
    assert len(net.history) == 2
    x = rows.double().numpy()
    bound = x[:, 0] - x[:, 1] - x[:, 2] - np.maximum(0.7, x[:, 3])
    for record in net.history:
        for name, column in zip(("lower_bound", *ELBOTerms._fields), [bound, *x.T], strict=True):
            np.testing.assert_allclose(record[name], column.mean(), rtol=1e-6)
        assert record["batches"] == [{}], "what callbacks noted per batch is kept"
    np.testing.assert_allclose(net.evaluate(rows), bound.mean(), rtol=1e-6)


READS = ("item", "cpu", "tolist", "numpy", "__float__", "__int__", "__bool__", "__index__", "__array__")


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
        train_new(make_vade(min_information=0.3), make_plan(1, N // n_batches))
        return counts.copy()

    few, many = count(5), count(20)
    assert few == many
    assert sum(few.values()) > 0, "the reads that there are go uncounted"


def test_trained_net_is_left_on_the_cpu_in_evaluation_mode():
    net, _ = train_new(make_vade(), make_plan(1))
    assert not net.module_.training and net.device == "cpu"
    assert net.module_.autoencoder.autocast_dtype is None and net.callbacks == []


# ----------------------------------------------------------------------------------------------- batches


@pytest.mark.parametrize("n_rows, batch_size", [(1, 10), (9, 10), (10, 10), (19, 10), (43, 10), (40, 1)])
def test_every_row_comes_once_per_epoch_in_batches_of_nearly_equal_size(n_rows, batch_size):
    batches = ShuffledBatches(torch.arange(n_rows).unsqueeze(1), batch_size)
    epoch = list(batches)
    assert len(epoch) == len(batches)
    assert torch.cat(epoch).flatten().sort().values.tolist() == list(range(n_rows))
    sizes = [len(batch) for batch in epoch]
    assert max(sizes) - min(sizes) <= 1
    assert min(batch_size, n_rows) <= min(sizes) and max(sizes) < 2 * batch_size


def test_every_epoch_has_its_own_order_and_the_seed_decides():
    batches = ShuffledBatches(torch.arange(50).unsqueeze(1), 10)
    orders = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        orders.append([torch.cat(list(batches)).flatten().tolist() for _ in range(2)])
    assert orders[0] == orders[1] and orders[0] != orders[2]
    assert orders[0][0] != orders[0][1] and orders[0][0] != list(range(50))


def test_guide_is_held_row_by_row_in_the_first_epochs_alone():
    rows = torch.arange(50).unsqueeze(1)
    batches = ShuffledBatches(rows, 10, clamped=ClampedResponsibilities(-2.0 * rows, n_epochs=2))
    for epoch in range(4):
        for batch in batches:
            assert isinstance(batch, tuple) == (epoch < 2)
            if epoch < 2:
                assert torch.equal(batch[1], -2 * batch[0])


def test_training_holds_the_start_s_responsibilities_in_its_first_epochs():
    plan, rows = make_plan(n_epochs=5, learning_rate=1e-3), draw_rows()
    net = make_net(make_vade(), plan)
    held = torch.full((N, 3), 1e-30).scatter_(1, torch.arange(N).unsqueeze(1) % 3, 1.0).log()
    train(net, rows, plan, clamped=ClampedResponsibilities(held, n_epochs=2))
    kl = [record["kl_component"] for record in net.history]
    # one-hot under nearly uniform weights; free, this model has components that overlap
    assert len(kl) == 5 and kl[:2] == pytest.approx([np.log(3)] * 2, abs=0.02)
    assert max(kl[2:]) < 0.8
    train(net, rows, plan)
    assert net.history[5]["kl_component"] < 0.8  # the next run is free


@pytest.mark.parametrize("n_epochs, n_clamped", [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2), (8, 6), (51, 38)])
def test_guide_lasts_three_quarters_of_the_epochs(n_epochs, n_clamped):
    plan, responsibilities = make_plan(n_epochs), torch.eye(3, dtype=torch.float64)
    clamped = clamp_responsibilities(Initialization("graph on the inputs", responsibilities), plan)
    assert (clamped.n_epochs if clamped else 0) == n_clamped
    assert clamped is None or clamped.log_responsibilities.isfinite().all()
    assert clamped is None or torch.equal(clamped.log_responsibilities.exp(), torch.eye(3)), (
        "no tiny shares, no denormals"
    )
    assert clamp_responsibilities(Initialization("random", responsibilities), plan) is None
    own = clamp_responsibilities(Initialization("graph on the inputs", responsibilities), plan, has_own_table=True)
    assert (own.n_epochs if own else 0) == n_clamped and (own is None or own.log_responsibilities is None)


def test_rows_share_the_memory_of_the_array(tmp_path):
    X = np.ones((5, D), dtype=np.float32)
    rows = as_rows(X)
    X[0, 0] = 7.0
    assert rows[0, 0] == 7.0 and rows.dtype == torch.float32
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert as_rows(mapped).data_ptr() == mapped.ctypes.data
    train_new(Parabola(), make_plan(1, 2), rows=as_rows(mapped))


# --------------------------------------------------------------------------------- schedule and convergence


def test_step_size_warms_up_linearly_and_decays_as_a_cosine():
    schedule = StepSizeSchedule(n_steps=110, n_warmup=10, anneal=True)
    steps = [0, 4, 9, 10, 60, 85, 110, 200]
    expected = [1 / 11, 5 / 11, 10 / 11, 1, 0.5, 0.5 - 0.125**0.5, 0, 0]
    np.testing.assert_allclose([schedule.factor(step) for step in steps], expected, atol=1e-12)
    assert StepSizeSchedule(50, n_warmup=200, anneal=True).n_warmup == 5, (
        "the warm-up takes at most a tenth of the steps"
    )
    assert {StepSizeSchedule(110, 10, anneal=False).factor(step) for step in steps} == {1.0}


def test_schedule_spans_all_steps_of_the_phase():
    watch = Watch()
    train_new(Parabola(), make_plan(5, 10, 0.8), callbacks=[watch])
    expected = [0.8 * StepSizeSchedule(20, 2, anneal=True).factor(step) for step in range(20)]
    np.testing.assert_allclose(watch.step_sizes, expected)


@pytest.mark.parametrize("fused", [False, True])
def test_moments_never_become_denormal_and_steps_stay_adam_s(fused):
    smallest_normal = torch.finfo(torch.float32).smallest_normal
    first_gradient = torch.tensor([1.0, 1e-3, 1e-12, 1e-30])
    parameters = [nn.Parameter(torch.ones(4)) for _ in range(2)]
    ours, plain = (torch.optim.Adam([parameter], lr=0.1, fused=fused) for parameter in parameters)
    net, callback = SimpleNamespace(optimizer_=ours), FlushDenormals()
    callback.on_train_begin(net)
    n_denormal = {ours: 0, plain: 0}
    for step in range(1300):
        for parameter in parameters:
            parameter.grad = first_gradient * (step < 2)
        callback.on_batch_begin(net)
        for optimizer, parameter in zip((ours, plain), parameters, strict=True):
            optimizer.step()
            moment = optimizer.state[parameter]["exp_avg"][:3]
            n_denormal[optimizer] += int(((moment != 0.0) & (moment.abs() < smallest_normal)).sum())
    assert n_denormal[ours] == 0 < n_denormal[plain]
    assert torch.equal(*parameters)
    second_moments = [optimizer.state[p]["exp_avg_sq"] for optimizer, p in zip((ours, plain), parameters, strict=True)]
    assert torch.equal(second_moments[0][:2], second_moments[1][:2]) and second_moments[0][0] > 0.0


def test_faint_moments_are_cleared_while_a_model_is_trained(monkeypatch):
    monkeypatch.setattr("skgmvae.training.callbacks.STEPS_PER_CLEARING", 2)
    monkeypatch.setattr("skgmvae.training.callbacks.FAINT", math.inf)
    net, _ = train_new(make_vade(), make_plan(n_epochs=1, batch_size=N // 2))  # two steps, the second from nothing
    for parameter, state in net.optimizer_.state.items():
        torch.testing.assert_close(state["exp_avg"], 0.1 * parameter.grad)


def epochs_until_stop(bounds, tol=0.1, patience=3):
    stop, net = ConvergenceStopping(tol, patience), SimpleNamespace(history=[])
    stop.on_train_begin(net)
    for bound in bounds:
        net.history.append({"lower_bound": bound})
        try:
            stop.on_epoch_end(net)
        except KeyboardInterrupt:
            assert stop.converged_
            return len(net.history)
    assert not stop.converged_
    return None


def test_training_stops_when_the_best_bound_of_the_last_epochs_gains_too_little():
    assert epochs_until_stop([-9, -5, -3, -2.95, -2.94, -2.96, -2.9]) == 6
    assert epochs_until_stop([-9, -5, -3, -8, -8, -2, -8, -8, -1]) is None, "stopped at a few noisy epochs"
    assert epochs_until_stop([1.0, 1.0, 1.0]) is None, "stopped before there was anything to compare"
    assert epochs_until_stop([1.0, 1.0, 1.0, 1.0]) == 4
    assert epochs_until_stop([10, 8, 6, 4, 2]) is None, "a falling bound has not converged"


def test_convergence_is_seen_after_an_epoch_that_was_undone():
    assert epochs_until_stop([math.nan, 1.0, 1.0, 1.0, 1.0, 1.0]) is not None


def test_run_tells_whether_it_converged():
    plan = make_plan(60, N, 0.05, tol=1e-3, anneal=False)
    net, outcome = train_new(Parabola(), plan)
    assert outcome == TrainOutcome(converged=True, interrupted=False) and 10 < len(net.history) < 60
    assert not train_new(Parabola(), make_plan(5, tol=0.0))[1].converged


# ----------------------------------------------------------------------------------- divergence, Ctrl-C


def test_diverged_epoch_is_undone_and_training_goes_on_with_a_smaller_step():
    # four batches per epoch: the middle of the third epoch diverges
    watch = Watch()
    net, outcome = train_new(
        Parabola(lambda i: math.nan if i == 9 else 0.0), make_plan(6, 10, 0.08, anneal=False), callbacks=[watch]
    )
    assert outcome == TrainOutcome(converged=False, interrupted=False)
    assert [math.isfinite(record["lower_bound"]) for record in net.history] == [True, True, False, True, True, True]
    torch.testing.assert_close(watch.states[3], watch.states[2], rtol=0, atol=0)
    assert watch.step_sizes == pytest.approx([0.08] * 12 + [0.02] * 12)
    assert net.history[-1]["lower_bound"] > net.history[1]["lower_bound"], "it learns no more"
    # the moments of the optimizer held nan too; Adam's first step anew is one of the full size
    moved = (watch.states[5] - watch.states[4]).abs()
    assert torch.isfinite(moved).all() and moved.max() > 0.01


def test_repeated_divergence_raises_with_the_rate():
    module = Parabola(lambda i: math.nan if i >= 8 else 0.0)
    with pytest.raises(ValueError, match=r"kl_latent stopped being finite .* learning_rate=0\.0039\. Lower"):
        train_new(module, make_plan(20, 10, 1.0))
    assert module.n_calls == 4 * (2 + 5), "two good epochs and five attempts"


@pytest.mark.parametrize("batch_size", [N, 10])
def test_repeated_divergence_names_only_the_term_that_began_it(batch_size):
    with pytest.raises(ValueError, match="diverged: kl_latent stopped being finite"):
        train_new(Parabola(lambda i: math.nan if i >= 8 else 0.0), make_plan(20, batch_size))


def test_large_but_finite_buffers_are_no_divergence():
    module = Parabola()
    module.register_buffer("location", torch.tensor([1e39], dtype=torch.float64))
    net, _ = train_new(module, make_plan(6))
    assert len(net.history) == 6 and net.optimizer_.state, "an epoch was undone"


def interrupt(i):
    if i == 9:
        raise KeyboardInterrupt
    return 0.0


def test_interruption_within_an_epoch_keeps_the_state_and_is_told():
    watch = Watch()
    net, outcome = train_new(Parabola(interrupt), make_plan(6, learning_rate=0.08), callbacks=[watch])
    assert outcome == TrainOutcome(converged=False, interrupted=True)
    assert len(watch.states) == 3 and torch.isfinite(net.module_.center).all()
    assert not torch.equal(net.module_.center, watch.states[0]), "nothing of the two epochs is kept"
    assert not net.module_.training
    assert net.optimizer_.state


def test_interrupted_epoch_leaves_no_incomplete_record():
    net, _ = train_new(Parabola(interrupt), make_plan(6), callbacks=[Watch()])
    assert [set(record) >= {"lower_bound", *ELBOTerms._fields} for record in net.history] == [True, True]


def test_interruption_after_a_divergence_keeps_the_last_finite_state():
    net, _ = train_new(Parabola(lambda i: math.nan if i == 8 else interrupt(i)), make_plan(6))
    assert torch.isfinite(net.module_.center).all()


@pytest.mark.parametrize(
    "spoilt_step, interrupts", [(0, True), (9, True), (15, False)], ids=["begun", "in the third epoch", "diverged last"]
)
def test_fit_with_a_spoilt_last_epoch_still_has_a_finite_bound(spoilt_step, interrupts):
    class Spoiler(Callback):
        step = 0

        def on_batch_begin(self, net, **kwargs):
            if self.step == spoilt_step:
                if interrupts:
                    raise KeyboardInterrupt
                net.module_.means.data.fill_(math.nan)
            self.step += 1

    fitted = fit_from_scratch(
        draw_rows().numpy(),
        ARCHITECTURE,
        lambda autoencoder: VaDE(autoencoder, 3),
        pretraining=make_plan(0),
        plan=make_plan(4),
        init_params="random",
        n_init=1,
        random_state=np.random.RandomState(0),
        callbacks=[Spoiler()],
    )
    assert fitted.outcome.interrupted == interrupts and math.isfinite(fitted.lower_bound)


def test_early_stopping_of_a_user_is_no_interruption():
    stopping = EarlyStopping("lower_bound", patience=2, threshold=1e3, threshold_mode="abs", lower_is_better=False)
    net, outcome = train_new(Parabola(), make_plan(8), callbacks=[stopping])
    assert not outcome.interrupted and len(net.history) < 8


def test_interruption_is_forgotten_by_the_next_run():
    net, outcome = train_new(Parabola(interrupt), make_plan(6))
    assert outcome.interrupted
    assert not train(net, draw_rows(), make_plan(0)).interrupted


# -------------------------------------------------------------------------------------- users' callbacks


def test_callbacks_that_record_per_batch_work_and_leave_nothing_behind():
    scheduler = LRScheduler("StepLR", step_size=2, gamma=0.5, step_every="batch")
    net, _ = train_new(Parabola(), make_plan(2), callbacks=[("rate", scheduler)])
    assert [record["batches"] for record in net.history] == [[{}], [{}]]
    train(net, draw_rows(), make_plan(2), callbacks=[scheduler])
    assert len(net.history) == 4


def test_schedule_of_a_user_takes_effect():
    watch = Watch()
    scheduler = LRScheduler("StepLR", step_size=2, gamma=0.1, step_every="batch")
    train_new(Parabola(), make_plan(1, anneal=False), callbacks=[scheduler, watch])
    assert watch.step_sizes == pytest.approx([0.01, 0.01, 0.001, 0.001])


def test_gradients_are_announced_so_that_they_can_be_clipped():
    # Adam itself does not mind the gradient's scale: look at the gradient that it was given
    net, _ = train_new(Parabola(), make_plan(1, N), callbacks=[GradientNormClipping(1e-3)])
    assert net.module_.center.grad.norm() <= 1.001e-3


# ------------------------------------------------------------------------------------------------ copies


@pytest.mark.parametrize("duplicate", [lambda net: pickle.loads(pickle.dumps(net)), copy.deepcopy])
def test_a_copy_of_a_trained_net_answers_alike_and_trains_on_alike(duplicate):
    net, _ = train_new(make_vade(), make_plan())
    clone = duplicate(net)
    assert clone.module is clone.module_ and net.module is net.module_ and clone.module_ is not net.module_
    assert clone.history.to_list() == net.history.to_list()
    x = draw_rows()
    torch.testing.assert_close(
        clone.module_.log_responsibilities(x), net.module_.log_responsibilities(x), rtol=0, atol=0
    )

    before, plan = parameters_of(net.module_), make_plan(2)
    for each in (net, clone):
        torch.manual_seed(1)
        train(each, x, plan)
        assert len(each.history) == 5
        if each is net:
            torch.testing.assert_close(parameters_of(clone.module_), before, rtol=0, atol=0)
    assert not torch.equal(parameters_of(net.module_), before)
    torch.testing.assert_close(parameters_of(clone.module_), parameters_of(net.module_), rtol=0, atol=0)


# ------------------------------------------------------------------------------ generators, devices, precision


def test_seeded_decides_the_draws_and_leaves_the_global_generators():
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    draws = []
    for seed in (3, 3, 4):
        with seeded(seed, CPU):
            draws.append(torch.randn(5))
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    with pytest.raises(RuntimeError, match="within"), seeded(0, CPU):
        torch.randn(5)
        raise RuntimeError("within")
    assert torch.equal(torch.get_rng_state(), torch_state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)


def test_unknown_device_is_named():
    with pytest.raises(ValueError, match="device='gpu' is not a torch device; use 'auto', 'cpu', 'cuda'"):
        check_device("gpu")
    assert check_device("cpu") == CPU
    assert check_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_rows_that_are_on_the_cuda_device_stay_there():
    with FakeTensorMode():
        rows = torch.empty(N, D, device="cuda")
        held = torch.empty(N, 3, device="cuda")
        for name in ("cuda", "cuda:0"):
            batches = ShuffledBatches(rows, 10, torch.device(name), ClampedResponsibilities(held, 1))
            assert [(x.shape, x.device.type, u.device.type) for x, u in batches] == [((10, D), "cuda", "cuda")] * 4


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is there")
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_absent_cuda_is_named_with_the_way_back(device):
    with pytest.raises(ValueError, match=f"device='{device}' .* 0 CUDA devices; use device='auto'"):
        check_device(device)


def test_precision_is_bfloat16_only_where_asked_for_or_fast():
    assert choose_autocast_dtype("float32", CPU) is None
    assert choose_autocast_dtype("bfloat16", CPU) is torch.bfloat16
    assert choose_autocast_dtype("auto", CPU) in (None, torch.bfloat16)


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
        net, _ = train_new(model, make_plan(1, N, precision=precision))
        assert seen["networks"] == {getattr(torch, precision)}
        assert seen["mathematics"] == {torch.float32, False}
        bounds[precision], steps[precision] = net.history[-1]["lower_bound"], parameters_of(model) - before
    assert bounds["bfloat16"] == pytest.approx(bounds["float32"], rel=1e-2)
    assert bounds["bfloat16"] != bounds["float32"]
    assert torch.cosine_similarity(steps["bfloat16"], steps["float32"], dim=0) > 0.9


# -------------------------------------------------------------------------------------------- pretraining


def draw_plane(dtype=np.float64):
    """Rows near a plane, which a two-dimensional embedding holds."""
    rng = np.random.default_rng(0)
    return (1.0 + rng.normal(size=(N, 2)) @ rng.normal(size=(2, D)) * 2.0).astype(dtype)


def test_pretraining_learns_and_is_a_pure_function():
    X, plan = draw_plane(), make_plan(40, 10, 0.02)
    weights, reconstruction = pretrain(X, ARCHITECTURE, plan, seed=1)
    assert len(reconstruction) == 40 and reconstruction[-1] > reconstruction[0] + 1.0
    make_autoencoder(ARCHITECTURE).load_state_dict({name: torch.tensor(array) for name, array in weights.items()})

    torch.manual_seed(123)
    again, _ = pretrain(X.copy(), ARCHITECTURE, plan, seed=1)
    other, _ = pretrain(X, ARCHITECTURE, plan, seed=2)
    for name, array in weights.items():
        np.testing.assert_array_equal(again[name], array)
    assert not np.array_equal(other["head.mean.weight"], weights["head.mean.weight"])


def test_pretraining_of_no_epochs_gives_the_random_weights():
    weights, reconstruction = pretrain(draw_plane(), ARCHITECTURE, make_plan(0), seed=1)
    with seeded(1, CPU):
        expected = make_autoencoder(ARCHITECTURE).state_dict()
    assert reconstruction == []
    for name, array in weights.items():
        np.testing.assert_array_equal(array, expected[name].numpy())


def test_pretraining_is_computed_once_for_one_set_of_plain_values(tmp_path):
    cached = joblib.Memory(tmp_path, verbose=0).cache(pretrain, ignore=["verbose"])
    X, plan = draw_plane(np.float32), make_plan(1)
    first, _ = cached(X, ARCHITECTURE, plan, 1, verbose=0)
    assert cached.check_call_in_cache(X.copy(), copy.deepcopy(ARCHITECTURE), make_plan(1), 1, verbose=2)
    second, _ = cached(X.copy(), ARCHITECTURE, plan, 1, verbose=2)
    np.testing.assert_array_equal(second["head.mean.weight"], first["head.mean.weight"])
    assert not cached.check_call_in_cache(X, ARCHITECTURE, make_plan(2), 1, verbose=0)
    assert not cached.check_call_in_cache(X, ARCHITECTURE, plan, 2, verbose=0)
    assert not cached.check_call_in_cache(X + 1, ARCHITECTURE, plan, 1, verbose=0)


def test_interrupted_pretraining_is_an_interruption(monkeypatch):
    monkeypatch.setattr(
        "skgmvae.training.pretraining.train", lambda *args, **kwargs: TrainOutcome(False, interrupted=True)
    )
    with pytest.raises(KeyboardInterrupt):
        pretrain(draw_plane(), ARCHITECTURE, make_plan(1), seed=1)


# ----------------------------------------------------------------------------------------------- progress


def test_verbose_1_shows_a_bar_with_the_bound_and_2_a_line_per_epoch(capsys):
    net, _ = train_new(Parabola(), make_plan(3), phase="warming", verbose=1)
    shown = capsys.readouterr()
    bound = f"{net.history[-1]['lower_bound']:.4g}"
    assert shown.out == "" and "warming: 100%" in shown.err and f"lower_bound={bound}" in shown.err

    net, _ = train_new(Parabola(), make_plan(3), verbose=2)
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert [line.split()[1] for line in lines] == ["1/3", "2/3", "3/3"] and shown.err == ""
    for line, record in zip(lines, net.history, strict=True):
        assert f"lower_bound {record['lower_bound']:.4g}" in line and "kl_style" not in line

    train_new(Parabola(), make_plan(3), verbose=0)
    assert capsys.readouterr() == ("", "")
    assert net.callbacks == [] and not list(tqdm._instances)
    pickle.dumps(net)
