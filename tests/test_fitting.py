"""From samples to a trained net: what is clamped, and the bound of a training that ends badly."""

import math

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback
from test_train import ARCHITECTURE, draw_rows, make_config, make_data

from skgmvae.initialization.initialize import InitConfig, Initialization
from skgmvae.models import VaDE
from skgmvae.training.config import FitConfig
from skgmvae.training.fitting import clamp_responsibilities, continue_training, fit_from_scratch
from skgmvae.training.net import ELBONet

EPOCHS = [0, 1, 2, 3, 4, 8, 51]


def make_model(autoencoder, generator):
    return VaDE(autoencoder, 3, generator=generator)


@pytest.mark.parametrize(
    "init_clamp, expected",
    [(0.0, [0, 0, 0, 0, 0, 0, 0]), (0.75, [0, 0, 1, 1, 2, 6, 38]), (0.5, [0, 0, 1, 1, 2, 4, 25]), (1.0, EPOCHS)],
)
def test_so_many_epochs_are_clamped(init_clamp, expected):
    assert [make_config(n, init_clamp=init_clamp).n_clamped for n in EPOCHS] == expected


@pytest.mark.parametrize("n_epochs, init_clamp, n_clamped", [(4, 0.75, 2), (8, 0.75, 6), (8, 1.0, 8), (8, 0.0, 0)])
def test_clamped_responsibilities_are_those_of_the_initialization(n_epochs, init_clamp, n_clamped):
    config, responsibilities = make_config(n_epochs, init_clamp=init_clamp), torch.eye(3, dtype=torch.float64)
    init = Initialization("graph of the inputs", responsibilities)
    clamped = clamp_responsibilities(init, config)
    assert (clamped.n_epochs if clamped else 0) == n_clamped
    if clamped is not None:
        assert clamped.log_responsibilities.isfinite().all()
        assert torch.equal(clamped.log_responsibilities.exp(), torch.eye(3)), "no tiny shares, no denormals"
    assert clamp_responsibilities(Initialization("random", responsibilities, is_random=True), config) is None
    own = clamp_responsibilities(init, config, has_own_table=True)
    assert (own.n_epochs if own else 0) == n_clamped and (own is None or own.log_responsibilities is None)


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

    config = FitConfig(
        ARCHITECTURE, make_config(0), make_config(4), InitConfig("random"), ELBONet, callbacks=[Spoiler()]
    )
    fitted = fit_from_scratch(make_data(draw_rows()), make_model, config, np.random.RandomState(0))
    assert fitted.outcome.interrupted == interrupts and math.isfinite(fitted.lower_bound)


def test_a_fitted_net_is_kept_in_float64_and_trained_further_in_float32():
    config = FitConfig(ARCHITECTURE, make_config(1), make_config(2), InitConfig("kmeans"), ELBONet)
    data, dtypes = make_data(draw_rows()), []

    class Look(Callback):
        def on_batch_begin(self, net, **kwargs):
            dtypes.append(net.module_.means.dtype)

    net = fit_from_scratch(data, make_model, config, np.random.RandomState(0)).net
    assert {parameter.dtype for parameter in net.module_.parameters()} == {torch.float64}
    before = net.module_.means.detach().clone()
    assert torch.equal(before, before.float().double()), "the weights are those that were trained"
    further = continue_training(net, data, make_config(1), 0, callbacks=[Look()]).net
    assert set(dtypes) == {torch.float32} and further.module_.means.dtype == torch.float64
    assert torch.equal(net.module_.means, before) and not torch.equal(further.module_.means, before)
