"""docs/benchmarks/speed.md from the lines that the other scripts in speed/ and those in memory/ print.

    python benchmarks/speed/overhead.py >> benchmarks/results/speed.jsonl
    python benchmarks/speed/report.py

Of several lines of one measurement the last counts.
"""

import argparse
import math
import statistics
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/__init__.py says why

from benchmarks.common import environment
from benchmarks.common.pages import PAGES, describe_phases, format_table, make_page
from benchmarks.common.results import RESULTS, Line, read_lines

EXPLANATION = """\
Ratios of CPU times. Both times of a ratio come from one run of a script in `benchmarks/speed`, so that a busy
machine slows both; the target is the largest acceptable ratio."""
LABELS = {
    ("overhead", "vade, tiny"): "VaDE: training loop over a hand-written one, 64-128-10",
    ("overhead", "vade, mnist"): "VaDE: training loop over a hand-written one, 784-500-500-2000-10",
    ("overhead", "gmvae, tiny"): "GMVAE: training loop over a hand-written one, 64-128-10",
    ("overhead", "gmvae, mnist"): "GMVAE: training loop over a hand-written one, 784-500-500-2000-10",
    ("overhead", "vaeem, tiny"): "VAE-EM: training loop over a hand-written one, ten times 64-128-10",
    ("overhead", "vaeem, mnist"): "VAE-EM: training loop over a hand-written one, ten times 784-500-10",
    ("single_precision", ""): "`predict_proba` in float32 over float64",
    ("predict_proba", ""): "`predict_proba` over its matrix products, float64",
    ("fit_memory", ""): "memory of `fit` in addition to float32 data, over that of the data",
    ("grid_search", "vade"): "VaDE: a grid over K, M and λ with `memory` over one without",
    ("growth", "vade, slope in N"): "VaDE: slope of log time of `fit` against log N, 10⁴ to 10⁶",
    ("growth", "gmvae, M = 10 over M = 1"): "GMVAE: an epoch with M = 10 over one with M = 1",
    ("growth", "gmvae, K = 30 over K = 10"): "GMVAE: an epoch with K = 30 over one with K = 10",
    ("growth", "vaeem, K = 40 over K = 10"): "VAE-EM: a settled EM iteration with K = 40 over one with K = 10",
}
TARGETS = {"predict_proba": 2.0, "fit_memory": 1.0, "single_precision": 1.0}
FIT_PHASES = {"initialization": "initialization", "training": "training", "assignment": "labels"}
PROFILE_NOTE = """\
Shares, in %, of the time that PyTorch spends in its operations while the package's training loop trains the networks
of the table above. They are measured with PyTorch's profiler (`benchmarks/speed/profile_training.py`), which
overstates small operations. *Likelihood* is the cross-entropy alone; *rest* is activations, sums, the mixture's
terms and copies."""
CURVES_NOTE = """\
CPU seconds of a short fit and of `predict` on the same data (`benchmarks/speed/curves.py`), as the number of samples
N, features D, components K or draws M varies. The slope is that of log time against the log of the varied number,
between the last two values; it is 1 if time is proportional to that number. The memory is what the fit adds to the
peak resident size, in addition to the float32 data."""
TABLES_NOTE = """\
CPU seconds of fits at defaults to eleven tables of 150 to 1,800 samples, summed over the tables
(`benchmarks/speed/tables.py`), by phase. *Before* is the time of an earlier version of the package in the same run,
and the ratio is the current time over that time; the last column is GaussianMixture. Digits take
more than half of VaDE's time, breast_cancer two fifths of GMVAE's: their trainings bring a gain, and last."""
RANKS_NOTE = """\
Samples per second of a training on several processes with one thread each, over those of one process: networks of
784-500-500-2000-10 units and back, float32, gloo on one machine (`benchmarks/speed/ranks.py`), medians over
alternating runs. The ratio in CPU time is that of samples per CPU second of a rank, which does not count the time
that other programs take. The load is that of the machine during the measurement; if nothing else ran, it is at most
the number of processes."""
RANKS_HEADER = ["model, processes", "samples/s, one", "several", "ratio", "in CPU time", "load"]
SHUFFLING_NOTE = """\
Fits to digits sorted by class, the worst order for a file, with a buffer of a seventh of the samples, compared with
the same fits with all samples shuffled: means over seeds (`benchmarks/memory/shuffling.py`). *Blocks* is the number
of blocks of the file that fill the buffer: 128, the default, or fewer."""
GPU_NOTE = """\
Training on a GPU (`benchmarks/speed/gpu.py`): samples per second, the share of the time in which the device
computes, and the ratio to the time of a hand-written loop. For that loop, data and networks are already on the
device; a fit moves them there and back. It launches every operation by itself, while the package records a step as a
CUDA graph. Without graphs, an H200 made 273,000 (VaDE), 151,000 (GMVAE) and 606,000 (VAE-EM) samples per
second. The second table is for a whole fit to MNIST, from raw samples to labels, with the settings of `for_images`,
with 8 threads, each in a process of its own (`benchmarks/accuracy/run.py`); its initialization runs on the CPU."""
ROWS_NOTE = """\
CPU seconds of fits at the defaults to float32 samples of ten groups in 16 dimensions, in one thread, and what
the fit adds to the peak resident size (`benchmarks/speed/rows.py`). Each group is normal, so that training ends early.
The slope is that of log time against log N, by least squares over the rows of the table."""
LARGE_NOTE = """\
A file of float32 samples, most of them zero, is read block by block, for one epoch of pretraining and one or two
epochs of training of a small network (`benchmarks/memory/larger_than_memory.py`). *Peak* is the largest resident
size of the process, including mapped pages."""


def main(argv: list[str] | None = None) -> int:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = RESULTS / "speed.jsonl"
    parser.add_argument(
        "results", nargs="?", type=Path, default=default, help="default: benchmarks/results/speed.jsonl"
    )
    parser.add_argument("--out", type=Path, default=PAGES / "speed.md", help="default: docs/benchmarks/speed.md")
    arguments = parser.parse_args(argv)
    arguments.out.write_text(make_document(read_lines(arguments.results)))
    return 0


def make_document(lines: Sequence[Line]) -> str:
    """All tables."""
    latest = {(line["benchmark"], line.get("case", line.get("model", ""))): line for line in lines}
    ratios = [make_ratio_row(label, latest[key]) for key, label in LABELS.items() if key in latest]
    parts = [EXPLANATION, format_table(["measurement", "ratio", "target", "threads"], ratios)]
    tables = [line for (name, _), line in latest.items() if name == "tables"]
    if tables:
        header = ["estimator", *FIT_PHASES.values(), "fit", "before", "ratio", "GaussianMixture"]
        parts += ["## Fits to tables", TABLES_NOTE, format_table(header, map(make_table_row, tables))]
    ranks = [line for (name, _), line in latest.items() if name == "ranks"]
    if ranks:
        parts += ["## Several processes", RANKS_NOTE, format_table(RANKS_HEADER, map(make_ranks_row, ranks))]
    profiles = [line for (name, _), line in latest.items() if name == "profile"]
    if profiles:
        kinds = [kind for kind in profiles[0]["shares"] if not kind.startswith("dearest")]
        rows = [[line["case"], *(f"{100 * line['shares'][kind]:.0f}" for kind in kinds)] for line in profiles]
        parts += ["## Profile of training", PROFILE_NOTE, format_table(["model, networks", *kinds], rows)]
    curves = [line for (name, _), line in latest.items() if name == "curves"]
    if curves:
        header = [
            "model",
            "varies",
            "values",
            "fit, s",
            "initialization, s",
            "predict, s",
            "slope of fit",
            "slope of predict",
            "memory of fit, MiB",
        ]
        parts += [
            "## Scaling with samples, features, components and draws",
            CURVES_NOTE,
            format_table(header, map(make_curve_row, curves)),
        ]
    rows = [line for (name, _), line in latest.items() if name == "rows"]
    if rows:
        parts += ["## Number of samples", ROWS_NOTE, *make_rows_of_sizes(rows)]
    large = [line for (name, _), line in latest.items() if name == "larger_than_memory"]
    if large:
        header = ["model", "samples", "file, GB", "peak, GB", "CPU seconds", "passes over the file"]
        parts += ["## Data larger than memory", LARGE_NOTE, format_table(header, map(make_large_row, large))]
    shuffled = [line for (name, _), line in latest.items() if name == "shuffling"]
    if shuffled:
        header = ["model", "blocks", "metric", "all shuffled", "by blocks", "difference ± standard error", "seeds"]
        rows = [row for line in shuffled for row in make_shuffling_rows(line)]
        parts += ["## Shuffling by blocks", SHUFFLING_NOTE, format_table(header, rows)]
    on_gpu = [line for (name, _), line in latest.items() if name == "cuda"]
    if on_gpu:
        header = ["model", "device", "batch size", "samples per second", "busy, %", "over a hand-written loop"]
        parts += ["## GPU", GPU_NOTE, format_table(header, map(make_gpu_row, on_gpu))]
    fits = [line for (name, _), line in latest.items() if name == "cuda_fit"]
    if fits:
        header = ["model", "device", "seconds", "seconds by phase", "accuracy, %"]
        parts.append(format_table(header, map(make_fit_row, fits)))
    parts += ["## Machines", describe_machines(latest.values())]
    return make_page(__file__, "Speed and memory", *parts)


def make_ranks_row(line: Line) -> list[Any]:
    """One number of processes."""
    one, several = (f"{statistics.median(speeds):,.0f}" for speeds in zip(*line["samples per second"], strict=True))
    ratios = (f"{line[name]:.2f}" for name in ("ratio", "ratio of processor time"))
    return [line["case"], one, several, *ratios, f"{line['load']:.1f}"]


def make_ratio_row(label: str, line: Line) -> list[Any]:
    """One measurement."""
    ratio = line["ratio"] if "ratio" in line else line["extra_over_data"]
    target = line.get("target", TARGETS.get(line["benchmark"]))
    return [label, f"{ratio:.2f}", f"{target:.2f}", line["threads"]]


def make_table_row(line: Line) -> list[Any]:
    """An estimator: seconds over all tables."""

    def sum_up(which: str, phase: str = "fit") -> float:
        return sum(seconds[phase] for seconds in line.get(which, {}).values())

    now, before = sum_up("now"), sum_up("before")
    phases = [f"{sum_up('now', phase):.1f}" for phase in FIT_PHASES]
    compared = [f"{before:.1f}", f"{now / before:.2f}"] if before else ["", ""]
    return [line["case"], *phases, f"{now:.1f}", *compared, f"{sum_up('GaussianMixture'):.2f}"]


def make_curve_row(line: Line) -> list[Any]:
    """One curve: its ends, and the slope between its last two values."""
    names = ("fit_seconds", "initialization_seconds", "predict_seconds")
    fit, initialization, predict = (f"{line[name][0]:.2f} → {line[name][-1]:.2f}" for name in names)
    values = " → ".join(f"{value:,}" for value in line["values"])
    slopes = [f"{last_slope(line['values'], line[name]):.2f}" for name in ("fit_seconds", "predict_seconds")]
    memory = " → ".join(f"{line['fit_memory'][end] / 2**20:.0f}" for end in (0, -1))
    return [line["model"], line["letter"], values, fit, initialization, predict, *slopes, memory]


def last_slope(values: Sequence[float], seconds: Sequence[float]) -> float:
    """Of log time between the last two values."""
    return math.log(seconds[-1] / seconds[-2]) / math.log(values[-1] / values[-2])


def make_rows_of_sizes(lines: Sequence[Line]) -> Iterator[str]:
    """The table of fits by the number of samples, and the slope."""
    lines = sorted(lines, key=lambda line: int(line["n_samples"]))
    header = ["samples", "batch size", "epochs", *FIT_PHASES.values(), "fit, s", "memory, MiB"]
    rows = []
    for line in lines:
        phases = [f"{line['seconds'][phase]:.1f}" for phase in (*FIT_PHASES, "fit")]
        memory = f"{line['memory'] / 2**20:,.0f}"
        rows.append([f"{line['n_samples']:,}", line["batch_size"], line["epochs"], *phases, memory])
    yield format_table(header, rows)
    sizes, seconds = ([line["n_samples"] for line in lines], [line["seconds"]["fit"] for line in lines])
    slope = statistics.linear_regression([*map(math.log, sizes)], [*map(math.log, seconds)]).slope
    yield f"Slope of the fit: {slope:.2f}."


def make_large_row(line: Line) -> list[Any]:
    """One fit on a file."""
    return [
        line["model"],
        f"{line['n_samples']:,}",
        f"{line['file_bytes'] / 1e9:.1f}",
        f"{line['peak_resident_bytes'] / 1e9:.2f}",
        f"{line['cpu_seconds']:.0f}",
        f"{line['passes']:.1f}",
    ]


def make_gpu_row(line: Line) -> list[Any]:
    """A training loop on a device."""
    measured = (f"{line['samples_per_second']:,.0f}", f"{100 * line['busy']:.0f}", f"{line['ratio']:.2f}")
    return [line["case"], line["device"], line["batch_size"], *measured]


def make_fit_row(line: Line) -> list[Any]:
    """A whole fit on a device."""
    seconds = (f"{line['seconds']:.1f}", describe_phases([line]))
    return [line["case"], line["device"], *seconds, f"{100 * line['test_accuracy']:.1f}"]


def make_shuffling_rows(line: Line) -> Iterator[list[Any]]:
    """Both figures of a model."""
    for name, figure in (("lower bound, nats", "lower_bound"), ("adjusted Rand index", "ari")):
        means = [f"{line[figure][part]:.3f}" for part in ("full", "blocks")]
        difference = f"{line[figure]['difference']:.3f} ± {line[figure]['standard_error']:.3f}"
        yield [line["model"], line["n_blocks"], name, *means, difference, line["seeds"]]


def describe_machines(lines: Iterable[Line]) -> str:
    """Every combination of machine and versions."""
    return "\n".join(sorted({f"- {environment.put_in_words(line['machine'], line['versions'])}" for line in lines}))


if __name__ == "__main__":
    sys.exit(main())
