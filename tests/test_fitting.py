"""From samples to a trained net: what is clamped, and the bound of a training that ends badly."""

import math
import warnings

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import Callback
from test_train import ARCHITECTURE, draw_rows, make_config, make_data

from skgmvae import VaDEClustering
from skgmvae.initialization.initialize import InitConfig, Initialization
from skgmvae.models import VaDE
from skgmvae.training import fitting, pretraining
from skgmvae.training.callbacks import DivergenceGuard
from skgmvae.training.config import FitConfig
from skgmvae.training.em import EMNet
from skgmvae.training.fitting import clamp_responsibilities, continue_training, fit_from_scratch
from skgmvae.training.net import ELBONet

EPOCHS = [0, 1, 2, 3, 4, 8, 51]


def make_model(autoencoder, generator, subcomponents):
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


@pytest.mark.parametrize(
    ("net_type", "init_params", "init_clamp", "for_all"),
    [
        (ELBONet, "kmeans", 0.0, False),
        (ELBONet, "kmeans", 0.5, True),
        (ELBONet, "random", 0.5, False),
        (ELBONet, "random", 0.0, False),
        (EMNet, "random", 0.0, True),
        (EMNet, "kmeans", 0.0, True),
    ],
)
def test_responsibilities_are_for_all_samples_where_they_are_clamped_or_kept(
    net_type, init_params, init_clamp, for_all
):
    training = make_config(4, init_clamp=init_clamp)
    for n_pretraining in (0, 1):
        config = FitConfig(ARCHITECTURE, make_config(n_pretraining), training, InitConfig(init_params), net_type)
        found = fitting._make_init_config(config, pretraining.Pretrained({}, [], None, 0))
        assert found.for_all_samples is for_all
        assert found.is_pretrained is (n_pretraining == 1)
        assert found.init_params == init_params and found.device == torch.device("cpu")


@pytest.mark.parametrize(
    ("interrupted_at", "n_trials", "best"), [(None, 4, 7.0), (0, 1, 3.0), (1, 2, 7.0), (2, 3, 7.0)]
)
def test_the_best_of_several_trainings_is_returned(monkeypatch, interrupted_at, n_trials, best):
    fit_once, trials = fitting._fit_once, []

    def fit(data, make_model, config, pretrained, random_state, clock, trial):
        result = fit_once(data, make_model, config, pretrained, random_state, clock, trial)
        trials.append(result)
        bound = [3.0, 7.0, 5.0, 6.0][trial]
        outcome = fitting.replace(result.outcome, interrupted=trial == interrupted_at)
        return fitting.replace(result, lower_bound=bound, outcome=outcome)

    monkeypatch.setattr(fitting, "_fit_once", fit)
    config = FitConfig(ARCHITECTURE, make_config(1), make_config(1), InitConfig("kmeans"), ELBONet, n_init=4)
    fitted = fit_from_scratch(make_data(draw_rows()), make_model, config, np.random.RandomState(0))
    assert fitted.lower_bound == best and len(trials) == n_trials
    assert fitted.outcome.interrupted is (interrupted_at is not None)
    assert fitted.n_epochs == 1 and fitted.init_params == "kmeans" and len(fitted.reconstruction) == 1
    assert set(fitted.seconds) == {"pretraining", "initialization", "training"}


def test_tiny_shares_are_none_and_others_are_kept():
    shares = torch.tensor([[1.0 - 1e-14, 1e-14], [1.0 - 1e-13, 1e-13]], dtype=torch.float64)  # e^-32.2 and e^-29.9
    logs = clamp_responsibilities(Initialization("given", shares), make_config(4, init_clamp=0.5)).log_responsibilities
    assert logs[0, 1] == -200.0
    assert logs[1, 1].item() == pytest.approx(math.log(1e-13), rel=1e-5)


def test_the_bound_is_that_of_the_last_finite_epoch_or_of_the_net_as_it_is():
    class Net:
        def __init__(self, *bounds):
            self.history = [{"lower_bound": bound} for bound in bounds]

        def evaluate(self, data):
            return -99.0

    assert fitting.last_bound(Net(-3.0, -1.0, -2.0, math.nan, math.inf), None) == -2.0
    assert fitting.last_bound(Net(math.nan), None) == fitting.last_bound(Net(), None) == -99.0


@pytest.mark.parametrize(
    ("init_params", "image_shape", "is_learned"),
    [("contrastive", (1, 2, 2), True), ("contrastive", None, False), ("kmeans", (1, 2, 2), False), (max, None, False)],
)
def test_contrastive_features_are_learned_only_for_their_initialization(
    monkeypatch, init_params, image_shape, is_learned
):
    def fit(data, shape, **options):
        assert shape == (1, 2, 2) and options["seed"] == 5 and options["device"] == "cpu"
        return "encoder"

    monkeypatch.setattr(pretraining, "fit_contrastive_encoder", fit)
    init = InitConfig(init_params, image_shape=image_shape)
    config = FitConfig(ARCHITECTURE, make_config(0), make_config(1), init, ELBONet)
    assert pretraining.pretrain_once(make_data(draw_rows()), config, 5).encoder == ("encoder" if is_learned else None)


@pytest.mark.parametrize("hook", ["on_epoch_begin", "on_epoch_end"])
@pytest.mark.parametrize("phase", ["pretraining", "training"])
def test_an_interrupt_between_batches_ends_a_fit_in_good_order(phase, hook, tmp_path, monkeypatch):
    """skorch swallows it there without a word."""
    X, settings = draw_rows().numpy(), {"pretrain_iter": 5, "max_iter": 5, "n_init": 3, "init_params": "kmeans"}
    model = VaDEClustering(3, random_state=0, linear_path=False, memory=str(tmp_path), batch_size=10, **settings)
    whole, calls, first = getattr(DivergenceGuard, hook), [], 2 if phase == "pretraining" else 7

    def interrupt(self, net, **kwargs):
        whole(self, net, **kwargs)
        calls.append(net)
        if len(calls) == first:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(DivergenceGuard, hook, interrupt)
        if phase == "pretraining":
            with pytest.raises(KeyboardInterrupt):
                model.fit(X)
            assert not hasattr(model, "net_")
        else:
            with pytest.warns(UserWarning, match="Training was interrupted"):
                model.fit(X)
            assert len(calls) == first and model.n_iter_ < 5 and np.isfinite(model.lower_bounds_).all()
            assert np.isfinite(model.predict_proba(X)).all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        assert len(model.fit(X).pretrain_history_) == 5, "nothing interrupted is cached"
