"""Progress, logging and callbacks: quiet by default, shown when asked for, and open to other libraries' callbacks."""

import copy
import logging
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback, Checkpoint, EarlyStopping, TensorBoard

from skgmvae import GMVAEClustering, VaDEClustering, VAEEMClustering
from skgmvae._progress import LOGGER
from skgmvae.training.callbacks import ConvergenceStopping
from skgmvae.training.progress import Progress

each_estimator = pytest.mark.parametrize("Estimator", [GMVAEClustering, VaDEClustering, VAEEMClustering])
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture
def settings(quick):
    return {**quick, "pretrain_iter": 2, "max_iter": 3}


# ------------------------------------------------------------------------------------- what is shown


@each_estimator
def test_nothing_is_shown_by_default(Estimator, blobs, settings, capfd, caplog):
    caplog.set_level(logging.DEBUG, logger="skgmvae")
    Estimator(3, **settings).fit(blobs[0]).predict(blobs[0])
    assert capfd.readouterr() == ("", "") and caplog.records == []


@each_estimator
def test_a_bar_per_phase_of_epochs_and_a_line_for_the_initialization(Estimator, blobs, settings, capfd):
    Estimator(3, verbose=1, **settings).fit(blobs[0])
    out, shown = capfd.readouterr()
    last_states = [line.split("\r")[-1] for line in shown.rstrip("\n").split("\n")]
    assert out.startswith("initialization  kmeans, ") and out.count("\n") == 1
    assert len(last_states) == 2
    for line, (phase, total) in zip(last_states, [("pretraining", 2), ("training", 3)], strict=True):
        assert line.startswith(f"{phase}: 100%") and f"{total}/{total} [" in line
    assert "log_likelihood=" in last_states[0] and "lower_bound=" in last_states[1]
    assert ("% of rows" in last_states[1]) == (Estimator is VAEEMClustering)


def test_bars_tell_the_time_left(capfd):
    progress = Progress("training", 4, verbose=1)
    progress.on_train_begin(None)
    progress.bar_.update(2)
    assert "2/4 [" in str(progress.bar_) and "<" in str(progress.bar_)  # elapsed<remaining
    progress.on_train_end(None)
    pickle.dumps(progress)


@each_estimator
def test_a_line_per_epoch_on_standard_output(Estimator, blobs, settings, capfd):
    Estimator(3, verbose=2, n_init=2, **settings).fit(blobs[0])
    lines = capfd.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        *("pretraining 1/2", "pretraining 2/2"),
        *("initialization 1 of 2", "training 1 of 2 1/3", "training 1 of 2 2/3", "training 1 of 2 3/3"),
        *("initialization 2 of 2", "training 2 of 2 1/3", "training 2 of 2 2/3", "training 2 of 2 3/3"),
    ]


def test_lines_go_where_logging_was_set_up_to_put_them(blobs, settings, capfd, caplog):
    caplog.set_level(logging.INFO, logger="skgmvae")
    VaDEClustering(3, verbose=2, **settings).fit(blobs[0])
    assert capfd.readouterr().out == ""
    assert [record.name for record in caplog.records] == ["skgmvae"] * 6
    assert caplog.messages[2].startswith("initialization  kmeans, ") and caplog.messages[-1].startswith(
        "training 3/3  lower_bou"
    )


def test_undone_epochs_are_noted(blobs, settings, caplog):
    caplog.set_level(logging.INFO, logger="skgmvae")
    with pytest.raises(ValueError, match="Training diverged"):
        VaDEClustering(3, **{**settings, "learning_rate": 1e30, "max_iter": 9, "early_stopping": False}).fit(blobs[0])
    notes = [record for record in caplog.records if "is undone" in record.getMessage()]
    assert {note.levelno for note in notes} == {logging.INFO}
    text = notes[0].getMessage()
    assert text.startswith("Epoch 1 is undone: ") and text.endswith("continues with learning_rate=2.5e+29.")


# ------------------------------------------------------------------------------ skorch's callbacks


class Writer:
    """What TensorBoard's SummaryWriter offers to skorch."""

    def __init__(self):
        self.scalars, self.closed = {}, False

    def add_scalar(self, tag, scalar_value, global_step):
        self.scalars.setdefault(tag, []).append((global_step, scalar_value))

    def close(self):
        self.closed = True


@each_estimator
def test_tensorboard_sees_every_term_of_every_epoch(Estimator, blobs, settings):
    writer = Writer()
    model = Estimator(3, callbacks=[TensorBoard(writer)], **settings).fit(blobs[0])
    for name, values in model.history_.items():
        # the last E-step of VAE-EM is made whole after the last epoch
        n_compared = 2 if Estimator is VAEEMClustering else 3
        assert [value for _, value in writer.scalars[name]][:n_compared] == values[:n_compared]
        assert [step for step, _ in writer.scalars[name]] == [1, 2, 3]
    assert writer.closed


@each_estimator
def test_checkpoints_of_the_best_epoch(Estimator, blobs, settings, tmp_path):
    keep = Checkpoint(monitor=lambda net: net.history[-1]["lower_bound"] == max(net.history[:, "lower_bound"]))
    keep.set_params(dirname=str(tmp_path), f_optimizer=None, f_criterion=None, f_history=None)
    model = Estimator(3, callbacks=[("best", keep)], **settings).fit(blobs[0])
    weights = copy.deepcopy(model.net_.module_.state_dict())
    model.net_.load_params(f_params=tmp_path / "params.pt")
    loaded = model.net_.module_.state_dict()
    assert loaded.keys() == weights.keys()
    if model.lower_bounds_.index(max(model.lower_bounds_)) == 2 and Estimator is VaDEClustering:
        # the components are numbered by size only after the last epoch
        np.testing.assert_allclose(np.sort(loaded["means"], axis=0), np.sort(weights["means"], axis=0))


@each_estimator
@pytest.mark.filterwarnings("error::sklearn.exceptions.ConvergenceWarning")  # the user's own rule is no failure
def test_early_stopping_on_the_bound(Estimator, blobs, settings):
    stop = EarlyStopping(
        "lower_bound", patience=2, lower_is_better=False, threshold=1e9, threshold_mode="abs", sink=len
    )
    model = Estimator(3, callbacks=[stop], **{**settings, "max_iter": 10}).fit(blobs[0])
    assert model.n_iter_ == 3 and not model.converged_


def test_users_callbacks_see_the_epoch_at_which_training_converges(blobs, settings):
    class Count(Callback):
        n_epochs = 0

        def on_epoch_end(self, net, **kwargs):
            self.n_epochs += 1

    count = Count()
    model = VaDEClustering(3, callbacks=[count], **{**settings, "max_iter": 50, "tol": 1e9}).fit(blobs[0])
    assert model.converged_ and count.n_epochs == model.n_iter_ < 50


@each_estimator
def test_an_interruption_between_two_epochs_is_told(Estimator, blobs, settings, monkeypatch):
    def interrupt(self, net, **kwargs):
        if len(net.history) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(ConvergenceStopping, "on_epoch_end", interrupt)
    with pytest.warns(UserWarning, match="Training was interrupted; the state reached so far is kept"):
        model = Estimator(3, **settings).fit(blobs[0])
    assert model.n_iter_ == 2 and np.isfinite(model.score(blobs[0]))


# ------------------------------------------------------------------------- scikit-learn's callbacks


class Recorder:
    """Follows scikit-learn's protocol; stops after ``max_epochs``."""

    max_propagation_depth = None

    def __init__(self, max_epochs=None):
        self.max_epochs, self.events, self.scores = max_epochs, [], []

    def setup(self, estimator, context):
        self.events.append("setup")

    def teardown(self, estimator, context):
        self.events.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.events.append(f"begin {context.task_name}")

    def on_fit_task_end(self, estimator, context, *, X, fitted_estimator):
        self.events.append(f"end {context.task_name}")
        if context.task_name == "epoch":
            self.scores.append(fitted_estimator.score(X))
            assert fitted_estimator.predict(X).shape == (len(X),) and len(fitted_estimator.sample(2)[0]) == 2
            return context.task_id + 1 == self.max_epochs
        return False


EPOCH = ["begin epoch", "end epoch"]


@each_estimator
def test_scikit_learns_callbacks_see_every_epoch(Estimator, blobs, settings):
    pytest.importorskip("sklearn.callback", reason="scikit-learn has callbacks from 1.9 on")
    X, recorder = blobs[0], Recorder()
    model = clone(Estimator(3, **settings).set_callbacks(recorder)).fit(X)
    assert recorder.events == ["setup", "begin fit", *3 * EPOCH, "end fit", "teardown"]
    assert np.isfinite(recorder.scores).all() and len(set(recorder.scores)) == 3
    # looking on changes nothing, and nothing of it stays
    plain = Estimator(3, **settings).fit(X)
    assert plain.history_ == model.history_
    np.testing.assert_array_equal(plain.predict_proba(X), model.predict_proba(X))
    assert set(vars(model)) - set(vars(plain)) == {"_skl_callbacks"} and model.net_.callbacks == []
    assert recorder.scores[-1] == pytest.approx(model.score(X), abs=1.0)  # with other noise
    pickle.dumps(model)


def test_scikit_learns_callbacks_can_stop_and_are_torn_down_after_errors(blobs, settings):
    pytest.importorskip("sklearn.callback", reason="scikit-learn has callbacks from 1.9 on")
    recorder = Recorder(max_epochs=2)
    assert VaDEClustering(3, **settings).set_callbacks(recorder).fit(blobs[0]).n_iter_ == 2
    failing = VaDEClustering(500, **settings).set_callbacks(recorder)
    before = dict(vars(failing))
    with pytest.raises(ValueError, match="Expected n_samples >= n_components"):
        failing.fit(blobs[0])
    assert recorder.events[-3:] == ["setup", "begin fit", "teardown"] and vars(failing) == before


def test_scikit_learns_callbacks_reach_into_pipelines_and_searches(blobs, settings):
    pytest.importorskip("sklearn.callback", reason="scikit-learn has callbacks from 1.9 on")
    recorder = Recorder()
    make_pipeline(StandardScaler(), VaDEClustering(3, **settings)).set_callbacks(recorder).fit(blobs[0])
    assert recorder.events.count("end epoch") == 3 and recorder.events.count("setup") == 1
    recorder = Recorder()
    search = GridSearchCV(VaDEClustering(3, **settings), {"n_components": [2, 3]}, cv=2)
    search.set_callbacks(recorder).fit(blobs[0])
    assert recorder.events.count("end epoch") == 5 * 3  # two folds of two, and the refit


def test_epochs_of_several_initializations_and_of_partial_fit(blobs, settings):
    pytest.importorskip("sklearn.callback", reason="scikit-learn has callbacks from 1.9 on")
    recorder = Recorder()
    model = VaDEClustering(3, n_init=2, **settings).set_callbacks(recorder).fit(blobs[0])
    assert recorder.events.count("end epoch") == 6
    model.partial_fit(blobs[0])
    assert recorder.events.count("end epoch") == 6  # callbacks belong to fit


def test_the_logger_is_silent_about_components_unless_asked(caplog):
    assert LOGGER.name == "skgmvae" and LOGGER.handlers == [] and LOGGER.propagate
