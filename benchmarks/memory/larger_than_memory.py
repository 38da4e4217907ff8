"""Memory and time of a fit on a file of float32 that is larger than the memory it may take. One JSON line.

The file is sparse: one block in ``--every`` holds rows of ten groups in [0, 1], always the same ones; all others are
zeros, which take no room on the disk but are read like any rows. It is deleted at the end. The process limits its own
anonymous memory to ``--limit`` (where the system can) and ends with 1 if its largest resident size, mapped pages of the
file included, was above it.

    python benchmarks/memory/larger_than_memory.py --gigabytes 20 --model vade
"""

import argparse
import json
import resource
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/__init__.py says why

from benchmarks.common import environment, methods
from benchmarks.common.methods import ESTIMATORS

BLOCK_ROWS = 4096
GIGABYTE = 10**9


def main(argv: list[str] | None = None) -> int:
    """Make the file, fit, report."""
    arguments = make_parser().parse_args(argv)
    torch.set_num_threads(arguments.threads)
    environment.set_threads(arguments.threads)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        X = make_file(Path(folder) / "rows.f32", arguments)
        line = fit(CountedRows(X), arguments)
    described = environment.describe()
    settings = {name: value for name, value in vars(arguments).items() if name != "folder"}
    print(json.dumps({"benchmark": "larger_than_memory", **line, "settings": settings, **described}), flush=True)
    return int(line["peak_resident_bytes"] > arguments.limit * GIGABYTE)


def make_parser() -> argparse.ArgumentParser:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--model", choices=ESTIMATORS, default="vade", help="default: %(default)s")
    add("--gigabytes", type=float, default=20.0, help="of the file; default: %(default)s")
    add("--limit", type=float, default=2.0, help="gigabytes of memory; default: %(default)s")
    add("--features", type=int, default=1000, help="default: %(default)s")
    add("--every", type=int, default=20, help="one block in so many holds rows that are not zero; default: %(default)s")
    add("--hidden", type=int, nargs="*", default=[64], help="widths of the hidden layers; default: %(default)s")
    add("--pretrain-iter", type=int, default=1, help="default: %(default)s")
    add("--max-iter", type=int, default=1, help="default: %(default)s")
    add("--batch-size", type=int, default=512, help="default: %(default)s")
    add("--init-params", default="kmeans", help="default: %(default)s")
    add("--threads", type=int, default=1, help="default: %(default)s")
    add("--folder", help="where the file is made; default: the system's for temporary files")
    return parser


def make_file(path: Path, arguments: argparse.Namespace) -> np.memmap:
    """A memory map of the new file."""
    D = arguments.features
    N = round(arguments.gigabytes * GIGABYTE / (4 * D))
    X = np.memmap(path, np.float32, "w+", shape=(N, D))
    rng = np.random.default_rng(0)
    rows = rng.random((10, D))[rng.integers(10, size=BLOCK_ROWS)] + 0.1 * rng.standard_normal((BLOCK_ROWS, D))
    rows = rows.clip(0.0, 1.0).astype(np.float32)
    for first in range(0, N, arguments.every * BLOCK_ROWS):
        X[first : first + BLOCK_ROWS] = rows[: N - first]
    X.flush()
    return np.memmap(path, np.float32, "r", shape=(N, D))


class CountedRows:
    """Slices of an array, and how many bytes they were all together."""

    def __init__(self, array: np.ndarray):
        self.array, self.shape, self.dtype, self.n_bytes = array, array.shape, array.dtype, 0

    def __getitem__(self, rows: slice) -> np.ndarray:
        part = self.array[rows]
        self.n_bytes += part.nbytes
        return part


class Watch(threading.Thread):
    """Largest anonymous memory and largest mapped files, looked at ten times a second; Linux."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peaks, self.is_over = {"RssAnon": 0, "RssFile": 0}, threading.Event()

    def run(self) -> None:
        """Look until told to end."""
        status = Path("/proc/self/status")
        while status.exists() and not self.is_over.wait(0.1):
            fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
            for name in self.peaks:
                self.peaks[name] = max(self.peaks[name], 1024 * int(fields[name].split()[0]))


def limit_memory(n_bytes: int) -> None:
    """Let allocations beyond ``n_bytes`` fail; mapped files do not count."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (n_bytes, hard))


def fit(X: CountedRows, arguments: argparse.Namespace) -> dict[str, Any]:
    """Figures of one fit."""
    limit_memory(round(arguments.limit * GIGABYTE))
    estimator = ESTIMATORS[arguments.model](
        10,
        hidden_layer_sizes=tuple(arguments.hidden),
        pretrain_iter=arguments.pretrain_iter,
        max_iter=arguments.max_iter,
        batch_size=arguments.batch_size,
        init_params=arguments.init_params,
        random_state=0,
    )
    watch, wall, cpu = Watch(), time.perf_counter(), time.process_time()
    watch.start()
    methods.fit(estimator, X)
    seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
    watch.is_over.set()
    return {
        "model": arguments.model,
        "n_samples": X.shape[0],
        "file_bytes": X.array.nbytes,
        "peak_resident_bytes": environment.peak_memory(),
        "peak_anonymous_bytes": watch.peaks["RssAnon"],
        "peak_mapped_bytes": watch.peaks["RssFile"],
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "phase_seconds": methods.phase_seconds(estimator),
        "passes": X.n_bytes / X.array.nbytes,
        "bytes_per_second": X.n_bytes / seconds,
        "lower_bound": estimator.lower_bound_,
        "samples_per_component": np.bincount(estimator.labels_, minlength=10).tolist(),
    }


if __name__ == "__main__":
    sys.exit(main())
