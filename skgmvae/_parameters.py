"""What the parameters that the estimators share may be, and which of them the networks are made of."""

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

SHARED_CONSTRAINTS: dict[str, list] = {
    "n_components": [Interval(Integral, 1, None, closed="left")],
    "n_mc_samples": [Interval(Integral, 1, None, closed="left")],
    "min_information": [Interval(Real, 0, None, closed="left")],
    "latent_dim": [Interval(Integral, 1, None, closed="left"), None],
    "hidden_layer_sizes": [tuple, list],
    "network": [StrOptions({"mlp", "conv"})],
    "image_shape": [tuple, list, None],
    "likelihood": [StrOptions({"auto", "bernoulli", "gaussian"})],
    "init_params": [StrOptions({"auto", "graph", "gmm", "kmeans", "contrastive", "random"})],
    "pretrain_iter": [Interval(Integral, 0, None, closed="left")],
    "max_iter": [Interval(Integral, 0, None, closed="left")],
    "n_init": [Interval(Integral, 1, None, closed="left")],
    "tol": [Interval(Real, 0, None, closed="left")],
    "warm_start": ["boolean"],
    "learn_weights": ["boolean"],
    "batch_size": [Interval(Integral, 1, None, closed="left")],
    "learning_rate": [Interval(Real, 0, None, closed="neither")],
    "device": [str],
    "precision": [StrOptions({"float32", "bfloat16", "auto"})],
    "memory": [None, str, HasMethods("cache")],
    "callbacks": [list, tuple, None],
    "random_state": ["random_state"],
    "verbose": ["verbose"],
}
# of the default: directions that the data do not have cost likelihood on rows not seen, and with fewer than four
# the clusters of two features must be ellipses already
LATENT_DIMS = (4, 10)
STRUCTURE = (
    "n_components",
    "latent_dim",
    "style_dim",
    "hidden_layer_sizes",
    "pretrain_hidden_layer_sizes",
    "network",
    "image_shape",
    "likelihood",
    "covariance_type",
    "learn_weights",
)


def choose_latent_dim(latent_dim: int | None, n_features: int) -> int:
    """The number of latent dimensions; unless it is given, the number of features within ``LATENT_DIMS``."""
    least, most = LATENT_DIMS
    return min(most, max(least, n_features)) if latent_dim is None else int(latent_dim)


def get_structure(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters, of an estimator's, that decide what the networks are made of."""
    return {name: parameters[name] for name in STRUCTURE if name in parameters}


def check_same_structure(fitted: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
    """Raise unless a net fitted with the structure ``fitted`` can be trained further with these parameters."""
    for name, value in get_structure(parameters).items():
        if value != fitted[name]:
            raise ValueError(
                f"The fitted model has {name}={fitted[name]!r} and cannot be continued with "
                f"{name}={value!r}; set it back, or fit anew with warm_start=False."
            )
