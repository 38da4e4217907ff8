"""The house of DESIGN, section 3: imports point down, files stay short, public modules say what is public."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import skgmvae

ROOT = Path(__file__).parents[1] / "skgmvae"
ESTIMATORS = ("skgmvae._gmvae", "skgmvae._vade", "skgmvae._vaeem")
# lowest first; a module may import only from floors below its own, or from its own folder
FLOORS = (
    ("skgmvae._interrupts", "skgmvae._atomic_write", "skgmvae._threads", "skgmvae._warnings"),
    ("skgmvae._ranks",),
    ("skgmvae._collectives",),
    ("skgmvae.runtime",),
    ("skgmvae.data",),
    ("skgmvae.functional", "skgmvae.datasets"),
    ("skgmvae.models",),
    ("skgmvae._progress", "skgmvae._evaluation", "skgmvae._file_format"),
    ("skgmvae._component_moments", "skgmvae._onnx"),
    ("skgmvae._component_table",),
    ("skgmvae.initialization",),
    ("skgmvae.training",),
    ("skgmvae._column_warnings",),
    ("skgmvae._defaults", "skgmvae._likelihoods"),
    ("skgmvae._auto",),
    (
        "skgmvae._validation",
        "skgmvae._constraints",
        "skgmvae._parameters",
        "skgmvae._presets",
        "skgmvae._sklearn_callbacks",
        "skgmvae._sampling",
        "skgmvae._pickling",
    ),
    ("skgmvae._configuration",),
    ("skgmvae._description", "skgmvae._fitting", "skgmvae._saved_answers", "skgmvae._saved_values"),
    ("skgmvae.persistence",),
    ("skgmvae._criteria", "skgmvae._conditioning"),
    ("skgmvae._inference",),
    ("skgmvae._base",),
    ESTIMATORS,
    ("skgmvae.metrics",),
    ("skgmvae.model_selection",),
    ("skgmvae.plotting",),
    ("skgmvae",),
    ("skgmvae.__main__",),
)
LEVELS = {unit: level for level, floor in enumerate(FLOORS) for unit in floor}
# who trains, and who describes and restores what was trained
TRAINERS = (
    "skgmvae._configuration",
    "skgmvae._description",
    "skgmvae._fitting",
    "skgmvae._saved_answers",
    "skgmvae._saved_values",
    "skgmvae.persistence",
    "skgmvae._base",
    *ESTIMATORS,
)
STDLIB = set(sys.stdlib_module_names)
# what a unit may import at all, by prefix; units that are not named may import anything from below
ALLOWED = {
    "skgmvae.functional": {"math", "torch"},
    "skgmvae.models": {*STDLIB, "torch", "skgmvae.functional", "skgmvae.models"},
    "skgmvae.runtime": {
        *STDLIB,
        "numpy",
        "threadpoolctl",
        "torch",
        "skgmvae._interrupts",
        "skgmvae._ranks",
        "skgmvae._threads",
    },
}
MAX_LINES = 250
# longer files, and why they are not split
LONG = {
    "skgmvae/models/autoencoder.py": "one module is one file, with what its heads add",
    "skgmvae/models/vaeem.py": "one model is one file",
    "skgmvae/models/gmvae.py": "one model is one file",
    "skgmvae/models/vade.py": "one model is one file",
    "skgmvae/functional.py": "the mathematics in one place, twenty lines of it the list of its names",
    "skgmvae/_inference.py": "all queries of a fitted model, most of it their docstrings",
    "skgmvae/_gmvae.py": "one estimator is one file, most of it the docstring of its parameters",
    "skgmvae/_vade.py": "one estimator is one file, most of it the docstring of its parameters",
    "skgmvae/_vaeem.py": "one estimator is one file, most of it the docstring of its parameters",
    "skgmvae/model_selection/_search.py": "one meta-estimator is one file, half of it the docstring of its parameters",
    "skgmvae/plotting/_latent.py": "one Display class, most of it docstrings",
}
LAZY = ("datasets", "functional", "metrics", "model_selection", "models", "plotting")
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
    if unit == other != "skgmvae":
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
        ("skgmvae.datasets", "from skgmvae import functional", False),
        ("skgmvae.datasets", "import numpy, scipy.optimize", True),
        ("skgmvae._base", "import skgmvae.helpers", False),
        ("skgmvae.runtime", "from skgmvae.data.lazy import LazyRows", False),
        ("skgmvae.runtime", "import sklearn", False),
        ("skgmvae.data.batches", "from skgmvae.runtime import RandomStream", True),
        ("skgmvae.data.batches", "from skgmvae._evaluation import map_chunks", False),
        ("skgmvae.initialization.graph", "from skgmvae.training.train import train", False),
        ("skgmvae._inference", "from skgmvae.training.train import train", False),
        ("skgmvae.persistence", "from skgmvae._base import DeepMixture", False),
        ("skgmvae.models.vade", "from skgmvae.runtime import RandomStream", False),
    ],
)
def test_the_rule_itself_tells_allowed_from_forbidden(module, statement, allowed, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "MODULES", MODULES | {"skgmvae.functional", "skgmvae.training"})
    faults = [find_fault(module, imported) for imported in find_imports(module, ast.parse(statement))]
    assert (not any(faults)) == allowed


def read_names():
    """Path within the repository and source of every file."""
    return {path.relative_to(ROOT.parent).as_posix(): path.read_text(encoding="utf-8") for path in SOURCES}


def test_files_are_short():
    n_lines = {name: len(text.splitlines()) for name, text in read_names().items()}
    faults = [f"{name} has {n} lines, more than {MAX_LINES}" for name, n in n_lines.items() if n > MAX_LINES]
    assert not [fault for fault in faults if fault.split()[0] not in LONG], "split it, or name it in LONG with a reason"
    assert LONG.keys() <= n_lines.keys()


def test_users_mistakes_are_no_assertions():
    for name, text in read_names().items():
        asserts = [node.lineno for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Assert)]
        assert not asserts, f"{name}: raise an error that names the remedy"


def read_public_names(module):
    """``__all__`` as it is written in the file; None where it is missing."""
    path = next(path for path in SOURCES if name_module(path) == module)
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            return ast.literal_eval(node.value)
    return None


PUBLIC = sorted(module for module in MODULES if not any(part.startswith("_") for part in module.split(".")))


def test_every_public_module_says_what_is_public():
    missing = [module for module in PUBLIC if read_public_names(module) is None]
    assert not missing, "add __all__"


@pytest.mark.parametrize("module", sorted(MODULES))
def test_every_public_name_exists(module):
    if module.endswith("__main__"):
        pytest.skip("runs when it is imported")
    names = read_public_names(module) or []
    assert len(names) == len(set(names))
    imported = importlib.import_module(module)
    assert not [name for name in names if not hasattr(imported, name)]


def run_alone(code):
    """The output of a fresh process."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_submodules_come_with_a_bare_import_when_they_are_asked_for():
    code = f"""
import sys, skgmvae
assert not [name for name in {LAZY!r} if name != "functional" and name != "models" and "skgmvae." + name in sys.modules]
for name in {LAZY!r}:
    assert name in dir(skgmvae) and getattr(skgmvae, name) is sys.modules["skgmvae." + name]
assert skgmvae.metrics.clustering_accuracy([0, 1], [1, 0]) == 1.0
assert "matplotlib" not in sys.modules
try:
    skgmvae.nothing
except AttributeError as error:
    print(error)
"""
    assert " ".join(run_alone(code)) == "module 'skgmvae' has no attribute 'nothing'"


def test_names_of_the_package_are_the_estimators_and_the_precision():
    assert skgmvae.__all__ == [
        "SKOPS_TYPES",
        "GMVAEClustering",
        "VAEEMClustering",
        "VaDEClustering",
        "single_precision",
    ]
    assert set(LAZY) <= set(dir(skgmvae))
