"""The optimizer's steps are torch's."""

import copy
import pickle

import pytest
import torch
from torch import nn

from skgmvae.training import optimizer as optimizer_module
from skgmvae.training.optimizer import LeanAdam

SHAPES = [(128, 64), (7, 3), (1,), (33,), (10, 10)]


def make_twins():
    torch.manual_seed(0)
    parameters = [nn.Parameter(torch.randn(shape)) for shape in SHAPES]
    twins = copy.deepcopy(parameters)
    return parameters, LeanAdam(parameters, lr=0.01), twins, torch.optim.Adam(twins, lr=0.01, fused=True)


def draw_gradients(*lists, without=()):
    gradients = [torch.randn(shape) * torch.rand(1) for shape in SHAPES]
    for parameters in lists:
        for number, (parameter, gradient) in enumerate(zip(parameters, gradients, strict=True)):
            parameter.grad = None if number in without else gradient.clone()


def test_steps_are_those_of_fused_adam_to_the_last_bit(monkeypatch):
    parameters, lean, twins, plain = make_twins()
    whole_steps = []
    whole_step = optimizer_module.whole_step
    monkeypatch.setattr(optimizer_module, "whole_step", lambda *args: whole_steps.append(step) or whole_step(*args))
    for step in range(20):
        draw_gradients(parameters, twins, without=(1,) if step < 5 else (0, 3) if step < 10 else ())
        for optimizer in (lean, plain):
            optimizer.param_groups[0]["lr"] = 0.01 / (1 + step)
            optimizer.step()
        if step == 15:
            lean.state.clear(), plain.state.clear()
    assert whole_steps == [0, 5, 16]  # where a parameter has no moments yet
    for parameter, twin in zip(parameters, twins, strict=True):
        assert torch.equal(parameter, twin)
        for name, value in plain.state[twin].items():
            assert torch.equal(lean.state[parameter][name], value), name


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_a_copy_goes_on_alike(duplicate):
    parameters, lean, *_ = make_twins()
    for _ in range(3):
        draw_gradients(parameters)
        lean.step()
    copies, copied = duplicate((parameters, lean))
    draw_gradients(parameters, copies)
    lean.step()
    copied.step()
    assert type(copied) is LeanAdam and all(map(torch.equal, parameters, copies))


def test_hooks_closures_and_schedules_work_as_with_any_optimizer():
    parameters, lean, *_ = make_twins()
    schedule = torch.optim.lr_scheduler.StepLR(lean, 1, gamma=0.5)
    calls = []
    handle = lean.register_step_post_hook(lambda *args: calls.append(1))
    for _ in range(3):
        draw_gradients(parameters)
        lean.step()
        schedule.step()
    handle.remove()
    lean.step()
    assert len(calls) == 3 and lean.param_groups[0]["lr"] == 0.01 / 8
    assert lean.step(lambda: 5.0) == 5.0
