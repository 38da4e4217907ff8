"""The training's own callbacks: step sizes, denormal moments, convergence, progress."""

import math
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_train import Parabola, make_config, train_new
from torch import nn
from tqdm import tqdm

from skgmvae.training.callbacks import ConvergenceStopping, FlushDenormals, StepSizeSchedule


def test_step_size_warms_up_linearly_and_decays_as_a_cosine():
    schedule = StepSizeSchedule(n_steps=110, n_warmup=10, anneal=True)
    steps = [0, 4, 9, 10, 60, 85, 110, 200]
    expected = [1 / 11, 5 / 11, 10 / 11, 1, 0.5, 0.5 - 0.125**0.5, 0, 0]
    np.testing.assert_allclose([schedule.factor(step) for step in steps], expected, atol=1e-12)
    assert StepSizeSchedule(50, n_warmup=200, anneal=True).n_warmup == 5, (
        "the warm-up takes at most a tenth of the steps"
    )
    assert {StepSizeSchedule(110, 10, anneal=False).factor(step) for step in steps} == {1.0}


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
    assert epochs_until_stop([1, 2, 9, 5, 5, 5], patience=2) is None, "no more than the last epochs are compared"
    assert epochs_until_stop([1, 2, 9, 5, 8.95, 5], patience=2) == 5


def test_convergence_is_seen_after_an_epoch_that_was_undone():
    assert epochs_until_stop([math.nan, 1.0, 1.0, 1.0, 1.0, 1.0]) is not None


def test_verbose_1_shows_a_bar_with_the_bound_and_2_a_line_per_epoch(capsys):
    net, _ = train_new(Parabola(), make_config(3), phase="warming", verbose=1)
    shown = capsys.readouterr()
    bound = f"{net.history[-1]['lower_bound']:.4g}"
    assert shown.out == "" and "warming: 100%" in shown.err and f"lower_bound={bound}" in shown.err

    net, _ = train_new(Parabola(), make_config(3), verbose=2)
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert [line.split()[1] for line in lines] == ["1/3", "2/3", "3/3"] and shown.err == ""
    for line, record in zip(lines, net.history, strict=True):
        assert f"lower_bound {record['lower_bound']:.4g}" in line and "kl_style" not in line

    train_new(Parabola(), make_config(3), verbose=0)
    assert capsys.readouterr() == ("", "")
    assert net.callbacks == [] and not list(tqdm._instances)
    pickle.dumps(net)
