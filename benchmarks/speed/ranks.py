"""Samples per second of one fit on several processes with one core each, over those of one process.

VaDE with the networks of its paper for MNIST (784-500-500-2000-10 and back) on random images, in turns. One JSON line
per pair; 1 if two processes are less than 1.7 times as fast as one. Processor time tells what other programs take away:
that of a rank is without the time for which it waits.

    python benchmarks/speed/ranks.py >> benchmarks/results/speed.jsonl
"""

import argparse
import json
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from skorch.callbacks import Callback

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/__init__.py says why

from benchmarks.common import environment
from skgmvae import VaDEClustering

SETTINGS: dict[str, Any] = {
    **{"image_shape": (1, 28, 28), "hidden_layer_sizes": (500, 500, 2000), "latent_dim": 10, "linear_path": False},
    **{"init_params": "random", "pretrain_iter": 0, "tol": 0.0, "precision": "float32", "device": "cpu"},
}
N_WARMUP = 1  # epochs
TARGET = 1.7


class Clock(Callback):
    """Wall and processor seconds of each epoch."""

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Forget earlier trainings."""
        self.epochs: list[tuple[float, float]] = []

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Start."""
        self.began = time.perf_counter(), time.process_time()

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Stop."""
        self.epochs.append((time.perf_counter() - self.began[0], time.process_time() - self.began[1]))


def main(argv: list[str] | None = None) -> int:
    """Measure one process and several, in turns."""
    arguments = make_parser().parse_args(argv)
    if arguments.out is not None:
        fit(arguments)
        return 0
    environment.set_threads(1)
    turns = [[launch(n, arguments) for n in (1, arguments.ranks)] for _ in range(arguments.repeats)]
    speeds, efforts = (np.array([[run[i] for run in pair] for pair in turns]) for i in (0, 1))
    ratio = float(np.median(speeds[:, 1] / speeds[:, 0]))
    line = {"benchmark": "ranks", "ratio": ratio, "target": TARGET}
    line |= {"case": f"vade, {arguments.ranks} over 1, batch {arguments.batch_size}"}
    line |= {"ratio of processor time": float(np.median(efforts[:, 1] / efforts[:, 0]))}
    line |= {"samples per second": speeds.tolist(), "samples per processor second of a rank": efforts.tolist()}
    line |= {"batch_size": arguments.batch_size, "load": os.getloadavg()[1]}
    print(json.dumps({**line, **environment.describe(threads=1)}), flush=True)
    return int(ratio < TARGET)


def make_parser() -> argparse.ArgumentParser:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--n-samples", type=int, default=8192, help="default: %(default)s")
    parser.add_argument("--batch-size", type=int, default=2048, help="of all ranks together; default: %(default)s")
    parser.add_argument("--epochs", type=int, default=3, help="that count; default: %(default)s")
    parser.add_argument("--repeats", type=int, default=5, help="turns; default: %(default)s")
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)  # of a rank
    return parser


def launch(n_ranks: int, arguments: argparse.Namespace) -> tuple[float, float]:
    """Samples per second of ``n_ranks`` processes, and per processor second of the slowest of them."""
    sizes = [f"--{name}={getattr(arguments, name.replace('-', '_'))}" for name in ("n-samples", "batch-size", "epochs")]
    with TemporaryDirectory() as folder:
        starter = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={n_ranks}"]
        command = [sys.executable, *starter, __file__, *sizes, f"--out={folder}"]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        epochs = [json.loads(path.read_text()) for path in Path(folder).glob("*.json")]
    # epochs are as long for all ranks, within the wait for the last step
    wall, processor = np.array(epochs).max(0).mean(0)
    return arguments.n_samples / wall, arguments.n_samples / processor


def fit(arguments: argparse.Namespace) -> None:
    """The fit, on one rank of several."""
    X = np.random.default_rng(0).random((arguments.n_samples, 784), dtype=np.float32)
    clock, max_iter = Clock(), N_WARMUP + arguments.epochs
    vade = VaDEClustering(10, **SETTINGS, max_iter=max_iter, batch_size=arguments.batch_size, callbacks=[clock])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        vade.set_params(random_state=0).fit(X)
    (arguments.out / f"{os.environ['RANK']}.json").write_text(json.dumps(clock.epochs[N_WARMUP:]))


if __name__ == "__main__":
    sys.exit(main())
