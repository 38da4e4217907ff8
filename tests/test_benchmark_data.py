"""Readers of the benchmarks' files: what is written is read, and every damage is named."""

import bz2
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from scipy.sparse import csc_matrix

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # benchmarks are not installed

from benchmarks.common.features import load_features
from benchmarks.common.pixels import load_svhn, load_usps


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
