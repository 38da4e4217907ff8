"""Saving and loading: equal after a round trip; damaged, foreign and hand-edited files are refused."""

import json
import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file, save_file
from sklearn.base import clone

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # benchmarks are not installed

from benchmarks.reliability.kills import run
from skgmvae import GMVAEClustering, VaDEClustering, VAEEMClustering
from skgmvae._file_format import KEY, NotASavedEstimatorError, compute_digest, read_file, write_file
from skgmvae.persistence import load_estimator

ESTIMATORS = {
    "gmvae": (GMVAEClustering, {"style_dim": 3}),
    "vade": (VaDEClustering, {}),
    "vade diag": (VaDEClustering, {"covariance_type": "diag", "learn_weights": False}),
    "vaeem": (VAEEMClustering, {"pretrain_hidden_layer_sizes": (8, 4)}),
}
DATA = Path(__file__).parent / "data"
TINY = {"pretrain_iter": 3, "max_iter": 3, "hidden_layer_sizes": (4,)}
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(params=ESTIMATORS)
def fitted(request, blobs, quick):
    Estimator, settings = ESTIMATORS[request.param]
    X = pd.DataFrame(blobs[0], columns=["a", "b", "c", "d"])
    return Estimator(3, **{**quick, **TINY, **settings}).fit(X), X


def test_loaded_estimator_answers_and_goes_on_as_the_saved_one(fitted, tmp_path):
    model, X = fitted
    model.save(tmp_path / "model.safetensors")
    state = np.random.get_state()[1].copy()
    loaded = type(model).load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(np.random.get_state()[1], state)
    assert list(tmp_path.iterdir()) == [tmp_path / "model.safetensors"]  # no half-written file is left

    assert loaded.get_params() == model.get_params() and set(vars(loaded)) == set(vars(model))
    for method in ("predict", "predict_proba", "score_samples", "transform", "reconstruct"):
        np.testing.assert_array_equal(getattr(loaded, method)(X), getattr(model, method)(X))
    np.testing.assert_array_equal(loaded.sample(7, random_state=1)[0], model.sample(7, random_state=1)[0])
    assert (loaded.bic(X), loaded.history_, loaded.init_params_) == (model.bic(X), model.history_, model.init_params_)
    np.testing.assert_array_equal(loaded.feature_names_in_, model.feature_names_in_)
    np.testing.assert_array_equal(loaded.means_, model.means_)
    pickle.loads(pickle.dumps(loaded))

    loaded.set_params(warm_start=True).fit(X)
    assert len(loaded.history_["lower_bound"]) == 6 and loaded.history_["lower_bound"][:3] == model.lower_bounds_
    loaded.partial_fit(X)


def test_weights_take_half_the_room_and_edited_ones_keep_every_digit(fitted, tmp_path):
    model, X = fitted
    model.save(tmp_path / "trained")
    arrays, _ = read_file(tmp_path / "trained")
    weights = {name for name, _ in model.net_.module_.named_parameters()}
    assert {arrays[f"module.{name}"].dtype for name in weights} == {np.dtype(np.float32)}
    for parameter in model.net_.module_.parameters():
        parameter.data.mul_(1.0 + 1e-12)
    model.save(tmp_path / "edited")
    loaded = type(model).load(tmp_path / "edited")
    np.testing.assert_array_equal(loaded.score_samples(X), model.score_samples(X))
    assert {parameter.dtype for parameter in loaded.net_.module_.parameters()} == {torch.float64}
    assert load_estimator(type(model), tmp_path / "edited").score(X) == model.score(X)


def test_convolutions_and_images(unit_images, quick, tmp_path):
    settings = {**quick, "network": "conv", "image_shape": (1, 6, 6), "pretrain_iter": 1, "max_iter": 1}
    for Estimator in (GMVAEClustering, VaDEClustering, VAEEMClustering):
        model = Estimator(2, **settings).fit(unit_images)
        model.save(tmp_path / "model")
        loaded = Estimator.load(tmp_path / "model")
        np.testing.assert_array_equal(loaded.predict_proba(unit_images), model.predict_proba(unit_images))


def test_what_cannot_be_saved_is_left_out(blobs, quick, tmp_path):
    random_state = np.random.RandomState(0)
    model = VaDEClustering(3, **{**quick, **TINY, "random_state": random_state, "callbacks": [], "memory": None})
    model.fit(blobs[0]).save(tmp_path / "model")
    loaded = VaDEClustering.load(tmp_path / "model")
    assert loaded.random_state is None and loaded.latent_covariances_.shape == (3, 2, 2)
    with pytest.raises(Exception, match="not fitted yet"):
        VaDEClustering(3).save(tmp_path / "model")


@pytest.fixture(scope="module")
def saved(blobs, quick, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "model.safetensors"
    VaDEClustering(3, **{**quick, **TINY}).fit(blobs[0]).save(path)
    return path


@pytest.mark.filterwarnings("ignore:Saved with device")
def test_no_damaged_file_is_loaded(saved, tmp_path):
    content, rng, path = saved.read_bytes(), np.random.default_rng(0), tmp_path / "damaged"
    for trial in range(400):
        damaged = bytearray(content)
        if trial % 4 == 0:
            damaged = damaged[: rng.integers(len(content))]
        elif trial % 4 == 1:
            position = rng.integers(len(content))
            damaged[position : position + 8] = rng.bytes(8)
        else:  # a single bit; half of them in the header, which is the smaller part
            position = rng.integers(len(content) if trial % 4 == 2 else 3000)
            damaged[position] ^= 1 << rng.integers(8)
        if bytes(damaged) == content:
            continue
        path.write_bytes(damaged)
        with pytest.raises(NotASavedEstimatorError):
            VaDEClustering.load(path)


def edit(saved, path, change):
    """A file with a valid digest whose arrays and description ``change`` has had its hands on."""
    arrays, description = read_file(saved)
    change(arrays, description)
    description.pop("format_version", None)
    write_file(path, arrays, description)


HOSTILE = {
    "attribute": lambda a, d: d["attributes"].update(predict="x"),
    "dunder": lambda a, d: d["attributes"].update(__class__="x"),
    "parameter": lambda a, d: d["parameters"].update(shell="rm"),
    "parameter value": lambda a, d: d["parameters"].update(n_components=-1),
    "parameter type": lambda a, d: d["parameters"].update(hidden_layer_sizes="x"),
    "class": lambda a, d: d.update({"class": "os.system"}),
    "other class": lambda a, d: d.update({"class": "GMVAEClustering"}),
    "huge latent space": lambda a, d: (
        d["architecture"].update(latent_dim=10**9),
        d["parameters"].update(latent_dim=10**9),
    ),
    "huge layer": lambda a, d: d["architecture"].update(hidden_layer_sizes=[2**31]),
    "many layers": lambda a, d: d["architecture"].update(hidden_layer_sizes=[4] * 100_000),
    "many components": lambda a, d: d["parameters"].update(n_components=10**8),
    "no layers": lambda a, d: d["architecture"].update(hidden_layer_sizes=[]),
    "layers": lambda a, d: d["architecture"].update(hidden_layer_sizes=None),
    "likelihood": lambda a, d: d["architecture"].update(likelihood="__import__"),
    "scale": lambda a, d: d["architecture"].update(scale=[1.0, 2.0]),
    "infinite scale": lambda a, d: d["architecture"].update(scale=[float("inf")] * 4),
    "missing section": lambda a, d: d.pop("architecture"),
    "section of another type": lambda a, d: d.update(parameters=[1, 2]),
    "seed": lambda a, d: d.update(noise_seed=-1),
    "seed of another type": lambda a, d: d.update(noise_seed="0"),
    "feature names": lambda a, d: d.update(feature_names=["a", "b"]),
    "feature names in one": lambda a, d: d.update(feature_names="abcd"),
    "structure": lambda a, d: d.update(structure={}),
    "history": lambda a, d: d["attributes"].update(history_={"lower_bound": [1.0]}),
    "history of text": lambda a, d: d["attributes"].update(
        history_={key: ["x"] for key in d["attributes"]["history_"]}
    ),
    "labels": lambda a, d: a.update({"attribute.labels_": np.array([0, 3])}),
    "labels missing": lambda a, d: a.pop("attribute.labels_"),
    "means": lambda a, d: a.update({"attribute.means_": np.zeros((3, 5))}),
    "weights missing": lambda a, d: a.pop("module.means"),
    "weights too many": lambda a, d: a.update({"module.more": np.zeros(3)}),
    "weights of another size": lambda a, d: a.update({"module.means": np.zeros((3, 7), np.float32)}),
    "array of unknown meaning": lambda a, d: a.update({"elsewhere": np.zeros(3)}),
    "not finite": lambda a, d: a["module.means"].__setitem__(0, np.nan),
    "huge weights": lambda a, d: a.update({"module.means": np.full((3, 2), 1e200)}),
    "negative scale": lambda a, d: a.update({"module.autoencoder.likelihood.scale": np.full(4, -1.0)}),
    "scale of zero": lambda a, d: d["architecture"].update(scale=[1.0, 1.0, 0.0, 1.0]),
    "shares": lambda a, d: a.update({"attribute.weights_": np.full(3, 0.5)}),
    "negative shares": lambda a, d: a.update({"attribute.weights_": np.array([1.5, -0.25, -0.25])}),
    "covariances missing": lambda a, d: a.pop("attribute.latent_covariances_"),
    "covariances of another shape": lambda a, d: a.update({"attribute.latent_covariances_": np.ones((3, 2))}),
    "covariances not definite": lambda a, d: a.update(
        {"attribute.latent_covariances_": np.tile(-np.eye(2), (3, 1, 1))}
    ),
    "covariances not symmetric": lambda a, d: a["attribute.latent_covariances_"].__setitem__((0, 0, 1), 9.0),
    "no labels": lambda a, d: a.update({"attribute.labels_": np.empty(0, np.int64)}),
    "parameter of another structure": lambda a, d: d["parameters"].update(learn_weights=False),
    "boolean parameter": lambda a, d: d["parameters"].update(n_init=True),
    "attribute missing": lambda a, d: d["attributes"].pop("converged_"),
    "attribute of another type": lambda a, d: d["attributes"].update(n_iter_="3"),
    "numbers of features": lambda a, d: d["attributes"].update(n_features_in_=4.0),
    "histories of two lengths": lambda a, d: d["attributes"]["history_"]["lower_bound"].append(0.0),
    "times": lambda a, d: d["attributes"].update(phase_seconds_=[1.0]),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_hand_edited_files_are_refused(saved, tmp_path, change):
    edit(saved, tmp_path / "edited", change)
    with pytest.raises(NotASavedEstimatorError):
        VaDEClustering.load(tmp_path / "edited")


def test_reseeded_components_are_pairs(blobs, quick, tmp_path):
    VAEEMClustering(3, **{**quick, **TINY}).fit(blobs[0]).save(tmp_path / "saved")
    for pairs in ([[0]], [[0, -1]], [0], "x"):
        change = lambda arrays, description, pairs=pairs: description["attributes"].update(reseeded_=pairs)  # noqa: E731
        edit(tmp_path / "saved", tmp_path / "edited", change)
        with pytest.raises(NotASavedEstimatorError, match="reseeded_"):
            VAEEMClustering.load(tmp_path / "edited")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"n_components": 5}, "has n_components=3 and cannot be saved with n_components=5"),
        ({"covariance_type": "diag"}, "cannot be saved with covariance_type='diag'"),
        ({"tol": -1.0}, "'tol' parameter"),
        ({"learning_rate": 0.0}, "'learning_rate' parameter"),
        ({"n_init": True}, "n_init must be a number"),
    ],
)
def test_what_would_not_load_is_not_saved(saved, tmp_path, change, message):
    model = VaDEClustering.load(saved).set_params(**change)
    (tmp_path / "good").write_bytes(saved.read_bytes())
    with pytest.raises(ValueError, match=message):
        model.save(tmp_path / "good")
    assert (tmp_path / "good").read_bytes() == saved.read_bytes()


def test_models_whose_weights_or_attributes_were_damaged_are_not_saved(saved, tmp_path):
    for damage in (
        lambda model: model.net_.module_.means.data.fill_(np.nan),
        lambda model: model.net_.module_.log_diagonal.data.fill_(1e4),
        lambda model: setattr(model, "labels_", model.labels_ + 3),
        lambda model: setattr(model, "history_", None),
    ):
        model = VaDEClustering.load(saved)
        damage(model)
        with pytest.raises(ValueError, match="not saved: the estimator was changed after fit, and could not be"):
            model.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_sizes_are_checked_before_anything_is_read(saved, tmp_path):
    content = saved.read_bytes()
    n_header = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + n_header])
    end = len(content) - 8 - n_header
    n_bytes = 2**36  # a hole: the file takes no room on the disk
    header["attribute.more"] = {"dtype": "F32", "shape": [n_bytes // 4], "data_offsets": [end, end + n_bytes]}
    text = json.dumps(header).encode()
    with (tmp_path / "sparse").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + content[8 + n_header :])
        file.truncate(8 + len(text) + end + n_bytes)
    with pytest.raises(NotASavedEstimatorError, match="array of unknown meaning, 'attribute.more'"):
        VaDEClustering.load(tmp_path / "sparse")


AMBIENT = {
    "inference_mode": torch.inference_mode,
    "no_grad": torch.no_grad,
    "meta": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "errstate": lambda: np.errstate(all="raise"),
}


@pytest.mark.parametrize("context", AMBIENT.values(), ids=AMBIENT)
def test_ambient_settings_change_neither_files_nor_models(saved, blobs, tmp_path, context):
    X = blobs[0]
    with context():
        loaded = VaDEClustering.load(saved)
        answers = loaded.predict_proba(X)
        loaded.save(tmp_path / "again")
    (arrays, description), (again, description_again) = read_file(saved), read_file(tmp_path / "again")
    assert description == description_again and set(arrays) == set(again)
    assert all(np.array_equal(again[name], array) for name, array in arrays.items())
    np.testing.assert_array_equal(answers, VaDEClustering.load(saved).predict_proba(X))
    loaded.set_params(warm_start=True).fit(X)


@pytest.mark.parametrize("Estimator", [VaDEClustering, GMVAEClustering, VAEEMClustering])
def test_pickles_read_in_inference_mode_are_the_models_that_were_written(Estimator, blobs):
    X = blobs[0]
    model = Estimator(3, max_iter=3, early_stopping=False, tol=1e9, random_state=0).fit(X)
    content = pickle.dumps(model)
    with torch.inference_mode():
        loaded = pickle.loads(content)
    np.testing.assert_array_equal(loaded.score_samples(X), model.score_samples(X))
    np.testing.assert_array_equal(loaded.partial_fit(X).score_samples(X), model.partial_fit(X).score_samples(X))


def test_missing_fields_of_older_versions_take_their_defaults(saved, tmp_path):
    edit(saved, tmp_path / "older", lambda arrays, description: description["parameters"].pop("precision"))
    assert VaDEClustering.load(tmp_path / "older").precision == "auto"


def test_device_that_is_not_at_hand_becomes_auto(saved, tmp_path):
    edit(saved, tmp_path / "cuda", lambda arrays, description: description["parameters"].update(device="cuda:99"))
    with pytest.warns(UserWarning, match="device='cuda:99', which is not available here"):
        assert VaDEClustering.load(tmp_path / "cuda").device == "auto"


def test_files_of_earlier_releases_keep_loading():
    with np.load(DATA / "format_1_expected.npz") as expected:
        model = VaDEClustering.load(DATA / "format_1.safetensors")
        # estimates, by other points
        np.testing.assert_allclose(model.predict_proba(expected["X"]), expected["responsibilities"], atol=0.01)
        np.testing.assert_allclose(model.score_samples(expected["X"]), expected["scores"], rtol=0.0, atol=0.15)


def test_weights_that_earlier_versions_lacked_are_zero(tmp_path):
    X = np.random.default_rng(0).normal(size=(60, 3))
    model = GMVAEClustering(2, style_dim=2, max_iter=0, random_state=0).fit(X)
    with torch.no_grad():
        model.net_.module_.prior.slopes.zero_()
    model.save(tmp_path / "now.safetensors")
    edit(tmp_path / "now.safetensors", tmp_path / "before", lambda arrays, _: arrays.pop("module.prior.slopes"))
    loaded = GMVAEClustering.load(tmp_path / "before")
    np.testing.assert_array_equal(loaded.score_samples(X), model.score_samples(X))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_pickles_of_earlier_versions_answer_and_go_on():
    """Written before there was a parameter ``checkpoint``."""
    models = pickle.loads((DATA / "pickle_1.pkl").read_bytes())
    with np.load(DATA / "pickle_1_expected.npz") as expected:
        X = expected["X"]
        for name, model in models.items():
            np.testing.assert_allclose(model.score_samples(X), expected[name], rtol=0.0, atol=0.25)  # likewise
            assert model.get_params()["checkpoint"] is None
            model.set_params(warm_start=True).fit(X).partial_fit(X)
            pickle.loads(pickle.dumps(model)).predict(X)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_after_a_fit_answers_and_fits(fitted):
    model, X = fitted
    answers = (model.score_samples(X).tobytes(), model.labels_.tobytes())
    assert run(lambda: (model.score_samples(X).tobytes(), clone(model).fit(X).labels_.tobytes())) == answers


def test_foreign_files(saved, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        VaDEClustering.load(tmp_path / "nowhere")
    (tmp_path / "pickle").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ValueError, match="is not a safetensors file"):
        VaDEClustering.load(tmp_path / "pickle")
    save_file({"a": np.zeros(3)}, tmp_path / "other")
    with pytest.raises(ValueError, match="was not saved by skgmvae"):
        VaDEClustering.load(tmp_path / "other")
    with pytest.raises(ValueError, match="the file holds a 'VaDEClustering'"):
        GMVAEClustering.load(saved)


@pytest.mark.parametrize("version, message", [(2, "upgrade skgmvae"), (0, "its format version is 0"), ("1", "is '1'")])
def test_versions_of_the_format(saved, tmp_path, version, message):
    arrays = load_file(saved)
    _, description = read_file(saved)
    text = json.dumps({**description, "format_version": version})
    save_file(arrays, tmp_path / "file", metadata={KEY: text, "digest": compute_digest(arrays, text)})
    with pytest.raises(ValueError, match=message):
        VaDEClustering.load(tmp_path / "file")


@pytest.mark.parametrize("likelihood", ["gaussian", {0: "log_normal"}], ids=str)
def test_pickles_of_versions_with_logarithms_alone_answer(likelihood):
    """They had the buffer ``is_log`` in place of a transform."""
    X = np.random.default_rng(0).lognormal(size=(60, 2))
    model = VaDEClustering(2, likelihood=likelihood, max_iter=0, random_state=0).fit(X)
    expected = model.score_samples(X)
    (part,) = [part for part in model.net_.module_.modules() if hasattr(part, "transform")]
    is_log = None if part.transform is None else part.transform.is_log
    del part.transform
    part.register_buffer("is_log", is_log, persistent=False)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).score_samples(X), expected)
