"""What users get wrong: each mistake works all the same, or explains itself with what was wrong, got, and to do."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.datasets import make_blobs
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from skorch.callbacks import Callback

from skgmvae import GMVAEClustering, VaDEClustering, VAEEMClustering

ESTIMATORS = {"gmvae": GMVAEClustering, "vade": VaDEClustering, "vaeem": VAEEMClustering}
each_estimator = pytest.mark.parametrize("Estimator", ESTIMATORS.values(), ids=ESTIMATORS)
# networks and epochs small enough for a hundred fits
TINY = {
    "hidden_layer_sizes": (8,),
    "latent_dim": 2,
    "pretrain_iter": 1,
    "max_iter": 1,
    "batch_size": 20,
    "learning_rate": 1e-3,
    "tol": 0.0,
    "init_params": "kmeans",
    "random_state": 0,
}
pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning", "ignore:Number of distinct clusters"
)
X, _ = make_blobs([20, 12, 8], n_features=4, centers=None, cluster_std=0.7, random_state=3)
FRAME = pd.DataFrame(X, columns=["a", "b", "c", "d"])
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (40, 4, 4))


def make(Estimator, n_components=3, **parameters):
    return Estimator(n_components, **{**TINY, **parameters})


def assert_sensible(model, rows):
    """Finite answers of the right shape for the rows that the model was fitted to."""
    K = model.n_components
    assert model.labels_.shape == (len(rows),) and set(model.labels_) <= set(range(K))
    for name in ("predict_proba", "score_samples", "transform", "reconstruct"):
        assert np.isfinite(getattr(model, name)(rows)).all(), name
    assert np.isfinite(model.means_).all() and np.isfinite(model.sample(3)[0]).all()
    assert np.isfinite(model.lower_bound_) and np.isfinite(list(model.history_.values())).all()


# --------------------------------------------------------------------------------- data that work

# unusual, and no mistake in the end
WORKING_DATA = {
    "a list of lists": X.tolist(),
    "numbers as text": X.astype(str),
    "unscaled features": X * [1.0, 1e6, 1e-6, 1.0] + [0.0, 1e7, 0.0, 0.0],
    "one column": X[:, :1],
    "constant columns": np.column_stack([X, np.ones(40), np.zeros(40)]),
    "duplicate rows": np.repeat(X[:2], 20, axis=0),
    "all rows equal": np.ones((40, 4)),
    "all zeros": np.zeros((40, 4)),
    "as many rows as components": X[:3],
    "huge values": 1e30 * X,
    "huge values in float32": (1e30 * X).astype(np.float32),
    "tiny values": 1e-30 * X,
    "one extreme row": np.vstack([X, np.full((1, 4), 1e30)]),
    "integers from 0 to 255": IMAGES.reshape(40, 16).astype(np.uint8),
    "booleans": X > 0.0,
    "a tensor": torch.tensor(X),
    "more features than rows": np.repeat(X, 20, axis=1),
    "the transpose of a table": X.T,
}


@each_estimator
@pytest.mark.parametrize("rows", WORKING_DATA.values(), ids=WORKING_DATA)
def test_unusual_data_give_finite_results(Estimator, rows):
    assert_sensible(make(Estimator).fit(rows), rows)


WORKING_PARAMETERS = {
    "no hidden layer": {"hidden_layer_sizes": ()},
    "a list of layers": {"hidden_layer_sizes": [8, 4]},
    "one component": {"n_components": 1},
    "NumPy's integer": {"n_components": np.int64(3)},
    "more latent dimensions than features": {"latent_dim": 20},
    "batches larger than the data": {"batch_size": 1000},
    "batches of one row": {"batch_size": 1},
    "no epochs": {"max_iter": 0},
    "no pretraining": {"pretrain_iter": 0},
    "no callbacks": {"callbacks": []},
    "a named callback": {"callbacks": [("mine", Callback())]},
}


@each_estimator
@pytest.mark.parametrize("parameters", WORKING_PARAMETERS.values(), ids=WORKING_PARAMETERS)
def test_unusual_parameters_give_finite_results(Estimator, parameters):
    assert_sensible(make(Estimator, **parameters).fit(X), X)


@each_estimator
def test_y_of_any_length_is_ignored(Estimator):
    model = make(Estimator).fit(X, y=np.zeros(3))
    np.testing.assert_array_equal(model.labels_, make(Estimator).fit(X).labels_)


# --------------------------------------------------------------------- data that explain themselves

BAD_DATA = {
    "one axis": (X[:, 0], r"Expected 2D array, got 1D array.*reshape\(-1, 1\)"),
    "a Series": (FRAME["a"], r"Expected a 2-dimensional container but got .*Series.* Pass a DataFrame"),
    "images": (IMAGES, r"dim 3.* X has shape \(40, 4, 4\); .*X.reshape\(len\(X\), -1\), which has 16 features"),
    "words": ([["a", "b"]] * 10, "string to float: .*'a'.* encode them, for instance with OneHotEncoder"),
    "a file's name": ("table.csv", "string to float: .*'table.csv'.* X must hold numbers"),
    "words in a frame": (FRAME.assign(kind=["x", "y"] * 20), r"columns that are not numbers: 'kind' \(.*Drop them or"),
    "categories": (FRAME.assign(kind=pd.Categorical(["x", "y"] * 20)), r"not numbers: 'kind' \(category\).*encode"),
    "dates": (FRAME.assign(day=pd.Timestamp("2020-01-01")), r"dates or durations: 'day' \(datetime64.*days since"),
    "dates alone": (pd.DataFrame({"day": pd.date_range("2020", periods=40)}), "dates or durations: 'day'.*days since"),
    "an array of dates": (
        np.array([["2020-01-01"]] * 9, dtype="datetime64[D]"),
        r"dates or durations: datetime64\[D\]",
    ),
    "NaN": (np.where(X > 4.0, np.nan, X), "Input X contains NaN.*imputer"),
    "missing values of pandas": (FRAME.astype("Float64").mask(FRAME > 4.0), "Input X contains NaN.*imputer"),
    "masked values": (np.ma.masked_greater(X, 4.0), r"X has \d+ masked values.*SimpleImputer, or drop their rows"),
    "infinity": (np.where(X > 4.0, np.inf, X), "contains infinity.*Drop the rows with such values, or clip them"),
    "values whose squares overflow": (1e200 * X, "variance of 4 features is beyond the range of float64.*divide"),
    "no rows": (X[:0], r"0 sample\(s\).*minimum of 2"),
    "one row": (X[:1], r"1 sample\(s\).*minimum of 2"),
    "no columns": (X[:, :0], r"0 feature\(s\).*minimum of 1"),
    "complex numbers": (X + 1j, "Complex data not supported"),
    "nothing": (None, "Expected 2D array, got scalar array"),
}


@pytest.mark.parametrize(("rows", "message"), BAD_DATA.values(), ids=BAD_DATA)
def test_data_that_cannot_be_used_say_why_and_leave_nothing_behind(rows, message):
    model = make(VaDEClustering)
    before = dict(vars(model))
    with pytest.raises(ValueError, match=f"(?s){message}"):
        model.fit(rows)
    assert vars(model) == before


def test_sparse_matrices_say_what_to_do():
    with pytest.raises(TypeError, match=r"Sparse data was passed.*Use '.toarray\(\)'"):
        make(VaDEClustering).fit(sparse.csr_array(X))


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
    "layers an integer": ({"hidden_layer_sizes": 8}, "hidden_layer_sizes.* 'tuple' or an instance of 'list'. Got 8"),
    "a layer of text": ({"hidden_layer_sizes": ("8",)}, r"positive integers; got \('8',\)"),
    "image_shape forgotten": ({"network": "conv"}, r"image_shape=\(channels, height, width\).*product of 4.*got None"),
    "image_shape of another size": (
        {"network": "conv", "image_shape": (1, 28, 28)},
        r"product of 4, the number of features; got \(1, 28, 28\)",
    ),
    "an unknown device": ({"device": "gpu"}, "device='gpu' is not a torch device; use 'auto', 'cpu', 'cuda'"),
    "a device that is absent": ({"device": "cuda:99"}, "device='cuda:99'.*torch sees .*use device='auto'"),
    "a device that is no text": ({"device": 0}, "device.* must be an instance of 'str'. Got 0"),
    "Bernoulli beyond [0, 1]": ({"likelihood": "bernoulli"}, r"values in \[-.*Scale X.*or use likelihood='gaussian'"),
    "memory in a file": ({"memory": __file__}, "memory=.* is a file; name a folder"),
    "a seed of text": ({"random_state": "0"}, "random_state.* must be an int.*Got '0'"),
    "a negative seed": ({"random_state": -1}, "random_state.* must be an int.*Got -1"),
    "NumPy's Generator": ({"random_state": RNG}, "random_state.*RandomState.*Got Generator"),
    "a callback's class": ({"callbacks": [Callback]}, "must hold instances; got the class Callback: add its parenth"),
    "a function as callback": ({"callbacks": [print]}, "must hold skorch callbacks.*got <built-in.*Derive yours from"),
    "a bare callback": ({"callbacks": Callback()}, "callbacks.* must be an instance of 'list'"),
    "a step of zero": ({"learning_rate": 0.0}, r"learning_rate.* range \(0.0, inf\). Got 0.0"),
    "a step in words": ({"learning_rate": "adaptive"}, "learning_rate.* must be a float.*Got 'adaptive'"),
    "a step much too large": (
        {"learning_rate": 1e30, "max_iter": 9},
        "Training diverged: .* stopped being finite.*Lower learning_rate",
    ),
    "a start misspelt": ({"init_params": "k-means"}, "init_params.* must be a str among .*'kmeans'.*Got 'k-means'"),
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
    model = make(VaDEClustering, learning_rate=10.0, max_iter=10, device="cpu")  # chaos: others end elsewhere
    with pytest.warns(ConvergenceWarning, match=r"lower bound fell from .* Lower learning_rate \(now 10\)") as caught:
        model.fit(X)
    assert [warning.filename for warning in caught] == [__file__]  # the user's line, not one of the package's
    assert np.isfinite(model.predict_proba(X)).all()


# --------------------------------------------------------------------------------- after the fit


@pytest.fixture(scope="module", params=ESTIMATORS.values(), ids=ESTIMATORS)
def fitted(request):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return make(request.param).fit(FRAME)


BAD_CALLS = {
    "frame with other columns": (lambda m: m.predict(FRAME.rename(columns={"a": "z"})), "unseen at fit time:\n- z"),
    "frame with columns in another order": (
        lambda m: m.predict(FRAME[["d", "c", "b", "a"]]),
        "must be in the same order",
    ),
    "a row as a Series": (lambda m: m.predict(FRAME.iloc[0]), "Expected a 2-dimensional container.*Pass a DataFrame"),
    "fewer features": (lambda m: m.predict(FRAME[["a", "b"]]), "feature names.*- c"),
    "the transpose": (lambda m: m.score_samples(np.zeros((4, 40))), "X has 40 features, but .* is expecting 4"),
    "no rows": (lambda m: m.predict_proba(FRAME[:0]), r"0 sample\(s\).*minimum of 1"),
    "NaN": (lambda m: m.transform(FRAME.mask(FRAME > 4.0)), "contains NaN"),
    "words": (lambda m: m.predict(FRAME.assign(d="x")), r"not numbers: 'd' \(.*encode them"),
    "no samples": (lambda m: m.sample(0), "n_samples must be an integer of at least 1; got 0"),
    "a component too many": (lambda m: m.sample(2, component=3), "component must be an integer from 0 to 2; got 3"),
    "components": (lambda m: m.sample(2, component=[0, 1]), r"an integer from 0 to 2; got \[0, 1\]"),
    "a component that is true": (lambda m: m.sample(2, component=True), "an integer from 0 to 2; got True"),
    "a seed of text": (lambda m: m.sample(2, random_state="0"), "'0' cannot be used to seed"),
    "another K with warm_start": (
        lambda m: m.set_params(warm_start=True, n_components=2).fit(FRAME),
        "n_components=3 and cannot be continued with n_components=2; set it back, or fit anew",
    ),
    "a block of another width": (lambda m: m.partial_fit(X[:, :3]), "X has 3 features, but .* is expecting 4"),
}


@pytest.mark.parametrize(("call", "message"), BAD_CALLS.values(), ids=BAD_CALLS)
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_calls_that_cannot_be_answered_say_why(fitted, call, message):
    try:
        with pytest.raises(ValueError, match=f"(?s){message}"):
            call(fitted)
    finally:
        fitted.set_params(warm_start=False, n_components=3)


@pytest.mark.parametrize(
    "method", ["predict", "predict_proba", "score_samples", "score", "transform", "reconstruct", "bic"]
)
def test_answers_before_fit(method):
    with pytest.raises(NotFittedError, match="not fitted yet. Call 'fit'"):
        getattr(make(VaDEClustering), method)(X)


@each_estimator
def test_samples_and_saving_before_fit(Estimator, tmp_path):
    with pytest.raises(NotFittedError, match="not fitted yet"):
        make(Estimator).sample(2)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        make(Estimator).save(tmp_path / "model")


def test_places_where_no_file_can_be(fitted, tmp_path):
    with pytest.raises(IsADirectoryError, match="is a folder; name a file in it"):
        fitted.save(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no folder .*nowhere; create it"):
        fitted.save(tmp_path / "nowhere" / "model")
    assert list(tmp_path.iterdir()) == []
