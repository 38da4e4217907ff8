"""Training on a CUDA device: samples per second, how busy it is, and the time over that of a hand-written loop.

The networks of the MNIST benchmark on as many random samples. Both loops of a model run in turns on the device, each
waited for; the package's moves data and networks there and back, as a fit does once, the other finds them there. Busy
is the share of the package's time in which one of its kernels ran, by torch's profiler, and waits are calls of the host
that await the device, two of them at the start and the end of each loop. Then VaDE is fitted to tables of
growing size at its defaults, on the device and on the CPU. Where there is a folder of data, a whole fit to MNIST
follows, from raw samples to labels. One JSON line per model and measurement.

    python benchmarks/speed/gpu.py --data-dir FOLDER
"""

import argparse
import copy
import json
import math
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/__init__.py says why

from benchmarks.common import data as data_sets
from benchmarks.common import environment, methods
from benchmarks.speed import overhead, rows
from benchmarks.speed.growth import make_groups
from skgmvae import VaDEClustering
from skgmvae.metrics import clustering_accuracy


def main(argv: list[str] | None = None) -> int:
    """Measure the models; 2 where there is no such device."""
    arguments = make_parser().parse_args(argv)
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print("no CUDA device; --device cpu tries the script", file=sys.stderr)
        return 2
    device = torch.cuda.get_device_name() if arguments.device == "cuda" else arguments.device
    facts = environment.describe(device=device)
    for name in arguments.model:
        line = measure(name, arguments)
        print(json.dumps({"benchmark": "cuda", "case": name, **line, **facts}), flush=True)
    for size in map(int, arguments.sizes):
        line = {name: fit_table(size, name) for name in dict.fromkeys((arguments.device, "cpu"))}
        print(json.dumps({"benchmark": "cuda_table", "case": f"{size} samples", **line, **facts}), flush=True)
    if arguments.data_dir is not None:
        data = data_sets.load("mnist", data_dir=arguments.data_dir)
        for name in arguments.model:
            line = fit(name, data, arguments.device)
            print(json.dumps({"benchmark": "cuda_fit", "case": name, **line, **facts}), flush=True)
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", choices=overhead.MODELS, default=list(overhead.MODELS))
    parser.add_argument("--n-samples", type=int, default=60_000, help="default: %(default)s")
    parser.add_argument("--batch-size", type=int, default=1024, help="default: %(default)s")
    parser.add_argument("--epochs", type=int, default=10, help="of a turn; default: %(default)s")
    parser.add_argument("--repeats", type=int, default=5, help="turns; default: %(default)s")
    parser.add_argument("--device", default="cuda", help="default: %(default)s")
    parser.add_argument("--sizes", type=float, nargs="*", default=(1e3, 1e4, 1e5, 1e6), help="samples of the tables")
    parser.add_argument("--data-dir", type=Path, help="folder with a folder mnist; default: no whole fits")
    return parser


def measure(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Medians over the turns."""
    model, case = overhead.MODELS[name], overhead.make_mnist()
    n_samples, device = arguments.n_samples, arguments.device
    rows = torch.rand(n_samples, case.rows.shape[1])
    case = case._replace(rows=rows, batch_size=arguments.batch_size, n_epochs=arguments.epochs)
    module = overhead.initialize(model.make_module(case), case)
    ours = overhead.make_our_loop(model, copy.deepcopy(module), case, device)
    bare = model.make_bare_loop(copy.deepcopy(module).to(device), case._replace(rows=case.rows.to(device)))
    turns = [(timed(ours, device), timed(bare, device)) for _ in range(arguments.repeats + 1)][1:]  # the first warms up
    return {
        "samples_per_second": n_samples * case.n_epochs / statistics.median(seconds for seconds, _ in turns),
        "ratio": statistics.median(our_seconds / bare_seconds for our_seconds, bare_seconds in turns),
        **profile_kernels(ours, device, case.n_epochs * math.ceil(n_samples / case.batch_size)),
        "n_samples": n_samples,
        "batch_size": arguments.batch_size,
        "epochs": arguments.epochs,
        "repeats": arguments.repeats,
    }


def fit_table(n_samples: int, device: str) -> dict[str, float]:
    """Seconds of a fit at the defaults, and of the scores of at most 100,000 samples."""
    X, model = make_groups(n_samples), VaDEClustering(rows.N_COMPONENTS, device=device, random_state=0)
    methods.fit(VaDEClustering(2, max_iter=1, device=device, random_state=0), X[:200])  # loads the libraries
    seconds = {"fit": timed(lambda: methods.fit(model, X), device)}
    return {**seconds, "score_samples": timed(lambda: model.score_samples(X[:100_000]), device)}


def fit(name: str, data: data_sets.Data, device: str, seed: int = 0) -> dict[str, Any]:
    """Seconds of a whole fit with the settings of the benchmarks, and its accuracy on held-out samples."""
    method = methods.make_for(name, data, seed, params={"device": device})
    began = time.perf_counter()
    methods.fit(method, data.train)
    seconds = time.perf_counter() - began
    accuracy = clustering_accuracy(data.test_labels, method.predict(data.test))
    return {"seconds": seconds, "phase_seconds": methods.phase_seconds(method), "test_accuracy": accuracy}


def timed(loop: Callable[[], Any], device: str) -> float:
    """Seconds until the device has done all of it."""
    began = time.perf_counter()
    loop()
    wait_for(device)
    return time.perf_counter() - began


def profile_kernels(loop: Callable[[], Any], device: str, n_steps: int) -> dict[str, float | None]:
    """Share of the loop's time in which the device computed, and how often per step the host waited for it."""
    if device == "cpu":
        return {"busy": None, "waits_per_step": None}
    with profile(activities=[ProfilerActivity.CUDA]) as record:
        seconds = timed(loop, device)
    events = record.key_averages()
    busy = sum(event.self_device_time_total for event in events) / 1e6 / seconds
    waits = sum(event.count for event in events if "Synchronize" in event.key)
    return {"busy": busy, "waits_per_step": waits / n_steps}


def wait_for(device: str) -> None:
    """Until everything that was sent to the device is done."""
    if device != "cpu":
        torch.accelerator.synchronize() if hasattr(torch, "accelerator") else torch.cuda.synchronize()


if __name__ == "__main__":
    sys.exit(main())
