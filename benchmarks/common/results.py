"""Files of JSON lines in benchmarks/results: a line per measurement, appended as soon as it is there."""

import argparse
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks.common import environment

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
Line = dict[str, Any]


def read_lines(path: Path) -> list[Line]:
    """The measurements in a file; none if there is no file."""
    return [json.loads(line) for line in path.read_text().splitlines() if line] if path.exists() else []


def append_line(path: Path, line: Line) -> None:
    """Add a measurement, flushed, so that an interruption costs one only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")


def append_missing(
    arguments: argparse.Namespace,
    names: tuple[str, ...],
    keys: Iterable[tuple[Any, ...]],
    measure: Callable[..., Line],
) -> None:
    """For each key that ``arguments.out`` lacks, a line: its values by ``names``, and the figures of ``measure``."""
    done = {tuple(line[name] for name in names) for line in read_lines(arguments.out)}
    for key in keys:
        if key not in done:
            line = {**dict(zip(names, key, strict=True)), **measure(*key)}
            append_line(arguments.out, {**line, **environment.describe(threads=arguments.threads)})
            print(", ".join(map(str, key)), flush=True)
