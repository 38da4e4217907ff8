"""The three docstrings, which repeat each other by scikit-learn's convention, do not drift apart or from the code."""

import ast
import inspect
import re
from itertools import combinations
from pathlib import Path

import pytest

from skgmvae import GMVAEClustering, VaDEClustering, VAEEMClustering, plotting

ESTIMATORS = [GMVAEClustering, VaDEClustering, VAEEMClustering]
each_estimator = pytest.mark.parametrize("Estimator", ESTIMATORS)
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
# the text differs where the models do, by design
OWN_TEXT = {
    *("n_mc_samples", "min_information", "latent_dim", "likelihood", "init_params", "hidden_layer_sizes", "network"),
    *("tol", "max_iter", "learn_weights", "batch_size", "verbose", "init_clamp", "learning_rate"),
    *("lower_bound_", "lower_bounds_", "history_", "n_iter_", "net_"),
}
COMPUTED = {"covariances_", "precisions_", "precisions_cholesky_", "categories_", "style_dim_"}  # on access


def read_entries(cls, section):
    """Name to (type, text) of each entry of a numpydoc section."""
    doc = inspect.getdoc(cls)
    body = re.split(r"\n\n[A-Z]\w+\n-+\n", doc.split(f"\n{section}\n{'-' * len(section)}\n")[1])[0]
    entries = re.findall(r"^(\w+)(?: : (.*))?\n?((?:    .*\n?)*)", body, flags=re.M)
    return {name: (kind.strip(), " ".join(text.split())) for name, kind, text in entries}


def find_fitted_attributes(model):
    return {name for name in vars(model) if name.endswith("_") and not name.startswith("_")}


@each_estimator
def test_every_parameter_is_documented_in_the_order_of_the_signature_with_its_default(Estimator):
    entries = read_entries(Estimator, "Parameters")
    parameters = inspect.signature(Estimator).parameters
    assert list(entries) == list(parameters)
    for name, (kind, _) in entries.items():
        default = parameters[name].default
        stated = re.search(r"default=(.*)$", kind)
        if stated is None:
            assert default is None and kind.endswith("optional"), name
        else:
            assert eval(stated[1], {}) == default, name


@each_estimator
def test_every_parameter_has_a_constraint_and_a_type(Estimator):
    parameters = inspect.signature(Estimator).parameters
    assert set(Estimator._parameter_constraints) == set(parameters)
    assert all(parameter.annotation is not parameter.empty for parameter in parameters.values())


@each_estimator
def test_fitted_attributes_are_those_documented(Estimator, blobs, quick):
    import pandas as pd

    frame = pd.DataFrame(blobs[0], columns=list("abcd"))
    model = Estimator(3, **{**quick, "pretrain_iter": 1, "max_iter": 1}).fit(frame)
    computed = {name for name in COMPUTED if hasattr(model, name)}
    assert find_fitted_attributes(model) | computed == set(read_entries(Estimator, "Attributes"))


@pytest.mark.parametrize("section", ["Parameters", "Attributes"])
def test_what_the_models_share_is_said_in_the_same_words(section):
    entries = {Estimator: read_entries(Estimator, section) for Estimator in ESTIMATORS}
    for one, other in combinations(ESTIMATORS, 2):
        for name in (entries[one].keys() & entries[other].keys()) - OWN_TEXT:
            (kind, text), (other_kind, other_text) = entries[one][name], entries[other][name]
            assert text == other_text, f"{name} of {one.__name__} and {other.__name__}"
            assert kind == other_kind, f"{name} of {one.__name__} and {other.__name__}"


def test_defaults_agree_where_the_models_do_not_differ():
    defaults = {Estimator: Estimator().get_params() for Estimator in ESTIMATORS}
    for one, other in combinations(ESTIMATORS, 2):
        shared = defaults[one].keys() & defaults[other].keys()
        assert len(shared) > 20
        assert {name for name in shared if defaults[one][name] != defaults[other][name]} == set()


@pytest.mark.parametrize("name", plotting.__all__)
def test_displays_document_their_parameters_and_attributes(name):
    Display = getattr(plotting, name)
    assert list(read_entries(Display, "Parameters")) == list(inspect.signature(Display).parameters)
    documented = set(read_entries(Display, "Attributes"))
    assert documented == {attribute for attribute in Display.__annotations__ if attribute.endswith("_")}
    make = getattr(Display, "from_estimator", None) or Display.from_search
    for method in (make, Display.plot):
        entries = re.findall(r"^\*{0,2}(\w+) : ", inspect.getdoc(method), flags=re.M)
        assert entries == [parameter for parameter in inspect.signature(method).parameters if parameter != "self"]


@each_estimator
def test_public_methods_document_their_parameters(Estimator):
    methods = inspect.getmembers(Estimator, inspect.isroutine)
    own = [(name, method) for name, method in methods if not name.startswith("_") and "skgmvae" in method.__module__]
    assert len(own) >= 14
    for name, method in own:
        before_returns = inspect.getdoc(method).split("Returns")[0]
        entries = re.findall(r"^\*{0,2}(\w+) : ", before_returns, flags=re.M)
        parameters = [parameter for parameter in inspect.signature(method).parameters if parameter != "self"]
        assert entries == parameters, name


PACKAGE = Path(inspect.getfile(plotting)).parents[1]
SHAPE = re.compile(r"\((\.\.\.|(\.\.\.|[A-Zn1]|K or 1|[A-Z]·[A-Zn]|height),[^()]*)\)")  # (...), (N,), not N(0, I)


@pytest.mark.parametrize("path", [PACKAGE / "functional.py", *sorted((PACKAGE / "models").glob("*.py"))], ids=str)
def test_every_function_of_tensors_states_their_shapes(path):
    text = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.FunctionDef) or node.name == "__init__":  # that is the class's docstring
            continue
        parts = [node.args, *([node.returns] if node.returns else [])]
        if re.search("Tensor|ELBOTerms|Moments", " ".join(map(ast.unparse, parts))):
            head = "\n".join(text.splitlines()[node.lineno - 1 : node.body[0].lineno - 1])
            comment = head.split("#")[-1] if "#" in head else ""
            assert SHAPE.search(ast.get_docstring(node) or comment), f"{path.name}: {node.name}"
