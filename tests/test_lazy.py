"""Rows read by blocks: whatever the file and its type, nothing is read whole and the results are those of the array."""

import gc
import os
import pickle
import tempfile
import tracemalloc

import joblib
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import make_blobs
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score
from skorch.callbacks import Callback

from skgmvae import GMVAEClustering, VaDEClustering, VAEEMClustering
from skgmvae._validation import check_samples
from skgmvae.data import lazy
from skgmvae.data.lazy import (
    LazyRows,
    PickedRows,
    empty_or_memmap,
    find_map,
    is_better_read_lazily,
    is_sliceable,
    iter_chunks,
)
from skgmvae.datasets import ScaledRows
from skgmvae.initialization import choice, initialize, representations
from skgmvae.initialization.strategies import choose_responsibilities

ESTIMATORS = [GMVAEClustering, VaDEClustering, VAEEMClustering]
INFERENCE = ("predict", "predict_proba", "score_samples", "transform", "reconstruct")
N, D = 600, 4
CENTERS = 20.0 + np.array([[0, 60, 0, 60], [60, 0, 0, 60], [90, 90, 120, 0]])
MAX_ROWS = 66  # at once, in these tests
each_estimator = pytest.mark.parametrize("Estimator", ESTIMATORS)
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


class Guarded:
    """Gives slices of few rows alone."""

    def __init__(self, X, max_rows=MAX_ROWS):
        self.X, self.shape, self.dtype, self.max_rows, self.n_slices = X, X.shape, X.dtype, max_rows, 0

    def __array__(self, *args, **kwargs):
        raise AssertionError("converted whole")

    def __getitem__(self, rows):
        assert isinstance(rows, slice) and rows.step in (None, 1)
        part = self.X[rows]
        assert len(part) <= self.max_rows, f"{len(part)} rows at once"
        self.n_slices += 1
        return part


def make_rows(dtype=np.float32):
    """Three groups of small whole numbers, which every type has exactly, sorted by group."""
    X, y = make_blobs([300, 200, 100], D, centers=CENTERS, cluster_std=3.0, shuffle=False, random_state=0)
    return X.round().clip(0, 255).astype(dtype), y


def write_memmap(path, X):
    np.save(path / "X.npy", X)
    return np.load(path / "X.npy", mmap_mode="r")


def write_hdf5(path, X):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path / "X.h5", "w") as file:
        file.create_dataset("X", data=X, chunks=(30, D), compression="gzip")
    return h5py.File(path / "X.h5", "r")["X"]


def write_zarr(path, X):
    zarr = pytest.importorskip("zarr")
    array = zarr.create_array(str(path / "X.zarr"), shape=X.shape, chunks=(30, D), dtype=X.dtype)
    array[:] = X
    return zarr.open_array(str(path / "X.zarr"), mode="r")


FILES = {"memmap": write_memmap, "hdf5": write_hdf5, "zarr": write_zarr, "own class": lambda path, X: Guarded(X, N)}
each_file = pytest.mark.parametrize("write", FILES.values(), ids=FILES)
each_dtype = pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.uint8])


def make(Estimator, quick, **settings):
    return Estimator(3, **{**quick, "pretrain_iter": 5, "max_iter": 4, **settings})


# -------------------------------------------------------------------------------------------- slices


@each_file
@each_dtype
def test_slices_are_the_numbers_in_a_type_that_has_them(write, dtype, tmp_path, small_blocks):
    X, _ = make_rows(dtype)
    array = write(tmp_path, X)
    assert is_better_read_lazily(array)
    rows = LazyRows(array)
    assert rows.dtype == (np.float64 if dtype is np.float64 else np.float32)
    blocks = list(iter_chunks(rows, rows.block_rows))
    assert len(blocks) > 5 and all(block.dtype == rows.dtype and block.flags.c_contiguous for _, block in blocks)
    np.testing.assert_array_equal(np.concatenate([block for _, block in blocks]), X)
    assert [first for first, _ in blocks] == rows.edges[:-1].tolist()
    indices = np.array([0, 3, 49, 50, 120, 599])
    np.testing.assert_array_equal(PickedRows(rows, indices)[1:6], X[indices[1:]])


bounds = st.none() | st.integers(-70, 70)


class Forward(Guarded):
    """A file that is read in steps of one, and never backwards."""

    def __getitem__(self, rows):
        assert rows.step in (None, 1) and 0 <= rows.start <= rows.stop
        return super().__getitem__(rows)


@given(start=bounds, stop=bounds, step=st.none() | st.integers(-9, 9).filter(bool), n_rows=st.integers(1, 60))
def test_slices_with_any_step_are_those_of_the_array(start, stop, step, n_rows):
    X = np.arange(float(n_rows * D)).reshape(n_rows, D)
    for array in (X, Guarded(X, n_rows)):
        taken = LazyRows(array)[start:stop:step]
        assert taken.dtype == X.dtype and taken.flags.writeable
        np.testing.assert_array_equal(taken, X[start:stop:step])
        assert not np.shares_memory(taken, X)


@given(
    n_rows=st.integers(1, 60),
    block_rows=st.integers(1, 70),
    size=st.integers(1, 70),
    picked=st.lists(st.integers(0, 59), min_size=1, max_size=30, unique=True),
    first=st.integers(0, 30),
    last=st.integers(0, 40),
)
def test_picked_rows_and_chunks_are_those_of_the_array(n_rows, block_rows, size, picked, first, last):
    X = np.arange(float(n_rows * D)).reshape(n_rows, D)
    indices = np.array(sorted(i for i in picked if i < n_rows), dtype=int)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lazy, "BLOCK_BYTES", block_rows * D * X.itemsize)
        rows = LazyRows(Forward(X, n_rows))
        pieces = list(iter_chunks(rows, size))
        assert [start for start, _ in pieces][:1] == [0] and all(0 < len(piece) <= size for _, piece in pieces)
        np.testing.assert_array_equal(np.concatenate([piece for _, piece in pieces]), X)
        assert all(np.array_equal(piece, X[start : start + len(piece)]) for start, piece in pieces)
        if len(indices[first:last]):
            np.testing.assert_array_equal(PickedRows(rows, indices)[first:last], X[indices[first:last]])
            np.testing.assert_array_equal(PickedRows(X, indices)[first:last], X[indices[first:last]])


def test_blocks_are_whole_chunks_of_the_file(small_blocks):
    def find_edges(*chunks):
        array = Guarded(make_rows()[0])
        array.chunks = chunks
        return LazyRows(array).edges.tolist()

    assert find_edges(30, D)[:3] == [0, 30, 60] and find_edges(20, 2)[:3] == [0, 40, 80]
    assert find_edges(128, D) == [0, 128, 256, 384, 512, N]
    assert find_edges((10, 45, 5, 40, 300, 200), (D,)) == [0, 10, 60, 100, 400, N]  # as dask has them


def test_chunks_that_are_too_large_are_read_in_parts(small_blocks, monkeypatch):
    monkeypatch.setattr(lazy, "MAX_CHUNK_BYTES", 100 * D * 4)
    for chunks in ((300, D), ((300, 300), (D,))):
        array = Guarded(make_rows()[0])
        array.chunks = chunks
        assert LazyRows(array).edges.tolist()[:3] == [0, 50, 100]


class Chunked(Guarded):
    """An array in chunks that counts how often each is loaded, whole, as dask and zarr do for any part of it."""

    def __init__(self, X, sizes):
        super().__init__(X, len(X))
        self.chunks = (tuple(sizes), (X.shape[1],))
        self.ends, self.n_loads = np.cumsum(sizes), np.zeros(len(sizes), int)

    def __getitem__(self, rows):
        part = super().__getitem__(rows)
        first = np.searchsorted(self.ends, rows.start or 0, "right")
        self.n_loads[first : np.searchsorted(self.ends, (rows.start or 0) + len(part)) + 1] += 1
        return part


@pytest.mark.parametrize("sizes", [(150, 150, 150, 150), (70, 230, 7, 93, 200)])
@pytest.mark.parametrize("size", [7, 60, 1000])
def test_a_pass_loads_each_chunk_once(sizes, size, small_blocks):
    X, _ = make_rows()
    rows = LazyRows(Chunked(X, sizes))
    np.testing.assert_array_equal(np.concatenate([piece for _, piece in iter_chunks(rows, size)]), X)
    picked = np.sort(np.random.default_rng(0).choice(N, 200, replace=False))
    pieces = [piece for _, piece in iter_chunks(PickedRows(rows, picked), size)]
    np.testing.assert_array_equal(np.concatenate(pieces), X[picked])
    assert max(map(len, pieces)) <= size
    assert rows.array.n_loads.tolist() == [2] * len(sizes)


def test_a_pass_over_a_dask_array_loads_each_chunk_once(small_blocks):
    dask_array = pytest.importorskip("dask.array")
    X, loads = make_rows()[0], []

    def load(block_info=None):
        place = block_info[None]["array-location"]
        loads.append(place[0][0])
        return X[slice(*place[0])]

    sizes = (70, 230, 300)
    array = dask_array.map_blocks(load, chunks=(sizes, (D,)), dtype=X.dtype, meta=np.empty((0, 0), X.dtype))
    rows = LazyRows(array)
    for expected in (1, 2):
        np.testing.assert_array_equal(np.concatenate([piece for _, piece in iter_chunks(rows, 50)]), X)
        assert sorted(loads) == sorted(expected * [0, 70, 300])


def test_arrays_of_unknown_length_are_refused():
    array = Chunked(make_rows()[0], (300, 300))
    array.shape = (float("nan"), D)
    with pytest.raises(ValueError, match="unknown sizes.*compute_chunk_sizes"):
        check_samples(VaDEClustering(), array)


@each_estimator
def test_a_fit_loads_each_chunk_once_per_pass(Estimator, quick, small_blocks):
    n_loads = []
    for n_epochs in (4, 8):
        array = Chunked(make_rows()[0], (150, 150, 150, 150))
        make(Estimator, quick, max_iter=n_epochs).fit(array)
        assert np.ptp(array.n_loads[1:]) == 0  # two samples of the first are looked at before
        n_loads.append(array.n_loads[1])
    passes = 2 if Estimator is VAEEMClustering else 1  # of an epoch: M-step and E-step
    assert n_loads[1] - n_loads[0] <= 4 * passes


def test_pieces_are_those_of_an_array_though_blocks_are_read(small_blocks):
    X, _ = make_rows()
    guarded = Guarded(X)
    for size in (16, 60):
        pieces, expected = list(iter_chunks(LazyRows(guarded), size)), list(iter_chunks(X, size))
        assert [first for first, _ in pieces] == [first for first, _ in expected]
        assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(pieces, expected, strict=True))
    assert guarded.n_slices == 2 * N // 50


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="counts pages as Linux does")
def test_pages_of_a_memory_map_are_let_go(tmp_path):
    def count_mapped():
        with open("/proc/self/status") as status:
            return next(1024 * int(line.split()[1]) for line in status if line.startswith("RssFile"))

    X = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", np.float32, (8000, 1000))  # 32 MB
    X[:] = 1.0
    X.flush()
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    before = count_mapped()
    total = sum(float(block.sum()) for _, block in iter_chunks(LazyRows(X), 250))
    assert total == 8e6 and count_mapped() - before < 4e6
    scaled = ScaledRows(X)
    assert sum(float(scaled[i : i + 250].max()) > 0 for i in range(0, 8000, 250)) == 32
    assert count_mapped() - before < 4e6
    view = np.asarray(X)[10:]
    assert find_map(view) is not None and find_map(X[[1, 2]]) is None and find_map(np.ones(3)) is None


def test_changes_to_a_private_map_are_kept(tmp_path):
    X = write_memmap(tmp_path, make_rows()[0])
    private = np.load(tmp_path / "X.npy", mmap_mode="c")
    private[:] = 7.0
    assert (LazyRows(private)[:100] == 7.0).all() and (private == 7.0).all() and not (X == 7.0).all()


def test_what_is_read_lazily():
    X, whole = make_rows()[0], {"float32": False, "float64": False, "float16": True, "uint8": True, "int64": True}
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:
        patch.setattr(lazy, "MAX_WHOLE_BYTES", N * D * 4 - 1)
        for dtype, expected in whole.items():
            assert is_better_read_lazily(X.astype(dtype)) == expected, dtype
        assert is_better_read_lazily(Guarded(X)) and not is_better_read_lazily(Guarded(X[1:]))
        assert not is_better_read_lazily(Guarded(X[:, 0])) and not is_better_read_lazily(Guarded(X.astype(complex)))
        assert not is_better_read_lazily(X.tolist())
    assert is_sliceable(Guarded(X)) and not is_sliceable(X) and not is_sliceable(X[0, 0]) and not is_sliceable([[1]])
    assert not is_sliceable(torch.from_numpy(X))


def test_validation_of_an_array_in_memory_makes_no_copy(tmp_path):
    X = write_memmap(tmp_path, np.ones((50_000, 20), dtype=np.float32))
    for array in (X, np.ones((25_000, 20))):
        tracemalloc.start()
        checked = check_samples(VaDEClustering(), array, reset=True)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert np.shares_memory(checked, array) and peak < 0.1 * array.nbytes


def test_tables_are_files_without_a_name_when_they_are_large(monkeypatch, tmp_path):
    assert find_map(empty_or_memmap((10, 3))) is None
    monkeypatch.setattr(lazy, "MAX_TABLE_BYTES", 0)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    table = empty_or_memmap((10, 3))
    table[:] = 2.0
    assert find_map(table) is not None and table.dtype == np.float32 and (table == 2.0).all()
    assert os.name == "nt" or not list(tmp_path.iterdir())


# ----------------------------------------------------------------------------------------- estimators


@pytest.mark.parametrize(
    "Estimator, dtype",
    [
        (GMVAEClustering, np.float16),
        (VaDEClustering, np.uint8),
        (VaDEClustering, np.float64),
        (VAEEMClustering, np.float32),
    ],
)
def test_fit_on_few_lazy_rows_is_that_on_the_array(Estimator, dtype, quick):
    X, _ = make_rows(dtype)
    settings = {"pretrain_iter": 2, "max_iter": 2}
    of_array, of_lazy = (make(Estimator, quick, **settings).fit(array) for array in (X, Guarded(X, N)))
    assert of_lazy.lower_bounds_ == of_array.lower_bounds_
    for name in INFERENCE:
        np.testing.assert_array_equal(getattr(of_lazy, name)(Guarded(X, N)), getattr(of_array, name)(X))


@pytest.mark.parametrize(
    "Estimator, write, dtype",
    [
        (VaDEClustering, write_memmap, np.float32),
        (GMVAEClustering, write_memmap, np.float64),
        (VaDEClustering, write_hdf5, np.uint8),
        (VAEEMClustering, write_hdf5, np.float32),
        (VAEEMClustering, write_zarr, np.float16),
    ],
)
def test_fit_and_inference_by_blocks(Estimator, write, dtype, quick, tmp_path, small_blocks):
    X, y = make_rows(dtype)
    array = write(tmp_path, X)
    model = make(Estimator, quick)
    np.testing.assert_array_equal(model.fit_predict(array), model.predict(array))
    assert adjusted_rand_score(y, model.labels_) > 0.95
    assert model.labels_.dtype == np.int64 and model.labels_.shape == (N,)
    for name in INFERENCE:  # here float64 has all of the values exactly, where the array is converted
        expected = getattr(model, name)(X.astype(np.float64))
        np.testing.assert_array_equal(getattr(model, name)(array), expected, err_msg=name)
    model.partial_fit(array)
    assert len(model.history_["lower_bound"]) == 5


@pytest.mark.parametrize(
    "Estimator, init_params",
    [(VaDEClustering, "auto"), (GMVAEClustering, "random"), (VAEEMClustering, "random"), (VAEEMClustering, "gmm")],
)
def test_nothing_is_read_whole(Estimator, init_params, quick, small_blocks):
    X, _ = make_rows(np.uint8)
    settings = {"m_step": "weighted"} if Estimator is VAEEMClustering and init_params == "gmm" else {}
    guarded = Guarded(X)
    model = make(Estimator, quick, init_params=init_params, pretrain_iter=1, max_iter=2, **settings).fit(guarded)
    model.set_params(warm_start=True, max_iter=1).fit(guarded)
    for name in INFERENCE:
        assert np.isfinite(getattr(model, name)(guarded)).all()
    assert guarded.n_slices > 100


def test_many_samples_in_memory_are_initialized_from_some(quick, monkeypatch):
    X, y = make_rows()
    monkeypatch.setattr(representations, "MAX_INIT_ROWS", 200)
    for Estimator in ESTIMATORS:
        model = make(Estimator, quick, max_iter=2, init_params="graph").fit(X)
        assert model.init_params_ == "graph" and adjusted_rand_score(y, model.labels_) > 0.95


@pytest.mark.parametrize(
    "pretrain_iter, init_params",
    [(5, "graph of embedding and inputs"), (0, "graph of the inputs")],
    ids=["trained", "not"],
)
def test_wide_samples_are_initialized_from_their_principal_components_too(
    pretrain_iter, init_params, quick, small_blocks, monkeypatch
):
    monkeypatch.setattr(choice, "MOST_FEATURES", D - 1)
    monkeypatch.setattr(representations, "N_PRINCIPAL", 3)
    monkeypatch.setattr(representations, "PRINCIPAL_ROWS", 100)
    X, y = make_rows()
    seen = []

    def choose(name, views, *arguments):
        seen.append(views)
        return choose_responsibilities(name, views, *arguments)

    monkeypatch.setattr(initialize, "choose_responsibilities", choose)
    settings = {"pretrain_iter": pretrain_iter, "max_iter": 20, "init_params": "auto"}
    model = make(VAEEMClustering, quick, **settings).fit(Guarded(X))
    assert model.init_params_ == init_params and adjusted_rand_score(y, model.labels_) > 0.95
    # 200 of the rows, spread along as much variance as in any three directions
    (views,) = seen
    assert views.components.shape == (200, 3) and views.embedding.shape[0] == 200
    most = PCA(3).fit((X - X.mean(0)) / X.std(0)).explained_variance_.sum()
    np.testing.assert_allclose(views.components.var(0).sum(), most, rtol=0.2)


def test_same_seed_same_result_by_blocks(quick, small_blocks):
    X, _ = make_rows()
    first, second = (make(VAEEMClustering, quick, pretrain_iter=2).fit(Guarded(X)) for _ in range(2))
    assert first.lower_bounds_ == second.lower_bounds_
    np.testing.assert_array_equal(first.predict_proba(X), second.predict_proba(X))


@pytest.mark.filterwarnings("ignore:X has columns that are copies")
def test_bytes_are_numbers_unless_they_are_scaled(quick, small_blocks):
    X = np.tile(make_rows(np.uint8)[0], (1, 4))
    settings = {"max_iter": 1, "image_shape": (1, 4, 4)}
    plain, scaled = (make(VaDEClustering, quick, **settings).fit(array) for array in (X, ScaledRows(X)))
    table = make(VaDEClustering, quick, max_iter=1).fit(ScaledRows(X))
    assert table._fitted_architecture.likelihood == "gaussian"
    assert plain._fitted_architecture.likelihood == "gaussian" and plain.means_.max() > 2.0
    assert scaled._fitted_architecture.likelihood == "bernoulli" and scaled.means_.max() <= 1.0
    np.testing.assert_array_equal(ScaledRows(X)[5:9], X[5:9].astype(np.float32) / np.float32(255.0))


# --------------------------------------------------------------------------------------------- cache


def test_cache_knows_rows_by_their_content(quick, tmp_path, small_blocks):
    X, _ = make_rows()
    assert joblib.hash(LazyRows(X)) == joblib.hash(LazyRows(Guarded(X.copy())))
    changed = X.copy()
    changed[-1, -1] += 1.0
    assert len({joblib.hash(LazyRows(array)) for array in (X, changed, X[:-1])}) == 3
    settings = {"memory": str(tmp_path), "max_iter": 1}
    first, second = (make(VaDEClustering, quick, **settings).fit(Guarded(array)) for array in (X, X.copy()))
    assert first.lower_bounds_ == second.lower_bounds_
    assert len(list(tmp_path.rglob("output.pkl"))) == 1


def test_rows_are_not_hashed_without_a_cache(quick, monkeypatch, small_blocks):
    hashed = []
    monkeypatch.setattr(LazyRows, "__getstate__", lambda self: hashed.append(self) or {})
    model = make(VaDEClustering, quick, max_iter=1).fit(Guarded(make_rows()[0]))
    assert pickle.loads(pickle.dumps(model)).n_iter_ == 1
    assert hashed == []


# -------------------------------------------------------------------------------------------- errors


def spoil(X, value):
    X = X.copy()
    X[N - 5, 2] = value
    return X


WRONG = {
    "infinity": (lambda X: spoil(X, np.inf), "Input X contains infinity or a value too large for dtype"),
    "one axis": (lambda X: X[:, 0], "Expected 2D array, got 1D array instead"),
    "three axes": (lambda X: X[:, :, None], "Found array with dim 3"),
    "objects": (lambda X: X.astype(object), "X must contain numbers; got an array of dtype object"),
    "complex": (lambda X: X.astype(complex), "Complex data not supported"),
    "one row": (lambda X: X[:1], "1 sample"),
    "no rows": (lambda X: X[:0], "0 sample"),
}


@pytest.mark.parametrize("change, message", WRONG.values(), ids=WRONG)
def test_errors_are_those_of_arrays_and_leave_the_estimator(change, message, quick, small_blocks):
    model = make(VaDEClustering, quick)
    with pytest.raises(ValueError) as error:
        model.fit(Guarded(change(make_rows()[0])))
    assert message in str(error.value)
    assert vars(model) == vars(make(VaDEClustering, quick))


def test_other_widths_and_late_errors_of_a_fitted_estimator(quick, small_blocks):
    X, _ = make_rows()
    model = make(VaDEClustering, quick, max_iter=1).fit(Guarded(X))
    with pytest.raises(ValueError, match="X has 3 features, but VaDEClustering is expecting 4 features as input"):
        model.predict(Guarded(X[:, :3]))
    bound = model.lower_bound_
    for method in (model.predict, model.partial_fit):
        with pytest.raises(ValueError, match="Input X contains infinity"):
            method(Guarded(spoil(X, np.inf)))
    assert model.lower_bound_ == bound
    with pytest.raises(
        ValueError, match=r"likelihood='bernoulli' needs values in \[0, 1\]; X has values in \[11, 147\]"
    ):
        model.set_params(likelihood="bernoulli").fit(Guarded(X))


class Fail(Callback):
    def on_epoch_end(self, net, **kwargs):
        raise RuntimeError("in the middle")


def count_open_tables():
    links = (os.path.join("/proc/self/map_files", name) for name in os.listdir("/proc/self/map_files"))
    return sum("(deleted)" in os.readlink(link) for link in links)


@each_estimator
def test_temporary_files_go_also_when_a_fit_fails(Estimator, quick, monkeypatch, tmp_path, small_blocks):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    has_links = os.access("/proc/self/map_files", os.R_OK)
    before = count_open_tables() if has_links else 0
    with pytest.raises(RuntimeError, match="in the middle"):
        make(Estimator, quick, callbacks=[Fail()]).fit(Guarded(make_rows()[0]))
    gc.collect()
    assert not list(tmp_path.iterdir())
    assert not has_links or count_open_tables() <= before
