"""Page on reliability: the counts of the scripts in this folder.

    python benchmarks/reliability/report.py

writes docs/benchmarks/reliability.md from benchmarks/results/reliability.jsonl, of which the last line of each script
and seed counts.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/__init__.py says why

from benchmarks.common import environment, pages
from benchmarks.common.results import RESULTS, read_lines

Line = dict[str, Any]
INTRODUCTION = """\
What happens if a fit is interrupted or killed, if a saved file is edited, or if the program changes global settings.
All scripts are in `benchmarks/reliability`. They use small models, and random points in time with a fixed seed. They
were written together with the code that they test, so their inputs are not an independent sample of what can go
wrong."""
OUTCOMES = """\
For Ctrl-C, *as it was* means a `KeyboardInterrupt` that left every attribute of the estimator unchanged; *warned*,
that the model trained so far was kept, with a warning; *complete*, that the `KeyboardInterrupt` came when the fit
was about to return, and its result was kept; and *not reached*, that the fit did not reach the line of the
interrupt. For files, *refused* means an error of `load`, and *answers* a model that returns finite numbers for every
query, whatever the edit changed. For kills, the table counts the last states that killed fits had stored; *none*
means that the fit was killed before the first one."""
PROMISES = (
    (
        "scikit-learn 1.9",
        "raises `KeyboardInterrupt` anywhere; the state of the estimator is not documented",
        "no checkpoints; `warm_start` and `partial_fit` for custom loops",
        "pickle and joblib can run any code; skops asks which types to trust",
    ),
    (
        "skorch 1.4",
        "ends the training silently, with the current state",
        "callbacks `Checkpoint` and `LoadInitState`: parameters, optimizer and history, without generators",
        "`load_params` reads safetensors for parameters; the rest is pickled",
    ),
    ("safetensors 0.8", "–", "–", "no code is run; header and offsets are validated, values are not"),
    (
        "skgmvae",
        "keeps the model so far with a warning, or raises `KeyboardInterrupt` and changes nothing",
        "`checkpoint`: continues to an equal result; `save` never leaves a partial file",
        "no code is run; sizes, types, ranges and outputs are validated (SECURITY.md)",
    ),
)
PROMISES_NOTE = "The rows of other packages are taken from their documentation and source code, not measured."


def main(argv: list[str] | None = None) -> int:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS / "reliability.jsonl")
    parser.add_argument("--page", type=Path, default=pages.PAGES / "reliability.md")
    arguments = parser.parse_args(argv)
    arguments.page.write_text(make_page(read_lines(arguments.results)), encoding="utf-8")
    return 0


def make_page(lines: list[Line]) -> str:
    """The page of the last line of every script and seed."""
    last = {(line["script"], line.get("data", ""), line.get("seed", 0)): line for line in lines}
    rows = [row for key, line in last.items() for row in ROWS[key[:2]](line)]
    machines = {environment.put_in_words(line["machine"], line["versions"]): None for line in last.values()}
    table = pages.format_table(("test", "trials", "failures", "details"), rows)
    promises = pages.format_table(("package", "Ctrl-C", "killed process", "hostile file"), PROMISES)
    parts = (
        INTRODUCTION,
        table,
        *filter(None, map(list_faults, last.values())),
        "## Guarantees of other packages",
        promises,
        PROMISES_NOTE,
    )
    return pages.make_page(__file__, "Reliability", *parts, *machines)


def list_faults(line: Line) -> str:
    """What fell short, a line each."""
    faults = [", ".join(f"{name}: {value}" for name, value in fault.items()) for fault in line.get("fell_short", [])]
    return "\n".join([f"Failures in `{line['script']}`:", "", *(f"- `{fault}`" for fault in faults)]) if faults else ""


def count(counts: dict[str, int]) -> str:
    """Counts in words, largest first."""
    return ", ".join(f"{name} {n}" for name, n in sorted(counts.items(), key=lambda item: -item[1]))


def of_edited_files(line: Line) -> list[tuple[Any, ...]]:
    """Row of ``edited_files``."""
    details = f"{count(line['outcomes'])}; forbidden audit events: {len(line['executed'])}"
    return [("saved files edited, with a valid digest", line["trials"], len(line["fell_short"]), details)]


def of_interrupts(line: Line) -> list[tuple[Any, ...]]:
    """Row of ``interrupts``."""
    which = "each line that a fit reaches" if line["all"] else "random lines of fits and queries"
    return [(f"Ctrl-C at {which}", line["trials"], len(line["fell_short"]), count(line["outcomes"]))]


def of_notebooks(line: Line) -> list[tuple[Any, ...]]:
    """Row of ``notebooks``."""
    what = "interrupts of a Jupyter kernel, in fits and queries"
    return [(what, line["trials"], len(line["fell_short"]), count(line["outcomes"]))]


def of_kills(line: Line) -> list[tuple[Any, ...]]:
    """Rows of ``kills`` of small fits and of saves."""
    fits = f"{line['fits']} fits; last stored state: {count(line['stored_when_killed'])}"
    saves = f"leftovers after the next save: {line['leftovers']}"
    return [
        ("fits with `checkpoint`, killed until they complete", line["kills"], line["different"], fits),
        ("processes killed while saving", line["killed_saves"], line["files_that_do_not_load"], saves),
    ]


def of_mnist(line: Line) -> list[tuple[Any, ...]]:
    """Row of ``kills`` of a fit to MNIST."""
    without, again, stored = (line["seconds"][name][1] for name in ("without", "without_again", "with"))
    cost = 100.0 * (2.0 * stored / (without + again) - 1.0)
    details = f"CPU time {without:.1f} and {again:.1f} s without `checkpoint`, {stored:.1f} s with: {cost:+.1f} %"
    epochs = f"{line['pretrain_iter']} and {line['max_iter']} epochs"
    return [(f"fit to MNIST, {epochs}, killed until it completes", line["kills"], line["different"], details)]


def of_cost(line: Line) -> list[tuple[Any, ...]]:
    """Row of ``kills --cost``."""
    share = 100.0 * line["of_checkpoints"] / line["seconds"]
    details = f"{line['of_checkpoints']:.1f} of {line['seconds']:.0f} s, {share:.1f} %, states and hashes"
    return [("fit to MNIST with `checkpoint`", 1, "–", details)]


def of_contexts(line: Line) -> list[tuple[Any, ...]]:
    """Row of ``contexts``."""
    details = f"{line['contexts']} contexts, {line['operations']} operations, {line['models']} models"
    return [("operations under other global settings", line["trials"], len(line["fell_short"]), details)]


def of_long_lives(line: Line) -> list[tuple[Any, ...]]:
    """Rows of ``long_lives``."""
    others = {name[10:]: n for name, n in line.items() if name.startswith("others_in_")}
    grown = "MiB of memory growth in the second half"
    return [
        ("fits in one process", line["fits"], "–", f"{line['growth_over_fits']} {grown}"),
        ("queries in one process", line["queries"], "–", f"{line['growth_over_queries']} {grown}"),
        ("fits in other processes and threads", 5 * len(others), sum(others.values()), ", ".join(others)),
    ]


ROWS: dict[tuple[str, str], Callable[[Line], list[tuple[Any, ...]]]] = {
    ("edited_files", ""): of_edited_files,
    ("interrupts", ""): of_interrupts,
    ("notebooks", ""): of_notebooks,
    ("kills", ""): of_kills,
    ("kills", "mnist"): of_mnist,
    ("kills", "mnist, cost"): of_cost,
    ("contexts", ""): of_contexts,
    ("long_lives", ""): of_long_lives,
}


if __name__ == "__main__":
    sys.exit(main())
