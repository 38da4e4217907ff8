"""scikit-learn's conventions around an estimator: names, containers, tags, routing, representation; skops."""

import importlib.resources

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone, is_clusterer
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags

from skgmvae import SKOPS_TYPES, GMVAEClustering, VaDEClustering, VAEEMClustering
from skgmvae.model_selection import ComponentSearchCV

ESTIMATORS = [GMVAEClustering, VaDEClustering, VAEEMClustering]
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def frame(blobs):
    return pd.DataFrame(blobs[0], columns=["a", "b", "c", "d"], index=np.arange(1000, 1120))


@pytest.fixture(params=ESTIMATORS, scope="module")
def fitted(request, frame, quick):
    return request.param(3, **{**quick, "pretrain_iter": 2, "max_iter": 2}).fit(frame)


def test_names_of_the_output_follow_the_class(fitted, frame):
    width = 3 if isinstance(fitted, VAEEMClustering) else 2
    names = [f"{type(fitted).__name__.lower()}{i}" for i in range(width)]
    assert fitted.get_feature_names_out().tolist() == names
    assert fitted.feature_names_in_.tolist() == ["a", "b", "c", "d"]
    framed = clone(fitted).set_output(transform="pandas").fit(frame).transform(frame)
    assert framed.columns.tolist() == names and framed.index.equals(frame.index)


def test_inside_a_column_transformer(fitted, frame):
    columns = ColumnTransformer([("mixture", clone(fitted), ["a", "b"])], remainder="passthrough")
    out = columns.set_output(transform="pandas").fit_transform(frame)
    assert out.columns[0].startswith("mixture__") and out.columns[-1] == "remainder__d"


def test_tags(fitted):
    tags = get_tags(fitted)
    assert tags.estimator_type in ("clusterer", "density_estimator") and not tags.target_tags.required
    assert tags.transformer_tags is not None and not tags.non_deterministic
    assert not tags.input_tags.sparse and tags.input_tags.allow_nan
    assert is_clusterer(fitted) == (tags.estimator_type == "clusterer")


def test_metadata_routing_has_only_initial_labels_to_route(fitted, frame):
    with sklearn.config_context(enable_metadata_routing=True):
        assert fitted.get_metadata_routing()._serialize() == {"fit": {"init_labels": None}}
        # not a search over a pipeline, whose score 1.9 cannot route for any density estimator
        search = GridSearchCV(clone(fitted), {"n_components": [2, 3]}, cv=2).fit(frame)
        assert search.predict(frame).shape == (120,) and np.isfinite(search.score(frame))
        pipeline = make_pipeline(StandardScaler(), clone(fitted)).fit(frame)
        assert pipeline.predict_proba(frame).shape == (120, 3)
        with pytest.raises(TypeError, match="sample_weight"):
            search.fit(frame, sample_weight=np.ones(120))


def test_representations(fitted):
    assert repr(clone(fitted)).startswith(f"{type(fitted).__name__}(batch_size=30")
    for estimator in (fitted, clone(fitted), make_pipeline(StandardScaler(), fitted)):
        html = estimator._repr_html_()
        assert type(fitted).__name__ in html and len(html) < 200_000


def test_types_are_shipped():
    assert (importlib.resources.files("skgmvae") / "py.typed").is_file()


def test_skops_round_trip_with_the_documented_types(fitted, frame, tmp_path):
    skops = pytest.importorskip("skops.io", reason="skops is not installed")
    skops.dump(fitted, tmp_path / "model.skops")
    assert set(skops.get_untrusted_types(file=tmp_path / "model.skops")) <= set(SKOPS_TYPES)
    loaded = skops.load(tmp_path / "model.skops", trusted=SKOPS_TYPES)
    for method in ("predict_proba", "score_samples", "transform"):
        np.testing.assert_array_equal(getattr(loaded, method)(frame), getattr(fitted, method)(frame))
    assert loaded.history_ == fitted.history_
    loaded.partial_fit(frame)


def test_skops_round_trip_of_a_search_over_a_table_with_categories(frame):
    skops = pytest.importorskip("skops.io", reason="skops is not installed")
    table = frame.assign(
        city=np.where(frame["a"] > frame["a"].median(), "Aix", "Bern"), count=np.arange(len(frame)) % 4
    )
    vade = VaDEClustering(likelihood={"count": "poisson"}, max_iter=0, random_state=0)
    search = ComponentSearchCV(vade, [1, 2], cv=2, criteria=["icl"], random_state=0).fit(table)
    loaded = skops.loads(skops.dumps(search), trusted=SKOPS_TYPES)
    np.testing.assert_array_equal(loaded.score_samples(table), search.score_samples(table))


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_settings_for_images_are_ordinary_parameters(estimator):
    made = estimator.for_images(7, max_iter=3, random_state=1, image_shape=(1, 8, 8))
    assert type(made) is estimator
    assert (made.n_components, made.max_iter, made.random_state, made.latent_dim) == (7, 3, 1, 10)
    with pytest.warns(UserWarning, match="for_images without image_shape"):
        assert estimator.for_images().n_components == estimator().n_components
    # a VAE for each component is smaller, around an autoencoder of the size of the others'
    sizes = {"VAEEMClustering": (500,)}.get(estimator.__name__, (500, 500, 2000))
    assert made.hidden_layer_sizes == sizes
    assert getattr(made, "pretrain_hidden_layer_sizes", None) in (None, (500, 500, 2000))
    with pytest.raises(TypeError, match="n_componets"):
        estimator.for_images(n_componets=3, image_shape=None)
