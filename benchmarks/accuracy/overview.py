"""The table of all suites in docs/benchmarks.md, from the results of the other scripts.

    python benchmarks/accuracy/overview.py [--page docs/benchmarks.md]

A row compares VaDEClustering at its defaults with one method: that with the best mean among all others of the suite.
"""

import argparse
import statistics
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/__init__.py says why

from benchmarks.accuracy import report
from benchmarks.common import pages
from benchmarks.common.results import RESULTS, ROOT, Line, read_lines
from benchmarks.density import keel as keel_densities
from benchmarks.density import r_tables as r_densities
from benchmarks.density import tables
from benchmarks.initialization import keel as keel_tables
from benchmarks.initialization import peers
from benchmarks.model_selection import how_many
from benchmarks.tables import mixed as mixed_tables
from benchmarks.tables import r_sources, r_tables

PAGE = ROOT / "docs" / "benchmarks.md"
# methods of this package, which are no peers
OURS = {
    *("auto", "vade", "gmvae", "vaeem", "VaDE", "VaDEClustering", "GMVAEClustering", "VAEEMClustering"),
    *(how_many.OURS, tables.INITIAL, r_tables.FIRST),
}
OWN_PARTS = {"its largest K of separate clusters", "its description length"}
SMALL = ("aniso", "blobs", "breast_cancer", "circles", "digits", "iris", "moons", "wine")
IMAGES = ("mnist", "fashion-mnist")
TIE_OF_INDEX, TIE_OF_NATS = 0.01, 0.05

Values = dict[str, dict[str, float]]  # method, set, mean over seeds


class Suite(NamedTuple):
    """A row of the table."""

    title: str
    page: str
    figure: str
    used_to_tune: str
    ours: str
    values: Values
    seconds: Values
    digits: int = 2
    tie: float = TIE_OF_INDEX
    lower_is_better: bool = False


def main(argv: list[str] | None = None) -> int:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, default=PAGE, help="default: docs/benchmarks.md")
    page = parser.parse_args(argv).page
    page.write_text(report.replace_between_marks(page.read_text(), make_table(read_suites()), __file__))
    return 0


def read_suites() -> Iterator[Suite]:
    """Every suite, from the files of results."""
    suite = [line for line in read_lines(RESULTS / "suite.jsonl") if line["method"] in peers.METHODS]
    whole = [line for line in suite if line["set"].split("/")[0] in peers.BATTERIES]
    yield _make_suite("Clustering problems", "benchmarks/suite.md", "ARI of initial clusters", "yes",
                      "auto", whole, "set", "method", "ari")  # fmt: skip
    runs = [line for path in report.RUNS for line in read_lines(path)]
    usual = report.usual_lines([report.without_speed_params(line) for line in report.book_shared_pretraining(runs)])
    small = [line for line in usual if line["data"] in SMALL and line["protocol"] == "all"]
    of_small = _make_suite("Small data sets", "benchmarks/accuracy.md", "ARI", "yes", "vade", small, "data", "model",
                           "ari")  # fmt: skip
    yield of_small._replace(seconds={})  # measured on several machines
    images = [line for line in usual if line["data"] in IMAGES and line["protocol"] == "split"]
    of_images = _make_suite("MNIST and Fashion-MNIST", "benchmarks/accuracy.md", "accuracy", "the first", "vade",
                            images, "data", "model", "test_accuracy")  # fmt: skip
    yield of_images._replace(seconds={})
    keel = [line for line in read_lines(RESULTS / "keel.jsonl") if line["method"] not in peers.FITTED]
    for title, names, used_to_tune in (
        ("KEEL's tables, continuous", keel_tables.CONTINUOUS, "in part"),
        ("KEEL's tables, categories as numbers", keel_tables.CODED, "no, except two"),
    ):
        of_kind = [line for line in keel if line["table"] in names]
        yield _make_suite(title, "benchmarks/keel.md", "ARI of initial clusters", used_to_tune, "auto", of_kind,
                          "table", "method", "ari")  # fmt: skip
    for title, names, used_to_tune in (
        ("Tables with categories and counts", mixed_tables.TABLES, "in part"),
        ("KEEL's tables with categories", mixed_tables.KEEL, "in part"),
    ):
        of_kind = [line for line in read_lines(RESULTS / "mixed.jsonl") if line["table"] in names]
        yield _make_suite(title, "benchmarks/mixed.md", "ARI", used_to_tune, "VaDEClustering", of_kind, "table",
                          "method", "ari")  # fmt: skip
    for title, names, used_to_tune in (
        ("R's tables, continuous", r_tables.CONTINUOUS, "yes"),
        ("R's tables, continuous, chosen later", r_tables.FURTHER, "to check rules"),
        ("R's tables, mixed", r_tables.MIXED, "one of them"),
    ):
        of_kind = [line for line in read_lines(RESULTS / "r_tables.jsonl") if line["table"] in names]
        yield _make_suite(title, "benchmarks/r_tables.md", "ARI", used_to_tune, "VaDEClustering", of_kind, "table",
                          "method", "ari")  # fmt: skip
    missing = [{**line, "case": f"{line['table']}, {line['kind']}, {line['share']}"} for line in
               read_lines(RESULTS / "missing.jsonl")]  # fmt: skip
    yield _make_suite("Tables with missing values: 7 tables", "benchmarks/missing.md", "ARI", "yes",
                      "VaDE", missing, "case", "method", "ari", OURS={"VaDE"})  # fmt: skip
    imputed = _make_suite("", "benchmarks/missing.md", "RMSE of imputed values", "yes",
                          "VaDE", missing, "case", "method", "rmse", OURS={"VaDE"})  # fmt: skip
    yield imputed._replace(title="Imputed values of these tables", lower_is_better=True)
    densities = [line for line in read_lines(RESULTS / "tables.jsonl") if line["data"] not in tables.DISCRETE]
    scored = _make_suite("Densities of tables", "benchmarks/tables.md", "held-out log-likelihood", "in part",
                         "vade", densities, "data", "method", "score")  # fmt: skip
    yield scored._replace(tie=TIE_OF_NATS)
    scores = read_lines(RESULTS / "keel_densities.jsonl")
    for title, names, used_to_tune in (
        ("Densities of KEEL's tables", keel_tables.CONTINUOUS, "yes"),
        ("Densities of further tables", keel_densities.LATER, "in part"),
    ):
        of_kind = [line for line in scores if line["data"] in names]
        scored = _make_suite(title, "benchmarks/keel_densities.md", "held-out log-likelihood", used_to_tune, "vade",
                             of_kind, "data", "method", "score")  # fmt: skip
        yield scored._replace(tie=TIE_OF_NATS)
    yield _make_suite("Clusters of these tables", "benchmarks/keel_densities.md", "held-out ARI", "in part", "vade",
                      [line for line in scores if line["data"] in keel_densities.LATER], "data", "method",
                      "ari")  # fmt: skip
    of_r = read_lines(RESULTS / "r_densities.jsonl")
    for title, names, used_to_tune in (
        ("Densities of R's tables", r_densities.FIRST, "in part"),
        ("Densities of R's tables, chosen later", r_sources.FURTHER, "to check rules"),
    ):
        scored = _make_suite(title, "benchmarks/r_densities.md", "held-out log-likelihood", used_to_tune, "vade",
                             [line for line in of_r if line["data"] in names], "data", "method", "score")  # fmt: skip
        yield scored._replace(tie=TIE_OF_NATS)
    yield from _read_numbers()


def _read_numbers() -> Iterator[Suite]:
    lines = read_lines(RESULTS / "how_many.jsonl")
    for name, title in (
        ("simulated, second check", "Number of clusters"),
        ("K = 1, check", "Number of clusters, if there are none"),
        ("elongated K = 1, check", "Number of clusters, if there is a strip, cube or arc"),
        ("make_blobs, second check", "Number of equal blobs, many of them overlapping"),
        (how_many.SKEWED, "Number of clusters, skewed columns"),
        ("small moons, check", "Number of clusters, moons of 150 or 300 samples"),
        ("noisy moons, check", "Number of clusters, moons with more noise"),
    ):
        of_group = [line for line in lines if line["group"] == name]
        found = [
            {"set": line["name"], "method": method, "found": float(number == line["n_clusters"]), "seed": 0,
             "seconds": line["seconds"].get(method)}
            for line in of_group for method, number in how_many.choose_each(line).items()
        ]  # fmt: skip
        in_sight = "no, but similar data" if name in how_many.UNSEEN else "in sight"
        yield _make_suite(title, "benchmarks/how_many.md", "share found", in_sight, how_many.OURS, found, "set",
                          "method", "found")  # fmt: skip
    of_mixed = [
        {**line, "is_found": float(line["found"] == line["n_groups"])}
        for line in read_lines(RESULTS / "how_many_mixed.jsonl")
    ]
    yield _make_suite("Number of groups, mixed tables", "benchmarks/how_many_mixed.md", "share found", "in part",
                      how_many.OURS, of_mixed, "table", "method", "is_found")  # fmt: skip


def _make_suite(
    title: str,
    page: str,
    figure: str,
    used_to_tune: str,
    ours: str,
    lines: Sequence[Line],
    of_set: str,
    of_method: str,
    field: str,
    OURS: set[str] = OURS,
) -> Suite:
    """The means over seeds of every method that was run on all sets."""
    sets = {line[of_set] for line in lines if line[of_method] == ours}
    values = _average(lines, of_set, of_method, field)
    kept = {name: row for name, row in values.items() if name == ours or name not in OURS | OWN_PARTS}
    return Suite(title, page, figure, used_to_tune, ours,
                 {name: row for name, row in kept.items() if set(row) >= sets},
                 _average(lines, of_set, of_method, "seconds"))  # fmt: skip


def _average(lines: Iterable[Line], of_set: str, of_method: str, field: str) -> Values:
    found: dict[str, dict[str, list[float]]] = {}
    for line in lines:
        if line.get(field) is not None:
            found.setdefault(line[of_method], {}).setdefault(line[of_set], []).append(line[field])
    return {name: {one: statistics.fmean(values) for one, values in row.items()} for name, row in found.items()}


def make_table(suites: Iterable[Suite]) -> str:
    """A row per suite."""
    header = [
        "suite (data sets)",
        "metric",
        "skgmvae",
        "best other method",
        "better–equal–worse",
        "seconds",
        "used to tune",
    ]
    return pages.format_table(header, map(make_row, suites))


def make_row(suite: Suite) -> list[Any]:
    """Means over the sets of a suite; wins, ties and losses against the best other method; median seconds."""
    sign = -1.0 if suite.lower_is_better else 1.0
    own = suite.values[suite.ours]
    means = {name: statistics.fmean(row[one] for one in own) for name, row in suite.values.items()}
    best = max((name for name in means if name != suite.ours), key=lambda name: sign * means[name])
    gains = [sign * (own[one] - suite.values[best][one]) for one in own]
    wins, losses = sum(gain > suite.tie for gain in gains), sum(gain < -suite.tie for gain in gains)
    median = f"; median difference {statistics.median(gains):+.2f}" if suite.tie == TIE_OF_NATS else ""
    ours, theirs = (f"{means[name]:.{suite.digits}f}" for name in (suite.ours, best))
    gain = 0.0 if ours == theirs else sign * (means[suite.ours] - means[best])
    ours, theirs = (f"**{ours}**" if gain > 0.0 else ours, f"**{theirs}**" if gain < 0.0 else theirs)
    seconds = [_median(suite.seconds.get(name, {}).values()) for name in (suite.ours, best)]
    return [
        f"[{suite.title}]({suite.page}) ({len(own)})",
        suite.figure + median,
        ours,
        f"{theirs}, {best}",
        f"{wins}–{len(gains) - wins - losses}–{losses}",
        " / ".join(seconds),
        suite.used_to_tune,
    ]


def _median(values: Iterable[float]) -> str:
    known = list(values)
    median = statistics.median(known) if known else None
    return "–" if median is None else f"{median:.2g}" if median < 10.0 else f"{median:,.0f}"


if __name__ == "__main__":
    sys.exit(main())
