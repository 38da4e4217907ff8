"""What the scripts share that append a JSON line per measurement and write a page of one table from all of them."""

import argparse
from pathlib import Path

import data as data_sets
import environment
from report import NOTE, format_table
from run import append_line, read_lines

ROOT = Path(__file__).resolve().parent.parent


def make_parser(description, *, results, page, seeds, threads):
    """A command line with what these scripts have in common.

    Parameters
    ----------
    description : str
    results, page : str
        Names in benchmarks/results and in docs.
    seeds, threads : int
        Defaults.

    Returns
    -------
    argparse.ArgumentParser
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--seeds", type=int, default=seeds, help="seeds 0, 1, …; default: %(default)s")
    add("--out", type=Path, default=ROOT / "benchmarks" / "results" / results, help="JSON lines, appended to")
    add("--page", type=Path, default=ROOT / "docs" / page, help=f"default: docs/{page}")
    add("--threads", type=int, default=threads, help="default: %(default)s")
    add("--no-fits", dest="fits", action="store_false", help="only write the page")
    return parser


def add_sets_and_models(parser, sets, names):
    """``parser``, by which to choose among data sets, these unless others are named, and among models."""
    add = parser.add_argument
    add("--data", nargs="+", choices=data_sets.NAMES, default=sets, metavar="NAME", help="default: " + ", ".join(sets))
    add("--model", nargs="+", choices=names, default=names, help="default: all")
    return parser


def append_missing(arguments, names, keys, measure):
    """For each key that the results lack a line: its values by ``names``, and the figures of ``measure(*key)``."""
    done = {tuple(line[name] for name in names) for line in read_lines(arguments.out)}
    for key in keys:
        if key not in done:
            line = {**dict(zip(names, key, strict=True)), **measure(*key)}
            append_line(arguments.out, {**line, **environment.describe(threads=arguments.threads)})
            print(", ".join(map(str, key)), flush=True)


def make_page(script, title, explanation, header, rows):
    """A page with one table, by the script of that name."""
    return (
        "\n\n".join([NOTE.replace("report.py", script), f"# {title}", explanation, format_table(header, rows)]) + "\n"
    )
