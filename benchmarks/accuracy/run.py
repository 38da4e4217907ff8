"""Fit methods to data sets for several seeds; one JSON line per run, appended as soon as it is there.

Each run has a process of its own, so that its time and peak memory are its own. Runs that the output
file already holds are skipped; runs that failed are tried again.

    python benchmarks/accuracy/run.py --data digits --model vade kmeans gmm --seeds 10 --out results.jsonl
"""

import argparse
import ast
import json
import multiprocessing
import sys
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.pipeline import Pipeline
from skorch.callbacks import Callback

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/__init__.py says why

from benchmarks.common import data as data_sets
from benchmarks.common import environment, methods
from benchmarks.common.results import Line, append_line, read_lines
from skgmvae.metrics import clustering_accuracy, most_confident_accuracy, purity_score
from skgmvae.runtime import check_device, choose_autocast_dtype

KEY = ("data", "model", "seed", "protocol", "n_components", "params")


def main(argv: list[str] | None = None) -> int:
    """Run everything that is missing from the output file; 1 if a run failed."""
    arguments = make_parser().parse_args(argv)
    environment.set_threads(arguments.threads)
    done = {key_of(line) for line in read_lines(arguments.out) if "error" not in line}
    waiting = [task for task in make_tasks(arguments) if key_of(task) not in done]
    n_failed = 0
    for number, task in enumerate(waiting, start=1):
        line = run_alone(task, arguments)
        n_failed += "error" in line
        append_line(arguments.out, line)
        print(f"{number}/{len(waiting)} {summarize(line)}", flush=True)
    return 1 if n_failed else 0


def make_parser() -> argparse.ArgumentParser:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", nargs="+", required=True, choices=data_sets.NAMES, metavar="NAME", help=", ".join(data_sets.NAMES))
    add("--model", nargs="+", required=True, choices=methods.NAMES, metavar="NAME", help=", ".join(methods.NAMES))
    add("--seeds", type=int, default=10, help="seeds 0, 1, …; default: %(default)s")
    add("--first-seed", type=int, default=0, help="default: %(default)s")
    add("--out", type=Path, required=True, help="JSON lines, appended to")
    add("--data-dir", type=Path, help="folder with a folder per set, as in common/data.py; default: $SKGMVAE_DATA")
    add("--protocol", choices=data_sets.PROTOCOLS, default="auto", help="samples to measure on; default: %(default)s")
    add("--n-components", type=int, help="default: the number of classes")
    add("--threads", type=int, default=2, help="default: %(default)s")
    add("--keep", type=Path, help="folder for the fitted estimators, each as DATA-MODEL-K-SEED.safetensors")
    add("--untimed", action="store_true", help="the machine is busy: leave the seconds out of the tables")
    add("--trace", action="store_true", help="record the purity on held-out samples after each epoch")
    add("--unscored", action="store_true", help="no held-out score, which takes long with convolutional networks")
    add("--params", nargs="*", type=parse_param, default=[], metavar="KEY=VALUE", help="parameters of the models")
    return parser


def parse_param(text: str) -> tuple[str, Any]:
    """``key=value`` with a Python literal or else a string as value."""
    key, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"must be KEY=VALUE, got {text!r}")
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key, value


def make_tasks(arguments: argparse.Namespace) -> Iterator[Line]:
    """One dict of the fields ``KEY`` per run."""
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    params = dict(arguments.params)
    for name in arguments.data:
        data = data_sets.load(name, data_dir=arguments.data_dir, protocol=arguments.protocol)
        K = arguments.n_components or data.n_classes
        for model in arguments.model:
            make_method(data, {"model": model, "n_components": K, "seed": 0, "params": params})  # mistakes show now
            for seed in seeds:
                yield dict(zip(KEY, (name, model, seed, data.protocol, K, params), strict=True))


def make_method(data: data_sets.Data, task: Line) -> Any:
    """The unfitted method of a task."""
    return methods.make_for(task["model"], data, task["seed"], n_components=task["n_components"], params=task["params"])


def run_alone(task: Line, arguments: argparse.Namespace) -> Line:
    """:func:`run_once` in a fresh process."""
    # a process that has imported skorch can have begun with CUDA, which its forks cannot use
    context = multiprocessing.get_context("spawn" if torch.cuda.is_available() else "forkserver")
    context.set_forkserver_preload(["skgmvae", "sklearn.mixture", "sklearn.cluster"])  # imported once for all runs
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(run_once, task, arguments).result()
        except Exception as error:  # a failed run is a result too, and the others go on
            return {**task, "error": f"{type(error).__name__}: {error}"}


def run_once(task: Line, arguments: argparse.Namespace) -> Line:
    """Fit one method to one data set and measure it; save it if it is to be kept."""
    data = data_sets.load(task["data"], data_dir=arguments.data_dir, protocol=task["protocol"])
    method = make_method(data, task)
    trace = PurityTrace(data.test, data.test_labels)
    if arguments.trace and task["model"] in methods.ESTIMATORS:
        method.set_params(callbacks=[trace])
    memory_before, began, cpu_began = environment.peak_memory(), time.perf_counter(), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # recorded as `converged`
        labels = method.fit_predict(data.train)
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
    if arguments.keep is not None and hasattr(method, "save"):
        arguments.keep.mkdir(parents=True, exist_ok=True)
        name = "-".join(str(task[field]) for field in ("data", "model", "n_components", "seed"))
        method.set_params(callbacks=None).save(arguments.keep / f"{name}.safetensors")
    return {
        **task,
        **measure(method, data, labels, scored=not arguments.unscored),
        "purity_by_epoch": trace.purities or None,
        "seconds": seconds,
        "cpu_seconds": None if task["params"].get("memory") else cpu_seconds,  # of a whole fit only
        "timed": not arguments.untimed,
        "arithmetic": name_arithmetic(method),
        "peak_memory": environment.peak_memory(),
        "memory_before": memory_before,
        **environment.describe(threads=arguments.threads),
    }


class PurityTrace(Callback):
    """Purity on some samples after every epoch; it decides nothing, and leaves the random numbers alone."""

    def __init__(self, X: np.ndarray, y: np.ndarray, n_draws: int = 8):
        self.X, self.y, self.n_draws = X, y, n_draws
        self.purities: list[float] = []

    @torch.no_grad()
    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Assign, in the arithmetic of the training, and compare."""
        module, was_training = net.module_, net.module_.training
        noise = torch.randn(self.n_draws, *module.noise_shape, generator=torch.Generator().manual_seed(0))
        noise = noise.to(net.device)
        module.eval()
        chunks = torch.from_numpy(self.X).float().to(net.device).split(1000)
        labels = torch.cat([module.log_responsibilities(rows, noise).argmax(-1) for rows in chunks]).numpy(force=True)
        module.train(was_training)
        self.purities.append(purity_score(self.y, labels))


def name_arithmetic(method: Any) -> str | None:
    """Of the products of networks in training; None for methods of other packages."""
    if type(method) not in methods.ESTIMATORS.values():
        return None
    dtype = choose_autocast_dtype(method.precision_, check_device(method.device))
    return "float32" if dtype is None else str(dtype).removeprefix("torch.")


def measure(method: Any, data: data_sets.Data, labels: np.ndarray, scored: bool = True) -> Line:
    """Figures of a fitted method."""
    held_out = data.protocol == "split"
    test_labels = method.predict(data.test) if held_out else labels
    last = method[-1] if isinstance(method, Pipeline) else method
    # a density of projected samples, or a sum of squares, is no log-likelihood of the data
    comparable = scored and held_out and last is method and hasattr(method, "score_samples")
    return {
        "train_accuracy": clustering_accuracy(data.train_labels, labels),
        "test_accuracy": clustering_accuracy(data.test_labels, test_labels),
        "purity_score": purity_score(data.test_labels, test_labels),
        "confident_accuracy": most_confident_accuracy(data.test_labels, method.predict_proba(data.test))
        if hasattr(method, "predict_proba")
        else None,
        "ari": float(adjusted_rand_score(data.test_labels, test_labels)),
        "nmi": float(normalized_mutual_info_score(data.test_labels, test_labels)),
        "held_out_score": float(method.score(data.test)) if comparable else None,
        "components_used": len(np.unique(labels)),
        "initialization": getattr(last, "init_params_", None),
        "lower_bound": _as_float(getattr(last, "lower_bound_", None)),
        "n_iter": getattr(last, "n_iter_", None),
        "converged": getattr(last, "converged_", None),
        "phase_seconds": methods.phase_seconds(last),
    }


def _as_float(value: Any) -> float | None:
    return None if value is None else float(value)


def key_of(line: Line) -> str:
    """What makes two runs the same."""
    return json.dumps([line[name] for name in KEY], sort_keys=True)


def summarize(line: Line) -> str:
    """One line for the terminal."""
    name = f"{line['data']} {line['model']} seed {line['seed']}"
    if "error" in line:
        return f"{name}: {line['error']}"
    return f"{name}: accuracy {line['test_accuracy']:.3f}, {line['seconds']:.1f} s, {line['initialization']}"


if __name__ == "__main__":
    sys.exit(main())
