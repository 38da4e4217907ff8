"""What users get wrong: each mistake works all the same, or explains itself with what was wrong, got, and to do."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.datasets import make_blobs
from sklearn.exceptions import ConvergenceWarning, NotFittedError

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
HOLES = np.where(X > 4.0, np.nan, X)
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
    "NaN": HOLES,
    "NaN in every sample": np.where(np.eye(4, dtype=bool)[np.arange(40) % 4], np.nan, X),
    "None": np.where(np.isnan(HOLES), None, X),
    "missing values of pandas": FRAME.astype("Float64").mask(np.isnan(HOLES)),
    "missing objects of pandas": FRAME.astype(object).mask(np.isnan(HOLES), pd.NA),
    "masked values": np.ma.array(X, mask=np.isnan(HOLES)),
    "samples without any value": np.where(np.arange(40)[:, None] % 9 == 4, np.nan, X),
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


@pytest.mark.filterwarnings("ignore:X has columns that are copies")
@each_estimator
@pytest.mark.parametrize("rows", WORKING_DATA.values(), ids=WORKING_DATA)
def test_unusual_data_give_finite_results(Estimator, rows):
    assert_sensible(make(Estimator).fit(rows), rows)


@each_estimator
def test_y_of_any_length_is_ignored(Estimator):
    model = make(Estimator).fit(X, y=np.zeros(3))
    np.testing.assert_array_equal(model.labels_, make(Estimator).fit(X).labels_)


# --------------------------------------------------------------------- data that explain themselves

BAD_DATA = {
    "one axis": (X[:, 0], r"Expected 2D array, got 1D array.*reshape\(-1, 1\)"),
    "a Series": (FRAME["a"], r"Expected a 2-dimensional container but got .*Series.* Pass a DataFrame"),
    "images": (IMAGES, r"dim 3.* X has shape \(40, 4, 4\); .*X.reshape\(len\(X\), -1\), which gives 16 features"),
    "words": ([["a", "b"]] * 10, "string to float: 'a'.*name them in categorical_features"),
    "a file's name": ("table.csv", "string to float: .*'table.csv'.* X must contain numbers"),
    "dates": (FRAME.assign(day=pd.Timestamp("2020-01-01")), r"dates or durations: 'day' \(datetime64.*days since"),
    "dates alone": (pd.DataFrame({"day": pd.date_range("2020", periods=40)}), "dates or durations: 'day'.*days since"),
    "an array of dates": (
        np.array([["2020-01-01"]] * 9, dtype="datetime64[D]"),
        r"dates or durations: datetime64\[D\]",
    ),
    "a column without any value": (
        X * [1.0, np.nan, 1.0, 1.0],
        "feature 1 has no observed value. Drop such",
    ),
    "infinity": (
        np.where(X > 4.0, np.inf, X),
        "contains infinity.*, in columns 0, .*Drop the rows.*, clip them, or use NaN if",
    ),
    "infinity in a frame": (FRAME.assign(b=np.inf, c="x"), "contains infinity.*, in column 'b'. Drop the rows"),
    "infinity in many columns": (np.full((9, 8), np.inf), "in columns 0, 1, 2, 3, 4 and 3 more. Drop"),
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


# ---------------------------------------------------------------------------- arrays of other libraries

EIGHTHS = np.round(8.0 * X) / 8.0  # which float16 and bfloat16 round, but to numbers that float32 has
TENSORS = {
    "float64": lambda x: x,
    "float32": lambda x: x.float(),
    "requires grad": lambda x: x.clone().requires_grad_(),
    "part of a graph": lambda x: x.clone().requires_grad_() * 1.0,
    "bfloat16": lambda x: x.bfloat16(),
    "bfloat16 that requires grad": lambda x: x.bfloat16().requires_grad_(),
    "float16": lambda x: x.half(),
    "whole numbers": lambda x: x.round().int(),
    "truth values": lambda x: x > 0.0,
    "transposed": lambda x: x.T.contiguous().T,
    "every other row": lambda x: x.repeat_interleave(2, 0)[::2],
    "sparse": lambda x: x.to_sparse(),
    "sparse rows": lambda x: x.to_sparse_csr(),
    "of inference mode": lambda x: make_in_inference_mode(x),
    "a parameter": lambda x: torch.nn.Parameter(x),
    "negated lazily": lambda x: torch._neg_view(-x),
}


def make_in_inference_mode(x):
    with torch.inference_mode():
        return x.clone()


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
@pytest.mark.parametrize("change", TENSORS.values(), ids=TENSORS)
def test_tensors_are_taken_as_arrays_of_their_numbers(change):
    tensor = change(torch.from_numpy(EIGHTHS))
    array = tensor.detach().to_dense().double().clone().numpy()
    if tensor.dtype == torch.bool:
        array = array.astype(bool)
    model, expected = make(VaDEClustering).fit(tensor), make(VaDEClustering).fit(array)
    assert model.lower_bounds_ == expected.lower_bounds_
    for name in ("predict", "predict_proba", "score_samples", "transform", "reconstruct"):
        np.testing.assert_array_equal(getattr(model, name)(tensor), getattr(expected, name)(array), err_msg=name)
    model.partial_fit(tensor), expected.partial_fit(array)
    assert model.lower_bounds_ == expected.lower_bounds_ and model.score(tensor) == expected.score(array)


FRAMES = {
    "columns reversed": lambda frame: frame[frame.columns[::-1]],
    "rows reversed": lambda frame: frame[::-1],
    "both reversed": lambda frame: frame.iloc[::-1, ::-1],
    "rows of an index": lambda frame: frame.set_index(np.arange(40)[::-1]).sort_index(),
    "columns of several types": lambda frame: frame.round().astype({"a": np.int8, "b": np.float32, "c": np.int64}),
    "nullable numbers": lambda frame: frame.astype({"a": "Float64", "b": "Float32"}),
    "float32": lambda frame: frame.astype(np.float32),
    "of records": lambda frame: pd.DataFrame(frame.to_records(index=False)),
    "transposed": lambda frame: frame.T.copy().T,
}


@pytest.mark.parametrize("change", FRAMES.values(), ids=FRAMES)
def test_frames_are_taken_as_arrays_of_their_numbers(change):
    frame = change(pd.DataFrame(EIGHTHS, columns=["a", "b", "c", "d"]))
    array = np.ascontiguousarray(frame.to_numpy(dtype=np.float64))
    model, expected = make(VaDEClustering).fit(frame), make(VaDEClustering).fit(array)
    assert model.lower_bounds_ == expected.lower_bounds_
    assert model.feature_names_in_.tolist() == frame.columns.tolist()
    for name in ("predict", "predict_proba", "score_samples", "transform", "reconstruct"):
        np.testing.assert_array_equal(getattr(model, name)(frame), getattr(expected, name)(array), err_msg=name)
    model.partial_fit(frame), expected.partial_fit(array)
    assert model.lower_bounds_ == expected.lower_bounds_


def pretend(module, name, **methods):
    """An object of a class with this name, as if of that package."""
    return type(name, (), {"__module__": module, **methods})()


class OwnDataset(torch.utils.data.Dataset):
    def __len__(self):
        return 40

    def __getitem__(self, i):
        return X[i]


UNTAKEN = {
    "AnnData": (pretend("anndata._core.anndata", "AnnData", shape=(40, 4)), "anndata AnnData.*pass X.X "),
    "a polars LazyFrame": (pretend("polars.lazyframe.frame", "LazyFrame"), r"LazyFrame.*pass X.collect\(\)"),
    "a Hugging Face dataset": (pretend("datasets.arrow_dataset", "Dataset"), r"datasets Dataset.*X.to_pandas\(\)"),
    "several of these": (pretend("datasets.dataset_dict", "DatasetDict"), r"X\['train'\].to_pandas\(\)"),
    "a stream of these": (pretend("datasets.iterable_dataset", "IterableDataset"), r"pandas.DataFrame\(list\(X\)\)"),
    "Spark": (pretend("pyspark.sql.dataframe", "DataFrame"), r"X.toPandas\(\)"),
    "a dask frame": (pretend("dask.dataframe.core", "DataFrame"), r"X.to_dask_array\(lengths=True\)"),
    "an xarray dataset": (pretend("xarray.core.dataset", "Dataset"), r"xarray Dataset.*X.to_dataframe\(\)"),
    "an array on a GPU": (pretend("cupy", "ndarray"), r"cupy ndarray.*X.get\(\)"),
    "a frame on a GPU": (pretend("cudf.core.dataframe", "DataFrame"), r"X.to_pandas\(\)"),
    "torch's Dataset": (OwnDataset(), r"torch Dataset.*numpy.stack\("),
    "torch's TensorDataset": (torch.utils.data.TensorDataset(torch.zeros(40, 4)), r"torch Dataset.*numpy.stack\("),
    "torch's DataLoader": (torch.utils.data.DataLoader(OwnDataset()), r"torch DataLoader.*numpy.concatenate"),
    "a generator": (
        (row for row in X),
        r"X is a generator, which can be read only once; pass numpy.array\(list\(X\)\)",
    ),
    "a map": (map(list, X), r"X is a map, which can be read only once"),
}


@pytest.mark.parametrize(("rows", "message"), UNTAKEN.values(), ids=UNTAKEN)
def test_what_is_no_array_says_which_call_makes_one(rows, message, fitted):
    model = make(VaDEClustering)
    before = dict(vars(model))
    for call in (model.fit, model.partial_fit, fitted.predict, fitted.score_samples, fitted.partial_fit):
        with pytest.raises(TypeError, match=f"(?s){message}"):
            call(rows)
    assert vars(model) == before


def test_frames_and_arrays_of_like_names_are_taken():
    class DataFrame(pd.DataFrame):
        """A user's own."""

    class Dataset(np.ndarray):
        """No torch dataset."""

    expected = make(VaDEClustering).fit(X).labels_
    for rows in (DataFrame(FRAME), X.view(Dataset)):
        np.testing.assert_array_equal(make(VaDEClustering).fit(rows).labels_, expected)


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
    "infinity": (lambda m: m.transform(FRAME.mask(FRAME > 4.0, np.inf)), "contains infinity.*, in columns 'a', "),
    "infinity beside pandas.NA": (
        lambda m: m.predict(FRAME.assign(b=np.inf, c=pd.array([pd.NA] * len(FRAME), dtype="Int64"))),
        "contains infinity.*, in column 'b'. Drop",
    ),
    "words": (lambda m: m.predict(FRAME.assign(d="x")), r"not numbers: 'd' \(.*Drop them"),
    "no samples": (lambda m: m.sample(0), "n_samples must be an integer of at least 1; got 0"),
    "a component too many": (lambda m: m.sample(2, component=3), "component must be an integer from 0 to 2; got 3"),
    "components": (lambda m: m.sample(2, component=[0, 1]), r"an integer from 0 to 2; got \[0, 1\]"),
    "a component that is true": (lambda m: m.sample(2, component=True), "an integer from 0 to 2; got True"),
    "a seed of text": (lambda m: m.sample(2, random_state="0"), "'0' cannot be used to seed"),
    "another K with warm_start": (
        lambda m: m.set_params(warm_start=True, n_components=2).fit(FRAME),
        "n_components=3 and cannot be continued with n_components=2; set it back, or fit again",
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


def test_paths_where_no_file_can_be(fitted, tmp_path):
    with pytest.raises(IsADirectoryError, match="is a folder; pass the path of a file in it"):
        fitted.save(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no folder .*nowhere; create it"):
        fitted.save(tmp_path / "nowhere" / "model")
    assert list(tmp_path.iterdir()) == []
