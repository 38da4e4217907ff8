"""Rows of Parquet files: values, row groups and errors."""

import pickle

import numpy as np
import pandas as pd
import pytest

from skgmvae import VaDEClustering
from skgmvae.data.lazy import LazyRows, iter_chunks
from skgmvae.datasets import ParquetRows

pytest.importorskip("pyarrow")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
GROUP = 50


@pytest.fixture
def frame(blobs):
    frame = pd.DataFrame(blobs[0].astype(np.float32), columns=list("abcd"))
    return frame.assign(name="x", flag=frame.index % 3 == 0, count=np.arange(len(frame)))


@pytest.fixture
def folder(frame, tmp_path):
    """120 rows in two files, in groups of 50, 30 and 40."""
    for number, part in enumerate((frame[:80], frame[80:])):
        part.to_parquet(tmp_path / f"{number}.parquet", row_group_size=GROUP, index=False)
    return tmp_path


@pytest.fixture
def read(monkeypatch):
    """The row groups that are read, one after the other."""
    groups, original = [], ParquetRows._read

    def count(self, group):
        if self._last is None or self._last[0] != group:
            groups.append(group)
        return original(self, group)

    monkeypatch.setattr(ParquetRows, "_read", count)
    return groups


def test_slices_are_those_of_the_frame(folder, frame):
    rows, expected = ParquetRows(folder, columns=["c", "a"]), frame[["c", "a"]].to_numpy()
    assert rows.shape == (120, 2) == (len(rows), 2) and rows.dtype == np.float32
    assert rows.chunks == ((50, 30, 40), (2,))
    for part in (slice(None), slice(45, 85), slice(0, 0), slice(10, 100, 7), slice(100, 10, -7), slice(-3, None)):
        np.testing.assert_array_equal(rows[part], expected[part])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(rows))[:], expected)


def test_files_and_paths_of_fsspec(folder, frame):
    expected = frame[["a"]].to_numpy()
    files = [folder / "0.parquet", folder / "1.parquet"]
    for path in (files, files[0], str(files[0]), f"local://{files[0]}", [f"local://{file}" for file in files]):
        rows = ParquetRows(path, ["a"])
        np.testing.assert_array_equal(rows[:], expected[: len(rows)])
        assert len(rows) == (120 if isinstance(path, list) else 80)


def test_types_and_nulls(tmp_path):
    frame = pd.DataFrame({"n": pd.array([1, None, 3], "Int8"), "b": pd.array([True, False, None], "boolean")})
    frame.assign(wide=[2**40, 1, 0]).to_parquet(tmp_path / "X.parquet")
    rows = ParquetRows(tmp_path / "X.parquet", ["n", "b"])
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows[:], [[1, 1], [np.nan, 0], [3, np.nan]])
    wide = ParquetRows(tmp_path / "X.parquet", ["wide"])
    assert wide.dtype == np.float64 and wide[:1] == 2**40


def test_errors_name_the_columns(folder, monkeypatch):
    with pytest.raises(ValueError, match=r"columns are not numeric: name \(.*string\). Pass numeric ones as columns"):
        ParquetRows(folder)
    with pytest.raises(ValueError, match=r"There are no columns \['e'\]; the columns are \['a', 'b', 'c', 'd', 'name'"):
        ParquetRows(folder, ["a", "e"])
    monkeypatch.setattr("skgmvae.datasets._parquet.MAX_CHUNK_BYTES", GROUP * 4 - 1)
    with pytest.warns(UserWarning, match="row groups of .* have up to 0.000191 MiB"):
        ParquetRows(folder, ["a"])


def test_each_row_group_is_read_once_per_pass(folder, read, monkeypatch):
    rows = ParquetRows(folder, list("abcd"))
    for block_bytes in (1, 60 * 16, 10**6):  # of rows; a block is a group, or several small ones
        monkeypatch.setattr("skgmvae.data.lazy.BLOCK_BYTES", block_bytes)
        sizes = [len(chunk) for _, chunk in iter_chunks(LazyRows(rows), 7)]
        assert sum(sizes) == 120 and read == [0, 1, 2]
        read.clear()
    for first in range(0, 120, 7):  # without blocks
        rows[first : first + 7]
    assert read == [0, 1, 2]


@pytest.mark.usefixtures("small_blocks")
def test_a_fit_is_that_of_the_array(folder, frame, quick, read):
    settings = quick | {"pretrain_iter": 2, "max_iter": 2}
    columns = list("abcd")
    model = VaDEClustering(3, **settings).fit(ParquetRows(folder, columns))
    assert read == 8 * [0, 1, 2]  # summary, embedding, residuals, labels, and four epochs

    class Rows:
        shape, dtype, chunks = (120, 4), np.dtype(np.float32), ((50, 30, 40), (4,))

        def __getitem__(self, part):
            return frame[columns].to_numpy()[part]

    expected = VaDEClustering(3, **settings).fit(Rows())
    np.testing.assert_array_equal(model.labels_, expected.labels_)
    np.testing.assert_array_equal(model.means_, expected.means_)
    np.testing.assert_array_equal(model.predict(ParquetRows(folder, columns)), model.labels_)


def test_partitions_of_a_dask_frame_are_computed_once_per_pass(frame):
    dask = pytest.importorskip("dask.dataframe")
    computed = []

    def note(part):
        computed.append(len(part))
        return part

    parts = dask.from_pandas(frame[list("abcd")], npartitions=4)
    meta = frame[list("abcd")][:0]
    X = parts.map_partitions(note, meta=meta, enforce_metadata=False).to_dask_array(lengths=[30, 30, 30, 30])
    rows = LazyRows(X)
    computed.clear()
    values = np.concatenate([chunk for _, chunk in iter_chunks(rows, 11)])
    np.testing.assert_array_equal(values, frame[list("abcd")].to_numpy())
    assert sorted(computed) == [30, 30, 30, 30]
