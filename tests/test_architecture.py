"""The house of DESIGN section 2: imports point down, files stay short, no ``assert`` for users' mistakes."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "skgmvae"
ESTIMATORS = ("skgmvae._gmvae", "skgmvae._vade", "skgmvae._vaeem")
# lowest first; a module may import only from floors below its own, or from its own folder
FLOORS = (
    ("skgmvae.data.lazy",),
    ("skgmvae.functional", "skgmvae.metrics", "skgmvae.datasets"),
    ("skgmvae.models",),
    ("skgmvae._evaluation", "skgmvae._file_format"),
    ("skgmvae.training",),
    (
        "skgmvae._validation",
        "skgmvae._presets",
        "skgmvae._mistakes",
        "skgmvae._parameters",
        "skgmvae._sklearn_callbacks",
    ),
    ("skgmvae._inference", "skgmvae.persistence"),
    ("skgmvae._base",),
    ESTIMATORS,
    ("skgmvae.plotting",),
    ("skgmvae",),
    ("skgmvae.__main__",),
)
LEVELS = {unit: level for level, floor in enumerate(FLOORS) for unit in floor}
TRAINERS = (
    "skgmvae._inference",
    "skgmvae.persistence",
    "skgmvae._base",
    *ESTIMATORS,
)  # the first two are parts of _base
# what a unit may import at all, by prefix; units that are not named may import anything from below
ALLOWED = {
    "skgmvae.functional": {"math", "torch"},
    "skgmvae.models": {*sys.stdlib_module_names, "torch", "skgmvae.functional", "skgmvae.models"},
}
SOURCES = sorted(ROOT.rglob("*.py"))


def name_module(path):
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_module(path) for path in SOURCES}


def find_unit(module):
    """The module of the package's first level, or the folder, that ``module`` belongs to."""
    return ".".join(module.split(".")[:2])


def find_imports(module, tree, is_package=False):
    """Dotted names of the modules that ``module`` imports, wherever in the file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = module.split(".")[: len(module.split(".")) + is_package - node.level] if node.level else []
            base = ".".join([*package, *filter(None, [node.module])])
            for alias in node.names:  # `from skgmvae import functional` imports a module, not the package
                yield f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base


def find_fault(module, imported):
    """Why ``module`` may not import ``imported``; None if it may."""
    unit, other = find_unit(module), find_unit(imported)
    if unit in ALLOWED:
        head = imported.split(".")[0]
        return None if {head, other} & ALLOWED[unit] else f"{unit} may import only torch, maths and what is below it"
    if other.split(".")[0] != "skgmvae":
        return None
    if {unit, other} - LEVELS.keys():
        return f"no floor for {({unit, other} - LEVELS.keys()).pop()}: add it to FLOORS"
    if {unit, other} <= {"skgmvae.metrics", "skgmvae.datasets"} or unit == other != "skgmvae":
        return None
    if other == "skgmvae.training" and unit not in TRAINERS:
        return f"only {', '.join(TRAINERS)} may import training"
    return None if LEVELS[other] < LEVELS[unit] else f"{other} is not below {unit}"


def test_imports_point_down():
    assert SOURCES, f"no source files under {ROOT}"
    faults = [f"{module} has no floor: add it to FLOORS" for module in MODULES if find_unit(module) not in LEVELS]
    for path in SOURCES:
        module, tree = name_module(path), ast.parse(path.read_text(encoding="utf-8"))
        for imported in find_imports(module, tree, path.name == "__init__.py"):
            fault = find_fault(module, imported)
            if fault:
                faults.append(f"{path.relative_to(ROOT.parent)} imports {imported}: {fault}")
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    ("module", "statement", "allowed"),
    [
        ("skgmvae.functional", "import numpy", False),
        ("skgmvae.models.vade", "from sklearn import mixture", False),
        ("skgmvae.models.vade", "from skgmvae.training.net import Net", False),
        ("skgmvae.models.vade", "from ..training import net", False),
        ("skgmvae.models.vade", "from .contract import ELBOTerms", True),
        ("skgmvae.models.vade", "from skgmvae.metrics import clustering_accuracy", False),
        ("skgmvae._evaluation", "import skgmvae.training", False),
        ("skgmvae.plotting", "from skgmvae.training.net import Net", False),
        ("skgmvae._base", "from skgmvae import training", True),
        ("skgmvae._vade", "from skgmvae._base import DeepMixture", True),
        ("skgmvae._vade", "from skgmvae._gmvae import GMVAEClustering", False),
        ("skgmvae._base", "from skgmvae import VaDEClustering", False),
        ("skgmvae.metrics", "from skgmvae import functional", False),
        ("skgmvae.metrics", "import numpy, scipy.optimize, skgmvae.datasets", True),
        ("skgmvae._base", "import skgmvae.helpers", False),
    ],
)
def test_the_rule_itself_tells_allowed_from_forbidden(module, statement, allowed, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "MODULES", MODULES | {"skgmvae.functional", "skgmvae.training"})
    faults = [find_fault(module, imported) for imported in find_imports(module, ast.parse(statement))]
    assert (not any(faults)) == allowed


def test_files_are_short_and_use_no_assert():
    faults = []
    for path in SOURCES:
        text, name = path.read_text(encoding="utf-8"), path.relative_to(ROOT.parent)
        if len(text.splitlines()) > 400:
            faults.append(f"{name} has {len(text.splitlines())} lines, more than 400: split it")
        asserts = [node.lineno for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Assert)]
        faults += [f"{name}:{line} asserts: raise an error that names the remedy" for line in asserts]
    assert not faults, "\n".join(faults)
