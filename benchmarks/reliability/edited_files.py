"""Saved files edited at random, with a digest that fits: each must be refused, or answer every query.

    python benchmarks/reliability/edited_files.py --trials 10000 >> benchmarks/results/reliability.jsonl

prints one JSON line: how many were refused, how many load, and what fell short. An edit changes one to three values of
the description or of the arrays of a small model, with their types, shapes and signs, to ordinary and to extreme ones.
"""

import argparse
import copy
import json
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import make_blobs

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/__init__.py says why

from benchmarks.common import environment
from skgmvae import GMVAEClustering, VaDEClustering, VAEEMClustering
from skgmvae._file_format import NotASavedEstimatorError, read_file, write_file

QUERIES = ("predict", "predict_proba", "score_samples", "transform", "reconstruct")
QUICK = {"pretrain_iter": 2, "max_iter": 3, "hidden_layer_sizes": (4,), "latent_dim": 2, "tol": 0.0, "random_state": 0}
MODELS = {
    "vade": VaDEClustering(3, **QUICK),
    "vade with a linear path": VaDEClustering(3, **QUICK, linear_path=True, covariance_type="diag"),
    "gmvae": GMVAEClustering(3, **QUICK, style_dim=2),
    "vaeem": VAEEMClustering(3, **QUICK, learn_weights=True),
}
SCALARS: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3, 7, 10**6, 2**31, 2**53, 10**30, 0.0, -0.0, 0.5, -3.5, 1e-300, 1e300, -1e300,
    float("nan"), float("inf"), float("-inf"), "", "auto", "x", "gaussian", "bernoulli", "full", "diag", "cuda:9",
    "cpu:3", "random", "conv", [], [1], [4, 4], [[0]], {}, {"a": 1},
)  # fmt: skip
NUMBERS = (0.0, -1.0, 1.0, 1e-30, 1e6, -1e6, 1e30, -1e30, 1e38, 1e200, -1e200, np.nan, np.inf)
AUDITED: list[str] = []
FORBIDDEN = ("pickle.find_class", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.")


def main(argv: list[str] | None = None) -> int:
    """Edit, load, query and count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    arguments = parser.parse_args(argv)
    began, rng, outcomes, faults = time.perf_counter(), np.random.default_rng(arguments.seed), Counter(), []
    sys.addaudithook(lambda event, args: AUDITED.append(event) if event.startswith(FORBIDDEN) else None)
    X, _ = make_blobs(60, 4, centers=3, random_state=0)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        saved = {name: save(model.fit(X), Path(folder)) for name, model in MODELS.items()}
        AUDITED.clear()  # of the fits
        for trial in range(arguments.trials):
            name = list(MODELS)[trial % len(MODELS)]
            arrays, description = copy.deepcopy(saved[name])
            edits = [edit(arrays, description, rng) for _ in range(rng.integers(1, 4))]
            outcome = load_and_query(type(MODELS[name]), arrays, description, X, Path(folder) / "edited")
            outcomes[outcome.split(":")[0]] += 1
            if outcome not in ("refused", "answers", "cannot be written"):
                faults.append({"model": name, "edits": edits, "outcome": outcome})
    line = {"script": "edited_files", "trials": arguments.trials, "seed": arguments.seed, "outcomes": dict(outcomes)}
    executed = sorted(set(AUDITED))  # before the commit is asked for, which executes git
    seconds = round(time.perf_counter() - began, 1)
    print(json.dumps(environment.describe(**line, fell_short=faults, executed=executed, seconds=seconds)))
    return int(bool(faults or executed))


def save(model: Any, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arrays and the description of a file of the fitted model."""
    model.save(folder / "saved")
    arrays, description = read_file(folder / "saved")
    description.pop("format_version")
    return arrays, description


def edit(arrays: dict[str, Any], description: dict[str, Any], rng: np.random.Generator) -> str:
    """Change one thing in place; returns what."""
    return edit_arrays(arrays, rng) if rng.random() < 0.4 else edit_description(description, rng)


def edit_description(description: dict[str, Any], rng: np.random.Generator) -> str:
    """Replace, remove, duplicate or perturb one value anywhere in the description."""
    places = list(find_places(description))
    container, key, path = places[rng.integers(len(places))]
    kind, value = rng.integers(5), container[key]
    if kind == 0 and isinstance(container, dict):
        del container[key]
        return f"{path} removed"
    if kind == 1 and isinstance(container, list):
        container.append(value)
        return f"{path} twice"
    if kind == 2 and isinstance(value, (int, float)) and not isinstance(value, bool):
        container[key] = type(value)(value * (2 if value else 1) + int(rng.integers(-2, 3)))
    elif kind == 3 and isinstance(container, dict):
        other, _, path_of_other = places[rng.integers(len(places))]
        container[key] = copy.deepcopy(other)
        return f"{path} = container of {path_of_other}"
    else:
        container[key] = copy.deepcopy(SCALARS[rng.integers(len(SCALARS))])
    return f"{path} = {container[key]!r}"


def find_places(value: Any, path: str = "") -> Iterator[tuple[Any, Any, str]]:
    """Every container, key and path within a value of JSON types."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(items):
        yield value, key, f"{path}/{key}"
        yield from find_places(item, f"{path}/{key}")


def edit_arrays(arrays: dict[str, Any], rng: np.random.Generator) -> str:
    """Change values, type or shape of one array, or which arrays there are."""
    name = sorted(arrays)[rng.integers(len(arrays))]
    array, kind = arrays[name], rng.integers(8)
    if kind == 0:
        del arrays[name]
        return f"{name} removed"
    if kind == 1:
        arrays[name] = array.astype(("float32", "float64", "int64")[rng.integers(3)])
        return f"{name} as {arrays[name].dtype}"
    if kind == 2:
        arrays[name] = array.reshape(-1) if rng.random() < 0.5 else array[..., None]
        return f"{name} reshaped"
    if kind == 3:
        arrays[name] = np.concatenate([array.reshape(-1), array.reshape(-1)])
        return f"{name} doubled"
    if kind == 4:
        other = sorted(arrays)[rng.integers(len(arrays))]
        arrays[name], arrays[other] = arrays[other], array
        return f"{name} and {other} swapped"
    with np.errstate(all="ignore"):
        if kind == 5 or not array.size:
            arrays[name] = (array * NUMBERS[rng.integers(len(NUMBERS) - 2)]).astype(array.dtype)
            return f"{name} scaled"
        flat = array.reshape(-1).copy()
        value = NUMBERS[rng.integers(len(NUMBERS))]
        flat[rng.integers(len(flat))] = value if array.dtype.kind == "f" else int(rng.integers(-5, 6))
    arrays[name] = flat.reshape(array.shape)
    return f"{name} with a {value}"


def load_and_query(cls: Any, arrays: dict[str, Any], description: dict[str, Any], X: Any, path: Path) -> str:
    """'refused', 'answers', or what fell short."""
    try:
        write_file(path, arrays, description)
    except (TypeError, ValueError):
        return "cannot be written"
    try:
        model = cls.load(path)
    except NotASavedEstimatorError:
        return "refused"
    except Exception as error:
        return f"load raised: {error!r}"[:300]
    for query in QUERIES:
        try:
            answer = getattr(model, query)(X)
        except Exception as error:
            return f"{query} raised: {error!r}"[:300]
        if not np.isfinite(answer).all():
            return f"{query}: not finite"
    try:
        drawn = model.sample(5, random_state=0)[0]
        model.bic(X)
        model.save(path)
        model.get_params()
    except Exception as error:
        return f"sample, bic or save raised: {error!r}"[:300]
    return "answers" if np.isfinite(drawn).all() else "sample: not finite"


if __name__ == "__main__":
    sys.exit(main())
