"""The ends of the intervals of parameters: which is the last value that passes, and the first that does not."""

import numpy as np
import pytest
from sklearn.utils._param_validation import InvalidParameterError

from skgmvae import GMVAEClustering, VaDEClustering, VAEEMClustering

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
    GMVAEClustering: {"latent_dim": ([1, "auto"], [0, None]), "style_dim": ([1], [0])},
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
