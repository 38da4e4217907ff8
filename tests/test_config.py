"""Numbers that follow from the configuration of a training."""

import pytest
from skorch.callbacks import Callback, LRScheduler
from test_train import ARCHITECTURE, Columns, make_config, make_vade

from skgmvae.training import train as train_module
from skgmvae.training.config import TrainConfig
from skgmvae.training.pretraining import make_autoencoder
from skgmvae.training.train import _few_threads, _has_schedule, make_net


@pytest.mark.parametrize(
    ("n_epochs", "init_clamp", "n_clamped"),
    [
        (10, 0.0, 0),
        (10, 0.25, 2),
        (10, 0.8, 8),
        (10, 0.99, 8),
        (10, 1.0, 10),
        (3, 0.9, 1),
        (4, 0.9, 2),
        (5, 0.9, 3),
        (2, 0.9, 1),
        (1, 0.9, 0),
        (1, 1.0, 1),
        (0, 1.0, 0),
    ],
)
def test_two_epochs_are_left_free_unless_all_are_clamped(n_epochs, init_clamp, n_clamped):
    assert TrainConfig(n_epochs, 10, 0.1, init_clamp=init_clamp).n_clamped == n_clamped


@pytest.mark.parametrize(("device", "share"), [("cpu", 1.0), ("meta", 0.0), ("a", 0.0)])
def test_threads_are_those_for_a_batch_and_the_weights_on_a_cpu(monkeypatch, device, share):
    monkeypatch.setattr(train_module, "limit_threads", lambda size: size)
    config, model = make_config(1, 25), make_vade()
    net = make_net(model, config)
    net.device = device
    n_weights = train_module.count_weights(model)
    assert n_weights > 0 and _few_threads(net, config) == share * 25 * n_weights


@pytest.mark.parametrize(
    ("likelihood", "learns_variance"), [("gaussian", True), ("unit_gaussian", False), ("bernoulli", False)]
)
def test_only_the_likelihood_gaussian_learns_its_variance(likelihood, learns_variance):
    made = make_autoencoder(ARCHITECTURE.__class__(**{**vars(ARCHITECTURE), "likelihood": likelihood})).likelihood
    assert made.learns_variance is learns_variance
    assert type(made).__name__ == ("Bernoulli" if likelihood == "bernoulli" else "Gaussian")


def test_nets_have_the_options_of_their_configuration():
    net = make_net(Columns(), make_config(7, 5, 0.25, min_information=0.5))
    assert (net.max_epochs, net.batch_size, net.lr, net.min_information) == (7, 5, 0.25, 0.5)
    assert net.criterion_.min_information == 0.5 and net.optimizer_.param_groups[0]["lr"] == 0.25


def test_a_schedule_of_the_user_is_found_bare_or_with_a_name():
    schedule, other = LRScheduler(), Callback()
    for callbacks, is_found in (([], False), ([other], False), ([("a", other)], False), ([other, schedule], True)):
        assert _has_schedule(callbacks) is is_found
    assert _has_schedule([("a", other), ("b", schedule)])
