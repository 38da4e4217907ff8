"""What the processor time of training goes into: matrix products, the optimizer, random numbers, and the rest.

The package's loops of overhead.py under PyTorch's profiler, which adds about a microsecond to every operation: the
shares of what is not a matrix product are an upper bound, most of all on the tiny networks. A line per case:

    python benchmarks/speed/profile_training.py >> benchmarks/results/speed.jsonl
"""

import argparse
import itertools
import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/__init__.py says why

from benchmarks.common import environment
from benchmarks.speed import overhead

KINDS = {
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm"),
    "optimizer": ("aten::_fused_adam_", "Optimizer.step", "Optimizer.zero_grad"),
    "likelihood": ("aten::binary_cross_entropy_with_logits", "aten::softplus", "aten::log_sigmoid_forward"),
    "random numbers": ("aten::normal_", "aten::randperm", "aten::multinomial", "aten::uniform_", "aten::exponential_"),
    "batches fetched": ("aten::index_select", "aten::index", "aten::gather"),
}


def main(argv: list[str] | None = None) -> int:
    """Profile the cases."""
    arguments = make_parser().parse_args(argv)
    torch.set_num_threads(arguments.threads)
    for model, case in itertools.product(arguments.model, arguments.case):
        is_low = arguments.precision != "float32"
        name = f"{model}, {case}{f', {arguments.precision}' * is_low}"
        line = {"benchmark": "profile", "case": name, "shares": measure(model, case, arguments.precision)}
        print(json.dumps({**line, **environment.describe(threads=arguments.threads)}), flush=True)
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", nargs="+", choices=overhead.CASES, default=list(overhead.CASES), help="default: all")
    parser.add_argument(
        "--model", nargs="+", choices=overhead.MODELS, default=list(overhead.MODELS), help="default: all"
    )
    parser.add_argument("--precision", default="float32", help="as the estimators'; default: %(default)s")
    parser.add_argument("--threads", type=int, default=1, help="default: %(default)s")
    return parser


def measure(model: str, case: str, precision: str = "float32") -> dict[str, Any]:
    """Share of every kind, and of the five dearest operations among the others, of the time within PyTorch."""
    loops, setting = overhead.MODELS[model], overhead.CASES[case]()
    module = overhead.initialize(loops.make_module(setting), setting)
    loop = overhead.make_our_loop(loops, module, setting, precision=precision)
    loop()  # warms up
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        loop()
    return share_out({event.key: event.self_cpu_time_total for event in profiler.key_averages()})


def share_out(seconds: dict[str, float]) -> dict[str, Any]:
    """Shares of the kinds, and of what else is dear, from the time of every operation."""
    total = sum(seconds.values())
    kind_of = {key: kind for kind, keys in KINDS.items() for key in keys}
    shares: dict[str, Any] = dict.fromkeys(KINDS, 0.0)
    others: dict[str, float] = {}
    for key, value in seconds.items():
        kind = next((kind for known, kind in kind_of.items() if key.split("#")[0] == known), None)
        if kind is None:
            others[key] = value / total
        else:
            shares[kind] += value / total
    dearest = dict(sorted(others.items(), key=lambda item: -item[1])[:5])
    return {**shares, "rest": sum(others.values()), "dearest of the rest": dearest}


if __name__ == "__main__":
    sys.exit(main())
