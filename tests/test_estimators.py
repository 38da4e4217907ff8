"""The estimators: one contract test for all of them."""

import inspect
import io
import math
import pickle
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning, NotFittedError
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks as checks
from skorch.callbacks import Callback

from skgmvae import GMVAEClustering, VaDEClustering, VAEEMClustering
from skgmvae.models import ELBOTerms

# a new estimator joins here
ESTIMATORS = [GMVAEClustering, VaDEClustering, VAEEMClustering]
INFERENCE = ("predict", "predict_proba", "score_samples", "transform", "reconstruct")
each_estimator = pytest.mark.parametrize("Estimator", ESTIMATORS)
# most fits here are cut short on purpose
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(params=ESTIMATORS, scope="module")
def fitted(request, blobs, quick):
    """A well-trained estimator; no test may change it."""
    settings = {**quick, "pretrain_iter": 100, "max_iter": 60}
    return request.param(3, **settings).fit(blobs[0])


class Count(Callback):
    n_epochs = 0

    def on_epoch_end(self, net, **kwargs):
        type(self).n_epochs += 1


class Interrupt(Callback):
    """Ctrl-C in the third epoch."""

    def on_batch_end(self, net, **kwargs):
        if len(net.history) == 3:
            raise KeyboardInterrupt


def results_of(model, X):
    return {name: getattr(model, name)(X) for name in INFERENCE}


def assert_same_results(first, second, X):
    for name, value in results_of(first, X).items():
        np.testing.assert_array_equal(value, getattr(second, name)(X), err_msg=name)


# ------------------------------------------------------------------------ scikit-learn's checks


# the defaults are shared: for the others, settings that take a third of the time
FEW = {"max_iter": 8, "init_params": "kmeans"}


@pytest.mark.parametrize(
    "estimator",
    [VaDEClustering(), GMVAEClustering(**FEW), VAEEMClustering(**FEW)],
    ids=lambda estimator: type(estimator).__name__,
)
def test_check_estimator_without_expected_failures(estimator):
    results = checks.check_estimator(estimator, on_fail=None, on_skip=None)
    wrong = {result["check_name"]: result["exception"] for result in results if result["status"] in ("failed", "xfail")}
    assert not wrong
    assert sum(result["status"] == "passed" for result in results) >= 45


@each_estimator
@pytest.mark.filterwarnings("ignore:X (has|does not have valid) feature names:UserWarning")
@pytest.mark.parametrize(
    "check",
    [
        checks.check_param_validation,
        checks.check_dataframe_column_names_consistency,
        checks.check_set_output_transform,
        checks.check_set_output_transform_pandas,
        checks.check_transformer_get_feature_names_out,
        checks.check_transformer_get_feature_names_out_pandas,
    ],
    ids=lambda check: check.__name__,
)
def test_checks_that_third_parties_are_not_given(Estimator, check, quick):
    check(Estimator.__name__, Estimator(2, **quick))


@each_estimator
def test_constructor_has_one_positional_parameter_and_changes_nothing(Estimator):
    parameters = list(inspect.signature(Estimator).parameters.values())
    assert [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD] == ["n_components"]
    sizes = [8, 4]
    assert Estimator(hidden_layer_sizes=sizes).hidden_layer_sizes is sizes


# ------------------------------------------------------------------------------- fitted results


def test_clusters_and_attributes(fitted, blobs):
    X, y = blobs
    assert adjusted_rand_score(y, fitted.labels_) == 1.0
    assert fitted.labels_.dtype == np.int64
    np.testing.assert_array_equal(np.bincount(fitted.labels_), [60, 40, 20])  # largest first
    np.testing.assert_allclose(fitted.weights_.sum(), 1.0)
    # E[x | c] in the units of the data
    group_means = np.array([X[fitted.labels_ == c].mean(0) for c in range(3)])
    assert np.abs(fitted.means_ - group_means).max() < 0.5 * X.std(0).max()
    assert fitted.means_.shape == (3, 4)
    assert fitted.n_features_in_ == 4
    assert set(fitted.history_) == {"lower_bound", *ELBOTerms._fields}
    assert {len(values) for values in fitted.history_.values()} == {fitted.n_iter_}
    assert isinstance(fitted.lower_bounds_, list) and fitted.lower_bounds_[-1] == fitted.lower_bound_
    assert set(fitted.phase_seconds_) == {"pretraining", "initialization", "training", "assignment"}


def test_inference_is_float64_deterministic_and_leaves_no_trace(fitted, blobs):
    X, _ = blobs
    before, numpy_state, torch_state = dict(vars(fitted)), np.random.get_state()[1].copy(), torch.get_rng_state()
    first = results_of(fitted, X)
    fitted.sample(4), fitted.score(X), fitted.bic(X)
    assert_same_results(fitted, fitted, X)
    assert vars(fitted) == before
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert first["predict"].dtype == np.int64
    assert {first[name].dtype for name in INFERENCE[1:]} == {np.dtype(np.float64)}
    for name in INFERENCE[1:]:
        by_row = np.concatenate([getattr(fitted, name)(row[None]) for row in X[:7]])
        np.testing.assert_allclose(by_row, first[name][:7], rtol=1e-9, atol=1e-12, err_msg=name)
    np.testing.assert_allclose(first["predict_proba"].sum(1), 1.0)
    assert (
        first["transform"].shape == (120, fitted.net_.module_.embedding_dim) and first["reconstruct"].shape == X.shape
    )


@each_estimator
def test_same_random_state_same_bits(Estimator, blobs, quick):
    X, _ = blobs
    numpy_state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()
    first, second = Estimator(3, **quick).fit(X), Estimator(3, **quick).fit(X)
    assert_same_results(first, second, X)
    assert first.history_ == second.history_
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)
    assert torch.equal(torch.get_rng_state(), torch_state)
    other = Estimator(3, **{**quick, "random_state": 1}).fit(X)
    assert first.history_ != other.history_


@each_estimator
@pytest.mark.parametrize("init_params", ["auto", "graph", "gmm", "kmeans", "random"])
def test_fit_predict_equals_fit_then_predict(Estimator, init_params, blobs, quick):
    X, _ = blobs
    settings = {**quick, "init_params": init_params}
    labels = Estimator(5, **settings).fit_predict(X)
    model = Estimator(5, **settings).fit(X)
    np.testing.assert_array_equal(labels, model.predict(X))
    np.testing.assert_array_equal(labels, model.labels_)
    counts = np.bincount(labels, minlength=5)
    assert (np.diff(counts) <= 0).all()
    assert model.init_params_.endswith(" of the inputs") if init_params == "auto" else model.init_params_ == init_params


def test_score_bic_and_aic(fitted, blobs):
    X, _ = blobs
    score = fitted.score(X)
    assert type(score) is float
    assert score == fitted.score_samples(X).mean()
    decoder, noise = 2 * 16 + 16 + 16 * 4 + 4, 4  # two latent variables, 16 hidden units, four features
    counts = {  # mixing weights sum to one; encoders are no part of the density
        GMVAEClustering: decoder + noise + (2 * 16 + 16) + 2 * 3 * (16 * 2 + 2),
        VaDEClustering: decoder + noise + 3 * (2 + 3),
        VAEEMClustering: 3 * (decoder + noise),
    }
    p = counts[type(fitted)] + 2
    assert fitted.bic(X) == pytest.approx(-2 * 120 * score + p * math.log(120))
    assert fitted.aic(X) == pytest.approx(-2 * 120 * score + 2 * p)
    for name in ("bic", "aic"):
        with pytest.warns(UserWarning, match=f"{p} parameters and X only 120 values: {name} mostly counts"):
            getattr(fitted, name)(X[:30])
    far = X + 50.0 * X.std(0)
    assert fitted.score(far) < score - 100.0


@each_estimator
def test_density_is_in_the_units_of_the_data(Estimator, blobs, quick):
    X, _ = blobs
    factors = np.array([2.0, 0.5, 10.0, 1e-3])
    plain, scaled = Estimator(3, **quick).fit(X), Estimator(3, **quick).fit(X * factors)
    # the internal standardization is the same to rounding, the density differs by the Jacobian, and the points drawn
    # of the latent variables by chance
    expected = plain.score_samples(X) - np.log(factors).sum()
    np.testing.assert_allclose(scaled.score(X * factors), expected.mean(), atol=0.05)
    np.testing.assert_allclose(scaled.score_samples(X * factors), expected, atol=0.5)
    np.testing.assert_allclose(scaled.reconstruct(X * factors), plain.reconstruct(X) * factors, rtol=1e-2, atol=1e-2)


# ------------------------------------------------------------------------------------- sampling


def test_samples_look_like_the_data(fitted, blobs):
    X, _ = blobs
    drawn, components = fitted.sample(500, random_state=0)
    assert drawn.shape == (500, 4) and components.dtype == np.int64
    assert (np.diff(components) >= 0).all()  # sorted, as GaussianMixture's
    # the density of what it draws is that of the data, give or take
    assert abs(fitted.score(drawn) - fitted.score(X)) < 3.0
    means, same_components = fitted.sample(500, expected=True, random_state=0)
    np.testing.assert_array_equal(same_components, components)
    noise = drawn - means  # of the likelihood alone: the latent draws are the same
    assert (noise.std(0) < 0.5 * drawn.std(0)).all() and (abs(noise.mean(0)) < 0.25 * noise.std(0)).all()
    one, labels = fitted.sample(30, component=2, random_state=0)
    assert (labels == 2).all() and (fitted.predict(one) == 2).mean() > 0.8
    for seed in (None, 5, np.random.RandomState(5)):
        again, _ = fitted.sample(30, random_state=seed)
        same, _ = fitted.sample(30, random_state=np.random.RandomState(5) if seed is not None else None)
        np.testing.assert_array_equal(again, same)


def test_many_samples_are_drawn_a_few_at_a_time(fitted, monkeypatch):
    monkeypatch.setattr("skgmvae._evaluation.CHUNK_VALUES", 1)
    monkeypatch.setattr(fitted, "device", "cpu")
    model = fitted.net_.module_
    sizes, generate = [], model.generate

    def generate_some(components, *args, **kwargs):
        sizes.append(components.bincount(minlength=3).tolist())
        return generate(components, *args, **kwargs)

    monkeypatch.setattr(model, "generate", generate_some)
    drawn, labels = fitted.sample(200, random_state=0)
    assert (np.diff(labels) >= 0).all() and (fitted.predict(drawn) == labels).mean() > 0.8
    sizes = np.array(sizes)
    assert sizes.sum(0).tolist() == np.bincount(labels).tolist()
    assert len(sizes) > 10 and np.ptp(sizes, axis=0).max() <= 1  # each with its part of every component


@pytest.mark.parametrize("n_samples", [0, -3, 2.5])
def test_sample_refuses_a_number_that_is_none(fitted, n_samples):
    with pytest.raises(ValueError, match=f"n_samples must be an integer of at least 1; got {n_samples}"):
        fitted.sample(n_samples)


@pytest.mark.parametrize("component", [3, -1, 0.5])
def test_sample_refuses_a_component_that_is_none(fitted, component):
    with pytest.raises(ValueError, match=f"component must be an integer from 0 to 2; got {component}"):
        fitted.sample(2, component=component)


# -------------------------------------------------------------------------- the tools around it


def test_pickle_joblib_and_clone(fitted, blobs, tmp_path):
    X, _ = blobs
    assert_same_results(fitted, pickle.loads(pickle.dumps(fitted)), X)
    joblib.dump(fitted, tmp_path / "model.joblib")
    assert_same_results(fitted, joblib.load(tmp_path / "model.joblib"), X)
    blank = clone(fitted).set_params(max_iter=2)
    with pytest.raises(NotFittedError):
        blank.predict(X)
    assert_same_results(blank.fit(X), clone(blank).fit(X), X)


@each_estimator
def test_pipeline_and_frames(Estimator, blobs, quick):
    X, y = blobs
    frame = pd.DataFrame(X, columns=list("abcd"))
    pipeline = make_pipeline(
        StandardScaler(), PCA(3), Estimator(3, **{**quick, "pretrain_iter": 80, "max_iter": 60, "latent_dim": 3})
    ).set_output(transform="pandas")
    labels = pipeline.fit_predict(frame)
    assert adjusted_rand_score(y, labels) == 1.0
    embedded = pipeline.transform(frame)
    prefix = Estimator.__name__.lower()
    assert list(embedded.columns) == [f"{prefix}{i}" for i in range(3)]
    assert pipeline.score(frame) == pytest.approx(pipeline.score_samples(frame).mean())


@each_estimator
def test_grid_search_over_components_samples_and_information(Estimator, blobs, quick):
    X, _ = blobs
    grid = {"n_components": [1, 3], "n_mc_samples": [1, 2], "min_information": [0.0, 0.4]}
    model = Estimator(**{**quick, "max_iter": 2})
    search = GridSearchCV(model, grid, cv=KFold(2, shuffle=True, random_state=0), error_score=np.nan)
    with pytest.warns(FitFailedWarning, match="4 fits failed"), pytest.warns(UserWarning, match="non-finite"):
        search.fit(X)
    scores = search.cv_results_["mean_test_score"]
    impossible = np.array([p["min_information"] > 0 and p["n_components"] == 1 for p in search.cv_results_["params"]])
    np.testing.assert_array_equal(np.isnan(scores), impossible)  # λ = 0.4 nats is more than log 1
    assert hasattr(search, "predict_proba")


@each_estimator
def test_cross_val_score_is_the_held_out_score(Estimator, blobs, quick):
    X, _ = blobs
    folds = KFold(2, shuffle=True, random_state=0)
    scores = cross_val_score(Estimator(3, **quick), X, cv=folds)
    expected = [Estimator(3, **quick).fit(X[train]).score(X[test]) for train, test in folds.split(X)]
    np.testing.assert_array_equal(scores, expected)


@each_estimator
def test_memory_shares_the_pretraining_over_a_grid(Estimator, blobs, quick, tmp_path):
    X, _ = blobs
    settings = {**quick, "memory": str(tmp_path), "max_iter": 1}
    first = Estimator(3, **settings).fit(X)
    n_entries = len(list(tmp_path.rglob("output.pkl")))
    for changed in ({"n_components": 2}, {"n_mc_samples": 3}, {"min_information": 0.3}, {"verbose": 2}):
        assert (
            Estimator(**{"n_components": 3, **settings, **changed}).fit(X).pretrain_history_ == first.pretrain_history_
        )
    assert len(list(tmp_path.rglob("output.pkl"))) == n_entries == 1
    Estimator(3, **{**settings, "latent_dim": 3}).fit(X)
    assert len(list(tmp_path.rglob("output.pkl"))) == 2
    uncached = Estimator(3, **{**settings, "memory": None}).fit(X)
    assert_same_results(first, uncached, X)


@pytest.mark.parametrize("Estimator", [GMVAEClustering, VaDEClustering])
@pytest.mark.parametrize(("n_features", "latent_dim"), [(2, 4), (7, 7), (12, 10)])
def test_embedding_is_as_wide_as_the_rows_within_four_and_ten(Estimator, n_features, latent_dim, quick):
    X = np.random.default_rng(0).normal(size=(20, n_features))
    model = Estimator(2, **{**quick, "latent_dim": "auto", "pretrain_iter": 0, "max_iter": 0})
    assert model.fit_transform(X).shape == (20, latent_dim)


# --------------------------------------------------------------------------- kinds of training


@each_estimator
def test_warm_start_continues_with_what_was_resolved(Estimator, blobs, tmp_path):
    X = blobs[0]
    model = Estimator(3, max_iter=1, tol=1e9, random_state=0, warm_start=True).fit(X)
    model.set_params(latent_dim=model.latent_dim_, likelihood=model.likelihood_).fit(X).save(
        tmp_path / "it.safetensors"
    )
    assert Estimator.load(tmp_path / "it.safetensors").fit(X).latent_dim == model.latent_dim_
    model.set_params(latent_dim="auto", likelihood="auto").fit(X)
    with pytest.raises(ValueError, match="set it back"):
        model.set_params(latent_dim=model.latent_dim_ + 1).fit(X)


@each_estimator
def test_warm_start_continues(Estimator, blobs, quick):
    X, _ = blobs
    model = Estimator(3, **{**quick, "warm_start": True, "max_iter": 5, "pretrain_iter": 100}).fit(X)
    first_bounds, net = model.lower_bounds_, model.net_
    model.fit(X)
    assert len(model.lower_bounds_) == model.n_iter_ == 5
    assert model.history_["lower_bound"][:5] == first_bounds and len(model.history_["lower_bound"]) == 10
    assert model.lower_bounds_[0] > first_bounds[0]  # not anew
    assert model.net_ is not net
    with pytest.raises(ValueError, match="n_components=3 and cannot be continued with n_components=2"):
        model.set_params(n_components=2).fit(X)
    assert model.net_.module_.n_components == 3  # as it was
    # M and λ may change on the way
    model.set_params(n_components=3, n_mc_samples=2, min_information=1.0).fit(X)
    assert model.net_.module_.n_mc_samples == 2 and model.net_.criterion_.min_information == 1.0
    assert min(model.history_["kl_component"][-5:]) >= 0.99
    with pytest.raises(ValueError, match="X has 3 features, but .* is expecting 4 features"):
        model.fit(X[:, :3])


@each_estimator
def test_partial_fit_on_a_stream(Estimator, blobs, quick):
    X, y = blobs
    order = np.random.default_rng(0).permutation(120)
    blocks = np.array_split(order, 3)
    settings = {**quick, "pretrain_iter": 100, "learning_rate": 1e-2}
    model = Estimator(3, **settings)
    bounds = []
    for _ in range(5):
        for block in blocks:
            assert model.partial_fit(X[block]) is model
            bounds.append(model.lower_bound_)
            assert len(model.labels_) == len(block) and model.n_iter_ == 1
    assert len(model.history_["lower_bound"]) == 15
    assert np.mean(bounds[-3:]) > np.mean(bounds[:3])
    assert adjusted_rand_score(y, model.predict(X)) == 1.0
    assert len(clone(model).set_params(**settings).fit(X).partial_fit(X[:2]).labels_) == 2  # fewer rows than components
    again = Estimator(3, **settings)
    for _ in range(5):
        for block in blocks:
            again.partial_fit(X[block])
    assert_same_results(model, again, X)


@each_estimator
def test_training_stops_when_the_bound_rises_by_less_than_tol(Estimator, blobs, quick):
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        model = Estimator(3, **{**quick, "max_iter": 50, "tol": 1e6}).fit(blobs[0])
    # of 50 epochs 37 are clamped; then half of those that are left are compared with one
    assert model.converged_ and model.n_iter_ == 37 + 6 + 1


@each_estimator
def test_zero_epochs_keep_the_initialization_without_a_warning(Estimator, blobs, quick):
    X, y = blobs
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        model = Estimator(3, **{**quick, "max_iter": 0, "pretrain_iter": 100, "init_params": "gmm"}).fit(X)
    assert model.n_iter_ == 0 and model.lower_bounds_ == [] and np.isfinite(model.lower_bound_)
    assert not model.converged_
    assert adjusted_rand_score(y, model.labels_) > 0.9


@each_estimator
def test_convergence_warning_names_the_remedy(Estimator, blobs, quick):
    with pytest.warns(ConvergenceWarning, match=r"Increase max_iter \(now 2\)"):
        Estimator(3, **{**quick, "max_iter": 2, "tol": 0.0}).fit(blobs[0])


@each_estimator
def test_n_init_keeps_the_best_bound_from_one_pretraining(Estimator, blobs, quick):
    X, _ = blobs
    settings = {**quick, "init_params": "random", "max_iter": 3}
    one = Estimator(3, **settings).fit(X)
    four = Estimator(3, **{**settings, "n_init": 4}).fit(X)
    assert four.lower_bound_ >= one.lower_bound_  # the first initialization is the same
    assert four.pretrain_history_ == one.pretrain_history_


@each_estimator
def test_precision_callbacks_and_verbose(Estimator, blobs, quick, capsys):
    X, _ = blobs
    Count.n_epochs = 0
    model = Estimator(3, **{**quick, "precision": "bfloat16", "callbacks": [Count()], "verbose": 2, "max_iter": 3})
    model.fit(X)
    assert Count.n_epochs == 3
    printed = capsys.readouterr().out
    assert "training 3/3  lower_bound" in printed and "pretraining 20/20" in printed
    exact = Estimator(3, **{**quick, "max_iter": 3}).fit(X)
    assert model.lower_bound_ == pytest.approx(exact.lower_bound_, abs=0.5)
    model.set_params(verbose=1).fit(X)
    assert "training: 100%" in capsys.readouterr().err
    pickle.loads(pickle.dumps(model))


@each_estimator
def test_convolutional_networks_and_bernoulli(Estimator, unit_images, quick):
    settings = {**quick, "network": "conv", "image_shape": (1, 6, 6), "max_iter": 5}
    model = Estimator(2, **settings).fit(unit_images)
    assert adjusted_rand_score(np.repeat([0, 1], 40), model.labels_) == 1.0
    drawn, _ = model.sample(20, random_state=0)
    assert set(np.unique(drawn)) <= {0.0, 1.0}
    assert model.reconstruct(unit_images).min() > 0.0 and model.reconstruct(unit_images).max() < 1.0
    np.testing.assert_array_equal(model.predict(unit_images), model.labels_)


# ------------------------------------------------------------------------------ data as it comes


@each_estimator
def test_read_only_memmap_and_dtypes_give_the_same(Estimator, blobs, quick, tmp_path):
    X = blobs[0].astype(np.float32)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    model = Estimator(3, **quick).fit(mapped)
    assert_same_results(model, Estimator(3, **quick).fit(X), X)
    assert_same_results(model, Estimator(3, **quick).fit(X.astype(np.float64)), X)
    by_column = Estimator(3, **quick).fit(np.asfortranarray(X))  # its sums round differently
    np.testing.assert_allclose(by_column.score_samples(X), model.score_samples(X), rtol=1e-4)


@each_estimator
@pytest.mark.parametrize(
    "spoil",
    [
        lambda X: np.column_stack([X, np.ones(len(X))]),  # a constant column
        lambda X: X + 1e6,  # a large offset
        lambda X: X * 1e-12,
        lambda X: np.repeat(X[:6], 20, axis=0),  # duplicates
        lambda X: np.ones_like(X),  # all rows equal
        lambda X: X[:3],  # as many rows as components
        lambda X: X[:, :1],
    ],
    ids=["constant", "offset", "tiny", "duplicates", "equal", "few", "one"],
)
@pytest.mark.parametrize("init_params", ["auto", "random"])
def test_awkward_data_fit_and_stay_finite(Estimator, spoil, init_params, blobs, quick):
    X = spoil(blobs[0])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Number of distinct clusters")
        model = Estimator(3, **{**quick, "init_params": init_params}).fit(X)
    for name, value in results_of(model, X).items():
        assert np.isfinite(value).all(), name
    assert np.isfinite(model.means_).all() and np.isfinite(model.sample(3)[0]).all()


@each_estimator
@pytest.mark.parametrize(
    "parameters, message",
    [
        ({"n_components": 500}, "Expected n_samples >= n_components but got n_components = 500, n_samples = 120"),
        ({"min_information": 1.2}, r"below log\(n_components\) = 1.099 nats for n_components=3.*got 1.2"),
        ({"network": "conv"}, "needs image_shape=.*product of 4.*got None"),
        ({"network": "conv", "image_shape": (1, 3, 3)}, r"product of 4, the number of features; got \(1, 3, 3\)"),
        ({"likelihood": "bernoulli"}, r"values in \[0, 1\]; X has values in \[-\d+"),
        ({"device": "gpu"}, "device='gpu' is not a torch device"),
        ({"device": "cuda:99"}, "device='cuda:99' was requested, but torch finds"),
        ({"hidden_layer_sizes": (8, 0)}, r"positive integers; got \(8, 0\)"),
        ({"learning_rate": 1e30, "early_stopping": False}, "Training diverged: .* became infinite or NaN"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_bad_parameters_explain_themselves_and_leave_nothing_behind(Estimator, parameters, message, blobs, quick):
    X, _ = blobs
    model = Estimator(**{"n_components": 3, **quick, **parameters})
    before = dict(vars(model))
    with pytest.raises(ValueError, match=message):
        model.fit(X)
    assert vars(model) == before
    fitted = Estimator(3, **quick).fit(X)
    kept = results_of(fitted, X)
    with pytest.raises(ValueError, match=message):
        fitted.set_params(**parameters).fit(X)
    fitted.set_params(**{name: getattr(Estimator(**{"n_components": 3, **quick}), name) for name in parameters})
    for name, value in results_of(fitted, X).items():
        np.testing.assert_array_equal(value, kept[name])


@each_estimator
def test_interruption_while_training_keeps_the_state_and_warns(Estimator, blobs, quick):
    X, _ = blobs
    model = Estimator(3, **{**quick, "callbacks": [Interrupt()]})
    with pytest.warns(UserWarning, match="interrupted"):
        model.fit(X)
    assert model.n_iter_ == 2 and np.isfinite(model.score(X))


# ---------------------------------------------------------------------------- beside GaussianMixture


def test_script_written_for_gaussian_mixture_runs_with_the_name_changed(blobs, quick):
    X, _ = blobs

    def script(make):
        mixture = make(3).fit(X)
        lowest = min((make(K).fit(X).bic(X), K) for K in (1, 3))
        drawn, components = mixture.sample(10)
        outliers = X[mixture.score_samples(X) < np.percentile(mixture.score_samples(X), 4)]
        pipeline = make_pipeline(StandardScaler(), clone(mixture))
        labels = pipeline.fit(X).predict(X)
        buffer = io.BytesIO()
        joblib.dump(mixture, buffer)
        values = (mixture.weights_, mixture.means_, mixture.predict_proba(X), drawn, components, outliers, labels)
        flags = (mixture.converged_, mixture.n_iter_, mixture.aic(X), lowest, float(mixture.lower_bound_))
        return [np.shape(value) for value in values], [type(flag) for flag in flags]

    expected = script(lambda K: GaussianMixture(K, random_state=0))
    for Estimator in ESTIMATORS:
        assert script(lambda K, Estimator=Estimator: Estimator(K, **quick)) == expected


def test_vade_attributes_of_its_own(blobs, quick):
    shapes = {"full": (3, 2, 2), "tied": (2, 2), "diag": (3, 2), "spherical": (3,)}
    for covariance_type, shape in shapes.items():
        model = VaDEClustering(3, covariance_type=covariance_type, **{**quick, "max_iter": 1}).fit(blobs[0])
        assert model.latent_means_.shape == (3, 2)
        assert model.latent_covariances_.shape == shape
    uniform = VaDEClustering(3, learn_weights=False, **{**quick, "max_iter": 2}).fit(blobs[0])
    np.testing.assert_allclose(uniform.weights_, 1 / 3)


def test_vaeem_parameters_of_its_own(blobs, quick):
    X, y = blobs
    weighted = VAEEMClustering(
        3, m_step="weighted", steps_per_iter=4, learn_weights=False, **{**quick, "pretrain_iter": 100}
    ).fit(X)
    assert adjusted_rand_score(y, weighted.labels_) == 1.0 and weighted.reseeded_ == []
    np.testing.assert_array_equal(weighted.weights_, [1 / 3] * 3)
    learned = VAEEMClustering(3, **{**quick, "pretrain_iter": 100}).fit(X)
    np.testing.assert_allclose(learned.weights_, [60 / 120, 40 / 120, 20 / 120], atol=0.02)
    # the posterior of the density is close to the softmax of the bounds that transform returns
    joint = learned.transform(X)
    q = np.exp(joint - np.logaddexp.reduce(joint, 1, keepdims=True))
    np.testing.assert_allclose(learned.predict_proba(X), q, atol=0.05)


def test_vaeem_networks_may_differ_from_the_autoencoder(blobs, quick):
    X, y = blobs
    settings = {**quick, "hidden_layer_sizes": (12, 6), "max_iter": 20, "learning_rate": 0.02}
    model = VAEEMClustering(3, pretrain_hidden_layer_sizes=(16,), steps_per_iter=20, **settings).fit(X)
    assert [tuple(layer.weight.shape) for layer in model.net_.module_.body[::2]] == [(3, 4, 12), (3, 12, 6)]
    assert adjusted_rand_score(y, model.labels_) == 1.0
    with pytest.raises(ValueError, match=r"positive integers; got \(0,\)"):
        VAEEMClustering(3, pretrain_hidden_layer_sizes=(16,), **{**quick, "hidden_layer_sizes": (0,)}).fit(X)
    with pytest.raises(ValueError, match=r"positive integers; got \(-1,\)"):
        VAEEMClustering(3, pretrain_hidden_layer_sizes=(-1,), **quick).fit(X)


def test_vaeem_unit_gaussian_has_variance_one_in_the_units_of_the_data(blobs, quick):
    X, y = blobs
    settings = {**quick, "pretrain_iter": 100, "max_iter": 20}
    model = VAEEMClustering(3, likelihood="unit_gaussian", **settings).fit(3.0 * StandardScaler().fit_transform(X))
    assert adjusted_rand_score(y, model.labels_) > 0.9
    likelihood = model.net_.module_.likelihood
    assert not likelihood.log_variance.any() and (likelihood.scale == 1.0).all()
    drawn, _ = model.sample(4000, component=0, random_state=0)
    means, _ = model.sample(4000, component=0, expected=True, random_state=0)
    assert drawn.var(0).min() > 0.9 and means.var(0).max() < drawn.var(0).max()


def test_vaeem_settings_of_em_may_change_between_fits(blobs, quick):
    model = VAEEMClustering(3, warm_start=True, **{**quick, "max_iter": 2}).fit(blobs[0])
    model.set_params(m_step="weighted", steps_per_iter=7).fit(blobs[0])
    assert (model.net_.em.m_step, model.net_.em.steps_per_iter) == ("weighted", 7)
    assert len(model.history_["lower_bound"]) == 4
    with pytest.raises(ValueError, match=r"cannot be continued with pretrain_hidden_layer_sizes=\(4,\)"):
        model.set_params(pretrain_hidden_layer_sizes=(4,)).fit(blobs[0])
