"""Files of data sets: what is written is read, and every damage is named."""

import gzip
import struct

import numpy as np
import pytest

from skgmvae.datasets import load_idx, make_circle_arcs
from skgmvae.datasets._idx import read_idx


def idx_bytes(values, code=0x08):
    """An IDX file as its specification states it."""
    return struct.pack(f">BBBB{values.ndim}I", 0, 0, code, values.ndim, *values.shape) + values.tobytes()


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(256, size=(7, 4, 5), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path, images):
    """A compressed training split and a plain test split of the first two images."""
    labels = np.arange(7, dtype=np.uint8)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(images)))
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(labels)))
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx_bytes(images[:2]))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(labels[:2]))
    return tmp_path


def test_circle_arcs_lie_on_half_circles_around_the_corners_of_a_polygon():
    X, y = make_circle_arcs(1003, noise=0.05, random_state=0)
    assert X.shape == (1003, 2) and sorted(np.bincount(y)) == [200, 200, 201, 201, 201]
    corners = 1.6 * np.column_stack([np.cos(2 * np.pi * np.arange(5) / 5), np.sin(2 * np.pi * np.arange(5) / 5)])
    from_corner = X - corners[y]
    distances = np.linalg.norm(from_corner, axis=1)
    assert abs(distances.mean() - 1.0) < 0.01 and abs(distances.std() - 0.05) < 0.01
    # the middle of each arc is a quarter turn ahead of its corner
    ahead = np.column_stack([-corners[y, 1], corners[y, 0]]) / 1.6
    assert ((from_corner * ahead).sum(1) > -0.2).all()
    np.testing.assert_array_equal(make_circle_arcs(1003, noise=0.05, random_state=0)[0], X)
    assert not np.array_equal(make_circle_arcs(1003, noise=0.05, random_state=1)[0], X)


def test_rows_in_the_unit_interval(folder, images):
    X, y = load_idx(folder)
    assert X.dtype == np.float32 and y.dtype == np.int64
    np.testing.assert_allclose(X, images.reshape(7, 20) / 255.0, rtol=1e-6)
    np.testing.assert_array_equal(y, np.arange(7))


def test_images_as_stored_from_the_test_split(folder, images):
    X, y = load_idx(str(folder), split="test", scale=False, flatten=False)
    assert X.dtype == np.uint8 and X.flags.writeable
    np.testing.assert_array_equal(X, images[:2])
    assert len(y) == 2


@pytest.mark.parametrize(
    ("code", "dtype"), [(0x08, "u1"), (0x09, "i1"), (0x0B, "i2"), (0x0C, "i4"), (0x0D, "f4"), (0x0E, "f8")]
)
def test_every_type_of_value(tmp_path, code, dtype):
    values = np.array([[1, 2, 3], [-4 if dtype != "u1" else 4, 5, 100]], dtype=f">{dtype}")
    (tmp_path / "values").write_bytes(idx_bytes(values, code))
    read = read_idx(tmp_path / "values")
    assert read.dtype == np.dtype(dtype) and read.dtype.isnative
    np.testing.assert_array_equal(read, values)


GOOD = idx_bytes(np.arange(6, dtype=np.uint8).reshape(2, 3))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an IDX file: its first bytes are missing"),
        (b"\x89PNG\r\n", "first bytes are 89 50 4e 47"),
        (b"\x00\x00\x0a\x01", "unknown IDX type code 0x0a; known are 0x08"),
        (b"\x00\x00\x08\x00", "states 0 dimensions"),
        (GOOD[:9], "ends inside its header: 9 bytes where 2 dimensions need 12"),
        (GOOD[:-1], r"has 5 bytes of values where its dimensions \(2, 3\) of uint8 need 6"),
        (GOOD + b"\x00", r"has 7 bytes of values where its dimensions \(2, 3\) of uint8 need 6"),
        (gzip.compress(GOOD, mtime=0)[:-9], "cannot be decompressed"),
        (gzip.compress(GOOD, mtime=0)[:-8] + bytes(8), "cannot be decompressed"),
    ],
)
def test_damaged_files(tmp_path, content, message):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_idx(tmp_path / "file")


def test_images_and_labels_of_different_length(folder):
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(np.zeros(3, np.uint8)))
    with pytest.raises(ValueError, match="2 images, but .* 3 labels"):
        load_idx(folder, split="test")


def test_labels_in_the_place_of_images(folder):
    (folder / "t10k-images-idx3-ubyte").write_bytes(idx_bytes(np.zeros(3, np.uint8)))
    with pytest.raises(ValueError, match="holds uint8 values in 1 dimensions where uint8 in 3"):
        load_idx(folder, split="test")


def test_missing_folder_file_and_split(folder):
    with pytest.raises(FileNotFoundError, match="no folder .*nowhere"):
        load_idx(folder / "nowhere")
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match="neither t10k-labels-idx1-ubyte nor t10k-labels-idx1-ubyte.gz"):
        load_idx(folder, split="test")
    with pytest.raises(ValueError, match="split must be 'train' or 'test', got 'valid'"):
        load_idx(folder, split="valid")
