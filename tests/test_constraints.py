"""The ends of the intervals of parameters: which is the last value that passes, and the first that does not."""

from collections.abc import Sequence

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.utils._param_validation import InvalidParameterError

from skgmvae import GMVAEClustering, VaDEClustering, VAEEMClustering
from skgmvae.model_selection import ComponentSearchCV

ESTIMATORS = [VaDEClustering, GMVAEClustering, VAEEMClustering]
TINY = float(np.nextafter(0.0, 1.0))
# name: (values that pass, values that do not); of the lower end first
SHARED = {
    "n_components": ([1, 2], [0, -1, 1.0]),
    "n_mc_samples": ([1], [0]),
    "min_information": ([0, 0.0, 5.0], [-TINY]),
    "init_clamp": ([0, TINY, 1.0], [-TINY, np.nextafter(1.0, 2.0)]),
    "pretrain_iter": ([0, "auto"], [-1]),
    "max_iter": ([0, "auto"], [-1]),
    "n_init": ([1], [0]),
    "tol": ([0.0, 10.0], [-TINY]),
    "batch_size": ([1, "auto"], [0]),
    "learning_rate": ([TINY, 2.0, "auto"], [0.0, 0, -TINY]),
}
OWN = {
    VaDEClustering: {"latent_dim": ([1, "auto"], [0, None]), "reg_covar": ([0.0], [-TINY])},
    GMVAEClustering: {"latent_dim": ([1, "auto"], [0, None]), "style_dim": ([1, "auto"], [0, None])},
    VAEEMClustering: {"latent_dim": ([1, "auto"], [0, None]), "steps_per_iter": ([1, None], [0])},
}
CASES = [(Estimator, name) for Estimator in ESTIMATORS for name in SHARED | OWN[Estimator]]


@pytest.mark.parametrize(("Estimator", "name"), CASES)
def test_intervals_end_where_the_documentation_says(Estimator, name):
    estimator = Estimator()
    if name not in estimator.get_params():
        pytest.skip(f"{Estimator.__name__} has no {name}")
    valid, invalid = (SHARED | OWN[Estimator])[name]
    for value in valid:
        estimator.set_params(**{name: value})._validate_params()
    for value in invalid:
        with pytest.raises(InvalidParameterError, match=f"The '{name}' parameter of {Estimator.__name__} must be"):
            estimator.set_params(**{name: value})._validate_params()


class Config(Sequence):
    """A list that is none, such as the ListConfig of OmegaConf."""

    def __init__(self, *items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_sequences_of_other_packages_are_as_good_as_lists(tmp_path):
    X = np.random.default_rng(0).poisson(3.0, size=(60, 4)).astype(float)
    lists = {"hidden_layer_sizes": [8, 4], "likelihood": ["auto", "poisson", "auto", "auto"], "callbacks": []}
    lists |= {"categorical_features": [0], "weights_init": [0.5, 0.5], "means_init": [[1.0] * 4, [4.0] * 4]}
    configs = {name: Config(*value) for name, value in lists.items()}
    quick = {"n_components": 2, "max_iter": 1, "tol": 1e9, "random_state": 0}
    with pytest.raises(InvalidParameterError, match="must be a list or tuple or a str among {'auto'}"):
        VaDEClustering(hidden_layer_sizes="8").fit(X)
    model, same = VaDEClustering(**quick, **lists).fit(X), clone(VaDEClustering(**quick, **configs)).fit(X)
    np.testing.assert_array_equal(same.score_samples(X), model.score_samples(X))
    same.save(tmp_path / "model.safetensors")
    loaded = VaDEClustering.load(tmp_path / "model.safetensors")
    assert loaded.hidden_layer_sizes == (8, 4) and loaded.likelihood == tuple(lists["likelihood"])
    assert same.set_params(warm_start=True, hidden_layer_sizes=[8, 4]).fit(X).latent_dim_ == model.latent_dim_
    images = Config(1, 4, 4)
    assert VaDEClustering(**quick, image_shape=images).fit(np.tile(X, 4) / X.max()).likelihood_ == "bernoulli"
    search = ComponentSearchCV(VaDEClustering(**quick), Config(1, 2), cv=2, criteria=Config("icl"), random_state=0)
    assert search.fit(X).best_n_components_ in (1, 2)
