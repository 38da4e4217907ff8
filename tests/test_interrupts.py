"""Ctrl-C at any line: the state so far with a warning, or KeyboardInterrupt and nothing changed."""

import pkgutil
import signal
import sys
import threading
import warnings
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # benchmarks are not installed

from benchmarks.reliability.interrupts import (
    GOOD,
    MODELS,
    describe,
    interrupt_fit,
    interrupt_queries,
    list_places,
)
from skgmvae import VaDEClustering, _interrupts
from skgmvae._interrupts import Guard, check_interrupt, held, take_interrupt
from skgmvae.training.callbacks import DivergenceGuard

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
N_FITS, N_QUERIES = 5, 2  # per model; all lines are a session of nox


@pytest.fixture(autouse=True)
def _ctrl_c_interrupts():
    """As in a terminal: a shell that runs the tests in the background has them ignore the signal."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


def press():
    signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_an_interrupt_at_any_line_leaves_nothing_half_done(name, blobs):
    X, model = blobs[0][:60], MODELS[name]
    expected = describe(clone(model).fit(X), X)
    n_lines = len(list_places(lambda: clone(model).fit(X)))
    for number in np.random.default_rng(len(name)).integers(n_lines, size=N_FITS):
        outcome, place = interrupt_fit(model, X, number, expected)
        assert outcome in GOOD, f"{outcome} at {place}, line {number} of {n_lines}"
    fitted = clone(model).fit(X)
    n_lines = len(list_places(lambda: fitted.score_samples(X)))
    for number in np.random.default_rng(len(name)).integers(n_lines, size=N_QUERIES):
        outcome, place = interrupt_queries(fitted, X, number)
        assert outcome in GOOD, f"{outcome} at {place}, line {number} of {n_lines}"


def test_the_harness_sees_a_state_that_is_half_set(blobs, monkeypatch):
    """Without the guard, an interrupt between two attributes is one that falls short."""
    monkeypatch.setattr(_interrupts.Guard, "_receive", lambda self, number, frame: setattr(self, "is_pending", False))
    model = MODELS["vade"]
    outcome, _ = interrupt_fit(model, blobs[0][:60], 4000, None)
    assert outcome == "silent"


def test_interrupts_wait_while_they_are_held_and_at_the_ends_of_contexts():
    with Guard():
        with held():
            press()
        assert take_interrupt() and not take_interrupt()

        class Delicate:
            def __enter__(self):
                press()

            def __exit__(self, *exception):
                press()

        with pytest.raises(KeyboardInterrupt), Delicate():
            check_interrupt()
        assert take_interrupt()
        with pytest.raises(KeyboardInterrupt):  # elsewhere they do not
            press()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_waiting_interrupt_is_raised_at_the_end_and_a_second_one_does_not_wait():
    with pytest.raises(KeyboardInterrupt), Guard(), held():
        press()
    with Guard(), held():
        press()
        with pytest.raises(KeyboardInterrupt):
            press()
        assert take_interrupt() and _interrupts.was_forced()


def test_other_handlers_and_threads_are_left_alone():
    received = []
    former = signal.signal(signal.SIGINT, lambda number, frame: received.append(number))
    try:
        with Guard(), held():
            press()
        assert received == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, former)

    def enter():
        with Guard():
            received.append(Guard.active)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert received[1:] == [None]


def press_in_epoch(monkeypatch, number):
    """Ctrl-C in the epoch of this number, of all trainings together."""
    count = [0]
    whole = DivergenceGuard.on_epoch_end

    def on_epoch_end(self, net, **kwargs):
        whole(self, net, **kwargs)
        count[0] += 1
        if count[0] == number:
            press()

    monkeypatch.setattr(DivergenceGuard, "on_epoch_end", on_epoch_end)


def test_a_grid_search_and_a_cached_function_end_where_they_are_interrupted(blobs, quick, tmp_path, monkeypatch):
    X, model = blobs[0], VaDEClustering(3, **{**quick, "pretrain_iter": 0})
    press_in_epoch(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        GridSearchCV(model, {"n_components": [2, 3]}, cv=2).fit(X)
    monkeypatch.undo()
    press_in_epoch(monkeypatch, 2)
    cached = joblib.Memory(tmp_path, verbose=0).cache(lambda X: clone(model).fit(X))
    with pytest.raises(KeyboardInterrupt):
        cached(X)
    assert not list(tmp_path.rglob("output.pkl"))


def test_an_interrupt_ends_all_initializations(blobs, quick, monkeypatch):
    press_in_epoch(monkeypatch, 22)
    with pytest.warns(UserWarning, match="Training was interrupted"):
        model = VaDEClustering(3, **{**quick, "n_init": 3}).fit(blobs[0])
    assert model.n_iter_ == 2 and np.isfinite(model.score(blobs[0]))


@pytest.mark.parametrize("target", ["joblib._store_backends.json.dumps", "joblib.func_inspect.open_py_source"])
def test_an_interrupt_that_joblib_would_drop_is_not_lost(blobs, quick, tmp_path, monkeypatch, target):
    module, name = target.rsplit(".", 1)
    whole, pressed = getattr(pkgutil.resolve_name(module), name), []

    def press_first(*args, **kwargs):
        if not pressed:
            pressed.append(target)
            press()
        return whole(*args, **kwargs)

    monkeypatch.setattr(target, press_first)
    monkeypatch.setattr("joblib.memory._FUNCTION_HASHES", {})  # as in a new process
    is_pretrained = "store" in target
    with pytest.warns(UserWarning, match="Training was interr") if is_pretrained else pytest.raises(KeyboardInterrupt):
        VaDEClustering(3, **{**quick, "memory": str(tmp_path)}).fit(blobs[0])
    assert pressed


def test_a_second_interrupt_restores_the_estimator(blobs, quick, monkeypatch):
    def on_epoch_end(self, net, **kwargs):
        press()
        press()

    monkeypatch.setattr(DivergenceGuard, "on_epoch_end", on_epoch_end)
    model = VaDEClustering(3, **{**quick, "pretrain_iter": 0})
    with pytest.raises(KeyboardInterrupt), warnings.catch_warnings():
        model.fit(blobs[0])
    assert not hasattr(model, "net_")
