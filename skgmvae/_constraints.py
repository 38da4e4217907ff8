"""Types and ranges of the parameters that the estimators share, as scikit-learn checks them."""

import os
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from skgmvae.models.columns import KINDS

__all__ = ["LIST", "SHARED_CONSTRAINTS"]


class ListLike(HasMethods):
    """A list, a tuple or another sequence, such as a ``ListConfig`` of Hydra; not a string.

    Derived from ``HasMethods``, since scikit-learn accepts constraints of its own classes only.
    """

    def __init__(self) -> None:
        super().__init__(["__len__", "__getitem__"])

    def is_satisfied_by(self, val: Any) -> bool:
        """Whether ``val`` is a sequence."""
        return isinstance(val, Sequence) and not isinstance(val, (str, bytes))

    def __str__(self) -> str:
        return "a list or tuple"


AUTO, LIST = StrOptions({"auto"}), ListLike()
SHARED_CONSTRAINTS: dict[str, list[Any]] = {
    "n_components": [Interval(Integral, 1, None, closed="left")],
    "n_mc_samples": [Interval(Integral, 1, None, closed="left")],
    "min_information": [Interval(Real, 0, None, closed="left")],
    "latent_dim": [Interval(Integral, 1, None, closed="left"), AUTO],
    "hidden_layer_sizes": [LIST, AUTO],
    "network": [StrOptions({"mlp", "conv"})],
    "image_shape": [LIST, None],
    "linear_path": [AUTO, "boolean"],
    "likelihood": [StrOptions({"auto", *KINDS}), LIST, Mapping],
    "categorical_features": ["array-like", StrOptions({"from_dtype"}), None],
    "init_params": [
        StrOptions({"auto", "graph", "gmm", "kmeans", "contrastive", "random"}),
        HasMethods("fit_predict"),
        callable,
    ],
    "weights_init": ["array-like", None],
    "means_init": ["array-like", None],
    "precisions_init": ["array-like", None],
    "init_clamp": [Interval(Real, 0, 1, closed="both")],
    "pretrain_iter": [Interval(Integral, 0, None, closed="left"), AUTO],
    "max_iter": [Interval(Integral, 0, None, closed="left"), AUTO],
    "n_init": [Interval(Integral, 1, None, closed="left")],
    "early_stopping": [AUTO, "boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
    "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
    "tol": [Interval(Real, 0, None, closed="left")],
    "warm_start": ["boolean"],
    "learn_weights": ["boolean"],
    "max_subcomponents": [Interval(Integral, 1, None, closed="left")],
    "batch_size": [Interval(Integral, 1, None, closed="left"), AUTO],
    "learning_rate": [Interval(Real, 0, None, closed="neither"), AUTO],
    "device": [str],
    "precision": [StrOptions({"float32", "bfloat16", "auto"})],
    "memory": [None, str, HasMethods("cache")],
    "checkpoint": [None, str, os.PathLike],
    "distributed": [AUTO, "boolean"],
    "callbacks": [LIST, None],
    "random_state": ["random_state"],
    "verbose": ["verbose"],
}
