"""The stop button of a notebook: interrupts of a Jupyter kernel at random moments of fits and queries.

    python benchmarks/reliability/notebooks.py --trials 50 >> benchmarks/results/reliability.jsonl

prints one JSON line. A kernel runs a cell with a fit, or with queries, and is interrupted. The cell must end with
KeyboardInterrupt and the estimator as it was, or with a warning and the state so far, or had ended before; the next
cell must work. Needs ipykernel and jupyter_client.
"""

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from jupyter_client.manager import start_new_kernel

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benchmarks/__init__.py says why

from benchmarks.common import environment

SETUP = """
import sys, warnings
sys.path.insert(0, {root!r})
warnings.simplefilter("always")
from sklearn.datasets import make_blobs
from skgmvae import GMVAEClustering, VaDEClustering, VAEEMClustering
X, _ = make_blobs(2000, 4, centers=3, random_state=0)
classes = [VaDEClustering, GMVAEClustering, VAEEMClustering]
options = dict(tol=0.0, random_state=0, linear_path=False, pretrain_iter=20, max_iter=20)
queried = VaDEClustering(3, tol=0.0, random_state=0, max_iter=20, linear_path=False).fit(X)
expected = queried.score(X[:200])
"""
FIT = "model = classes[{which}](3, **options); before = dict(vars(model)); model.fit(X)"
AFTER_FIT = (
    "print('fitted' if hasattr(model, 'labels_') and len(model.predict(X)) == len(X) else 'as it was'"
    " if vars(model) == before else 'broken')"
)
QUERY = "for _ in range(200): queried.score_samples(X)"
AFTER_QUERY = "print('same' if queried.score(X[:200]) == expected else 'broken')"
TIMEOUT = 120.0  # seconds for a cell


def main(argv: list[str] | None = None) -> int:
    """Interrupt, check and count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    arguments = parser.parse_args(argv)
    began, rng, outcomes, faults = time.perf_counter(), np.random.default_rng(arguments.seed), Counter(), []
    manager, client = start_new_kernel()
    try:
        run(client, SETUP.format(root=str(Path(__file__).resolve().parents[2])))
        started = time.perf_counter()
        run(client, FIT.format(which=0))
        usual = time.perf_counter() - started
        for trial in range(arguments.trials):
            is_query = trial % 5 == 4
            cell, check = (QUERY, AFTER_QUERY) if is_query else (FIT.format(which=trial % 3), AFTER_FIT)
            error, text = run(client, cell, manager, float(rng.uniform(0.02, usual)))
            _, state = run(client, check)
            outcome = judge(error, text, state.strip(), is_query=is_query)
            outcomes[outcome] += 1
            if outcome == "fell short":
                faults.append({"trial": trial, "error": error, "state": state.strip()})
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    line = {"script": "notebooks", "seed": arguments.seed, "trials": arguments.trials, "outcomes": dict(outcomes)}
    line |= {"fell_short": faults, "seconds": round(time.perf_counter() - began, 1)}
    print(json.dumps(environment.describe(**line)))
    return int(bool(faults))


def judge(error: str, text: str, state: str, *, is_query: bool) -> str:
    """What has become of a cell that was interrupted."""
    if is_query:
        good = state == "same" and error in ("", "KeyboardInterrupt")
        return ("interrupted" if error else "whole answer") if good else "fell short"
    if error == "KeyboardInterrupt":
        return {"as it was": "as it was", "fitted": "complete"}.get(state, "fell short")
    if error or state != "fitted":
        return "fell short"
    return "warned" if "interrupted" in text.lower() else "ended before"


def run(client: Any, cell: str, manager: Any = None, delay: float = 0.0) -> tuple[str, str]:
    """Name of the error of a cell, and its output; the kernel is interrupted after a delay."""
    sent = client.execute(cell)
    if manager is not None:
        time.sleep(delay)
        manager.interrupt_kernel()
    error, text = "", ""
    while True:
        message = client.get_iopub_msg(timeout=TIMEOUT)
        if message["parent_header"].get("msg_id") != sent:
            continue
        kind, content = message["msg_type"], message["content"]
        if kind == "error":
            error = content["ename"]
        elif kind == "stream":
            text += content["text"]
        elif kind == "status" and content["execution_state"] == "idle":
            return error, text


if __name__ == "__main__":
    sys.exit(main())
