"""Settings of the process around fits, queries and files: no bit of a result may change, and no setting.

    python benchmarks/reliability/contexts.py --trials 1000 >> benchmarks/results/reliability.jsonl

does one operation of one model in one or two contexts, at random, and prints one JSON line with what fell short.
"""

import argparse
import contextlib
import json
import os
import pickle
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import sklearn
import torch
from sklearn.base import clone
from sklearn.datasets import make_blobs

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/__init__.py says why

from benchmarks.common import environment
from benchmarks.reliability.interrupts import MODELS

Thunk = Callable[[], Any]


def main(argv: list[str] | None = None) -> int:
    """Compare and count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    arguments = parser.parse_args(argv)
    warnings.simplefilter("ignore")
    began, rng, faults = time.perf_counter(), np.random.default_rng(arguments.seed), []
    X, _ = make_blobs(60, 4, centers=3, random_state=0)
    fitted = {name: pickle.dumps(clone(model).fit(X)) for name, model in MODELS.items()}
    expected = {
        (name, op): OPERATIONS[op](clone(MODELS[name]), fitted[name], X) for name in MODELS for op in OPERATIONS
    }
    for _ in range(arguments.trials):
        name, op = rng.choice(list(MODELS)), rng.choice(list(OPERATIONS))
        chosen = rng.choice(list(CONTEXTS), size=rng.integers(1, 3), replace=False).tolist()
        before = read_settings()
        try:
            with contextlib.ExitStack() as stack:
                for context in chosen:
                    stack.enter_context(CONTEXTS[context]())
                inside = read_settings()
                found = rng_call(rng, lambda name=name, op=op: OPERATIONS[op](clone(MODELS[name]), fitted[name], X))
                outcome = "" if found == expected[name, op] else "other bits"
                outcome = outcome or ("" if read_settings() == inside else "settings changed")
        except Exception as error:
            outcome = f"raised {error!r}"[:300]
        outcome = outcome or ("" if read_settings() == before else "settings are left changed")
        if outcome:
            faults.append({"model": str(name), "operation": str(op), "contexts": chosen, "outcome": outcome})
    seconds = round(time.perf_counter() - began, 1)
    line = {"script": "contexts", "trials": arguments.trials, "seed": arguments.seed, "fell_short": faults}
    counts = {"contexts": len(CONTEXTS), "operations": len(OPERATIONS), "models": len(MODELS)}
    print(json.dumps(environment.describe(**line, **counts, seconds=seconds)))
    return int(bool(faults))


def rng_call(rng: np.random.Generator, function: Thunk) -> Any:
    """The result of the function; now and then within another function of joblib, which looks at nothing."""
    return joblib.Parallel(n_jobs=1)([joblib.delayed(function)()])[0] if rng.random() < 0.1 else function()


def read_settings() -> tuple[Any, ...]:
    """Settings that a computation could leave changed, and the states of the global generators."""
    grad = (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu"))
    generators = (hash(np.random.mtrand._rand.get_state()[1].tobytes()), hash(torch.get_rng_state().numpy().tobytes()))
    dtype, device = torch.get_default_dtype(), torch.get_default_device()
    return (*grad, *generators, dtype, device, torch.get_num_threads(), str(np.geterr()), os.getcwd())


@contextlib.contextmanager
def setting(set_value: Callable[[Any], Any], value: Any, former: Any) -> Iterator[None]:
    """Context in which a setting of the process has another value."""
    set_value(value)
    try:
        yield
    finally:
        set_value(former)


CONTEXTS: dict[str, Callable[[], Any]] = {
    "float64": lambda: setting(torch.set_default_dtype, torch.float64, torch.float32),
    "bfloat16": lambda: setting(torch.set_default_dtype, torch.bfloat16, torch.float32),
    "float16": lambda: setting(torch.set_default_dtype, torch.float16, torch.float32),
    "meta": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "anomalies": lambda: torch.autograd.set_detect_anomaly(True, check_nan=False),
    "deterministic": lambda: setting(torch.use_deterministic_algorithms, True, False),
    "two threads": lambda: setting(torch.set_num_threads, 2, torch.get_num_threads()),
    "errstate": lambda: np.errstate(all="raise"),
    "print options": lambda: np.printoptions(precision=1, threshold=3),
    "pandas": lambda: sklearn.config_context(assume_finite=True),
    "another folder": lambda: contextlib.chdir(tempfile.gettempdir()),
    "threading": lambda: joblib.parallel_config("threading", n_jobs=2),
    "loky": lambda: joblib.parallel_config("loky", n_jobs=2),
    "recursion": lambda: setting(sys.setrecursionlimit, 400, sys.getrecursionlimit()),
}


def digest(model: Any, X: Any) -> tuple[Any, ...]:
    """What a fitted model answers."""
    return (
        model.score_samples(X).tobytes(),
        model.predict_proba(X).tobytes(),
        repr(model.history_),
        model.labels_.tobytes(),
    )


def in_file(model: Any, X: Any) -> tuple[Any, ...]:
    """The answers of a model that was saved and loaded."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        model.save(path)
        return digest(type(model).load(path), X)


def in_thread(model: Any, X: Any) -> tuple[Any, ...]:
    """The answers of a model that is fitted in another thread."""
    with ThreadPoolExecutor(1) as pool:
        return digest(pool.submit(model.fit, X).result(), X)


OPERATIONS: dict[str, Callable[[Any, bytes, Any], Any]] = {
    "fit": lambda model, fitted, X: digest(model.fit(X), X),
    "fit in a thread": lambda model, fitted, X: in_thread(model, X),
    "partial_fit": lambda model, fitted, X: digest(model.partial_fit(X), X),
    "warm start": lambda model, fitted, X: digest(pickle.loads(fitted).set_params(warm_start=True).fit(X), X),
    "predict_proba": lambda model, fitted, X: pickle.loads(fitted).predict_proba(X).tobytes(),
    "score_samples": lambda model, fitted, X: pickle.loads(fitted).score_samples(X).tobytes(),
    "transform": lambda model, fitted, X: pickle.loads(fitted).transform(X).tobytes(),
    "reconstruct": lambda model, fitted, X: pickle.loads(fitted).reconstruct(X).tobytes(),
    "sample": lambda model, fitted, X: pickle.loads(fitted).sample(7, random_state=1)[0].tobytes(),
    "bic": lambda model, fitted, X: pickle.loads(fitted).bic(X),
    "save and load": lambda model, fitted, X: in_file(pickle.loads(fitted), X),
    "pickle": lambda model, fitted, X: digest(pickle.loads(pickle.dumps(pickle.loads(fitted))), X),
}


if __name__ == "__main__":
    sys.exit(main())
