"""Adam, without what only compiled programs need."""

import runpy
import subprocess
import sys

import torch

from skgmvae.training import optimizer as module
from skgmvae.training.optimizer import Adam


def test_steps_are_those_of_torch():
    weights = [torch.nn.Parameter(torch.linspace(-1.0, 1.0, 5)) for _ in range(2)]
    optimizers = [
        make([weight], lr=0.1, fused=True) for make, weight in zip((Adam, torch.optim.Adam), weights, strict=True)
    ]
    for _ in range(5):
        for weight, optimizer in zip(weights, optimizers, strict=True):
            optimizer.zero_grad()
            weight.pow(4).sum().backward()
            optimizer.step()
    assert torch.equal(*weights) and weights[0].requires_grad
    assert optimizers[0].state_dict()["param_groups"] == optimizers[1].state_dict()["param_groups"]


def test_methods_that_are_not_decorated_are_those_of_torch(monkeypatch):
    called, whole = [], torch.optim.Adam.step

    def step(self):
        called.append(self)
        return whole(self)

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    fresh = runpy.run_path(module.__file__)["Adam"]
    weight = torch.nn.Parameter(torch.ones(3))
    weight.grad = torch.ones(3)
    fresh([weight], lr=0.1).step()
    assert len(called) == 1 and float(weight.detach().max()) < 1.0


def test_a_fit_loads_neither_the_compiler_nor_symbolic_shapes():
    code = """
import sys
import numpy as np
from skgmvae import GMVAEClustering, VaDEClustering, VAEEMClustering
X = np.random.RandomState(0).standard_normal((60, 2))
for Estimator in (VaDEClustering, GMVAEClustering, VAEEMClustering):
    Estimator(2, pretrain_iter=1, max_iter=2, tol=100.0, random_state=0).fit(X).score(X)
print([name for name in ("torch._dynamo", "sympy") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
