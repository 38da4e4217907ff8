"""What SECURITY.md promises, seen through Python's audit events."""

import pickle
import sys
from contextlib import contextmanager

import pytest

from skgmvae import GMVAEClustering, VaDEClustering, VAEEMClustering

ESTIMATORS = [VaDEClustering, GMVAEClustering, VAEEMClustering]
EXECUTION = ("pickle.find_class", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork")
RECORDS = []  # lists of the events that are being recorded; a hook stays until the process ends


def hook(event, args):
    for record in RECORDS:
        if event.startswith("socket.") or event in EXECUTION:
            record.append(event)


@pytest.fixture(scope="module", autouse=True)
def _audit():
    sys.addaudithook(hook)


@contextmanager
def recorded():
    record = []
    RECORDS.append(record)
    try:
        yield record
    finally:
        RECORDS.remove(record)


def test_the_hook_sees_what_pickle_does():
    text = pickle.dumps(GMVAEClustering)
    with recorded() as events:
        pickle.loads(text)
    assert events == ["pickle.find_class"]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_fit_opens_no_connection_and_load_executes_nothing(estimator, blobs, quick, tmp_path):
    with recorded() as events:
        model = estimator(3, **quick).fit(blobs[0])
    assert [event for event in events if event.startswith("socket.")] == []
    model.save(tmp_path / "model.safetensors")
    with recorded() as events:
        estimator.load(tmp_path / "model.safetensors").predict(blobs[0])
    assert events == []
