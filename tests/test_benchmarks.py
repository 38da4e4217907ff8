"""The benchmark scripts: a run becomes one line, lines become tables, both loops have one loss."""

import json
import shutil
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat
from sklearn.base import BaseEstimator
from sklearn.mixture import GaussianMixture

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # benchmarks are not installed

from benchmarks.accuracy import minimum_information, overview, report
from benchmarks.accuracy import run as accuracy_run
from benchmarks.common import data, environment, methods
from benchmarks.common.results import read_lines
from benchmarks.density import checks, tables
from benchmarks.density import keel as keel_densities
from benchmarks.density import r_tables as r_densities
from benchmarks.figures import runs as run_figures
from benchmarks.initialization import bent, clamping, compare, keel, restarts
from benchmarks.memory import larger_than_memory, shuffling
from benchmarks.model_selection import how_many, how_many_mixed, m_and_lambda, n_components, simulated
from benchmarks.reliability import report as reliability_report
from benchmarks.speed import curves, gpu, overhead, profile_training
from benchmarks.speed import report as speed_report
from benchmarks.tables import r_tables
from skgmvae import VaDEClustering
from skgmvae.datasets import make_circle_arcs
from skgmvae.metrics import purity_score

PEER = tables.PEER
ROOT = Path(__file__).resolve().parents[1]
BENCHMARKS, PAGES = ROOT / "benchmarks", ROOT / "docs" / "benchmarks"
SCRIPTS = sorted(path for path in BENCHMARKS.glob("*/*.py") if "__main__" in path.read_text())
TINY = ["pretrain_iter=1", "max_iter=1", "hidden_layer_sizes=(8,)", "latent_dim=2", "init_params=random"]


@pytest.fixture(autouse=True)
def leave_threads_alone(monkeypatch):
    monkeypatch.setattr(environment, "set_threads", lambda n_threads: None)


@pytest.fixture
def run(monkeypatch):
    """accuracy/run.py, in this process."""
    monkeypatch.setattr(accuracy_run, "run_alone", accuracy_run.run_once)
    return accuracy_run


def line_of(model="vade", accuracy=0.5, seed=0, **fields):
    """A run as run.py writes it."""
    return {
        "data": "iris", "protocol": "all", "model": model, "n_components": 3, "params": {}, "seed": seed,
        "test_accuracy": accuracy, "train_accuracy": accuracy / 2, "ari": 0.1, "nmi": 0.2, "held_out_score": None,
        "seconds": 1.0, "initialization": "graph",
        "peak_memory": 2**20, "threads": 1, "versions": {"torch": "2"},
        "machine": {"cpu": "fast", "cores": 2, "system": "Linux"}, **fields,
    }  # fmt: skip


def test_scripts_start_from_anywhere_and_are_listed(tmp_path):
    line = "sys.path.insert(0, str(Path(__file__).resolve().parents[2]))"
    listed = (BENCHMARKS / "README.md").read_text()
    for script in SCRIPTS:
        assert line in script.read_text() and f"| `{script.relative_to(BENCHMARKS).as_posix()}` |" in listed, script
    script = BENCHMARKS / "initialization" / "compare.py"
    command = [sys.executable, "-E", str(script), "--help"]
    assert (
        "usage: compare.py" in subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    )


def test_a_row_of_the_overview_names_the_best_other_method_and_counts_sets():
    values = {
        "vade": {"a": 0.5, "b": 0.7, "c": 0.2},
        "weak": {"a": 0.1, "b": 0.1, "c": 0.1},
        "strong": {"a": 0.505, "b": 0.4, "c": 0.9},
    }
    seconds = {"vade": {"a": 3.0, "b": 1.0, "c": 2.0}, "strong": {"a": 0.25}}
    suite = overview.Suite("Sets", "sets.md", "ARI", "no", "vade", values, seconds)
    row = overview.make_row(suite)
    assert row == ["[Sets](sets.md) (3)", "ARI", "0.47", "**0.60**, strong", "1–1–1", "2 / 0.25", "no"]
    row = overview.make_row(suite._replace(lower_is_better=True))
    assert row[2:5] == ["0.47", "**0.10**, weak", "0–0–3"]


def test_data_sets_that_are_not_bundled_are_read_from_their_folders(monkeypatch, tmp_path):
    rng = np.random.default_rng(0)
    monkeypatch.setattr(data, "N_HHAR", 10)
    X, y = rng.normal(size=(12, 3)), np.arange(12) % 2 + 1
    for name in ("hhar", "reuters10k", "stl10", "svhn", "usps"):
        (tmp_path / name).mkdir()
    savemat(tmp_path / "hhar" / "HAR.mat", {"X": X, "Y": y[:, None]})
    savemat(tmp_path / "reuters10k" / "reuters10k.mat", {"X": X, "Y": y})
    np.savez(tmp_path / "stl10" / "features.npz", X=X, Y=y)
    for split, n_images in (("train", 4), ("test", 2)):
        images = {"X": np.zeros((32, 32, 3, n_images), np.uint8), "y": np.arange(n_images)[:, None]}
        savemat(tmp_path / "svhn" / f"{split}_32x32.mat", images)
    (tmp_path / "usps" / "usps").write_text("1 1:0.5\n10 2:-1\n")
    (tmp_path / "usps" / "usps.t").write_text("4 256:1\n")
    loaded = {name: data.load(name, data_dir=tmp_path) for name in ("hhar", "reuters10k", "stl10", "svhn", "usps")}
    shapes = {name: (one.train.shape, one.test.shape, one.protocol) for name, one in loaded.items()}
    assert shapes == {
        "hhar": ((10, 3), (10, 3), "all"),
        "reuters10k": ((12, 3), (12, 3), "all"),
        "stl10": ((12, 3), (12, 3), "all"),
        "svhn": ((4, 3072), (2, 3072), "split"),
        "usps": ((2, 256), (1, 256), "split"),
    }
    assert [one.image_shape for one in loaded.values()] == [None, None, None, (3, 32, 32), (1, 16, 16)]
    task = {"model": "vade", "n_components": 3, "seed": 1, "params": {}}
    assert accuracy_run.make_method(loaded["usps"], task).image_shape == (1, 16, 16)
    assert len(data.load("stl10", data_dir=tmp_path, protocol="split").test) == 3
    monkeypatch.delenv("SKGMVAE_DATA", raising=False)
    with pytest.raises(ValueError, match="stl10 is read from files; name the parent of their folder"):
        data.load("stl10")


def test_the_first_images_are_a_set_of_their_own(monkeypatch, tmp_path):
    X = np.arange(48.0).reshape(12, 4)
    monkeypatch.setitem(data.IMAGES, "mnist", lambda folder, split: (X + (split == "test"), np.arange(12) % 3))
    monkeypatch.setattr(data, "N_SUBSET", 5)
    few = data.load("mnist-10k", data_dir=tmp_path, protocol="all")
    assert few.protocol == "split" and few.train_labels.tolist() == [0, 1, 2, 0, 1]
    np.testing.assert_array_equal(few.train, X[:5])
    np.testing.assert_array_equal(few.test, X + 1)


def test_peers_are_made_at_their_own_defaults(monkeypatch):
    class Recorder(BaseEstimator):
        def __init__(self, n_clusters=8, random_state=None):
            self.n_clusters, self.random_state = n_clusters, random_state

    deep = types.SimpleNamespace(VaDE=Recorder, DEC=Recorder)
    monkeypatch.setitem(sys.modules, "clustpy", types.SimpleNamespace(deep=deep))
    vade = methods.make("clustpy-vade", 3, 7, n_features=4)
    for peer in (methods.make("clustpy-dec", 3, 7, n_features=4), vade[-1]):
        assert (peer.n_clusters, peer.random_state) == (3, 7)
    images, table = np.array([[0.0, 0.2], [0.5, 0.6]]), np.array([[-1.0, 0.0], [3.0, 4.0]])
    np.testing.assert_array_equal(vade[0].fit_transform(images), images)
    np.testing.assert_array_equal(vade[0].fit_transform(table), [[0.0, 0.0], [1.0, 1.0]])
    wide = np.random.default_rng(0).normal(size=(9, 500))  # some are above 1 by a rounding before they are clipped
    assert vade[0].fit_transform(wide).max() == 1.0
    monkeypatch.setitem(sys.modules, "clustpy", None)
    with pytest.raises(ImportError, match="clustpy"):
        methods.make("clustpy-vade", 3, 7, n_features=4)


def test_run_writes_a_line_per_run_and_does_none_twice(run, tmp_path):
    out = tmp_path / "results" / "iris.jsonl"
    arguments = ["--data", "iris", "--model", "vade", "--seeds", "1", "--out", str(out), "--keep", str(tmp_path)]
    arguments += ["--trace", "--params", *TINY]
    assert run.main(arguments) == 0
    assert run.main(arguments) == 0
    kept = VaDEClustering.load(tmp_path / "iris-vade-3-0.safetensors")
    assert (kept.n_components, kept.random_state, kept.n_iter_) == (3, 0, 1)
    (line,) = map(json.loads, out.read_text().splitlines())
    assert (line["data"], line["model"], line["seed"], line["n_components"]) == ("iris", "vade", 0, 3)
    assert line["params"]["hidden_layer_sizes"] == [8] and line["params"]["init_params"] == "random"
    assert line["protocol"] == "all" and line["held_out_score"] is None
    assert line["train_accuracy"] == line["test_accuracy"] > 0.3
    assert {"pretraining", "initialization", "training"} <= line["phase_seconds"].keys()
    assert line["cpu_seconds"] > 0.0 and line["arithmetic"] == "float32"
    # the trace is of q(c|x) in training, the labels of the posterior after it
    iris = data.load("iris", protocol="all")
    trace = accuracy_run.PurityTrace(iris.test, iris.test_labels)
    trace.on_epoch_end(kept.net_)
    assert line["purity_by_epoch"] == trace.purities and len(trace.purities) == line["n_iter"]
    assert line["purity_score"] == purity_score(iris.test_labels, kept.predict(iris.test))
    assert line["initialization"] == "random" and line["peak_memory"] >= line["memory_before"] > 2**20
    assert line["versions"]["torch"] and line["machine"]["cores"] >= 1


def test_held_out_rows_have_a_score_where_it_is_a_log_likelihood(run, tmp_path):
    out = tmp_path / "iris.jsonl"
    arguments = ["--data", "iris", "--seeds", "1", "--protocol", "split"]
    assert run.main([*arguments, "--model", "gmm", "kmeans", "--out", str(out)]) == 0
    gmm, kmeans = read_lines(out)
    assert isinstance(gmm["held_out_score"], float) and kmeans["held_out_score"] is None
    assert gmm["train_accuracy"] != gmm["test_accuracy"]
    unscored = tmp_path / "unscored.jsonl"
    assert run.main([*arguments, "--model", "gmm", "--unscored", "--out", str(unscored)]) == 0
    assert read_lines(unscored)[0]["held_out_score"] is None


def test_unknown_parameter_shows_before_any_run(run, tmp_path):
    with pytest.raises(ValueError, match="Invalid parameter 'n_epochs'"):
        run.main(["--data", "iris", "--model", "vade", "--out", str(tmp_path / "o"), "--params", "n_epochs=3"])


def test_image_sets_need_a_folder(monkeypatch):
    monkeypatch.delenv("SKGMVAE_DATA", raising=False)
    with pytest.raises(ValueError, match="name the parent of their folder by --data-dir or SKGMVAE_DATA"):
        data.load("mnist")


def test_report_makes_both_tables(tmp_path):
    lines = [line_of(accuracy=0.5), line_of(accuracy=0.7, seed=1), line_of("kmeans", 0.25, initialization=None)]
    lines += [
        line_of(accuracy=0.9, n_components=7, timed=False, arithmetic="bfloat16")
    ]  # a row of its own, and none in the README
    failed = {"error": "ValueError: no"} | {
        name: lines[0][name] for name in ("data", "protocol", "model", "n_components")
    }
    lines += [{**failed, "params": {}, "seed": 2}, {**failed, "params": {}, "seed": 0}, line_of(accuracy=0.5)]
    results, out, readme = (tmp_path / name for name in ("runs.jsonl", "accuracy.md", "README.md"))
    results.write_text("".join(json.dumps(line) + "\n" for line in lines))
    readme.write_text(f"above\n{report.BEGIN}\nold\n{report.END}\nbelow\n")
    for _ in range(2):  # the second time replaces the first's
        assert report.main([str(results), "--out", str(out), "--readme", str(readme)]) == 0
    # mean and sample sd of 50 and 70; the failure of seed 0 was made good
    assert "| vade | 3 | 60.0 ± 14.1 | 50.0 | 70.0 | 30.0 ± 7.1 | – | – | 0.100 ± 0.000 |" in out.read_text()
    assert "| vade | 7 | 90.0 | 90.0 | 90.0 | 45.0 | – | – | 0.100 | 0.200 | – | – | – | 1 | 1 |" in out.read_text()
    assert "| 2 (1 failed) | graph 2 | default |" in out.read_text()
    assert "3 runs, 1 threads: fast, 2 cores, Linux; torch 2" in out.read_text()
    assert "1 runs, 1 threads, products in bfloat16: fast, 2 cores" in out.read_text()
    assert "Published" not in out.read_text()  # nothing on iris
    published = "".join(report.describe_published({"mnist"}))
    assert "| mnist | GMVAE | 10 | 10 | 82.3 ± 3.8 | 88.5 |" in published
    assert "| mnist | DEKM | 10 | – | 95.8 | – | mean of 3 runs" in published
    text = readme.read_text()
    assert text.startswith("above\n") and text.endswith("\nbelow\n") and "old" not in text
    assert text.count("| iris | 25.0 | 60.0 |") == 1


@pytest.mark.parametrize(
    ("script", "name"),
    [
        (bent, "bent"),
        (clamping, "clamping"),
        (compare, "initialization"),
        (how_many, "how_many"),
        (how_many_mixed, "how_many_mixed"),
        (keel, "keel"),
        (keel_densities, "keel_densities"),
        (m_and_lambda, "m_and_lambda"),
        (minimum_information, "minimum_information"),
        (n_components, "n_components"),
        (r_densities, "r_densities"),
        (r_tables, "r_tables"),
        (restarts, "restarts"),
        (tables, "tables"),
    ],
)
def test_pages_are_what_their_scripts_write_of_the_results_kept(script, name):
    lines = read_lines(BENCHMARKS / "results" / f"{name}.jsonl")
    assert script.make_page(lines) == (PAGES / f"{name}.md").read_text()


def test_tables_are_what_their_scripts_write_of_the_results_kept(tmp_path):
    readme = ROOT / "README.md"
    shutil.copy(readme, tmp_path)
    assert report.main(["--out", str(tmp_path / "accuracy.md"), "--readme", str(tmp_path / "README.md")]) == 0
    assert speed_report.main(["--out", str(tmp_path / "speed.md")]) == 0
    assert (tmp_path / "README.md").read_text() == readme.read_text()
    for page in ("accuracy.md", "speed.md"):
        assert (tmp_path / page).read_text() == (PAGES / page).read_text()


def test_side_by_side_takes_the_sets_that_all_methods_were_fitted_to():
    lines = [line_of(ari=0.4), line_of(ari=0.6, seed=1), line_of("kmeans", ari=0.3)]
    lines += [line_of(data="wine", ari=0.9), line_of("kmeans", data="wine", ari=0.5), line_of(data="digits", ari=0.1)]
    lines += [line_of("dec", data="digits", ari=0.2)]
    lines += [line_of(params={"tol": 1.0}, ari=0.0), line_of(protocol="split", ari=0.0)]
    (table,) = report.make_side_by_side(lines, "ARI", "all", "ari", digits=3)
    assert table.splitlines()[0] == "| ARI | kmeans | vade |"
    assert table.splitlines()[2:] == [
        "| iris | 0.300 | 0.500 |",
        "| wine | 0.500 | 0.900 |",
        "| mean | 0.400 | 0.700 |",
    ]
    assert report.make_side_by_side(lines, "score", "all", "held_out_score", digits=2) == []
    assert report.make_short_table([*lines, line_of(data="iris-10k")]) == report.make_short_table(lines)
    assert report.make_short_table(lines).count("| iris |") == 1  # on all samples
    lines += [line_of(params={"init_params": "contrastive"}), line_of(params={"init_params": "graph"})]
    _, _, *rows = report.make_short_table(lines).splitlines()
    assert [row.split(" |")[0] for row in rows if "iris" in row] == [
        "| iris",
        "| iris, contrastive",
    ]


def test_shared_pretraining_counts_in_every_run_that_used_it():
    def run_of(model, pretraining, seed=0, memory=".joblib"):
        phases = {"pretraining": pretraining, "training": 5.0}
        return line_of(model, seed=seed, seconds=pretraining + 5.0, phase_seconds=phases, params={"memory": memory})

    lines = [run_of("vade", 60.0), run_of("gmvae", 0.5), run_of("vade", 40.0, seed=1), run_of("gmvae", 0.4, seed=2)]
    lines += [run_of("vade", 2.0, memory="b"), line_of("kmeans")]
    booked = report.book_shared_pretraining(lines)
    assert [line["seconds"] for line in booked] == [65.0, 65.0, 45.0, 55.0, 7.0, 1.0]
    assert booked[1]["phase_seconds"] == {"pretraining": 60.0, "training": 5.0}


def test_effort_is_compared_on_the_sets_of_the_peer():
    lines = [line_of("clustpy-vade", 0.5, cpu_seconds=200.0), line_of("vade", 0.6, cpu_seconds=30.0)]
    lines += [line_of("vade", 0.8, seed=1, cpu_seconds=50.0), line_of("vade", seed=2, cpu_seconds=None)]
    lines += [line_of("gmvae"), line_of("vade", data="wine", cpu_seconds=1.0)]
    assert list(report.make_time_comparison(lines)) == [
        ["iris", "clustpy-vade", "50.0", "200", "1.000", 1, "default"],
        ["iris", "vade", "70.0 ± 14.1", "40", "0.200", 2, "default"],
    ]
    assert "## CPU time compared with ClustPy" in report.make_document(lines)


def test_report_without_marks_or_runs(tmp_path, capsys):
    with pytest.raises(ValueError, match="the page lacks the lines <!-- benchmarks:begin -->"):
        report.replace_between_marks("no marks", "table")
    assert report.main([str(tmp_path / "nothing.jsonl")]) == 2
    assert "nothing.jsonl; make some with benchmarks/accuracy/run.py" in capsys.readouterr().err


def test_speed_page_takes_the_last_line_of_every_measurement(tmp_path):
    facts = {"threads": 1, "versions": {"torch": "2"}, "machine": {"cpu": "fast", "cores": 2, "system": "Linux"}}
    tiny = {"benchmark": "overhead", "case": "vade, tiny", "target": 1.1, **facts}
    large = {
        "benchmark": "larger_than_memory",
        "model": "vade",
        "n_samples": 5000,
        "file_bytes": 2e10,
        "cpu_seconds": 9.0,
    }
    large |= {"peak_resident_bytes": 1.5e9, "passes": 6.0, **facts}
    curve = {"benchmark": "curves", "case": "vade, K", "model": "vade", "letter": "K", "values": [2, 10, 100], **facts}
    curve |= {
        "fit_seconds": [1.0, 2.0, 20.0],
        "initialization_seconds": [0.5, 0.5, 3.0],
        "predict_seconds": [1.0, 1.0, 1.0],
    }
    curve["fit_memory"] = [2**20, 0, 2**21]
    results, out = tmp_path / "speed.jsonl", tmp_path / "speed.md"
    summary = {"full": -1.0, "blocks": -1.5, "difference": -0.5, "standard_error": 0.25}
    shuffled = {
        "benchmark": "shuffling",
        "model": "vade",
        "n_blocks": 16,
        "seeds": 5,
        "lower_bound": summary,
        "ari": summary,
        **facts,
    }
    phases = {"fit": 2.0, "initialization": 0.5, "training": 1.25, "assignment": 0.25}
    fits = {"benchmark": "tables", "case": "VaDEClustering", "now": {"iris": phases, "wine": phases}, **facts}
    fits |= {"before": {"iris": {"fit": 3.0}, "wine": {"fit": 5.0}}, "GaussianMixture": {"iris": {"fit": 0.125}}}
    lines = ({**tiny, "ratio": 1.3}, {**tiny, "ratio": 1.05}, large, curve, shuffled, fits)
    results.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert speed_report.main([str(results), "--out", str(out)]) == 0
    assert "64-128-10 | 1.05 | 1.10 | 1 |" in out.read_text() and "1.30" not in out.read_text()
    assert (
        "| vade | K | 2 → 10 → 100 | 1.00 → 20.00 | 0.50 → 3.00 | 1.00 → 1.00 | 1.00 | 0.00 | 1 → 2 |"
        in out.read_text()
    )
    assert "| VaDEClustering | 1.0 | 2.5 | 0.5 | 4.0 | 8.0 | 0.50 | 0.12 |" in out.read_text()
    assert "| vade | 16 | lower bound, nats | -1.000 | -1.500 | -0.500 ± 0.250 | 5 |" in out.read_text()
    assert "| vade | 5,000 | 20.0 | 1.50 | 9 | 6.0 |" in out.read_text()
    assert "- fast, 2 cores, Linux; torch 2" in out.read_text()


@pytest.mark.parametrize("name", ["vade", "gmvae", "vaeem"])
def test_hand_written_loop_has_the_loss_of_ours(name):
    case, model = overhead.make_tiny(), overhead.MODELS[name]
    module = overhead.initialize(model.make_module(case), case)
    overhead.check_equal_loss(model, module, case)
    other = model._replace(bare_loss=lambda *arguments: model.bare_loss(*arguments) * 1.0001)
    with pytest.raises(RuntimeError, match="the loops' losses differ"):
        overhead.check_equal_loss(other, module, case)
    assert all(min(seconds) >= 0.0 for turn in overhead.take_turns(name, "tiny", 1) for seconds in turn)


def test_purity_has_a_panel_per_way_to_train_and_a_color_per_number_of_components(monkeypatch, tmp_path):
    pytest.importorskip("matplotlib").use("Agg")
    from matplotlib.figure import Figure

    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, path, **kwargs: drawn.append((figure, path)))
    conv = {"init_params": "random", "network": "conv"}
    lines = [
        line_of("gmvae", n_components=K, seed=seed, params=params, purity_by_epoch=[0.5, 0.6])
        for K, seed, params in [(3, 0, {}), (3, 1, {}), (7, 0, {}), (7, 0, conv), (7, 0, {"n_mc_samples": 10})]
    ]
    results = tmp_path / "runs.jsonl"
    lines += [line_of("gmvae", seed=2), line_of("vade", purity_by_epoch=[0.5])]  # without a trace; of another model
    results.write_text("".join(json.dumps(line) + "\n" for line in lines))
    run_figures.main(["purity", str(results), "--model", "gmvae", "--out", str(tmp_path)])
    ((figure, path),) = drawn
    assert path == tmp_path / "purity_gmvae.png"
    curves = {ax.get_title(): [line.get_label() for line in ax.get_lines()] for ax in figure.axes}
    assert curves == {
        "gmvae, M = 10\nfully connected\ndefault initialization": ["K = 7"],
        "gmvae, M = 1\nconvolutional\nrandom initialization": ["K = 7"],
        "gmvae, M = 1\nfully connected\ndefault initialization": ["K = 3", "K = 3", "K = 7"],
    }
    assert list(figure.axes[0].get_lines()[0].get_ydata()) == [50.0, 60.0]


def test_page_and_curves_of_the_minimum_information_come_from_the_lines(monkeypatch, tmp_path):
    pytest.importorskip("matplotlib").use("Agg")
    arcs = minimum_information
    monkeypatch.setattr(arcs, "make_circle_arcs", lambda n=0, random_state=0: make_circle_arcs(100, random_state=0))
    monkeypatch.setattr(arcs, "draw_densities", lambda path: None)
    quick = {"max_iter": 2, "tol": 0.0}
    monkeypatch.setattr(arcs, "RANDOM_WEIGHTS", quick)
    out, page = tmp_path / "arcs.jsonl", tmp_path / "page.md"
    settings = {name: make for name, make in arcs.SETTINGS.items() if not name.startswith("default")}
    monkeypatch.setattr(arcs, "SETTINGS", settings)
    for _ in range(2):  # the second time has nothing left to fit
        assert arcs.main(["--seeds", "1", "--out", str(out), "--page", str(page)]) == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["setting"] for line in lines] == list(settings)
    assert [len(line["kl_component"] or []) for line in lines] == [2, 2, 0]
    mixture = lines[-1]
    assert f"| GaussianMixture | {mixture['components_used']:.1f} | {100 * mixture['purity']:.1f} |" in page.read_text()
    assert (tmp_path / "images" / "minimum_information_kl_component.png").stat().st_size > 1000


def test_smallest_number_of_components_is_not_clearly_worse_than_the_best(monkeypatch, tmp_path):
    monkeypatch.setattr(n_components, "GRID", [1, 2, 3])
    # K = 2 is worse than K = 3 in one fold and better in another; K = 1 is worse in all
    scores = [[-5.0, -2.0, -1.5], [-5.0, -1.0, -1.2], [-5.0, -3.0, -2.9]]
    blobs = {"data": "blobs, 2 features", "n_groups": 3, "method": "GaussianMixture", "seed": 1, "scores": scores}
    assert n_components.pick(blobs) == (3, 2)
    alike = [[-5.0, -2.0, -1.5], [-5.0, -1.7, -1.2], [-5.0, -3.4, -2.9]]  # always by half a nat
    assert n_components.pick({**blobs, "scores": alike}) == (3, 3)
    page, results = tmp_path / "page.md", tmp_path / "n_components.jsonl"
    results.write_text("".join(json.dumps(line) + "\n" for line in (blobs, {**blobs, "seed": 0, "scores": alike})))
    assert n_components.main(["--no-fits", "--out", str(results), "--page", str(page)]) == 0
    assert "| blobs, 2 features | 3 | GaussianMixture | 3, 3 | 3, 2 | 2 of 2 | 1 of 2 |" in page.read_text()


def test_curves_time_fit_initialization_and_predict():
    fit, initialization, predict, memory = curves.fit_once("vade", N=60, D=3, K=2, M=2)
    assert fit > 0.0 and initialization > 0.0 and predict >= 0.0 and memory >= 0
    X = curves.make_groups(20_001, 3)
    assert X.dtype == np.float32 and X[-1].any()


def test_gpu_script_runs_on_a_cpu_and_says_where_there_is_no_device(capsys):
    if not torch.cuda.is_available():
        assert gpu.main([]) == 2 and "no CUDA device" in capsys.readouterr().err
    small = ["--n-samples", "600", "--batch-size", "300", "--epochs", "1", "--repeats", "1", "--sizes", "60"]
    assert gpu.main(["--device", "cpu", "--model", "vade", *small]) == 0
    line, of_table = map(json.loads, capsys.readouterr().out.splitlines())
    assert of_table["case"] == "60 samples" and of_table["cpu"]["fit"] > of_table["cpu"]["score_samples"] > 0.0
    assert line["samples_per_second"] > 0.0 and line["ratio"] > 0.0 and line["busy"] is None
    line = gpu.fit("vade", data.load("iris"), "cpu")
    assert line["seconds"] >= sum(line["phase_seconds"].values()) and line["test_accuracy"] > 0.5


def test_restarts_share_a_pretraining_and_are_compared_by_their_bounds():
    X = make_circle_arcs(60, random_state=0)[0]
    seeds = [(1, 2), (1, 3), (4, 2)]
    settings = {"tol": 1000.0, "linear_path": False}
    fits = [VaDEClustering(2, **settings, random_state=restarts.Seeds(*pair)).fit(X) for pair in seeds]
    losses = [fit.pretrain_history_ for fit in fits]
    assert losses[0] == losses[1] != losses[2]
    assert fits[0].lower_bound_ != fits[1].lower_bound_
    lines = [
        {"data": "moons", "model": "vade", "pretraining": p, "initialization_seed": s, "ari": ari, "lower_bound": bound}
        for p, s, ari, bound in [(0, 0, 0.5, -1.0), (0, 1, 0.7, -2.0), (1, 0, 0.9, -0.5), (1, 1, 0.7, -3.0)]
    ]
    assert restarts.choose(lines, "pretraining") == pytest.approx((0.7, 0.8, 1, 2))  # 0.5 and 0.9 of 0.7 and 0.9
    row, means = restarts.make_rows(lines)
    assert row == ["moons", "vade", "0.700", "0.700", "0.800", "1 of 2", "0.800", "0.800", "2 of 2", 4]
    assert means == ["mean", "", *row[2:]]


def test_search_for_the_number_of_components(monkeypatch):
    monkeypatch.setattr(n_components, "GRID", [1, 3])
    line = n_components.search("blobs, 2 features", "GaussianMixture", 0)
    assert n_components.pick(line) == (3, 3) and np.shape(line["scores"]) == (3, 2)
    monkeypatch.setattr(n_components, "label_stability", lambda model, X, **options: -0.1 * model.n_components)
    line = n_components.search_stable("moons", 0)
    assert n_components.pick(line) == (3, 3) and line["scores"] == [[-1.0, pytest.approx(-0.3)]]
    assert list(n_components.make_rows([line])) == [["moons", 2, n_components.STABILITY, "3", "3", "0 of 1", "0 of 1"]]
    monkeypatch.setattr(n_components, "GRID", [1, 2, 3, 4])
    assert n_components.pick({"scores": [[-1.0, 0.96, 0.92, 0.5]]}) == (2, 3)


def test_known_number_of_clusters_is_looked_for_by_every_method(monkeypatch):
    monkeypatch.setattr(how_many, "NUMBERS", (1, 2, 3, 4))
    X = np.vstack([np.random.RandomState(0).normal(size=(40, 2)) + center for center in (0.0, 9.0)])
    line = how_many.measure(how_many.KnownSet("simulated", "two", X, 2))
    found = how_many.choose_each(line)
    peers = ("GaussianMixture + BIC", "silhouette, k-means", "gap statistic", "HDBSCAN (5 % of the samples)")
    assert {name: found[name] for name in (how_many.OURS, *peers)} == dict.fromkeys((how_many.OURS, *peers), 2)
    page = how_many.make_page([line, {**line, "name": "three", "n_clusters": 3}])
    assert f"| {how_many.OURS} | 0.50 |" in page and f"| {how_many.OURS} | 1.00 |" in page  # exact, within one
    assert "| simulated | three | 80 × 2 | 3 | 2 |" in page
    # constants that are best elsewhere, on the group itself
    lines = [{**line, "group": group} for group in how_many.TUNED]
    lines[0] = {**lines[0], "n_clusters": 3}
    held = how_many.leave_one_out(lines)
    assert held == {**dict.fromkeys(how_many.TUNED, 1.0), lines[0]["group"]: 0.0}


def test_simulated_sets_are_thirty_and_the_same_for_a_seed():
    first, second = (list(simulated.make_sets(3)) for _ in range(2))
    assert len(first) == 30 and sum(known.n_clusters == 1 for known in first) == 6
    assert all(np.array_equal(a.X, b.X) for a, b in zip(first, second, strict=True))
    assert len(list(simulated.make_singles(0))) == 30
    assert len({known.X.shape for known in first} | {known.X.shape for known in simulated.make_sets(1000)}) > 50


def test_m_and_lambda_are_tabled_by_data_and_initialization(monkeypatch):
    monkeypatch.setattr(m_and_lambda, "N_SAMPLES", 60)
    monkeypatch.setitem(m_and_lambda.STARTS, "free", {"init_clamp": 0.0, "max_iter": 1, "init_params": "kmeans"})
    line = {"seed": 0, "data": "blobs", "start": "free", "n_mc_samples": 1, "share": 0.3}
    line |= m_and_lambda.fit_once(0, "blobs", "free", 1, 0.3)
    assert 0.25 <= line["accuracy"] <= 1.0 and line["score"] < 0.0 and line["seconds"] > 0.0
    page = m_and_lambda.make_page([{**line, "accuracy": 0.5}])
    assert "| blobs | free | accuracy, % | – | 50.0 | – | – |" in page


def test_file_larger_than_memory_is_zeros_but_for_some_blocks(tmp_path):
    script = larger_than_memory
    arguments = script.make_parser().parse_args(["--gigabytes", "0.004", "--features", "10", "--every", "5"])
    X = script.make_file(tmp_path / "rows.f32", arguments)
    blocks = X.any(axis=1)[: 20 * script.BLOCK_ROWS].reshape(20, -1)
    assert X.shape == (100_000, 10) and X.min() >= 0.0 and X.max() <= 1.0
    assert (blocks.all(axis=1) == (np.arange(20) % 5 == 0)).all() and blocks.any(axis=1).sum() == 4
    counted = script.CountedRows(X)
    assert counted[:5].shape == (5, 10) and counted.n_bytes == 200


def test_shuffling_compares_the_same_seeds():
    figures = shuffling.summarize(np.array([1.0, 2.0]), np.array([2.0, 5.0]))
    assert figures == {"full": 1.5, "blocks": 3.5, "difference": 2.0, "standard_error": 1.0}


def test_initializations_are_compared_once_and_worse_parts_stay_worse(monkeypatch, tmp_path):
    out, page = tmp_path / "initialization.jsonl", tmp_path / "page.md"
    command = ["--data", "wine", "--seeds", "2", "--out", str(out), "--page", str(page)]
    assert compare.main(command) == compare.main(command) == 0
    lines = read_lines(out)
    assert len(lines) == 2 * len(compare.STRATEGIES)
    cut = {line["initialization"]: line["cut"] for line in lines if line["seed"] == 0}
    assert min(cut, key=cut.get) in ("graph", "K eigenvectors") and cut["graph"] < cut["mixture"]
    assert all(line["accuracy"] > 0.9 and 0.5 < line["information"] < np.log(3) for line in lines)
    rows = [line for line in page.read_text().splitlines() if line.startswith("| wine |")]
    assert len(rows) == len(compare.STRATEGIES) and all(row.endswith("| 2 |") for row in rows)


def test_profile_shares_add_up_and_count_the_products():
    script = profile_training
    seconds = {
        "aten::addmm": 5.0,
        "aten::bmm": 1.0,
        "Optimizer.step#Adam.step": 2.0,
        "aten::mul": 1.5,
        "aten::sum": 0.5,
    }
    shares = script.share_out(seconds)
    assert (shares["matrix products"], shares["optimizer"], shares["rest"]) == (0.6, 0.2, 0.2)
    assert list(shares["dearest of the rest"].items()) == [("aten::mul", 0.15), ("aten::sum", 0.05)]
    shares = script.measure("vaeem", "tiny")
    assert 0.1 < shares["matrix products"] < 1.0
    assert sum(shares[kind] for kind in (*script.KINDS, "rest")) == pytest.approx(1.0)


@pytest.mark.skipif("init_clamp" not in VaDEClustering().get_params(), reason="needs the parameter init_clamp")
def test_clamping_fits_every_share_once(monkeypatch, tmp_path):
    monkeypatch.setattr(clamping, "INIT_CLAMP", (0.0, 0.75))
    make, few = methods.make, {"pretrain_iter": 5, "max_iter": 8}
    monkeypatch.setattr(methods, "make", lambda *args, **kwargs: make(*args, **kwargs).set_params(**few))
    out, page = tmp_path / "clamping.jsonl", tmp_path / "page.md"
    command = ["--data", "iris", "--model", "vade", "--seeds", "1", "--out", str(out), "--page", str(page)]
    assert clamping.main(command) == clamping.main(command) == 0
    lines = read_lines(out)
    assert [line["init_clamp"] for line in lines] == [0.0, 0.75]
    assert lines[0]["held_out_score"] != lines[1]["held_out_score"]
    assert "| iris | vade | held-out score |" in page.read_text()


def test_run_of_the_highest_bound_is_selected_whatever_its_labels():
    runs = [line_of(seed=seed, ari=0.1 * seed, lower_bound=-float(abs(seed - 3))) for seed in range(5)]
    few = [line_of("gmvae", seed=seed, lower_bound=1.0) for seed in range(4)]
    baseline = [line_of("gmm", seed=seed, lower_bound=1.0, initialization=None) for seed in range(5)]
    rows = list(report.select_runs([*runs, *few, *baseline]))
    assert rows[0] == ["iris", "vade", "0.200", "0.300", "0.400", "no", 5]
    assert rows[1:] == [["mean", "", "0.200", "0.300", "0.400", "0 of 1", ""]]


def test_page_of_the_densities_is_what_the_script_writes_of_the_results_kept():
    of_checks, of_tables = (read_lines(BENCHMARKS / "results" / f"{name}.jsonl") for name in ("density", "tables"))
    assert checks.make_page(of_checks, of_tables) == (ROOT / "docs" / "density.md").read_text()


def test_tables_name_the_winner_whoever_it_is(tmp_path):
    figures = {"ari": 0.5, "auc": 0.5, "ks": 0.1, "correlations": 0.1}
    scores = {
        "GaussianMixture": (-1.0, -1.2),
        tables.LARGER: (-1.5, -1.5),
        "gmvae": (-2.0, -2.2),
        "vade": (-1.3, -1.1),
        "vaeem": (-3.0, -3.0),
    }
    lines = [
        {"data": "iris", "method": method, "seed": seed, "score": score, **figures}
        for method, values in scores.items()
        for seed, score in enumerate(values)
    ]
    lines += [{**line, "data": "wine", "score": -line["score"]} for line in lines]
    lines += [{**lines[0], "seed": 2, "score": 100.0}]  # of a seed that the others lack
    lines += [{**line, "data": "digits", "score": 9.0} for line in lines if line["data"] == "iris"]
    rows = list(tables.score_rows(tables.group(lines)))
    cells = ["-1.10 ± 0.14", "-1.50 ± 0.00", "-2.10 ± 0.14", "-1.20 ± 0.14", "-3.00 ± 0.00"]
    assert rows[0] == ["iris", *cells, "-0.10", "+0.30", PEER]
    assert rows[1][-3:] == ["+1.90", "+1.50", "vaeem"]
    assert rows[-1] == ["mean of 2", *["0.00"] * 5, "+0.90", "+0.90", PEER]  # digits do not count
    counts = {"n_tables": 2, "n_better": 1, "n_close": 0, "peer_wins": "iris"}
    assert checks.count_tables(tables.group(lines)) == counts


def test_tables_are_standardized_by_the_training_samples_and_measured():
    data_ = tables.split("diabetes", 0)
    assert data_.train.shape[1] == 9 and abs(data_.train.mean()) < 1e-9 < abs(data_.test.mean())
    line = tables.measure("unequal", PEER, 0)
    assert line["covariance_type"] in tables.GRID["covariance_type"]
    assert -5.0 < line["score"] < -3.0 and 0.3 < line["auc"] < 0.7 and line["ks"] < 0.2 and line["correlations"] < 0.1
    X = np.random.RandomState(0).normal(size=(300, 2))
    assert tables.tell_apart(X, X + 2.0, 0) > 0.9
    assert tables.compare_moments(X, X[:, ::-1] * [1.0, 5.0])["ks"] > 0.1


def test_orders_are_changed_by_clear_differences_only():
    annealed = {"gmvae": [-1.0, -1.1, -1.0], "vade": [-2.0, -2.1, -2.1], "vaeem": [-2.1, -2.0, -2.05]}
    line = {"scores": {"gmvae": -1.0, "vade": -2.1, "vaeem": -2.0}, "annealed": annealed}
    assert all(checks.compare_orders(line))
    assert not all(checks.compare_orders({**line, "scores": {**line["scores"], "gmvae": -2.05}}))


def test_checks_of_a_density(monkeypatch):
    monkeypatch.setattr(checks, "N_NODES", 1001)
    monkeypatch.setattr(checks, "N_DRAWN", 2000)
    monkeypatch.setattr(checks, "make", lambda model, K, seed, **settings: GaussianMixture(K, random_state=seed))
    line = checks.check_integral("skewed, 1-D", "vade", 0)
    assert line["integral"] == pytest.approx(1.0, abs=0.01)
    assert line["shares"] == pytest.approx(checks.SHARES, abs=0.05)
    assert checks.check_calibration("overlapping normals", PEER, 0)["error"] < 0.05


def test_reliability_page_has_the_last_line_of_every_script():
    lines = read_lines(BENCHMARKS / "results" / "reliability.jsonl")
    assert reliability_report.make_page(lines) == (PAGES / "reliability.md").read_text(encoding="utf-8")
    worse = {**next(line for line in lines if line["script"] == "contexts"), "fell_short": [{"outcome": "other bits"}]}
    page = reliability_report.make_page([*lines, worse])
    assert "- `outcome: other bits`" in page and f"| {worse['trials']} | 1 |" in page
