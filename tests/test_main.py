"""The demo, with the smallest of networks."""

import struct
import sys
from functools import partial

import numpy as np
import pytest

from skgmvae import VaDEClustering
from skgmvae import __main__ as demo

TINY = {"hidden_layer_sizes": (8,), "latent_dim": 2, "pretrain_iter": 1, "max_iter": 1, "init_params": "random"}
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def refuse(*args, **kwargs):
    raise AssertionError("fitting was to start after all checks only")


@pytest.fixture
def idx_folder(tmp_path):
    """Sixty training and ten test images of 11 × 11, more pixels than GaussianMixture is given."""
    rng = np.random.default_rng(0)
    for prefix, n_rows in (("train", 60), ("t10k", 10)):
        images, labels = rng.integers(256, size=(n_rows, 11, 11), dtype=np.uint8), np.arange(n_rows, dtype=np.uint8) % 3
        header = bytes([0, 0, 8, 3]) + struct.pack(">3I", n_rows, 11, 11)
        (tmp_path / f"{prefix}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        (tmp_path / f"{prefix}-labels-idx1-ubyte").write_bytes(
            bytes([0, 0, 8, 1]) + struct.pack(">I", n_rows) + labels.tobytes()
        )
    return tmp_path


def cells_of(table, method):
    """Last five cells of the method's line: accuracy, ARI, NMI, log-likelihood, seconds."""
    (line,) = (line for line in table.splitlines() if line.startswith(method))
    return line.split()[-5:]


def test_bundled_digits(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(demo.ESTIMATORS, "vade", partial(VaDEClustering, **TINY))
    out = tmp_path / "samples.png"
    assert demo.main(["--estimator", "vade", "--n-components", "2", "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert out.read_bytes().startswith(PNG_SIGNATURE)
    assert "digits: 1,437 samples clustered, 360 held out" in printed.out
    for method in ("VaDEClustering", "GaussianMixture"):
        assert all(np.isfinite(float(cell.replace(",", ""))) for cell in cells_of(printed.out, method))
    assert cells_of(printed.out, "KMeans")[3] == "–"
    assert "training" in printed.err  # the progress bar
    scores = {name: cells_of(printed.out, name)[3] for name in ("VaDEClustering", "GaussianMixture")}
    winner = max(scores, key=lambda name: float(scores[name].replace(",", "")))
    (best,) = (line for line in printed.out.splitlines() if line.startswith("best: "))
    assert f"log-likelihood {winner}, seconds" in best


def test_idx_folder_without_matplotlib(idx_folder, monkeypatch, capsys):
    monkeypatch.setattr("skgmvae._auto.Defaults.of_images", lambda defaults: TINY)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    out = idx_folder / "samples.png"
    assert demo.main(["--data", str(idx_folder), "--n-components", "3", "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert cells_of(printed.out, "PCA + GaussianMixture")[3] == "–"
    assert "pip install 'skgmvae[plot]'" in printed.err and not out.exists()


def test_square_images_are_told_to_the_estimators(idx_folder):
    arguments, images = demo.make_parser().parse_args([]), demo.load(idx_folder)
    shapes = [estimator.image_shape for estimator in demo.make_estimators(arguments, images).values()]
    assert shapes == 3 * [(1, 11, 11)]
    oblong = images._replace(train=images.train[:, :110])
    assert demo.make_estimators(arguments, oblong)["VaDEClustering"].image_shape is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nowhere"], "no folder nowhere"),
        (["--out", "nowhere/samples.png"], "there is no folder"),
        (["--out", "."], "is a folder; pass the path of a file in it"),
        (["--n-components", "0"], "must lie between 1 and 718, half of the samples, got 0"),
        (["--n-components", "719"], "must lie between 1 and 718, half of the samples, got 719"),
        (["--estimator", "gmvea"], "invalid choice: 'gmvea'"),
        (["--seed", "-1"], "must lie between 0 and 2"),
    ],
)
def test_mistakes_end_with_status_2_before_fitting(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "fit_and_measure", refuse)
    with pytest.raises(SystemExit) as exit_:
        demo.main(arguments)
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


def test_damaged_idx_file_ends_with_status_2(idx_folder, capsys):
    (idx_folder / "t10k-labels-idx1-ubyte").write_bytes(b"no labels")
    with pytest.raises(SystemExit, match="2"):
        demo.main(["--data", str(idx_folder)])
    assert "is not an IDX file" in capsys.readouterr().err


@pytest.fixture(autouse=True)
def without_windows(monkeypatch):
    """Draw off screen, and leave no figure open."""
    monkeypatch.setenv("MPLBACKEND", "Agg")
    yield
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        pyplot.close("all")
