"""Numbers at the edge of what floats can hold: a result that is finite, or an error that says what is wrong."""

import numpy as np
import pytest
from sklearn.datasets import make_moons

from skgmvae import GMVAEClustering, VaDEClustering, VAEEMClustering
from skgmvae.data.summary import summarize
from skgmvae.training.unexplained import find_explained

ESTIMATORS = [GMVAEClustering, VaDEClustering, VAEEMClustering]
QUERIES = ("predict_proba", "score_samples", "transform", "reconstruct")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("value", [1e20, 1e38, 1e300, -0.1, 1e-300])
def test_a_constant_feature_is_its_value_with_scale_one(value):
    summary = summarize(np.full((300, 1), value))
    assert (summary.mean[0], summary.scale[0]) == (value, 1.0)


def test_a_wild_value_in_columns_without_clusters_gives_no_warning_of_numpy():
    X = np.random.RandomState(0).randn(300, 3)
    X[5, 1] = 1e300
    assert np.isfinite(VaDEClustering(2, max_iter=0, random_state=0).fit(X).score_samples(X[:5])).all()


@pytest.mark.parametrize("factor", [1e-300, 1e-160, 1e160, 1e300])
def test_mean_and_scale_follow_the_unit(factor):
    X = np.random.default_rng(0).normal(2.0, 3.0, (500, 2))
    summary = summarize(X * [factor, 1.0])
    np.testing.assert_allclose(summary.mean / [factor, 1.0], X.mean(0), rtol=1e-9)
    np.testing.assert_allclose(summary.scale / [factor, 1.0], X.std(0), rtol=1e-9)


def test_a_feature_that_varies_by_rounding_is_not_blown_up():
    X = np.full((300, 1), 1e20)
    X[::2] = np.nextafter(1e20, 2e20)
    summary = summarize(X)
    assert np.abs((X - summary.mean) / summary.scale).max() <= 1.0
    denormal = summarize(np.random.default_rng(0).integers(0, 2, (300, 1)) * 5e-324)
    assert denormal.scale[0] == 1.0


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_clusters_do_not_depend_on_the_unit(Estimator, blobs, quick):
    X, expected = blobs[0], Estimator(3, **quick).fit_predict(blobs[0])
    for exponent in (-990, 530):  # powers of two, so that no digit changes
        scaled = np.ldexp(X, exponent)
        model = Estimator(3, **quick).fit(scaled)
        np.testing.assert_array_equal(model.labels_, expected)
        for query in QUERIES:
            assert np.isfinite(getattr(model, query)(scaled)).all()


@pytest.mark.parametrize("Estimator", ESTIMATORS)
@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_answers_are_finite_for_any_finite_sample(Estimator, likelihood, blobs, quick):
    X = blobs[0]
    X = (X - X.min(0)) / np.ptp(X, 0)
    model = Estimator(3, **{**quick, "max_iter": 2}, likelihood=likelihood).fit(X)
    far = np.array([sign * size * row for row in np.eye(4) for sign in (1, -1) for size in (1e15, 1e160, 1e308)])
    for query in QUERIES:
        if likelihood == "bernoulli" and query == "score_samples":
            with pytest.warns(UserWarning, match=r"24 of 24 samples have log-density -inf"):
                assert (model.score_samples(far) == -np.inf).all()  # such values have no probability
        else:
            assert np.isfinite(getattr(model, query)(far)).all(), query


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_components_of_equal_size_are_numbered_by_their_first_sample(Estimator, quick):
    rng = np.random.default_rng(0)
    y = np.arange(120) % 3
    X = 8.0 * np.eye(3)[y] + rng.normal(size=(120, 3))
    for dtype in (np.float32, np.float64):
        np.testing.assert_array_equal(Estimator(3, **quick).fit_predict(X.astype(dtype)), y)


@pytest.mark.parametrize("Estimator", ESTIMATORS)
@pytest.mark.parametrize(
    "size", [{"latent_dim": 10**6}, {"latent_dim": 10**18}, {"hidden_layer_sizes": (10**7, 10**7)}]
)
def test_networks_larger_than_memory_say_what_they_would_take(Estimator, size, blobs, quick):
    message = rf"would need .* GiB of memory; this machine has .*{next(iter(size))} \(now"
    with pytest.raises(ValueError, match=message):
        Estimator(3, **{**quick, **size}).fit(blobs[0])


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_batches_of_one_image_cannot_be_normalized(Estimator, unit_images, quick):
    settings = {**quick, "network": "conv", "image_shape": (1, 6, 6)}
    with pytest.raises(ValueError, match="at least 2 samples in each; got batch_size=1 and 80 samples"):
        Estimator(2, **{**settings, "batch_size": 1}).fit(unit_images)


@pytest.mark.parametrize("Estimator", ESTIMATORS)
def test_step_sizes_that_undo_epochs_end_in_a_result_or_an_error(Estimator, blobs, quick):
    for learning_rate in (100.0, 1e30):
        try:
            model = Estimator(3, **{**quick, "learning_rate": learning_rate, "max_iter": 12, "init_clamp": 0.0})
            assert np.isfinite(model.fit(blobs[0]).lower_bound_)
        except ValueError as error:
            assert "Lower learning_rate" in str(error)


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_initial_means_far_from_all_samples(covariance_type, blobs, quick):
    means = 1e6 * np.eye(3, 4)
    model = VaDEClustering(3, **quick, covariance_type=covariance_type, means_init=means).fit(blobs[0])
    assert np.isfinite(model.score_samples(blobs[0])).all()


@pytest.mark.parametrize(
    "given",
    [
        {"means_init": np.zeros((2, 4))},
        {"weights_init": [0.5, 0.5]},
        {"precisions_init": np.eye(4)},
        {"means_init": np.full((3, 4), np.nan)},
    ],
)
def test_shapes_of_an_initial_mixture_are_checked_before_the_pretraining(given, blobs, quick, monkeypatch):
    monkeypatch.setattr("skgmvae.training.fitting.pretrain_once", lambda *arguments: pytest.fail("it has begun"))
    with pytest.raises(ValueError, match=rf"{next(iter(given))} (should have the shape of|must contain finite)"):
        VaDEClustering(3, **quick, **given).fit(blobs[0])


@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("Estimator", [VaDEClustering, VAEEMClustering])
def test_a_wild_sample_does_not_lead_training_astray(Estimator, early_stopping):
    """Its squared error would outweigh all others; the mixture that training begins with has a score of -1.8."""
    X = make_moons(700, noise=0.06, random_state=0)[0]
    X[0] = 300.0, -300.0
    model = Estimator(2, max_subcomponents=1, early_stopping=early_stopping, random_state=0).fit(X[:500])
    assert model.best_iter_ > 0 and model.score(X[500:]) > -1.5
    assert model.score_samples(X[:500]).argmin() == 0


def test_samples_that_no_component_explains_are_left_out_alone():
    X = np.random.default_rng(0).normal(size=(200, 3))
    model = VaDEClustering(1, max_iter=0, random_state=0).fit(X).net_.module_
    assert find_explained(model, X) is None
    X[7] = 1e4
    assert find_explained(model, X).tolist() == [i for i in range(200) if i != 7]
    assert find_explained(model, 1e4 + X) is None  # it is the mixture that is poor
