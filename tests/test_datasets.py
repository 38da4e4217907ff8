"""Files of data sets: what is written is read, and every damage is named."""

import bz2
import gzip
import struct

import numpy as np
import pytest
from scipy.io import savemat
from scipy.sparse import csc_matrix

from skgmvae.datasets import load_features, load_idx, load_svhn, load_usps, make_circle_arcs, read_idx


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
    with pytest.raises(ValueError, match="2 images and .* 3 labels"):
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


def test_street_numbers_come_channel_by_channel(tmp_path):
    images = np.random.default_rng(0).integers(256, size=(6, 3, 32, 32), dtype=np.uint8)
    labels = np.array([[1], [9], [10], [10], [2], [5]], dtype=np.uint8)
    savemat(tmp_path / "extra_32x32.mat", {"X": images.transpose(2, 3, 1, 0), "y": labels})
    X, y = load_svhn(tmp_path, split="extra")
    assert X.dtype == np.float32 and X.flags.c_contiguous and y.dtype == np.int64
    np.testing.assert_allclose(X, images.reshape(6, 3072) / 255.0, rtol=1e-6)
    np.testing.assert_array_equal(y, [1, 9, 0, 0, 2, 5])
    np.testing.assert_array_equal(load_svhn(tmp_path, split="extra", scale=False, flatten=False)[0], images)
    savemat(tmp_path / "test_32x32.mat", {"X": images, "y": labels})
    with pytest.raises(ValueError, match="not SVHN's format 2"):
        load_svhn(tmp_path, split="test")
    with pytest.raises(FileNotFoundError, match="train_32x32.mat"):
        load_svhn(tmp_path)
    with pytest.raises(ValueError, match="split must be one of 'train', 'test', 'extra', got 'valid'"):
        load_svhn(tmp_path, split="valid")


def test_envelopes_are_read_from_svmlight_files_plain_or_compressed(tmp_path):
    pixels = np.round(np.random.default_rng(0).uniform(-1.0, 1.0, (5, 256)), 3)
    pixels[:, 17] = 0.0  # such values are left out
    labels = [1, 10, 3, 3, 7]
    lines = [
        f"{label} " + " ".join(f"{i}:{v}" for i, v in enumerate(row, start=1) if v)
        for label, row in zip(labels, pixels, strict=True)
    ]
    (tmp_path / "usps.bz2").write_bytes(bz2.compress("\n".join(lines).encode()))
    X, y = load_usps(tmp_path)
    assert X.dtype == np.float32 and y.dtype == np.int64
    np.testing.assert_allclose(X, (pixels + 1.0) / 2.0, atol=1e-6)
    np.testing.assert_array_equal(y, [0, 9, 2, 2, 6])
    for text, message in (
        ("0 1:0.5", "not LIBSVM's USPS"),
        ("1 1:2.5", "not LIBSVM's USPS"),
        ("a b", "cannot be read"),
    ):
        (tmp_path / "usps.t").write_text(text)
        with pytest.raises(ValueError, match=message):
            load_usps(tmp_path, split="test")
    with pytest.raises(FileNotFoundError, match=r"neither usps nor usps.bz2"):
        load_usps(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="split must be 'train' or 'test'"):
        load_usps(tmp_path, split="all")


def test_features_and_labels_of_any_shape(tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(7, 4)), np.array([3, 1, 1, 6, 3, 6, 1])
    classes = np.array([1, 0, 0, 2, 1, 2, 0])
    for labels in (y, y[:, None], y[None], np.eye(3)[classes]):
        savemat(tmp_path / "a.mat", {"X": X, "Y": labels})
        np.savez(tmp_path / "b.npz", fea=X, gnd=labels)
        for read in (
            load_features(tmp_path / "a.mat"),
            load_features(tmp_path / "b.npz", features="fea", labels="gnd"),
        ):
            assert read[0].dtype == np.float32 and read[1].dtype == np.int64
            np.testing.assert_allclose(read[0], X, rtol=1e-6)
            np.testing.assert_array_equal(read[1], classes)
    savemat(tmp_path / "sparse.mat", {"X": csc_matrix(X), "Y": y})
    np.testing.assert_allclose(load_features(tmp_path / "sparse.mat")[0], X, rtol=1e-6)


def test_features_that_cannot_be_used_are_refused_and_nothing_is_unpickled(tmp_path):
    X, y = np.ones((4, 2)), np.arange(4)
    for content, message in (
        ({"X": X}, "has no 'Y'; it holds 'X'"),
        ({"X": X, "Y": y[:3]}, "has 3 labels for 4 rows"),
        ({"X": X, "Y": np.ones((4, 3))}, r"a class per row, or one-hot; got shape \(4, 3\)"),
        ({"X": np.ones((4, 2, 2)), "Y": y}, r"must be a matrix of numbers; got shape \(4, 2, 2\)"),
        ({"X": X.astype(object), "Y": y}, "cannot be read .*pickle"),
    ):
        np.savez(tmp_path / "a.npz", **content)
        with pytest.raises(ValueError, match=message):
            load_features(tmp_path / "a.npz")
    (tmp_path / "new.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(400))
    with pytest.raises(ValueError, match="save it with the option -v7"):
        load_features(tmp_path / "new.mat")
    (tmp_path / "bad.mat").write_bytes(b"no such thing" * 50)
    with pytest.raises(ValueError, match="bad.mat cannot be read"):
        load_features(tmp_path / "bad.mat")
    with pytest.raises(FileNotFoundError, match="no file"):
        load_features(tmp_path / "nowhere.mat")
