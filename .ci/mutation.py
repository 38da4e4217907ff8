"""Mutation tests: which changes of the code no test sees, in a random sample.

The mutants are cosmic-ray's. A complete run would take days: a fixed number is drawn per group of modules, first a
place, then one of the mutants there, so that operators with many replacements are not drawn more often. Each runs in
a copy of the checkout, against those tests of its group that execute the mutated statement, the quickest first.
Processes are forked from one that has imported the dependencies.
"""

import argparse
import ast
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STATEMENTS = (ast.FunctionDef, ast.ClassDef, ast.For, ast.While, ast.If, ast.With, ast.Try)


class Recorder:
    """A pytest plugin: outcome, seconds and executed lines of the package, per test."""

    def __init__(self, package):
        self.package, self.lines, self.tests = package, set(), {}

    def trace(self, frame, event, argument):
        """A trace function, for the package only."""
        name = frame.f_code.co_filename
        if not name.startswith(self.package):
            return None
        if event == "line":
            self.lines.add((name, frame.f_lineno))
        return self.trace

    def pytest_runtest_logstart(self, nodeid, location):
        """Forget the lines of the test before."""
        self.lines = set()
        threading.settrace(self.trace)
        sys.settrace(self.trace)

    def pytest_runtest_logreport(self, report):
        """Keep the outcome."""
        test = self.tests.setdefault(report.nodeid, {"seconds": 0.0, "passed": True})
        test["seconds"] += report.duration
        test["passed"] &= report.outcome == "passed" or (report.skipped and hasattr(report, "wasxfail"))

    def pytest_runtest_logfinish(self, nodeid, location):
        """Keep the lines."""
        sys.settrace(None)
        self.tests[nodeid]["lines"] = sorted(self.lines)


class Order:
    """A pytest plugin: these tests in this order; the name of one that fails is written to ``failed``."""

    def __init__(self, names, failed):
        self.rank, self.failed = {name: i for i, name in enumerate(names)}, failed

    def pytest_runtest_logreport(self, report):
        """Write the name."""
        if report.failed:
            self.failed.write_text(report.nodeid, encoding="utf-8")

    def pytest_collection_modifyitems(self, items):
        """Keep those named."""
        items[:] = sorted((i for i in items if i.nodeid in self.rank), key=lambda i: self.rank[i.nodeid])


def fork(copy, log, timeout, work):
    """Exit status of ``work()`` in a child process with ``copy`` as its folder; None after ``timeout`` seconds."""
    child = os.fork()
    if child == 0:
        status = 3
        try:
            os.setsid()
            os.chdir(copy)
            sys.path.insert(0, str(copy))
            sys.dont_write_bytecode = True
            with open(log, "a") as out:
                os.dup2(out.fileno(), 1)
                os.dup2(out.fileno(), 2)
            status = int(work())
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def run_pytest(arguments, plugins):
    """Pytest's exit status."""
    import pytest

    return pytest.main(["-q", "-p", "no:cacheprovider", "--tb=line", *arguments], plugins=plugins)


def digest(copy):
    """Of the package and its tests: what is recorded holds as long as they stay as they are."""
    files = sorted(path for folder in ("skgmvae", "tests") for path in (copy / folder).rglob("*.py"))
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()


def record(copy, out, name):
    """What the tests of one file execute, without a mutant."""
    found = out / f"{Path(name).stem}.json"
    if not (copy / name).exists():
        raise ValueError(f"mutation.toml names {name}, which does not exist")
    current = digest(copy)
    if found.exists():
        kept = json.loads(found.read_text())
        if kept.get("digest") == current:
            return kept["tests"]

    def work():
        recorder = Recorder(str(copy / "skgmvae"))
        status = run_pytest([name], [recorder])
        for test in recorder.tests.values():
            lines = [[str(Path(path).relative_to(copy)), line] for path, line in test.get("lines", ())]
            test["lines"] = lines
        found.write_text(json.dumps({"digest": current, "tests": recorder.tests}))
        return status

    fork(copy, out / "baseline.log", 400, work)
    return json.loads(found.read_text())["tests"] if found.exists() else {}


def span(tree, line):
    """First and last line of the smallest statement in a function around ``line``; None outside of functions."""
    smallest, in_function = None, False
    for node in ast.walk(tree):
        if not isinstance(node, ast.stmt) or not node.lineno <= line <= node.end_lineno:
            continue
        last = node.end_lineno
        if isinstance(node, STATEMENTS):
            first_inside = min([d.lineno for d in getattr(node, "decorator_list", [])] + [node.body[0].lineno])
            if isinstance(node, ast.FunctionDef) and line >= node.body[0].lineno:
                in_function = True
            last = max(node.lineno, first_inside - 1)
        if line <= last and (smallest is None or last - node.lineno <= smallest[1] - smallest[0]):
            smallest = node.lineno, last
    return smallest if in_function else None


def find_tests(tests, path, tree, line):
    """Names of the tests that execute a line, the quickest first.

    For a module's own lines, all that use the module, and those that only look at what is imported.
    """
    wanted = span(tree, line)

    def reaches(test):
        if wanted is None and not test["lines"]:
            return True
        return any(name == path and (wanted is None or wanted[0] <= i <= wanted[1]) for name, i in test["lines"])

    return sorted((name for name in tests if reaches(tests[name])), key=lambda name: tests[name]["seconds"])


def annotations(tree):
    """Positions of annotations, ((line, column), (line, column)): a mutant there says nothing about behavior."""
    nodes = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            nodes.append(node.returns)
        elif isinstance(node, ast.arg | ast.AnnAssign):
            nodes.append(node.annotation)
    return [((n.lineno, n.col_offset), (n.end_lineno, n.end_col_offset)) for n in nodes if n is not None]


def draw(group, excluded, seed):
    """``group['size']`` mutants: a random place, then one of the mutants there."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    names = [n for n in operator_names() if not any(re.fullmatch(pattern, n) for pattern in excluded)]
    operators = {n: get_operator(n) for n in names}
    operators = {n: operator() for n, operator in operators.items() if not operator.arguments()}
    places = {}
    for path in sorted({path for pattern in group["files"] for path in ROOT.glob(pattern)}):
        source = path.read_text(encoding="utf-8")
        nodes, typed = list(ast_nodes(get_ast(source))), annotations(ast.parse(source))
        for name, operator in operators.items():
            positions = (first for node in nodes for first, _ in operator.mutation_positions(node))
            for occurrence, first in enumerate(positions):
                if not any(a <= first < b for a, b in typed):
                    place = str(path.relative_to(ROOT)), *first
                    places.setdefault(place, []).append((name, occurrence))
    rng = random.Random(seed)
    chosen = rng.sample(sorted(places), min(group["size"], len(places)))
    return len(places), [(*place, *rng.choice(sorted(places[place]))) for place in chosen]


def mutate(source, name, occurrence):
    """The mutated source, and the line that changed, before and after."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    mutated = mutate_code(source, get_operator(name)(), occurrence)
    pairs = zip(source.split("\n"), mutated.split("\n"), strict=False)
    return mutated, next(([a.strip(), b.strip()] for a, b in pairs if a != b), ["", ""])


def judge(copy, out, path, mutated, names):
    """'killed', 'timeout', 'survived', or 'uncovered' where no test executes the mutant; and the test that fails."""
    if not names:
        return "uncovered", ""
    target = copy / path
    source = target.read_text(encoding="utf-8")
    target.write_text(mutated, encoding="utf-8")
    failed = out / "failed.txt"
    failed.unlink(missing_ok=True)
    files = sorted({name.split("::")[0] for name in names})
    try:
        status = fork(copy, out / "mutants.log", 120, lambda: run_pytest(["-x", *files], [Order(names, failed)]))
    finally:
        target.write_text(source, encoding="utf-8")
    by = failed.read_text(encoding="utf-8") if failed.exists() else ""
    return {None: "timeout", 0: "survived"}.get(status, "killed"), by


def make_copy(folder):
    """A copy of the files that git knows, as they are now."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True)
    for name in listed.stdout.decode().split():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def main():
    """Draw, run and report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("groups", nargs="*", help="of mutation.toml, or 'named'; default: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / ".nox" / "mutants", help="folder of the report")
    parser.add_argument("--survivors", action="store_true", help="run only the mutants that survived before")
    options = parser.parse_args()
    config = tomllib.loads((ROOT / ".ci" / "mutation.toml").read_text(encoding="utf-8"))
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    os.environ["OMP_NUM_THREADS"] = "1"
    import pytest  # noqa: F401
    import sklearn.mixture  # noqa: F401
    import skorch  # noqa: F401
    import torch  # noqa: F401

    with tempfile.TemporaryDirectory() as folder:
        copy = make_copy(Path(folder).resolve())
        for name in options.groups or ["named", *config["groups"]]:
            if name == "named":
                run_named(config, copy, out)
            else:
                run_group(name, config, copy, out, options)


def run_named(config, copy, out):
    """Run the mutants that mutation.toml names."""
    for one in config["named"]:
        source = (copy / one["path"]).read_text(encoding="utf-8")
        if source.count(one["old"]) != 1:
            raise ValueError(f"{one['path']} must contain once, for a mutant: {one['old']!r}")
        tests = record(copy, out, one["tests"])
        names = sorted((n for n in tests if tests[n]["passed"]), key=lambda n: tests[n]["seconds"])
        verdict, by = judge(copy, out, one["path"], source.replace(one["old"], one["new"]), names)
        print(f"{verdict}: {one['path']} {one['old'].strip()!r} -> {one['new']!r} {by}", flush=True)


def run_group(name, config, copy, out, options):
    """Draw and run the mutants of one group; one line of JSON each in ``NAME.jsonl``."""
    group, report = config["groups"][name], out / f"{name}.jsonl"
    tests = {}
    for file in group["tests"]:
        tests |= record(copy, out, file)
    failing = [test for test in tests if not tests[test]["passed"]]
    tests = {test: t for test, t in tests.items() if t["passed"] and t["seconds"] <= config["slow"]}
    print(f"{name}: {len(tests)} tests; not used, since they do not pass without a mutant: {failing}", flush=True)
    n_places, mutants = draw(group, config["excluded-operators"], options.seed)
    before = [json.loads(line) for line in report.read_text().splitlines()] if report.exists() else []
    verdicts = {tuple(one["mutant"]): (one["verdict"], one.get("by", "")) for one in before}
    lines, counts = [], {}
    for mutant in mutants:
        path, line, _, operator, occurrence = mutant
        source = (copy / path).read_text(encoding="utf-8")
        mutated, change = mutate(source, operator, occurrence)
        verdict, by = verdicts.get(mutant, ("", ""))
        if not (options.survivors and verdict in ("killed", "timeout")):
            verdict, by = judge(copy, out, path, mutated, find_tests(tests, path, ast.parse(source), line))
        counts[verdict] = counts.get(verdict, 0) + 1
        lines.append(json.dumps({"mutant": mutant, "change": change, "verdict": verdict, "by": by}))
        report.write_text("\n".join(lines) + "\n", encoding="utf-8")
        if verdict in ("survived", "uncovered"):
            print(f"{verdict}: {path}:{line} {operator.split('/')[1]}\n  - {change[0]}\n  + {change[1]}", flush=True)
    print(f"{name}: {len(mutants)} mutants at {n_places} places: {counts}", flush=True)


if __name__ == "__main__":
    main()
