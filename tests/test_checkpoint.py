"""A fit that was killed goes on to a result that is equal to the bit; another fit is refused."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # benchmarks are not installed

from benchmarks.reliability.kills import MODELS, describe, fit_and_kill, run
from skgmvae import GMVAEClustering, VaDEClustering, VAEEMClustering
from skgmvae.training import checkpoint
from skgmvae.training.checkpoint import PhaseCheckpoint

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
SETTINGS = {
    "vade": (VaDEClustering, {"n_init": 2}),
    "gmvae with a linear path": (GMVAEClustering, {"linear_path": True}),
    "gmvae, random": (GMVAEClustering, {"init_params": "random"}),
    "vaeem": (VAEEMClustering, {"learn_weights": True}),
    "vaeem, random weights": (VAEEMClustering, {"init_params": "random", "m_step": "weighted"}),
    "undone epochs": (VAEEMClustering, {"learning_rate": 3.0}),
}


class Killed(BaseException):
    """In place of a signal."""


@pytest.fixture(autouse=True)
def _often(monkeypatch):
    monkeypatch.setattr(checkpoint, "MIN_SECONDS", 0.0)
    monkeypatch.setattr(checkpoint, "LEAST_RATIO", 0.0)


@pytest.fixture
def kill_at(monkeypatch):
    """Function that ends the process, as it were, after so many states have been written; returns the count."""
    count, whole = [0, None], PhaseCheckpoint.write

    def write(self, *arguments):
        whole(self, *arguments)
        count[0] += 1
        if count[0] == count[1]:
            raise Killed

    monkeypatch.setattr(PhaseCheckpoint, "write", write)

    def kill_at(number):
        count[:] = [0, number]
        return count

    return kill_at


@pytest.mark.parametrize(("Estimator", "settings"), SETTINGS.values(), ids=SETTINGS)
def test_a_fit_goes_on_from_any_of_its_states(Estimator, settings, blobs, quick, tmp_path, kill_at):
    X = blobs[0]
    settings = {**quick, "pretrain_iter": 3, "max_iter": 4, **settings}
    expected = describe(Estimator(3, **settings).fit(X), X)
    model, count = Estimator(3, **settings, checkpoint=tmp_path / "state"), kill_at(None)
    assert describe(clone(model).fit(X), X) == expected
    assert not (tmp_path / "state").exists()
    n_states = count[0]
    assert n_states >= 5 + settings.get("n_init", 1)
    for number in np.random.default_rng(0).choice(np.arange(1, n_states + 1), 2, replace=False):
        kill_at(number)
        with pytest.raises(Killed):
            clone(model).fit(X)
        assert (tmp_path / "state").exists()
        kill_at(2)
        try:  # killed once more
            resumed = clone(model).fit(X)
        except Killed:
            kill_at(None)
            resumed = clone(model).fit(X)
        assert describe(resumed, X) == expected, f"state {number} of {n_states}"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_process_that_is_killed_at_random_moments(blobs):
    X = blobs[0]
    model = clone(MODELS["vade"]).set_params(pretrain_iter=2, max_iter=3, init_params="kmeans")
    n_kills, result, _ = fit_and_kill(model, X, np.random.default_rng(0))
    assert n_kills > 0 and result == run(lambda: describe(clone(model).fit(X), X))


def test_states_of_another_fit_are_refused(blobs, quick, tmp_path, kill_at, monkeypatch):
    X, folder = blobs[0], tmp_path / "state"
    model = VaDEClustering(3, **quick, checkpoint=str(folder))
    kill_at(2)
    with pytest.raises(Killed):
        model.fit(X)
    kill_at(None)
    for other, data, name in (
        (clone(model).set_params(n_components=2), X, "n_components"),
        (clone(model).set_params(random_state=1), X, "random_state"),
        (clone(model), X + 1.0, "X"),
        (GMVAEClustering(3, **quick, checkpoint=folder), X, "class"),
    ):
        with pytest.raises(
            ValueError, match=rf"holds the state of a fit that differs in [^.]*\b{name}\b.*choose another fol"
        ):
            other.fit(data)
    with monkeypatch.context() as patch:
        versions = {**checkpoint.read_file(next(folder.iterdir()), checkpoint.KEY)[1]["identity"], "torch": "1.0"}
        patch.setattr("skgmvae._fitting.describe_environment", lambda work: {"torch": versions["torch"]})
        with pytest.raises(ValueError, match="differs in .*torch"):
            clone(model).fit(X)
    clone(model).set_params(verbose=0, memory=None).fit(X)  # what does not matter may change


def test_damaged_states_are_refused_and_nothing_else_is_deleted(blobs, quick, tmp_path):
    model = VaDEClustering(3, **quick, checkpoint=tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "training-0.checkpoint").write_bytes(b"x" * 100)
    with pytest.raises(ValueError, match=r"training-0.checkpoint is not a checkpoint, or is damaged .*; delete it"):
        model.fit(blobs[0])
    (tmp_path / "training-0.checkpoint").unlink()
    model.fit(blobs[0])
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_seed_is_needed_and_a_folder(blobs, quick, tmp_path):
    for seed in (None, np.random.RandomState(0)):
        with pytest.raises(ValueError, match="checkpoint needs an integer random_state"):
            VaDEClustering(3, **{**quick, "random_state": seed}, checkpoint=tmp_path).fit(blobs[0])
    with pytest.raises(ValueError, match="checkpoint=.* is a file; pass a folder"):
        VaDEClustering(3, **quick, checkpoint=__file__).fit(blobs[0])


def test_every_fit_of_a_grid_has_a_folder_and_goes_on_there(blobs, quick, tmp_path, kill_at):
    X = blobs[0]
    folder = tmp_path / "states"
    model = VaDEClustering(**{**quick, "pretrain_iter": 2, "max_iter": 2}, checkpoint=folder)
    grid = {"n_components": [2, 3]}
    expected = GridSearchCV(clone(model).set_params(checkpoint=None), grid, cv=2).fit(X).cv_results_
    count = kill_at(9)
    with pytest.raises(Killed):
        GridSearchCV(model, grid, cv=2).fit(X)
    assert len(list(folder.iterdir())) == 1  # those that had ended have none
    kill_at(None)
    found = GridSearchCV(model, grid, cv=2).fit(X).cv_results_
    np.testing.assert_array_equal(found["mean_test_score"], expected["mean_test_score"])
    assert not folder.exists() and count[0] > 0


def test_an_interrupted_fit_goes_on(blobs, quick, tmp_path, monkeypatch):
    X, model = blobs[0], VaDEClustering(3, **quick, checkpoint=tmp_path / "state")
    expected = describe(VaDEClustering(3, **quick).fit(X), X)
    whole, count = checkpoint.TrainingCheckpoint.on_epoch_end, [0]

    def on_epoch_end(self, net, **kwargs):
        whole(self, net, **kwargs)
        count[0] += 1
        if count[0] == quick["pretrain_iter"] + 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint.TrainingCheckpoint, "on_epoch_end", on_epoch_end)
    with pytest.warns(UserWarning, match="Training was interrupted"):
        model.fit(X)
    assert model.n_iter_ == 2
    assert describe(model.fit(X), X) == expected


def test_states_are_stored_every_so_many_seconds(blobs, quick, tmp_path, monkeypatch, kill_at):
    monkeypatch.setattr(checkpoint, "MIN_SECONDS", 1e9)
    count = kill_at(None)
    VaDEClustering(3, **quick, checkpoint=tmp_path).fit(blobs[0])
    assert count[0] == 3  # the ends of the three phases


def test_files_do_not_name_folders_of_checkpoints(blobs, quick, tmp_path):
    model = VaDEClustering(3, **{**quick, "max_iter": 1}, checkpoint=str(tmp_path / "state")).fit(blobs[0])
    model.save(tmp_path / "model")
    assert VaDEClustering.load(tmp_path / "model").checkpoint is None
