"""Isolation: devices, threads and generators; a fit and a query give the same bits whatever the process has set."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

import numpy as np
import pytest
import torch
from sklearn.datasets import make_blobs
from threadpoolctl import ThreadpoolController, threadpool_info, threadpool_limits

from skgmvae import GMVAEClustering, VaDEClustering, VAEEMClustering, runtime
from skgmvae.initialization import contrastive
from skgmvae.runtime import RandomStream, check_device, choose_autocast_dtype, isolated, limit_threads, single_thread

CPU = torch.device("cpu")
ESTIMATORS = [GMVAEClustering, VaDEClustering, VAEEMClustering]
each_estimator = pytest.mark.parametrize("Estimator", ESTIMATORS)
QUERIES = ("predict", "predict_proba", "score_samples", "transform", "reconstruct", "bic", "aic", "score")
pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning", "ignore:Anomaly Detection has been enabled"
)
# every phase is passed, and both ways of initialization: graph and mixture
SETTINGS = {
    "hidden_layer_sizes": (8,),
    "latent_dim": 2,
    "pretrain_iter": 2,
    "max_iter": 4,
    "batch_size": 20,
    "n_mc_samples": 2,
    "min_information": 0.1,
    "tol": 0.0,
    "random_state": 0,
}
X = make_blobs([30, 18, 12], n_features=4, centers=None, cluster_std=0.7, random_state=3)[0]


# ------------------------------------------------------------------------------------ devices, precision


def test_unknown_device_is_named():
    with pytest.raises(ValueError, match="device='gpu' is not a torch device; use 'auto', 'cpu', 'cuda'"):
        check_device("gpu")
    assert check_device("cpu") == CPU
    assert check_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is there")
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_absent_cuda_is_named_with_the_way_back(device):
    with pytest.raises(ValueError, match=f"device='{device}' .* 0 CUDA devices; use device='auto'"):
        check_device(device)


def test_precision_is_bfloat16_only_where_asked_for_or_fast():
    assert choose_autocast_dtype("float32", CPU) is None
    assert choose_autocast_dtype("bfloat16", CPU) is torch.bfloat16
    assert choose_autocast_dtype("auto", CPU) in (None, torch.bfloat16)


# --------------------------------------------------------------------------------------------- generators


def get_global_states():
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()


def test_a_stream_is_decided_by_its_seed_and_leaves_the_global_generators():
    before = get_global_states()
    draws = [torch.randn(5, generator=RandomStream(seed).on("cpu")) for seed in (3, 3, 4)]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    stream = RandomStream(np.int64(3))
    assert stream.on("cpu") is stream.on(torch.device("cpu")), "a second draw begins anew"
    assert not torch.equal(*(torch.randn(5, generator=stream.on(CPU)) for _ in range(2)))
    assert get_global_states() == before


def ask_everything(model, tmp_path):
    """Every answer that a fitted estimator has, and those of a saved and loaded one."""
    answers = {name: getattr(model, name)(X) for name in QUERIES}
    answers |= {"sample": model.sample(7)[0], "expected": model.sample(7, expected=True, random_state=1)[0]}
    model.save(tmp_path / "model")
    loaded = type(model).load(tmp_path / "model")
    answers |= {f"loaded {name}": getattr(loaded, name)(X) for name in QUERIES[:3]}
    answers |= {"means": model.means_, "weights": model.weights_, "history": model.lower_bounds_}
    loaded.partial_fit(X)
    return answers | {"partial_fit": loaded.score_samples(X)}


def assert_equal_answers(answers, expected):
    assert answers.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(answers[name], value, err_msg=name)


@pytest.fixture(scope="module", params=ESTIMATORS)
def reference(request, tmp_path_factory):
    """A class, and what an estimator of it answers when nothing is set."""
    return request.param, ask_everything(request.param(3, **SETTINGS).fit(X), tmp_path_factory.mktemp("reference"))


def test_global_generators_are_neither_read_nor_written(reference, tmp_path):
    Estimator, expected = reference
    torch.manual_seed(7), np.random.seed(7), random.seed(7)
    before = get_global_states()
    answers = ask_everything(Estimator(3, **SETTINGS).fit(X), tmp_path)
    assert get_global_states() == before
    assert_equal_answers(answers, expected)


# ----------------------------------------------------------------------- what the process may have set


@contextlib.contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextlib.contextmanager
def default_device(device):
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextlib.contextmanager
def deterministic_algorithms():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextlib.contextmanager
def flags(module, **values):
    before = {name: getattr(module, name) for name in values}
    for name, value in values.items():
        setattr(module, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(module, name, value)


def get_ambient_state():
    here = torch.empty(0)
    return (
        *(torch.get_default_dtype(), here.device, torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        *(torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu"), torch.is_anomaly_enabled()),
        *(torch.are_deterministic_algorithms_enabled(), torch.get_num_threads(), tuple(np.geterr().items())),
    )


@contextlib.contextmanager
def together(*contexts):
    with contextlib.ExitStack() as stack:
        for context in contexts:
            stack.enter_context(context)
        yield


# what does not hide each other, together
AMBIENT = {
    "float64 by default, errors of NumPy, deterministic algorithms": lambda: together(
        default_dtype(torch.float64), np.errstate(all="raise"), deterministic_algorithms()
    ),
    "bfloat16 by default, silence of NumPy, unset memory of deterministic algorithms": lambda: together(
        default_dtype(torch.bfloat16),
        np.errstate(all="ignore"),
        flags(torch.utils.deterministic, fill_uninitialized_memory=False),
    ),
    "a default device, no_grad": lambda: together(default_device("meta"), torch.no_grad()),
    "within a device, inference_mode": lambda: together(torch.device("meta"), torch.inference_mode()),
    "autocast, anomaly mode": lambda: together(torch.autocast("cpu", torch.bfloat16), torch.autograd.detect_anomaly()),
}


@pytest.mark.parametrize("ambient", AMBIENT.values(), ids=AMBIENT)
def test_same_bits_whatever_the_process_has_set(ambient, reference, tmp_path):
    Estimator, expected = reference
    with ambient():
        before = get_ambient_state()
        model = Estimator(3, **SETTINGS).fit(X)
        answers = ask_everything(model, tmp_path)
        assert get_ambient_state() == before
    assert_equal_answers(answers, expected)
    assert_equal_answers(ask_everything(model, tmp_path), expected)  # nothing of it is left in the model
    with ambient(), pytest.raises(ValueError, match="min_information must be below"):
        before = get_ambient_state()
        model.set_params(min_information=9.0).fit(X)
    with ambient():
        assert get_ambient_state() == before, "a fit that fails"


@pytest.mark.parametrize("init_params", ["contrastive", "random"])
def test_same_bits_for_images_whatever_the_process_has_set(init_params, unit_images, monkeypatch):
    monkeypatch.setattr(contrastive, "MIN_STEPS", 2)
    monkeypatch.setattr(contrastive, "MAX_STEPS", 2)
    settings = {
        **SETTINGS,
        "max_iter": 1,
        "pretrain_iter": 1,
        "network": "conv",
        "image_shape": (1, 6, 6),
        "init_params": init_params,
    }
    expected = VaDEClustering(2, **settings).fit(unit_images).score_samples(unit_images)
    for name, ambient in AMBIENT.items():
        with ambient():
            scores = VaDEClustering(2, **settings).fit(unit_images).score_samples(unit_images)
        np.testing.assert_array_equal(scores, expected, err_msg=name)


def test_isolation_ends_with_its_block_and_after_errors():
    with torch.no_grad(), torch.device("meta"), torch.autocast("cpu", torch.bfloat16), np.errstate(all="raise"):
        before = get_ambient_state()
        with pytest.raises(RuntimeError, match="within"), isolated():
            assert torch.is_grad_enabled() and torch.empty(0).device == CPU and not torch.is_autocast_enabled("cpu")
            assert np.geterr()["over"] == "warn" and np.geterr()["under"] == "ignore"
            raise RuntimeError("within")
        assert get_ambient_state() == before


class Autologging(ModuleType):
    """MLflow's module of this name, as far as it matters."""

    _AUTOLOGGING_GLOBALLY_DISABLED = False

    @contextlib.contextmanager
    def disable_autologging(self):
        self._AUTOLOGGING_GLOBALLY_DISABLED = True
        try:
            yield
        finally:
            self._AUTOLOGGING_GLOBALLY_DISABLED = False


def test_fits_that_a_fit_needs_are_not_logged(monkeypatch):
    name = "mlflow.utils.autologging_utils"
    mlflow, seen = Autologging(name), []
    monkeypatch.setitem(sys.modules, name, mlflow)

    def cluster(X, n_components, random_state):
        fitted.score(X)  # a context within the context, which must not end it
        seen.append(mlflow._AUTOLOGGING_GLOBALLY_DISABLED)
        return np.arange(len(X)) % n_components

    fitted = VaDEClustering(2, **SETTINGS).fit(X)
    VaDEClustering(2, init_params=cluster, **SETTINGS).fit(X)
    assert seen == [True] and not mlflow._AUTOLOGGING_GLOBALLY_DISABLED
    with pytest.raises(ValueError, match="infinity"):
        fitted.fit(np.full((30, 4), np.inf))
    assert not mlflow._AUTOLOGGING_GLOBALLY_DISABLED
    with mlflow.disable_autologging():
        fitted.score(X)
        assert mlflow._AUTOLOGGING_GLOBALLY_DISABLED  # as the caller has set it


# ---------------------------------------------------------------------------------------- threads, processes


@each_estimator
def test_fits_in_threads_equal_fits_in_sequence(Estimator, tmp_path):
    def fit(seed):
        model = Estimator(3, **{**SETTINGS, "random_state": seed}).fit(X)
        return model.lower_bounds_, model.score_samples(X), model.sample(5)[0]

    expected = [fit(seed) for seed in range(4)]
    before = get_ambient_state()
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(fit, range(4)))
    assert get_ambient_state() == before
    for result, one in zip(results, expected, strict=True):
        for value, value_in_sequence in zip(result, one, strict=True):
            np.testing.assert_array_equal(value, value_in_sequence)


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_small_work_takes_one_thread_and_large_work_those_that_there_are(two_threads):
    with limit_threads(runtime.PARALLEL_WORK - 1):
        assert torch.get_num_threads() == 1
        with limit_threads(0.0):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    with limit_threads(runtime.PARALLEL_WORK):
        assert torch.get_num_threads() == 2
    with pytest.raises(RuntimeError), limit_threads(0.0):
        raise RuntimeError
    assert torch.get_num_threads() == 2


def test_many_small_computations_take_one_thread_of_every_library(two_threads):
    """Two threads of the process at a time: the first to come is the first to go."""

    def count():
        return {pool["filepath"]: pool["num_threads"] for pool in threadpool_info()}

    def work():
        with single_thread():
            seen.append(count())
            entered.set()
            left.wait(60)
        seen.append(torch.get_num_threads())

    entered, left, seen, worker = threading.Event(), threading.Event(), [], threading.Thread(target=lambda: work())
    with threadpool_limits(2):
        before = count()
        with single_thread():
            worker.start()
            entered.wait(60)
            assert set(count().values()) == {1}
        left.set()
        worker.join(60)
        assert count() == before and set(before.values()) == {2}
    assert set(seen[0].values()) == {1} and seen[1] == torch.get_num_threads() == 2


def test_libraries_are_looked_for_again_after_an_import(monkeypatch):
    found = []
    monkeypatch.setattr("skgmvae._threads.ThreadpoolController", lambda: found.append(1) or ThreadpoolController())
    for _ in range(2):
        with single_thread():
            pass
    n_found = len(found)
    assert n_found <= 1
    monkeypatch.setitem(sys.modules, "a_module_with_threads", sys)
    with single_thread():
        pass
    assert len(found) == n_found + 1


def test_every_thread_gets_its_number_back_whatever_others_do(two_threads):
    seen = []

    def work():
        with limit_threads(0.0), limit_threads(0.0):
            seen.append(torch.get_num_threads())
        seen.append(torch.get_num_threads())

    with limit_threads(0.0):
        worker = threading.Thread(target=work)
        worker.start()
        worker.join(60)
        assert torch.get_num_threads() == 1
    work()
    assert seen == [1, 2, 1, 2] and torch.get_num_threads() == 2


def test_the_number_of_threads_is_restored_and_changes_no_bit(two_threads, reference, tmp_path):
    Estimator, expected = reference
    assert_equal_answers(ask_everything(Estimator(3, **SETTINGS).fit(X), tmp_path), expected)
    assert torch.get_num_threads() == 2


def run_script(code, timeout=240):
    """The output of a fresh process; a process that hangs is an error, and is ended with all that it has forked."""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        pytest.fail(f"hangs after {timeout} seconds")
    assert process.returncode == 0, errors[-4000:]
    return out.split()


PREPARE = f"""
import warnings
import numpy as np, torch
from sklearn.datasets import make_blobs
from skgmvae import GMVAEClustering, VaDEClustering, VAEEMClustering
warnings.simplefilter("ignore")
X = make_blobs([30, 18, 12], n_features=4, centers=None, cluster_std=0.7, random_state=3)[0]
SETTINGS = {SETTINGS!r}
ESTIMATORS = (GMVAEClustering, VaDEClustering, VAEEMClustering)
torch.set_num_threads(2)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="has no fork")
def test_a_fork_after_a_fit_and_a_large_operation_can_fit_and_answer():
    code = (
        PREPARE
        + """
import multiprocessing
from skgmvae import _threads
_threads.PARALLEL_WORK = 2.0**20
def work(Estimator):
    model = Estimator(3, **SETTINGS).fit(X)
    large = VaDEClustering(3, **{**SETTINGS, "hidden_layer_sizes": (200, 200), "batch_size": 60, "max_iter": 1})
    return model.score_samples(X), large.fit(X).predict_proba(X), models[Estimator].score_samples(X)
if __name__ == "__main__":
    torch.randn(600, 600) @ torch.randn(600, 600)  # starts the threads
    models = {Estimator: Estimator(3, **SETTINGS).fit(X) for Estimator in ESTIMATORS}
    with multiprocessing.get_context("fork").Pool(2) as pool:
        for (scores, _, again), model in zip(pool.map(work, ESTIMATORS), models.values(), strict=True):
            np.testing.assert_array_equal(scores, model.score_samples(X))
            np.testing.assert_array_equal(again, model.score_samples(X))
    print(torch.get_num_threads())
"""
    )
    assert run_script(code) == ["2"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="has no fork")
def test_searches_give_equal_scores_under_every_backend_of_joblib():
    code = (
        PREPARE
        + """
import joblib
from sklearn.model_selection import GridSearchCV
def search(Estimator, n_jobs):
    grid = {"n_components": [2, 3]}
    search = GridSearchCV(Estimator(**SETTINGS), grid, cv=2, n_jobs=n_jobs, refit=False)
    return search.fit(X).cv_results_["mean_test_score"]
if __name__ == "__main__":
    for Estimator, backend in zip(ESTIMATORS, ("threading", "loky", "multiprocessing")):
        expected = search(Estimator, 1)
        with joblib.parallel_backend(backend):
            np.testing.assert_array_equal(search(Estimator, 2), expected, err_msg=backend)
        print(torch.get_num_threads())
"""
    )
    assert run_script(code) == ["2", "2", "2"]
