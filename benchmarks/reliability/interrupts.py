"""Ctrl-C at lines of a fit and of queries: the state so far with a warning, or KeyboardInterrupt and nothing changed.

    python benchmarks/reliability/interrupts.py --trials 2000 >> benchmarks/results/reliability.jsonl

sends the signal at random lines of the package, of skorch and of contextlib, one per fit, and prints one JSON line with
the outcomes. ``--all`` takes every line of the package that a fit reaches, the first time it does.
"""

import argparse
import json
import pickle
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from sklearn.datasets import make_blobs

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/__init__.py says why

from benchmarks.common import environment
from skgmvae import GMVAEClustering, VaDEClustering, VAEEMClustering
from skgmvae._interrupts import Guard

QUICK = {"pretrain_iter": 2, "max_iter": 3, "hidden_layer_sizes": (4,), "latent_dim": 2, "batch_size": 30}
QUICK |= {"tol": 0.0, "random_state": 0, "linear_path": False, "init_params": "kmeans"}
MODELS = {
    "vade": VaDEClustering(3, **QUICK),
    "vade, three initializations": VaDEClustering(3, **{**QUICK, "pretrain_iter": 1, "max_iter": 2, "n_init": 3}),
    "vade with a linear path": VaDEClustering(3, **{**QUICK, "linear_path": True}),
    "gmvae": GMVAEClustering(3, **QUICK),
    "vaeem": VAEEMClustering(3, **QUICK),
}
TRACED = ("/skgmvae/", "/skorch/", "/contextlib.py")
GOOD = ("as it was", "warned", "complete", "not reached", "whole answer")


def main(argv: list[str] | None = None) -> int:
    """Interrupt, check and count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--all", action="store_true", help="every line that is reached, once, instead of random ones")
    arguments = parser.parse_args(argv)
    began, rng, outcomes, faults = time.perf_counter(), np.random.default_rng(arguments.seed), Counter(), []
    X, _ = make_blobs(60, 4, centers=3, random_state=0)
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells ignore it for jobs in the background
    trials = []
    for name, model in MODELS.items():
        with tempfile.TemporaryDirectory() as memory:
            places = list_places(lambda model=model, memory=memory: clone(model).set_params(memory=memory).fit(X))
        firsts = list(dict(zip(reversed(places), reversed(range(len(places))), strict=True)).values())
        n_random = arguments.trials // len(MODELS)
        chosen = sorted(firsts) if arguments.all else rng.integers(len(places), size=n_random).tolist()
        trials += [(name, number) for number in chosen]
    expected = {name: describe(clone(model).fit(X), X) for name, model in MODELS.items()}
    for name, number in trials:
        outcome, place = interrupt_fit(MODELS[name], X, number, expected[name])
        outcomes[outcome.split(":")[0]] += 1
        if outcome not in GOOD:
            faults.append({"model": name, "number": number, "place": place, "outcome": outcome})
    for name, number in trials[::10]:
        outcome, place = interrupt_queries(clone(MODELS[name]).fit(X), X, number % 3000)
        outcomes[f"query: {outcome}"] += 1
        if outcome not in GOOD:
            faults.append({"model": name, "number": number, "place": place, "outcome": f"query {outcome}"})
    line = {"script": "interrupts", "trials": sum(outcomes.values()), "seed": arguments.seed, "all": arguments.all}
    seconds = round(time.perf_counter() - began, 1)
    print(json.dumps(environment.describe(**line, outcomes=dict(outcomes), fell_short=faults, seconds=seconds)))
    return int(bool(faults))


def interrupt_fit(model: Any, X: Any, number: int, expected: Any) -> tuple[str, str]:
    """Outcome of a fit that is interrupted at line ``number``, and the place of the line."""
    with tempfile.TemporaryDirectory() as memory:
        model = clone(model).set_params(memory=memory)
        before, settings = dict(vars(model)), describe_settings()
        place = ["not reached"]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                with signal_at(number, place):
                    model.fit(X)
                texts = [str(warning.message) for warning in caught]
                outcome = "warned" if any("nterrupt" in text for text in texts) else "silent"
                if place == ["not reached"]:
                    outcome = "not reached"
            except KeyboardInterrupt:
                outcome = "as it was" if dict(vars(model)) == before else "changed"
                if outcome == "changed" and hasattr(model, "net_") and describe(model, X) == expected:
                    outcome = "complete"  # the signal came when fit was about to return
            except BaseException as error:
                return f"raised: {error!r}"[:300], place[0]
        if describe_settings() != settings:
            return f"settings: {settings} became {describe_settings()}", place[0]
        if outcome == "warned" and not np.isfinite(model.score_samples(X)).all():
            return "warned, but scores are not finite", place[0]
        if outcome in GOOD and describe(clone(model).fit(X), X) != expected:
            return "the next fit differs: something incomplete was cached", place[0]
        return outcome, place[0]


def interrupt_queries(model: Any, X: Any, number: int) -> tuple[str, str]:
    """Outcome of queries that are interrupted at line ``number``, and the place of the line."""
    before, settings, place = describe(model, X), describe_settings(), ["not reached"]
    try:
        with signal_at(number, place):
            model.score_samples(X), model.sample(5), model.predict(X), model.transform(X)
        outcome = "silent" if place != ["not reached"] else "not reached"
    except KeyboardInterrupt:
        outcome = "as it was"
    except BaseException as error:
        return f"raised: {error!r}"[:300], place[0]
    if describe_settings() != settings:
        return f"settings: {settings} became {describe_settings()}", place[0]
    return outcome if describe(model, X) == before else "changed", place[0]


def describe(model: Any, X: Any) -> bytes:
    """What a fitted model answers."""
    return pickle.dumps((model.score_samples(X), model.labels_, model.history_, model.pretrain_history_))


def describe_settings() -> tuple[Any, ...]:
    """Settings of the process that computations change while they last."""
    handler = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    grad = (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu"))
    return (handler, Guard.active is None, *grad, torch.get_num_threads(), tuple(sorted(np.geterr().items())))


@contextmanager
def signal_at(number: int, place: list[str]) -> Iterator[None]:
    """Context that sends SIGINT at line ``number`` of those that count, and writes down where that was."""
    count = [0]

    def trace(frame: Any, event: str, argument: Any) -> Any:
        if (
            not any(part in frame.f_code.co_filename for part in TRACED)
            or frame.f_code is signal_at.__wrapped__.__code__
        ):
            return None
        if event == "line":
            count[0] += 1
            if count[0] == number + 1:
                sys.settrace(None)
                place[0] = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
                signal.raise_signal(signal.SIGINT)
        return trace

    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(None)


def list_places(function: Callable[[], Any]) -> list[tuple[str, int]]:
    """File and number of every line that ``function`` reaches, in order, with repetitions."""
    places = []

    def trace(frame: Any, event: str, argument: Any) -> Any:
        if not any(part in frame.f_code.co_filename for part in TRACED):
            return None
        if event == "line":
            places.append((frame.f_code.co_filename, frame.f_lineno))
        return trace

    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(None)
    return places


if __name__ == "__main__":
    sys.exit(main())
