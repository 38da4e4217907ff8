"""A script written for GaussianMixture runs with the class replaced, and does what it did."""

import re
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skgmvae import GMVAEClustering, VaDEClustering, VAEEMClustering
from skgmvae.metrics import clustering_accuracy

PAGE = Path(__file__).parent.parent / "docs" / "from_gaussian_mixture.md"
K = 3
# networks and epochs for a test, which a user leaves out; so few can only converge to a large tol
QUICK = {
    "hidden_layer_sizes": (16,),
    "latent_dim": 2,
    "batch_size": 30,
    "learning_rate": 5e-3,
    "pretrain_iter": 20,
    "max_iter": 6,
    "tol": 1e6,
    "init_params": "kmeans",
}
MIXTURES = {
    "GaussianMixture": GaussianMixture,
    "GMVAEClustering": partial(GMVAEClustering, **QUICK),
    "VaDEClustering": partial(VaDEClustering, **QUICK),
    "VAEEMClustering": partial(VAEEMClustering, **QUICK),
}


def script(Mixture, X, path):
    """What people do with GaussianMixture; ``Mixture`` is all that changes."""
    X_train, X_test = train_test_split(X, test_size=0.25, random_state=0)

    # fit, and look at what was found
    gm = Mixture(n_components=K, random_state=0).fit(X_train)
    assert gm.weights_.shape == (K,) and gm.means_.shape == (K, X.shape[1])
    assert gm.converged_ and gm.n_iter_ >= 1
    bounds = getattr(gm, "lower_bounds_", [gm.lower_bound_])  # GaussianMixture has them from scikit-learn 1.7 on
    assert gm.lower_bound_ == bounds[-1]

    # hard and soft assignments
    labels = gm.predict(X_test)
    probabilities = gm.predict_proba(X_test)
    assert (labels == probabilities.argmax(axis=1)).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    assert (clone(gm).fit_predict(X_train) == gm.predict(X_train)).all()

    # densities and outliers
    log_densities = gm.score_samples(X_test)
    assert np.isclose(gm.score(X_test), log_densities.mean())
    outliers = X_test[log_densities < np.quantile(log_densities, 0.05)]

    # new rows
    X_new, components = gm.sample(50)
    assert X_new.shape == (50, X.shape[1]) and set(components) <= set(range(K))

    # the number of components by BIC
    criteria = [Mixture(n_components=k, random_state=0).fit(X_train).bic(X_train) for k in range(1, 5)]
    best_k = 1 + int(np.argmin(criteria))

    # a pipeline, and a grid search over it by held-out likelihood
    pipeline = Pipeline([("scale", StandardScaler()), ("gm", Mixture(random_state=0))])
    search = GridSearchCV(pipeline, {"gm__n_components": [2, K]}, cv=2).fit(X_train)
    in_grid = search.best_params_["gm__n_components"]

    # keep it
    joblib.dump(gm, path)
    assert (joblib.load(path).predict(X_test) == labels).all()
    return gm.predict(X), outliers, best_k, in_grid


@pytest.mark.filterwarnings("ignore:The density has .* parameters")  # few samples, for a quick test
@pytest.mark.parametrize("name", MIXTURES)
def test_script_for_gaussian_mixture_runs_with_the_class_replaced(name, tmp_path):
    X, y = make_blobs(160, centers=8.0 * np.eye(K), random_state=0)
    labels, outliers, best_k, in_grid = script(MIXTURES[name], X, tmp_path / "mixture.joblib")
    assert len(np.unique(labels)) == K and clustering_accuracy(y, labels) > 0.8
    assert len(outliers) == 2 and best_k in range(1, 5) and in_grid in (2, K)


def test_page_explains_every_name_of_gaussian_mixture_and_every_new_parameter():
    text = PAGE.read_text(encoding="utf-8")
    first_cells = re.findall(r"^\| (`.*?) \|", text, flags=re.MULTILINE)
    explained = set(re.findall(r"`(\w+)", " ".join(first_cells)))
    fitted = GaussianMixture().fit([[0.0], [1.0]])
    names = {name for name in dir(fitted) if not name.startswith("_")}  # parameters, methods and fitted attributes
    assert names - explained == set()
    new = {name for mixture in MIXTURES.values() for name in mixture().get_params()} - names
    assert new - set(re.findall(r"`(\w+)`", text)) == set()
