"""X at the door: any layout of memory, one pass over the samples, and what it tells of every feature."""

import itertools
import tempfile

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import make_blobs
from test_train import Parabola, make_config

from skgmvae import GMVAEClustering, VaDEClustering, VAEEMClustering
from skgmvae.data import summary as of_features
from skgmvae.data.lazy import LazyRows
from skgmvae.data.summary import MAX_DISTINCT, QUARTILE_RANGE, summarize
from skgmvae.data.training_data import TrainingData
from skgmvae.runtime import RandomStream
from skgmvae.training.train import make_net, train

ESTIMATORS = [GMVAEClustering, VaDEClustering, VAEEMClustering]
each_estimator = pytest.mark.parametrize("Estimator", ESTIMATORS)
QUERIES = ("predict", "predict_proba", "score_samples", "transform", "reconstruct")
N, D = 60, 4
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_rows_share_the_memory_of_the_array(tmp_path):
    X = np.ones((5, D), dtype=np.float32)
    data = TrainingData.from_rows(X)
    X[0, 0] = 7.0
    assert data.rows[0, 0] == 7.0 and data.rows.dtype == torch.float32 and data.X is X
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    data = TrainingData.from_rows(mapped)
    assert data.rows.data_ptr() == mapped.ctypes.data
    config = make_config(1, 2)
    train(make_net(Parabola(), config), data, config, RandomStream(0))


# ---------------------------------------------------------------------------------------- layouts of memory


def as_field(X, dtype):
    """A field of packed records, whose strides are no multiple of a number."""
    records = np.zeros(len(X), [("tag", np.uint8), ("values", dtype, X.shape[1])])
    records["values"] = X
    return records["values"]


def as_memory_map(X, order):
    with tempfile.TemporaryFile() as file:
        mapped = np.memmap(file, X.dtype, "w+", shape=X.shape, order=order)
    mapped[:] = X
    return mapped


def read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


def every_other(X):
    wide = np.full((2 * len(X), 3 * X.shape[1]), np.nan, X.dtype)
    wide[::2, 1::3] = X
    return wide[::2, 1::3]


LAYOUTS = {
    "rows reversed": lambda X: np.ascontiguousarray(X[::-1])[::-1],
    "columns reversed": lambda X: np.ascontiguousarray(X[:, ::-1])[:, ::-1],
    "both reversed": lambda X: np.ascontiguousarray(X[::-1, ::-1])[::-1, ::-1],
    "Fortran order": np.asfortranarray,
    "Fortran order, reversed": lambda X: np.asfortranarray(X[::-1, ::-1])[::-1, ::-1],
    "every other row and third column": every_other,
    "a field of packed records": lambda X: as_field(X, X.dtype),
    "the other byte order": lambda X: X.astype(X.dtype.newbyteorder()),
    "a field in the other byte order": lambda X: as_field(X, X.dtype.newbyteorder()),
    "read-only": read_only,
    "a memory map": lambda X: as_memory_map(X, "C"),
    "a memory map in Fortran order": lambda X: as_memory_map(X, "F"),
    "a reversed memory map": lambda X: as_memory_map(np.ascontiguousarray(X[::-1, ::-1]), "C")[::-1, ::-1],
    "overlapping windows": lambda X: np.lib.stride_tricks.sliding_window_view(make_signal(X.dtype), X.shape[1]),
    "one row again and again": lambda X: np.broadcast_to(X[:1], X.shape),
}


def make_signal(dtype):
    return np.random.default_rng(0).normal(size=N + D - 1).astype(dtype)


def make_samples(dtype):
    """Values in eighths, which neither type rounds."""
    X, _ = make_blobs([30, 18, 12], n_features=D, centers=None, cluster_std=1.5, random_state=3)
    return (np.round(8.0 * X) / 8.0).astype(dtype)


@pytest.fixture(scope="module")
def answer():
    """A function to what an estimator answers; it remembers arrays of C order by their content."""
    known = {}

    def fit(Estimator, X, quick):
        model = Estimator(2, **{**quick, "pretrain_iter": 1, "max_iter": 2, "batch_size": 20, "init_params": "auto"})
        answers = {"labels": model.fit_predict(X)} | {name: getattr(model, name)(X) for name in QUERIES}
        return answers | {"bounds": model.partial_fit(X).lower_bounds_}

    def fit_once(Estimator, X, quick):
        key = Estimator, X.dtype, X.tobytes()
        known[key] = known[key] if key in known else fit(Estimator, X, quick)
        return known[key]

    return lambda Estimator, X, quick, *, once=False: (fit_once if once else fit)(Estimator, X, quick)


# each layout with both types, and the estimators in turn
CASES = [
    pytest.param(layout, dtype, Estimator, id=f"{name}-{dtype.__name__}-{Estimator.__name__}")
    for ((name, layout), dtype), Estimator in zip(
        itertools.product(LAYOUTS.items(), [np.float32, np.float64]), itertools.cycle(ESTIMATORS)
    )
]


@pytest.mark.parametrize(("layout", "dtype", "Estimator"), CASES)
def test_every_layout_of_memory_gives_the_same(layout, dtype, Estimator, quick, answer):
    X = layout(make_samples(dtype))
    same = np.array(X, X.dtype.newbyteorder("="), order="C")
    bytes_before = X.tobytes()
    found, expected = answer(Estimator, X, quick), answer(Estimator, same, quick, once=True)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    assert X.tobytes() == bytes_before


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_only_what_torch_refuses_is_copied(layout):
    X = layout(make_samples(np.float64))
    data = TrainingData.from_rows(X)
    np.testing.assert_array_equal(data.rows.numpy(), X)
    is_odd = min(X.strides) < 0 or any(stride % X.itemsize for stride in X.strides) or not X.dtype.isnative
    assert np.shares_memory(data.X, X) != is_odd
    assert data.X.dtype == np.float64 and data.X.dtype.isnative


# -------------------------------------------------------------------------------------- what one pass tells


def check_summary(summary, X):
    X = X.astype(np.float64)
    np.testing.assert_array_equal([summary.low, summary.high], [X.min(0), X.max(0)])
    np.testing.assert_allclose(summary.mean, X.mean(0), rtol=1e-12, atol=1e-12)
    is_constant = (X[0] == X).all(0)
    np.testing.assert_allclose(summary.scale, np.where(is_constant, 1.0, X.std(0)), rtol=1e-8)
    quartiles = np.quantile(X, (0.25, 0.5, 0.75), axis=0)
    np.testing.assert_allclose(summary.center, quartiles[1])
    np.testing.assert_allclose(summary.spread, (quartiles[2] - quartiles[0]) / QUARTILE_RANGE, atol=1e-12)
    np.testing.assert_array_equal(summary.is_integral, (np.round(X) == X).all(0))
    n_distinct = [min(len(np.unique(column)), MAX_DISTINCT + 1) for column in X.T]
    np.testing.assert_array_equal(summary.n_distinct, n_distinct)
    np.testing.assert_array_equal(summary.is_binary, [set(column) <= {0.0, 1.0} for column in X.T])


KINDS = {
    "continuous": lambda rng, n: rng.normal(3.0, 2.0, n),
    "whole": lambda rng, n: rng.integers(-9, 40, n),
    "few": lambda rng, n: rng.choice([0.25, 1.5, 7.0], n),
    "binary": lambda rng, n: rng.integers(0, 2, n),
    "constant": lambda rng, n: np.full(n, 0.5),
    "constant but for the last": lambda rng, n: np.append(np.zeros(n - 1), 2.0),
    "skewed": lambda rng, n: np.exp(2.0 * rng.normal(size=n)),
    "exactly so many": lambda rng, n: np.arange(n) % MAX_DISTINCT,
    "one too many": lambda rng, n: np.arange(n) % (MAX_DISTINCT + 1),
    "one more at the end": lambda rng, n: np.append(np.arange(n - 1) % MAX_DISTINCT, 99),
    "sorted": lambda rng, n: np.sort(rng.normal(size=n)),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("n_samples, chunk", [(2, 1), (7, 3), (150, 64), (300, 77), (300, 4096)])
def test_summary_is_that_of_numpy_whatever_the_chunks(n_samples, chunk, dtype, monkeypatch):
    monkeypatch.setattr(of_features, "CHUNK_ROWS", chunk)
    rng = np.random.default_rng(0)
    X = np.column_stack([kind(rng, n_samples) for kind in KINDS.values()]).astype(dtype)
    check_summary(summarize(X), X)
    check_summary(TrainingData.from_rows(LazyRows(X)).summary, X)


@given(
    X=st.integers(1, 4).flatmap(
        lambda width: st.lists(
            st.lists(st.sampled_from([-2.0, 0.0, 0.5, 1.0, 3.0, 1e6]), min_size=width, max_size=width),
            min_size=1,
            max_size=40,
        )
    ),
    chunk=st.integers(1, 50),
)
def test_summary_is_that_of_numpy_for_any_values(X, chunk):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(of_features, "CHUNK_ROWS", chunk)
        check_summary(summarize(np.array(X)), np.array(X))


def test_medians_of_many_samples_are_those_of_some_evenly_spaced(monkeypatch):
    monkeypatch.setattr(of_features, "MAX_ORDERED_ROWS", 11)
    monkeypatch.setattr(of_features, "CHUNK_ROWS", 7)
    X = np.arange(101.0)[:, None]
    assert summarize(X).center == 50.0
    assert summarize(X).spread == pytest.approx(50.0 / QUARTILE_RANGE)


def test_scale_is_that_of_float64_for_float32_with_a_large_offset(tmp_path):
    rng = np.random.default_rng(0)
    # at 3e4 float32 resolves 0.002, and float32 sums over these rows would be wrong in the third digit
    X = rng.normal([3e4, 0.0, -7.0], [1.0, 1e-3, 50.0], (2 * of_features.CHUNK_ROWS + 17, 3)).astype(np.float32)
    X[:, 2] = 0.1
    np.save(tmp_path / "X.npy", X)
    summary = summarize(np.load(tmp_path / "X.npy", mmap_mode="r"))
    exact = X.astype(np.float64)
    np.testing.assert_allclose(summary.mean, exact.mean(0), rtol=1e-12)
    np.testing.assert_allclose(summary.scale[:2], exact.std(0)[:2], rtol=1e-9)
    assert summary.scale[2] == 1.0, "a constant column keeps its unit"
    assert summary.mean.dtype == summary.scale.dtype == np.float64


# ------------------------------------------------------------------------------------- passes over a file


class Counted:
    """Rows of a file, and how often each was read."""

    def __init__(self, X):
        self.X, self.shape, self.dtype = X, X.shape, X.dtype
        self.counts = np.zeros(len(X), int)

    def __getitem__(self, rows):
        self.counts[rows] += 1
        return self.X[rows]

    def __array__(self, *args, **kwargs):
        raise AssertionError("converted whole")

    def take_counts(self):
        """Counts since the last time, without scikit-learn's look at the first two rows."""
        counts, self.counts = self.counts, np.zeros_like(self.counts)
        counts[:2] -= 1
        return counts


@pytest.fixture
def row_by_row(small_blocks, monkeypatch):
    """A block is a row, so that a row is read only when it is asked for."""
    monkeypatch.setattr("skgmvae.data.lazy.BLOCK_BYTES", 1)


PHASES = {"pretrain_iter": 3, "max_iter": 4, "batch_size": 20}


def count_epochs(Estimator):
    """(least, most) reads of a row in the epochs; those of VAE-EM are an M-step and an E-step, of some rows or all."""
    P, E = PHASES["pretrain_iter"], PHASES["max_iter"]
    return (P + E, P + E) if Estimator is not VAEEMClustering else (P + E + 1, P + 2 * E + 1)


@each_estimator
def test_one_pass_before_training_and_one_per_epoch(Estimator, quick, row_by_row):
    X = Counted(make_samples(np.float32))
    # with the initialization's: the embedding that is clustered, and residuals
    model = Estimator(3, **{**quick, **PHASES}).fit(X)
    counts, (least, most) = X.take_counts(), count_epochs(Estimator)
    assert counts.min() >= 1 + least + 2 + 1 and counts.max() <= 1 + most + 2 + 1  # the last for the labels
    for name in QUERIES:
        getattr(model, name)(X)
        assert (X.take_counts() == 1).all(), name
    model.partial_fit(X)
    counts = X.take_counts()
    # one for the responsibilities that are clamped
    assert (counts == 4).all() if Estimator is not VAEEMClustering else counts.max() <= 5


@each_estimator
@pytest.mark.parametrize("init_params", ["kmeans", "auto", "random"])
def test_initialization_reads_some_rows_and_all_of_them_once(Estimator, init_params, quick, row_by_row, monkeypatch):
    monkeypatch.setattr("skgmvae.initialization.representations.MAX_INIT_ROWS", 20)
    monkeypatch.setattr("skgmvae.initialization.variance.RESIDUAL_ROWS", 6)
    X = Counted(make_samples(np.float32))
    Estimator(3, **{**quick, **PHASES, "init_params": init_params}).fit(X)
    counts, (least, most) = X.take_counts(), count_epochs(Estimator)
    keeps_random_weights = init_params == "random" and Estimator is GMVAEClustering
    needs_all = Estimator is VAEEMClustering or init_params != "random"  # else nothing is clamped
    before = 1 + (1 if needs_all else 0)
    seldom = np.sort(counts)[: N - 20 - 10]  # at least so many are neither clustered nor looked at for residuals
    assert seldom.min() >= before + least + 1 and seldom.max() <= before + most + 1
    assert counts.max() <= before + most + 1 + (1 if keeps_random_weights else 3)


def test_samples_in_memory_are_looked_at_once(monkeypatch, quick):
    calls = []
    monkeypatch.setattr(
        "skgmvae.data.training_data.summarize", lambda X, *names: (calls.append(len(X)), summarize(X, *names))[1]
    )
    VaDEClustering(3, **{**quick, "pretrain_iter": 1, "max_iter": 1}).fit(make_samples(np.float32))
    assert calls == [N]


def test_values_that_are_not_finite_are_found_in_that_pass():
    for X in (make_samples(np.float64), make_samples(np.float32)):
        X[N - 1, 2] = np.inf
        with pytest.raises(ValueError, match="Input X contains infinity"):
            TrainingData.from_rows(X, "VaDEClustering")
        with pytest.raises(ValueError, match="Input X contains infinity"):
            TrainingData.from_rows(LazyRows(X, "VaDEClustering"))
