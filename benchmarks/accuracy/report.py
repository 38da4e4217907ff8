"""Tables from the JSON lines of run.py: docs/benchmarks/accuracy.md, and the short table in README.md.

python benchmarks/accuracy/report.py                        # of all runs in benchmarks/results/runs
"""

import argparse
import json
import statistics
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/__init__.py says why

from benchmarks.accuracy import published
from benchmarks.common import environment
from benchmarks.common.pages import PAGES, describe_phases, format_table, make_note, make_page, mean_and_sd
from benchmarks.common.results import RESULTS, ROOT, Line, read_lines

RUNS = sorted((RESULTS / "runs").glob("*.jsonl"))
CHECKS = RESULTS / "images.jsonl"  # with the present defaults
BEGIN, END = "<!-- benchmarks:begin -->", "<!-- benchmarks:end -->"
SPEED_PARAMS = ("memory", "verbose")
COLUMNS = (
    "model",
    "K",
    "accuracy, mean ± sd",
    "worst",
    "best",
    "training samples",
    "purity",
    "most confident",
    "ARI",
    "NMI",
    "held-out score",
    "seconds",
    "seconds by phase",
    "peak MiB",
    "seeds",
    "initializations",
    "parameters",
)
EXPLANATION = """\
One line per method and setting.

- *Protocol* `all`: fitted and evaluated on all samples. `split`: fitted to the training samples and evaluated on
  held-out samples. The accuracy on the training samples, which most papers report, is given as well.
- *Accuracy* is in %, with clusters matched to classes by the Hungarian algorithm. *Purity* assigns each cluster to
  its most frequent class, and *most confident* to the class of its single most confident sample, as in the GMVAE
  paper. These two are comparable only at equal K.
- *Held-out score* is the mean log-likelihood of the held-out samples, if the method has one.
- *Seconds* are medians of `fit_predict` over the runs that did not share their cores. If runs share a pretraining
  through `memory`, each of them counts its seconds (the median over seeds if the run that computed it was not kept).
- *Peak MiB* is the largest resident size of the run's process.

**Settings of the others.** Inputs are standardized, except for images. `gmm` and `bayesian gmm` are scikit-learn's with
full covariances, `n_init=5` and the default `reg_covar`, with which their density can be very poor; a `GaussianMixture`
with a cross-validated one is on the page [Densities of tables](tables.md). `pca+gmm` has 20 components of `PCA`.
`kmeans` has `n_init=10`, `umap+gmm` UMAP with the settings of N2D, `hdbscan` the `min_cluster_size` whose number of
clusters is the nearest. `evoc` takes no number of clusters. ClustPy's methods are at their defaults.

**Data used for tuning.** Within a run, no seed, epoch or initialization was selected by labels. Settings were
selected as follows, so that results on these data sets may be optimistic:

- networks, epochs and batch size for images: on MNIST, with labels;
- initialization strategies: on MNIST, digits, iris, wine, breast_cancer, blobs, moons, circles and circle arcs;
- features of the contrastive initialization: on MNIST and digits, and its augmentation also on synthetic bars;
- defaults for tables: by the held-out score, with labels known, on the eight small data sets;
- share of epochs that clamp the initial responsibilities: on MNIST and the small data sets.

No setting was selected on Fashion-MNIST, but its results were seen while initializations were compared.

**Versions.** These rows of our models were computed with earlier defaults than the rest: those of MNIST and
Fashion-MNIST, and those with contrastive features.

**Images.** With `init_params='contrastive'`, features are learned from augmented images. Nothing else uses
augmentation. Rows whose initialization is "graph" alone were computed with an earlier version of it. In runs with
`image_shape=None`, the samples are not treated as images. Networks for images use bfloat16 where the machine is fast
at it, but float32 in runs with `precision='float32'` or `image_shape=None`.

**GPU.** Runs on a GPU are listed under [machines](#machines). None of them is timed here, and their peak memory
includes CUDA's libraries."""
SIDE_BY_SIDE_NOTE = """\
Our models at their defaults, means over seeds, one column per method. The tables contain the methods that were run on
most data sets, and the data sets on which all of these methods were run."""

BOUND_NOTE = """\
Each seed above has its own pretraining, initialization and training. "Selected" is the adjusted Rand index of the
run with the highest lower bound, a choice that needs no labels; the mean and the best of all runs are given for
comparison. `n_init` makes the same choice among initializations from one pretraining."""
CHECK_NOTE = """\
Each run is at the defaults of the present version: seed 0 on a CPU, seeds 1 and 2 on a GPU. They are a check of the
rows of several seeds below, which were measured with earlier defaults."""
MIN_RUNS = 5  # to select one of
SHORT_MODELS = ("kmeans", "gmm", "pca+gmm", "spectral", "umap+gmm", "clustpy-dec", "clustpy-dcn", "clustpy-vade")
SHORT_MODELS += ("gmvae", "vade", "vaeem")  # columns of the short table
SHORT_PARAMS = {"": {}, ", contrastive": {"init_params": "contrastive"}}  # rows of the short table
PART = "-10k"
TIME_NOTE = """\
CPU seconds, over all cores, of whole fits without caching, and their ratio to those of ClustPy's VaDE. ClustPy's
methods are at their own defaults. They return labels, but no probabilities, samples or scores. Its VaDE requires
values in [0, 1], so tables with other values are scaled to that range first."""
PEER = "clustpy-vade"
PUBLISHED_NOTE = """\
For comparison, results from papers and other implementations. The GMVAE paper initializes with random weights and
reports the mean and the best run; the VaDE paper reports the best run only. Pretraining, epochs and samples differ
from ours. A number that stands alone under "best" is the only one reported, however it was selected."""


def main(argv: list[str] | None = None) -> int:
    """Write both tables."""
    arguments = make_parser().parse_args(argv)
    lines = book_shared_pretraining([line for path in arguments.results for line in read_lines(path)])
    lines = [without_speed_params(line) for line in lines]
    if not lines:
        names = ", ".join(map(str, arguments.results))
        print(f"no runs in {names}; make some with benchmarks/accuracy/run.py", file=sys.stderr)
        return 2
    arguments.out.write_text(make_document(lines))
    if arguments.readme is not None:
        arguments.readme.write_text(replace_between_marks(arguments.readme.read_text(), make_short_table(lines)))
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("results", nargs="*", type=Path, default=RUNS, help="files that run.py wrote; default: benchmarks/results/runs")
    add("--out", type=Path, default=PAGES / "accuracy.md", help="default: docs/benchmarks/accuracy.md")
    add("--readme", type=Path, default=ROOT / "README.md", help="default: README.md")
    add("--no-readme", dest="readme", action="store_const", const=None, help="leave the README alone")
    return parser


def book_shared_pretraining(lines: Sequence[Line]) -> list[Line]:
    """The seconds of a cached pretraining, which the first run of a data set and seed paid, in all that used it.

    Where no run of that seed is among the lines that paid, it is the median of those that did.
    """
    timed = [line for line in lines if line.get("timed", True)]
    shared = [line for line in timed if line["params"].get("memory") and line.get("phase_seconds")]
    paid: dict[tuple[str, str, str], dict[int, list[float]]] = {}
    for line in shared:
        paid.setdefault(key_of_pretraining(line), {}).setdefault(line["seed"], []).append(
            line["phase_seconds"].get("pretraining", 0.0)
        )
    return [book(line, paid[key_of_pretraining(line)]) if line in shared else line for line in lines]


def key_of_pretraining(line: Line) -> tuple[str, str, str]:
    """What runs that may share a pretraining have in common, but for the seed."""
    return line["data"], line["protocol"], line["params"]["memory"]


def book(line: Line, paid: dict[int, list[float]]) -> Line:
    """The run with the seconds of its pretraining, given those of all runs by seed."""
    by_seed = {seed: max(seconds) for seed, seconds in paid.items()}
    really_paid = [seconds for seconds in by_seed.values() if seconds > 0.1 * max(by_seed.values())]
    of_seed = by_seed[line["seed"]]
    seconds = of_seed if of_seed in really_paid else statistics.median(really_paid)
    return {
        **line,
        "seconds": line["seconds"] + seconds - line["phase_seconds"].get("pretraining", 0.0),
        "phase_seconds": {**line["phase_seconds"], "pretraining": seconds},
    }


def without_speed_params(line: Line) -> Line:
    """The run without parameters that change no figure but the time."""
    return {**line, "params": {key: value for key, value in line["params"].items() if key not in SPEED_PARAMS}}


def make_document(lines: Sequence[Line]) -> str:
    """A section with a table per data set and protocol."""
    sections = [
        f"## {data} ({describe_protocol(members)})\n\n{make_table(members)}"
        for (data, protocol), members in group(lines, ("data", "protocol"))
    ]
    side_by_side = [
        *make_side_by_side(lines, "adjusted Rand index, all samples", "all", "ari", digits=3),
        *make_side_by_side(lines, "held-out log-likelihood, nats per sample", "split", "held_out_score", digits=2),
    ]
    if side_by_side:
        side_by_side = ["## Small data sets", SIDE_BY_SIDE_NOTE, *side_by_side]
    choices = list(select_runs(lines))
    if choices:
        header = ["data", "model", "mean ARI", "selected", "best", "best is selected", "runs"]
        side_by_side += ["## Selecting the run with the highest lower bound", BOUND_NOTE, format_table(header, choices)]
    times = list(make_time_comparison(lines))
    if times:
        header = ["data", "model", "accuracy, % ± sd", "CPU seconds", f"of {PEER}", "seeds", "parameters"]
        side_by_side += ["## CPU time compared with ClustPy", TIME_NOTE, format_table(header, times)]
    papers = describe_published({line["data"] for line in lines})
    checks = read_lines(CHECKS)
    if checks:
        header = ["data", "model", "seed", "accuracy, %", "training samples", "ARI", "NMI"]
        side_by_side += [
            "## Images with the present defaults",
            CHECK_NOTE,
            format_table(header, map(make_check, checks)),
        ]
    parts = [EXPLANATION, *side_by_side, *sections, *papers, "## Machines", describe_machines([*lines, *checks])]
    return make_page(__file__, "Accuracy", *parts)


def make_check(run: Line) -> list[Any]:
    """A single run."""
    accuracies = (f"{100 * run[name]:.1f}" for name in ("test_accuracy", "train_accuracy"))
    return [run["data"], run["model"], run["seed"], *accuracies, f"{run['ari']:.3f}", f"{run['nmi']:.3f}"]


def select_runs(lines: Sequence[Line]) -> Iterator[list[Any]]:
    """The run with the highest lower bound, for each data set and model at its usual parameters."""
    lines = [line for line in lines if line.get("lower_bound") is not None]
    # a baseline has no such initialization
    lines = [line for line in lines if line["initialization"] and not line["params"]]
    gains, hits = [], []
    for (data, _, model, _), members in group(lines, ("data", "protocol", "model", "n_components")):
        protocol = "all" if any(line["data"] == data and line["protocol"] == "all" for line in lines) else "split"
        runs = [line for line in members if line["protocol"] == protocol]
        if len(runs) < MIN_RUNS:
            continue
        taken, best = max(runs, key=lambda run: run["lower_bound"])["ari"], max(run["ari"] for run in runs)
        mean = statistics.fmean(run["ari"] for run in runs)
        gains.append((mean, taken, best))
        hits.append(taken == best)
        yield [data, model, *(f"{ari:.3f}" for ari in gains[-1]), "yes" if hits[-1] else "no", len(runs)]
    if gains:
        means = [f"{statistics.fmean(column):.3f}" for column in zip(*gains, strict=True)]
        yield ["mean", "", *means, f"{sum(hits)} of {len(hits)}", ""]


def make_time_comparison(lines: Sequence[Line]) -> Iterator[list[Any]]:
    """Processor seconds (medians) of whole fits without a GPU, on the data sets that the peer was fitted to."""
    lines = [line for line in lines if line.get("cpu_seconds") is not None and "gpu" not in line["machine"]]
    settings = group(lines, ("data", "protocol", "model", "params"))
    medians = {key_of_setting(key): statistics.median(run["cpu_seconds"] for run in runs) for key, runs in settings}
    for (data, protocol, model, params), runs in settings:
        of_peer = medians.get(key_of_setting((data, protocol, PEER, {})))
        if of_peer is None:
            continue
        seconds = medians[key_of_setting((data, protocol, model, params))]
        accuracy = mean_and_sd([100 * run["test_accuracy"] for run in runs])
        share = f"{seconds / of_peer:.3f}"
        yield [data, model, accuracy, f"{seconds:.0f}", share, len(runs), params_label(params)]


def key_of_setting(values: Sequence[Any]) -> str:
    """A hashable form of the values of a group."""
    return json.dumps(values)


def describe_published(data_sets: Iterable[str]) -> list[str]:
    """The papers' figures for these data sets."""
    rows = published.make_rows(data_sets)
    return ["## Published results", PUBLISHED_NOTE, format_table(published.HEADER, rows)] if rows else []


def describe_protocol(lines: Sequence[Line]) -> str:
    """Protocol of a section."""
    return f"protocol `{lines[0]['protocol']}`"


def make_table(lines: Sequence[Line]) -> str:
    """Row per model, number of components and parameters."""
    settings = group(lines, ("model", "n_components", "params"))
    return format_table(COLUMNS, [make_row(setting, members) for setting, members in settings])


def make_row(setting: tuple[Any, ...], lines: Sequence[Line]) -> list[Any]:
    """Figures over the seeds of one setting."""
    model, K, params = setting
    runs = [line for line in lines if "error" not in line]
    label = params_label(params)
    if not runs:
        return [model, K, *["–"] * 12, f"0 ({len(lines)} failed)", "–", label]
    accuracies = [100 * run["test_accuracy"] for run in runs]
    return [
        model,
        K,
        mean_and_sd(accuracies),
        f"{min(accuracies):.1f}",
        f"{max(accuracies):.1f}",
        mean_and_sd([percent(run.get("train_accuracy")) for run in runs]),
        mean_and_sd([percent(run.get("purity_score")) for run in runs]),
        mean_and_sd([percent(run.get("confident_accuracy")) for run in runs]),
        mean_and_sd([run["ari"] for run in runs], digits=3),
        mean_and_sd([run["nmi"] for run in runs], digits=3),
        mean_and_sd([run["held_out_score"] for run in runs], digits=2),
        describe_seconds([run["seconds"] for run in runs if run.get("timed", True)]),
        describe_phases([run for run in runs if run.get("timed", True)]),
        f"{max(run['peak_memory'] for run in runs) / 2**20:.0f}",
        count_seeds(lines, runs),
        count_initializations(runs),
        label,
    ]


def percent(share: float | None) -> float | None:
    """A share in %; None where there is none."""
    return None if share is None else 100 * share


def describe_seconds(seconds: Sequence[float]) -> str:
    """Median; a dash if there are none."""
    return f"{statistics.median(seconds):.1f}" if seconds else "–"


def count_seeds(lines: Sequence[Line], runs: Sequence[Line]) -> str:
    """Number of seeds, and of those that failed."""
    n_failed = len(lines) - len(runs)
    return f"{len(runs)} ({n_failed} failed)" if n_failed else str(len(runs))


def count_initializations(runs: Sequence[Line]) -> str:
    """How often each was chosen."""
    names = sorted(run["initialization"] for run in runs if run["initialization"] is not None)
    return ", ".join(f"{name} {len(list(members))}" for name, members in groupby(names)) or "–"


def params_label(params: dict[str, Any]) -> str:
    """Parameters that differ from the benchmark's setting."""
    return ", ".join(f"{key}={value!r}" for key, value in params.items()) or "default"


def make_short_table(lines: Sequence[Line]) -> str:
    """Mean accuracy of every data set and initialization (rows) under every model (columns), at the usual K.

    All else is at the defaults. On all samples, where that was measured. Parts of other data sets are left out.
    """
    lines = [line for line in lines if not line["data"].endswith(PART)]
    present = {line["model"] for line in usual_lines(lines)}
    names = [name for name in SHORT_MODELS if name in present]
    rows = [row for note, params in SHORT_PARAMS.items() for row in make_short_rows(usual_lines(lines, params), note)]
    table = [[name, *(short_cell(cells.get(model)) for model in names)] for name, cells in sorted(rows)]
    return format_table(["accuracy, %", *names], table)


def make_short_rows(lines: Sequence[Line], note: str) -> Iterator[tuple[str, dict[str, list[Line]]]]:
    """Name of a row and its runs by model, for every data set."""
    cells = {setting: members for setting, members in group(lines, ("data", "protocol", "model"))}
    sets = {setting[:2] for setting in cells}
    for data, rows in sets:
        if rows == "all" or (data, "all") not in sets:
            yield (
                f"{data}{note}",
                {model: runs for (*where, model), runs in cells.items() if where == [data, rows]},
            )


def usual_lines(lines: Sequence[Line], params: dict[str, Any] | None = None) -> list[Line]:
    """Runs with ``params``, default none, and with the number of components that a data set has most often."""
    lines = [line for line in lines if line["params"] == (params or {}) and "error" not in line]
    usual = {
        data: statistics.mode(line["n_components"] for line in members) for (data,), members in group(lines, ("data",))
    }
    return [line for line in lines if line["n_components"] == usual[line["data"]]]


def make_side_by_side(lines: Sequence[Line], title: str, protocol: str, field: str, digits: int) -> list[str]:
    """A table of the means of ``field``; the mean over these for indices.

    Of the methods that most data sets have in common, a row per data set that all of them have.
    """
    lines = [line for line in usual_lines(lines) if line["protocol"] == protocol and line[field] is not None]
    means = {key: statistics.fmean(line[field] for line in runs) for key, runs in group(lines, ("data", "model"))}
    of_set = {data: frozenset(model for where, model in means if where == data) for data, _ in means}
    names = sorted(statistics.mode(of_set[data] for data in sorted(of_set))) if of_set else []
    sets = [data for data in sorted(of_set) if of_set[data].issuperset(names)]
    if len(names) < 2 or not sets:
        return []
    rows = [[data, *(means[data, name] for name in names)] for data in sets]
    if field == "ari":  # log-likelihoods of different tables have no common scale
        rows.append(["mean", *(statistics.fmean(column) for column in list(zip(*rows, strict=True))[1:])])
    return [format_table([title, *names], [[row[0], *(f"{mean:.{digits}f}" for mean in row[1:])] for row in rows])]


def short_cell(runs: Sequence[Line] | None) -> str:
    """Mean accuracy over the seeds of a cell."""
    return f"{statistics.fmean(100 * run['test_accuracy'] for run in runs):.1f}" if runs else "–"


def describe_machines(lines: Sequence[Line]) -> str:
    """Every combination of machine, threads and versions among the runs, and whether products were in bfloat16."""
    runs = [{**line, "is_low": line.get("arithmetic") == "bfloat16"} for line in lines if "error" not in line]
    return "\n".join(
        f"- {len(members)} runs, {threads} threads{', products in bfloat16' * is_low}: "
        f"{environment.put_in_words(machine, versions)}"
        for (machine, threads, versions, is_low), members in group(runs, ("machine", "threads", "versions", "is_low"))
    )


def group(lines: Sequence[Line], names: Sequence[str]) -> list[tuple[tuple[Any, ...], list[Line]]]:
    """(values of the fields ``names``, lines with these values), sorted; successes replace earlier failures."""

    def values(line: Line) -> str:
        return json.dumps([line[name] for name in names], sort_keys=True)

    groups = groupby(sorted(drop_retried(lines), key=values), key=values)
    return [(tuple(json.loads(key)), list(members)) for key, members in groups]


def drop_retried(lines: Sequence[Line]) -> list[Line]:
    """The last line of every run."""
    fields = ("data", "protocol", "model", "n_components", "params", "seed")
    return list({json.dumps([line[name] for name in fields], sort_keys=True): line for line in lines}.values())


def replace_between_marks(text: str, table: str, script: str = __file__) -> str:
    """``text`` with ``table`` between the marks."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page lacks the lines {BEGIN} and {END}; add them where the table belongs")
    return f"{before}{BEGIN}\n{make_note(script)}\n\n{table}\n\n{END}{after}"


if __name__ == "__main__":
    sys.exit(main())
