"""Parameters: every check names what it got and what to do, and good values of any of NumPy's types pass."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score
from skorch.callbacks import Callback
from test_validation import ESTIMATORS, IMAGES, RNG, X, assert_sensible, each_estimator, make

from skgmvae import GMVAEClustering, VaDEClustering, VAEEMClustering
from skgmvae._auto import check_hidden_layer_sizes
from skgmvae._parameters import (
    check_image_shape,
    check_likelihood,
    check_min_information,
)
from skgmvae.data.summary import summarize
from skgmvae.initialization.initialize import initialize_model
from skgmvae.training import fitting

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

FAILURES = {
    "λ too high": (check_min_information, (1.5, 3), [f"{math.log(3):.4g} nats", "got 1.5", "Lower min_information"]),
    "λ = log K": (check_min_information, (math.log(4), 4), ["n_components=4", repr(math.log(4)), "raise n_components"]),
    "λ for one component": (check_min_information, (0.1, 1), ["n_components=1", "got 0.1"]),
    "no image shape": (check_image_shape, ("conv", None, 784), ["image_shape=(channels", "784", "got None"]),
    "image product": (check_image_shape, ("conv", (1, 28, 27), 784), ["(1, 28, 27)", "product of 784"]),
    "two sides": (check_image_shape, ("conv", (28, 28), 784), ["(28, 28)", "(channels, height, width)"]),
    "negative side": (check_image_shape, ("conv", (1, -28, -28), 784), ["(1, -28, -28)", "product of 784"]),
    "small image": (check_image_shape, ("conv", (16, 3, 4), 192), ["(16, 3, 4)", "at least 4 × 4", "network='mlp'"]),
    "image product without convolutions": (check_image_shape, ("mlp", (1, 9, 9), 80), ["(1, 9, 9)", "product of 80"]),
    "range": (
        partial(check_likelihood, is_image=True),
        ("bernoulli", summarize(np.array([[-0.5, 0.5], [0.1, 7.25]]))),
        ["[-0.5, 7.25]", "MinMaxScaler"],
    ),
    "zero width": (check_hidden_layer_sizes, ((64, 0),), ["positive integers", "(64, 0)"]),
    "float width": (check_hidden_layer_sizes, ([32.0],), ["positive integers", "(32.0,)"]),
    "truth for a width": (check_hidden_layer_sizes, ((True,),), ["positive integers", "(True,)"]),
}


@pytest.mark.parametrize("check, arguments, parts", FAILURES.values(), ids=FAILURES)
def test_message_has_the_value_and_the_remedy(check, arguments, parts):
    with pytest.raises(ValueError) as error:
        check(*arguments)
    for part in parts:
        assert part in str(error.value)


def test_good_values_pass():
    for min_information, n_components in ((0.0, 1), (math.log(3) - 1e-9, 3)):
        check_min_information(min_information, n_components)
    assert check_image_shape("conv", [np.int64(3), 4, 5], 60) == (3, 4, 5)
    assert check_image_shape("mlp", None, 7) is None
    assert check_image_shape("mlp", (1, 4, 5), 20) == (1, 4, 5)
    assert check_hidden_layer_sizes([np.int64(8), 4]) == (8, 4)
    assert check_hidden_layer_sizes(()) == ()


@pytest.mark.parametrize(
    "low, high, chosen", [(0.0, 1.0, "bernoulli"), (0.0, 1.0 + 1e-6, "gaussian"), (-1e-6, 1.0, "gaussian")]
)
def test_auto_likelihood_is_bernoulli_exactly_for_the_unit_interval(low, high, chosen):
    """Of images; of tables, for zeros and ones alone."""
    summary, truths = summarize(np.array([[low, 0.5], [0.3, high]])), summarize(np.array([[low, 1.0], [0.0, high]]))
    assert check_likelihood("auto", summary, is_image=True) == chosen
    assert check_likelihood("auto", summary, is_image=False) == "gaussian"
    for is_image in (True, False):
        assert check_likelihood("auto", truths, is_image=is_image) == chosen
        assert check_likelihood("gaussian", summary, is_image=is_image) == "gaussian"


# --------------------------------------------------------------------------------- parameters that work

WORKING = {
    "no hidden layer": {"hidden_layer_sizes": ()},
    "a list of layers": {"hidden_layer_sizes": [8, 4]},
    "one component": {"n_components": 1},
    "more latent dimensions than features": {"latent_dim": 20},
    "batches larger than the data": {"batch_size": 1000},
    "batches of one row": {"batch_size": 1},
    "no epochs": {"max_iter": 0},
    "no pretraining": {"pretrain_iter": 0},
    "no callbacks": {"callbacks": []},
    "a named callback": {"callbacks": [("mine", Callback())]},
}


@each_estimator
@pytest.mark.parametrize("parameters", WORKING.values(), ids=WORKING)
def test_unusual_parameters_give_finite_results(Estimator, parameters):
    assert_sensible(make(Estimator, **parameters).fit(X), X)


NUMPYS = ((np.int8, np.float16), (np.uint8, np.float32), (np.int64, np.float64), (np.uint64, np.longdouble))
NOT_NUMBERS = {"warm_start", "learn_weights", "device", "verbose", "random_state"}


def in_numpy(value, whole, real):
    """The value, with each number in it in one of NumPy's types, and each truth value in NumPy's own."""
    if isinstance(value, (tuple, list)):
        return type(value)(in_numpy(item, whole, real) for item in value)
    if isinstance(value, bool):
        return np.bool_(value)
    return whole(value) if isinstance(value, int) else real(value) if isinstance(value, float) else value


def make_plain(Estimator):
    """Every number is one that float16 has."""
    settings = {"learning_rate": 2.0**-8, "min_information": 0.5, "init_clamp": 0.5, "tol": 0.25, "n_init": 2}
    settings |= {"max_iter": 2, "n_mc_samples": 2, "learn_weights": True, "warm_start": False, "batch_size": 20}
    settings |= {"hidden_layer_sizes": (8, 4), "verbose": 0, "validation_fraction": 0.125}
    settings |= {"reg_covar": 2.0**-10} if Estimator is VaDEClustering else {}
    settings |= {"steps_per_iter": 3, "pretrain_hidden_layer_sizes": (4,)} if Estimator is VAEEMClustering else {}
    settings |= {"style_dim": 2} if Estimator is GMVAEClustering else {}
    return make(Estimator, **settings)


@pytest.fixture(scope="module")
def plain_results():
    """By estimator: scores and bounds of a fit, and probabilities after a further one."""
    models = {Estimator: make_plain(Estimator).fit(X) for Estimator in ESTIMATORS.values()}
    return {
        Estimator: (model.score_samples(X), model.lower_bounds_, model.partial_fit(X).predict_proba(X))
        for Estimator, model in models.items()
    }


@pytest.mark.parametrize(("whole", "real"), NUMPYS, ids=lambda kind: kind.__name__)
@each_estimator
def test_numbers_of_any_of_numpys_types_are_those_of_python(Estimator, whole, real, tmp_path, plain_results):
    plain, (scores, bounds, probabilities) = make_plain(Estimator), plain_results[Estimator]
    with_numpy = Estimator(**{name: in_numpy(value, whole, real) for name, value in plain.get_params().items()})
    assert type(with_numpy.n_components) is whole and type(with_numpy.tol) is real
    np.testing.assert_array_equal(with_numpy.fit(X).score_samples(X), scores)
    assert with_numpy.lower_bounds_ == bounds
    with_numpy.save(tmp_path / "model")
    loaded = Estimator.load(tmp_path / "model")
    assert loaded.get_params() == plain.get_params()
    np.testing.assert_array_equal(with_numpy.sample(whole(3), component=whole(1))[0], loaded.sample(3, component=1)[0])
    np.testing.assert_array_equal(with_numpy.partial_fit(X).predict_proba(X), probabilities)


# --------------------------------------------------------------- parameters that explain themselves

BAD_PARAMETERS = {
    "K a float": ({"n_components": 3.0}, "n_components.* must be an int in the range .*Got 3.0"),
    "K text": ({"n_components": "3"}, "n_components.* must be an int in the range .*Got '3'"),
    "K zero": ({"n_components": 0}, r"n_components.* range \[1, inf\). Got 0"),
    "K negative": ({"n_components": -2}, r"n_components.* range \[1, inf\). Got -2"),
    "K true": ({"n_components": True}, "n_components must be a number; got True"),
    "K larger than the data": ({"n_components": 41}, "n_components = 41, n_samples = 40"),
    "λ too large": ({"min_information": 1.2}, r"log\(n_components\) = 1.099.*got 1.2. Lower min_information"),
    "λ with one component": ({"n_components": 1, "min_information": 0.5}, "= 0 nats for n_components=1.*got 0.5"),
    "λ negative": ({"min_information": -1.0}, r"min_information.* range \[0.0, inf\). Got -1.0"),
    "layers an integer": (
        {"hidden_layer_sizes": 8},
        "hidden_layer_sizes.* a list or tuple or .*'auto'}. Got 8",
    ),
    "a layer of text": ({"hidden_layer_sizes": ("8",)}, r"positive integers; got \('8',\)"),
    "image_shape forgotten": ({"network": "conv"}, r"image_shape=\(channels, height, width\).*product of 4.*got None"),
    "image_shape of another size": (
        {"network": "conv", "image_shape": (1, 28, 28)},
        r"product of 4, the number of features; got \(1, 28, 28\)",
    ),
    "an unknown device": ({"device": "gpu"}, "device='gpu' is not a torch device; use 'auto', 'cpu', 'cuda'"),
    "a device that is absent": ({"device": "cuda:99"}, "device='cuda:99'.*torch finds .*use device='auto'"),
    "a device that is no text": ({"device": 0}, "device.* must be an instance of 'str'. Got 0"),
    "Bernoulli beyond [0, 1]": ({"likelihood": "bernoulli"}, r"values in \[-.*Scale X.*or use likelihood='gaussian'"),
    "memory in a file": ({"memory": __file__}, "memory=.* is a file; pass a folder"),
    "a seed of text": ({"random_state": "0"}, "random_state.* must be an int.*Got '0'"),
    "a negative seed": ({"random_state": -1}, "random_state.* must be an int.*Got -1"),
    "NumPy's Generator": ({"random_state": RNG}, "random_state.*RandomState.*Got Generator"),
    "a callback's class": ({"callbacks": [Callback]}, "contain instances; got the class Callback: add its parenth"),
    "a function as callback": ({"callbacks": [print]}, "contain skorch callbacks.*got <built-in.*Derive yours from"),
    "a bare callback": ({"callbacks": Callback()}, "callbacks.* must be a list or tuple"),
    "a step of zero": ({"learning_rate": 0.0}, r"learning_rate.* range \(0.0, inf\) .*'auto'}. Got 0.0"),
    "a step in words": ({"learning_rate": "adaptive"}, "learning_rate.* must be a float.*Got 'adaptive'"),
    "a step much too large": (
        {"learning_rate": 1e30, "max_iter": 9, "early_stopping": False},
        "Training diverged: .* became infinite or NaN.*Lower learning_rate",
    ),
    "an initialization misspelt": (
        {"init_params": "k-means"},
        "init_params.* must be a str among .*'kmeans'.*Got 'k-means'",
    ),
    "a share above one": ({"init_clamp": 1.5}, r"init_clamp.* range \[0.0, 1.0\]. Got 1.5"),
    "a share below zero": ({"init_clamp": -0.1}, r"init_clamp.* range \[0.0, 1.0\]. Got -0.1"),
    "a share that is true": ({"init_clamp": True}, "init_clamp must be a number; got True"),
    "a share of text": ({"init_clamp": "all"}, "init_clamp.* must be a float.*Got 'all'"),
    "a share that is no number": ({"init_clamp": float("nan")}, "init_clamp.*Got nan"),
    "no epochs given": ({"max_iter": None}, "max_iter.* must be an int.*Got None"),
    "verbose negative": ({"verbose": -1}, r"verbose.* range \[0, inf\).*Got -1"),
}


@pytest.mark.parametrize(("parameters", "message"), BAD_PARAMETERS.values(), ids=BAD_PARAMETERS)
def test_parameters_that_cannot_be_used_say_why_and_leave_nothing_behind(parameters, message):
    model = make(VaDEClustering, **parameters)
    before = dict(vars(model))
    with pytest.raises((ValueError, TypeError), match=f"(?s){message}"):
        model.fit(X)
    assert vars(model) == before


def test_scaling_to_the_unit_interval_rounds():
    """MinMaxScaler's largest value is often 1 + 2e-16, or 1 + 1e-7 in float32."""
    rounded = np.random.default_rng(0).uniform(size=(60, 4)).astype(np.float32)
    rounded[0], rounded[1] = 1.0 + 2e-7, -1e-8
    model = make(VaDEClustering, likelihood="bernoulli").fit(rounded)
    assert np.isfinite(model.score_samples(rounded)).all()
    with pytest.warns(UserWarning, match="exclude their values"):
        assert model.score_samples(rounded[:1] + np.float32(1e-4))[0] == -np.inf
    images = summarize(rounded.astype(np.float64))
    assert check_likelihood("auto", images, is_image=True) == "bernoulli"


def test_pixels_from_0_to_255_under_bernoulli():
    with pytest.raises(ValueError, match=r"X has values in \[0, 25\d\]. Scale X, for instance with MinMaxScaler"):
        make(VaDEClustering, likelihood="bernoulli").fit(IMAGES.reshape(40, 16))


def test_channels_last():
    pixels = RNG.uniform(size=(40, 8 * 8 * 3))
    with pytest.raises(ValueError, match=r"got \(8, 8, 3\), which looks like \(height, width, channels\)"):
        make(VaDEClustering, network="conv", image_shape=(8, 8, 3)).fit(pixels)


def test_unknown_and_positional_parameters():
    with pytest.raises(TypeError, match="unexpected keyword argument 'n_clusters'"):
        VaDEClustering(n_clusters=3)
    with pytest.raises(TypeError, match="takes from 1 to 2 positional arguments but 3 were given"):
        VaDEClustering(3, "full")
    with pytest.raises(TypeError, match="unexpected keyword argument 'sample_weight'"):
        make(VaDEClustering).fit(X, sample_weight=np.ones(40))


def test_training_that_falls_apart_without_overflow_says_so():
    chaos = {"learning_rate": 3.0, "max_iter": 10, "early_stopping": False, "random_state": 0}  # others end elsewhere
    model = make(VaDEClustering, device="cpu", **chaos)
    with pytest.warns(ConvergenceWarning, match=r"lower bound fell from .* Lower learning_rate \(now 3\)") as caught:
        model.fit(X)
    assert [warning.filename for warning in caught] == [__file__]  # the user's line, not one of the package's
    assert np.isfinite(model.predict_proba(X)).all()


# -------------------------------------------------------------------------------------------- init_clamp


class Responsibilities(Callback):
    """The responsibilities of every epoch's batches, or of VAE-EM's table: whether each row's are one-hot."""

    def __init__(self):
        self.are_initial = []

    def on_epoch_begin(self, net, **kwargs):
        self.are_initial.append([])

    def on_batch_begin(self, net, batch=None, **kwargs):
        if hasattr(net, "e_step_"):
            log_u = net.e_step_.responsibilities.log()
        else:
            log_u = batch[1] if isinstance(batch, tuple) else None
        self.are_initial[-1].append(log_u is not None and bool((log_u.amax(1) == 0.0).all()))


@each_estimator
@pytest.mark.parametrize(
    ("init_clamp", "n_clamped"), [(0, 0), (0.5, 4), (0.75, 6), (np.float32(0.75), 6), (1, 8), (1.0, 8)]
)
def test_init_clamp_is_the_share_of_the_epochs_that_clamp(Estimator, init_clamp, n_clamped):
    watch = Responsibilities()
    # clusters that touch: responsibilities of the model's own are not one-hot
    touching = X + 3.0 * np.random.default_rng(0).normal(size=X.shape)
    make(Estimator, init_clamp=init_clamp, max_iter=8, pretrain_iter=5, callbacks=[watch]).fit(touching)
    seen = [all(of_epoch) for of_epoch in watch.are_initial]
    # the first M-step has no other responsibilities than the initial ones
    n_expected = max(1, n_clamped) if Estimator is VAEEMClustering else n_clamped
    assert seen == [True] * n_expected + [False] * (8 - n_expected)


@each_estimator
def test_all_epochs_clamped_keep_the_initial_clusters_and_can_converge(Estimator, monkeypatch):
    made = []
    monkeypatch.setattr(fitting, "initialize_model", lambda *args: (made.append(initialize_model(*args)), made[-1])[1])
    touching = X + 2.0 * np.random.default_rng(0).normal(size=X.shape)
    settings = {"max_iter": 40, "learning_rate": 1e-2, "pretrain_iter": 60, "random_state": 2, "linear_path": False}
    agreement = []
    for init_clamp in (1.0, 0.0):
        with pytest.warns(ConvergenceWarning, match="Increase max_iter"):
            model = make(Estimator, init_clamp=init_clamp, **settings).fit(touching)
        module = model.net_.module_.eval()  # q(c|x) is what is clamped, not the posterior of the density
        noise = torch.randn(200, *module.noise_shape, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            labels = module.log_responsibilities(torch.from_numpy(touching).float(), noise).argmax(1)
        agreement.append(adjusted_rand_score(made[-1].responsibilities.argmax(1), labels))
    assert agreement[0] > 0.7 and agreement[0] > agreement[1] + 0.05, agreement
    converged = make(Estimator, init_clamp=1.0, **{**settings, "tol": 1e6}).fit(touching)
    assert converged.converged_ and converged.n_iter_ == 11  # ten epochs are compared with one


@each_estimator
def test_random_initialization_is_never_clamped(Estimator):
    fits = [make(Estimator, init_params="random", init_clamp=share, max_iter=3).fit(X) for share in (0.0, 1.0)]
    assert fits[0].lower_bounds_ == fits[1].lower_bounds_
