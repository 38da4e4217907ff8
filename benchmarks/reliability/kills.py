"""SIGKILL at random moments: a fit with ``checkpoint`` goes on to an equal result, and ``save`` leaves a whole file.

    python benchmarks/reliability/kills.py --kills 200 >> benchmarks/results/reliability.jsonl
    python benchmarks/reliability/kills.py --mnist --data-dir FOLDER --kills 3 >> benchmarks/results/reliability.jsonl

prints one JSON line. A fit is killed and called again, each time in a process of its own, until it ends; its result is
compared with that of a fit that was not killed, to the bit. ``--mnist`` does so with MNIST, and measures what
checkpoints cost. POSIX only: processes are forked.
"""

import argparse
import json
import os
import pickle
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.datasets import make_blobs

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/__init__.py says why

from benchmarks.common import data as data_sets
from benchmarks.common import environment
from skgmvae import GMVAEClustering, VaDEClustering, VAEEMClustering
from skgmvae.data.training_data import TrainingData
from skgmvae.training import checkpoint

QUICK = {"pretrain_iter": 8, "max_iter": 12, "hidden_layer_sizes": (8,), "latent_dim": 2, "batch_size": 20}
QUICK |= {"tol": 0.0, "random_state": 0, "linear_path": False, "init_params": "gmm"}
MAX_DELAY = 0.05  # seconds
MODELS = {
    "vade": VaDEClustering(3, **QUICK),
    "vade, two initializations": VaDEClustering(3, **QUICK, n_init=2),
    "gmvae": GMVAEClustering(3, **QUICK),
    "vaeem": VAEEMClustering(3, **QUICK, learn_weights=True),
}


def main(argv: list[str] | None = None) -> int:
    """Kill, compare and count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--mnist", action="store_true", help="kill a fit to MNIST")
    parser.add_argument("--cost", action="store_true", help="only time what checkpoints of a fit to MNIST take")
    parser.add_argument("--epochs", type=int, nargs=2, help="of the pretraining and of the training of MNIST")
    parser.add_argument("--data-dir", type=Path, help="parent of the folder mnist")
    arguments = parser.parse_args(argv)
    warnings.simplefilter("ignore")
    if arguments.cost:
        print(json.dumps(environment.describe(**time_checkpoints(arguments))))
        return 0
    line = kill_mnist(arguments) if arguments.mnist else kill_small(arguments)
    print(json.dumps(environment.describe(**line)))
    return int(line["different"] > 0)


def kill_small(arguments: argparse.Namespace) -> dict[str, Any]:
    """Figures of small fits, and of saves, that are killed."""
    began, rng = time.perf_counter(), np.random.default_rng(arguments.seed)
    checkpoint.MIN_SECONDS = checkpoint.LEAST_RATIO = 0.0  # a state after every epoch
    X, _ = make_blobs(200, 4, centers=3, random_state=0)
    n_kills, n_fits, n_different, phases = 0, 0, 0, {}
    expected = {name: run(lambda model=model: describe(clone(model).fit(X), X)) for name, model in MODELS.items()}
    while n_kills < arguments.kills:
        name = list(MODELS)[n_fits % len(MODELS)]
        killed, result, found = fit_and_kill(MODELS[name], X, rng)
        n_kills, n_fits, n_different = n_kills + killed, n_fits + 1, n_different + (result != expected[name])
        for phase in found:
            phases[phase] = phases.get(phase, 0) + 1
    saves = kill_saves(arguments.kills, X, rng)
    seconds = round(time.perf_counter() - began, 1)
    line = {"script": "kills", "seed": arguments.seed, "kills": n_kills, "fits": n_fits, "different": n_different}
    return {**line, "stored_when_killed": phases, **saves, "seconds": seconds}


def fit_and_kill(model: Any, X: Any, rng: np.random.Generator) -> tuple[int, Any, list[str]]:
    """Number of kills, the result of the last process, and the last phase that was stored at each kill."""
    n_kills, phases = 0, []
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        model = clone(model).set_params(checkpoint=str(state))
        while True:
            # a random moment after some states more were stored, so that kills come in every phase on machines of any
            # speed
            n_stored, delay = int(rng.integers(0, 6)), float(rng.uniform(0.0, MAX_DELAY))
            result = run(lambda: describe(clone(model).fit(X), X), kill_after=delay, watched=state, n_stored=n_stored)
            if result is not None:
                return n_kills, result, phases
            n_kills += 1
            stored = sorted(path.stem for path in state.glob("*.checkpoint"))
            phases.append(stored[-1] if stored else "none")


def wait_for_states(child: int, folder: Path, n_states: int, delay: float) -> bool:
    """Wait until so many files in the folder were written, and ``delay`` seconds; whether the fit is still going on.

    A fit that ends deletes its states. A kill after that would begin it anew, again and again.
    """
    seen, n_seen, had_any = list_states(folder), 0, False
    while n_seen < n_states and not has_ended(child):
        now = list_states(folder)
        had_any |= bool(now)
        if had_any and not now:
            return False
        n_seen += len(now - seen)
        seen = now
        time.sleep(0.0005)
    time.sleep(delay)
    return bool(list_states(folder)) or not had_any


def list_states(folder: Path) -> set[tuple[str, int]]:
    """Names and times of the states in the folder."""
    try:
        return {(path.name, path.stat().st_mtime_ns) for path in folder.glob("*.checkpoint")}
    except FileNotFoundError:  # deleted meanwhile
        return set()


def has_ended(child: int) -> bool:
    """Whether the process has ended; it stays to be waited for."""
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def kill_saves(n_kills: int, X: Any, rng: np.random.Generator) -> dict[str, int]:
    """Files that do not load, and leftovers, after kills of processes that save again and again."""
    n_bad = n_left = 0
    model = clone(MODELS["vade"]).fit(X)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        model.save(path)

        def save_again() -> None:
            while True:
                model.save(path)

        for _ in range(n_kills):
            run(save_again, kill_after=float(rng.uniform(0.0, 0.05)))
            try:
                VaDEClustering.load(path)
            except ValueError:
                n_bad += 1
        model.save(path)
        n_left = len(list(Path(folder).iterdir())) - 1
    return {"killed_saves": n_kills, "files_that_do_not_load": n_bad, "leftovers": n_left}


def kill_mnist(arguments: argparse.Namespace) -> dict[str, Any]:
    """Equality and cost for a fit to MNIST with the settings of the benchmarks."""
    model, epochs, X = make_mnist_fit(arguments)
    seconds: dict[str, Any] = {}

    def timed(fitted: Any) -> Any:
        began = time.perf_counter(), time.process_time()
        fitted.fit(X)
        ended = time.perf_counter(), time.process_time()
        return ended[0] - began[0], ended[1] - began[1], describe(fitted, X[:2000])

    with tempfile.TemporaryDirectory() as folder:
        stored, resumed = (clone(model).set_params(checkpoint=str(Path(folder) / name)) for name in ("whole", "killed"))
        *seconds["without"], expected = run(lambda: timed(clone(model)))
        *seconds["with"], whole = run(lambda: timed(stored))
        *seconds["without_again"], _ = run(lambda: timed(clone(model)))
        n_kills, result = 0, None
        while result is None:
            delay = seconds["without"][0] / (arguments.kills + 1) if n_kills < arguments.kills else None
            result = run(lambda: timed(resumed), kill_after=delay)
            n_kills += result is None
    different = int(whole != expected) + int(result[-1] != expected)
    # wall time and processor time of each fit
    return {"script": "kills", "data": "mnist", "kills": n_kills, "different": different, "seconds": seconds, **epochs}


def make_mnist_fit(arguments: argparse.Namespace) -> tuple[Any, dict[str, int], np.ndarray]:
    """The model of the benchmarks, its numbers of epochs, and its samples."""
    X = data_sets.load("mnist", protocol="split", data_dir=arguments.data_dir).train
    epochs = dict(zip(("pretrain_iter", "max_iter"), arguments.epochs or (), strict=False))
    model = VaDEClustering.for_images(10, image_shape=(1, 28, 28), random_state=0, **epochs)
    return model, {"pretrain_iter": model.pretrain_iter, "max_iter": model.max_iter}, X


def time_checkpoints(arguments: argparse.Namespace) -> dict[str, Any]:
    """Seconds of a fit to MNIST, and of them those in which states are written and samples are hashed."""
    model, epochs, X = make_mnist_fit(arguments)
    spent: list[float] = []

    def time_calls(cls: type, name: str) -> None:
        method = getattr(cls, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return method(*args, **kwargs)
            finally:
                spent.append(time.perf_counter() - began)

        setattr(cls, name, timed)

    time_calls(checkpoint.PhaseCheckpoint, "write")
    time_calls(TrainingData, "digest")
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        model.set_params(checkpoint=folder).fit(X)
        seconds = time.perf_counter() - began
    return {"script": "kills", "data": "mnist, cost", "seconds": seconds, "of_checkpoints": sum(spent), **epochs}


def run(
    function: Callable[[], Any], kill_after: float | None = None, watched: Path | None = None, n_stored: int = 0
) -> Any:
    """The result of ``function`` in a process of its own; None if it was killed before it ended.

    It is killed ``kill_after`` seconds after ``n_stored`` files in the folder ``watched`` were written.
    """
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        code = 1
        try:
            with os.fdopen(write, "wb") as file:
                pickle.dump(function(), file)
            code = 0
        finally:
            os._exit(code)
    os.close(write)
    with os.fdopen(read, "rb") as file:
        if kill_after is not None:
            goes_on = True
            if watched is None:
                time.sleep(kill_after)
            else:
                goes_on = wait_for_states(child, watched, n_stored, kill_after)
            if goes_on:
                os.kill(child, signal.SIGKILL)
        content = file.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return None
    if status:
        raise RuntimeError("the process ended with an error")
    return pickle.loads(content)


def describe(model: Any, X: Any) -> tuple[Any, ...]:
    """What a fitted model answers, and what it would go on from."""
    moments = [value.numpy().tobytes() for state in model.net_.optimizer_.state.values() for value in state.values()]
    scores = (model.score_samples(X).tobytes(), model.predict_proba(X).tobytes(), model.labels_.tobytes())
    return (*scores, repr(model.history_), repr(model.pretrain_history_), sorted(moments))


if __name__ == "__main__":
    sys.exit(main())
