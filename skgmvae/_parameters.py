"""Validation of the parameters that the estimators share."""

import math
import os
from collections.abc import Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from skorch.callbacks import Callback

from skgmvae.data.arrays import Floats
from skgmvae.data.frames import name_feature
from skgmvae.data.summary import FeatureSummary
from skgmvae.models.likelihoods import ROUNDING

LEAST_EPOCHS = 3  # from which bounds can be compared
STRUCTURE = (
    "n_components",
    "latent_dim",
    "style_dim",
    "hidden_layer_sizes",
    "pretrain_hidden_layer_sizes",
    "network",
    "image_shape",
    "linear_path",
    "likelihood",
    "categorical_features",
    "covariance_type",
    "learn_weights",
    "max_subcomponents",
)


def get_structure(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that determine the architecture of the networks."""
    values = {name: parameters[name] for name in STRUCTURE if name in parameters}
    return {name: _freeze(value) for name, value in values.items()}


def _freeze(value: Any) -> Any:
    """Lists and arrays as tuples, mappings as dicts, so that they can be compared."""
    if isinstance(value, Mapping):
        return dict(value)
    is_list = isinstance(value, (Sequence, np.ndarray)) and not isinstance(value, (str, bytes))
    return tuple(value) if is_list else value


def check_same_structure(
    fitted: Mapping[str, Any],
    parameters: Mapping[str, Any],
    verb: str = "continued",
    resolved: Mapping[str, Any] | None = None,
) -> None:
    """Raise unless a net fitted with the structure ``fitted`` is one of these parameters.

    What was 'auto' may be ``resolved`` since, or the reverse.
    """
    of_auto = {name: _freeze(value) for name, value in (resolved or {}).items()}
    for name, value in get_structure(parameters).items():
        before = fitted.get(name, value)  # earlier versions did not know all of them
        if value != before and ("auto" not in (value, before) or {value, before} != {"auto", of_auto.get(name)}):
            raise ValueError(
                f"The fitted model has {name}={fitted[name]!r} and cannot be {verb} with "
                f"{name}={value!r}; set it back, or fit again with warm_start=False."
            )


def check_min_information(min_information: float, n_components: int) -> None:
    """Raise unless 0 ≤ λ < log K (or λ = 0)."""
    if min_information > 0.0 and min_information >= math.log(n_components):
        raise ValueError(
            f"min_information must be below log(n_components) = {math.log(n_components):.4g} nats for n_components="
            f"{n_components}, the largest possible information about the component; got {min_information!r}. "
            "Lower min_information or raise n_components."
        )


def check_image_shape(network: str, image_shape: Sequence[int] | None, n_features: int) -> tuple[int, ...] | None:
    """The shape (C, H, W) of the images; convolutional networks require it."""
    if image_shape is None and network == "mlp":
        return None
    if image_shape is None:
        raise ValueError(
            f"network='conv' needs image_shape=(channels, height, width) with a product of {n_features}, the number "
            "of features; got None"
        )
    shape = tuple(int(side) for side in image_shape if isinstance(side, Integral))
    if len(image_shape) != 3 or len(shape) != 3 or min(shape) < 1 or math.prod(shape) != n_features:
        raise ValueError(
            f"image_shape must be (channels, height, width) with a product of {n_features}, the number of features; "
            f"got {tuple(image_shape)!r}"
        )
    if min(shape[1:]) < 4:
        if shape[2] <= 4 < min(shape[:2]):
            raise ValueError(
                f"image_shape is (channels, height, width), and pixels come channel by channel; got {shape!r}, which "
                "looks like (height, width, channels). For images of shape (N, H, W, C) pass "
                "X.transpose(0, 3, 1, 2).reshape(len(X), -1)."
            )
        raise ValueError(
            f"image_shape is for images of at least 4 × 4; got {shape!r}; use network='mlp' without image_shape"
        )
    return shape


def check_is_instance(init_params: Any) -> None:
    """Raise if ``init_params`` is a class of clusterers."""
    if isinstance(init_params, type):
        raise TypeError(f"init_params is the class {init_params.__name__}; pass an instance, {init_params.__name__}(…)")


def check_one_initialization(estimator: Any) -> None:
    """Raise if parameters of a mixture are set where labels are given."""
    names = [name for name in ("weights_init", "means_init", "precisions_init") if getattr(estimator, name) is not None]
    if names:
        raise ValueError(f"init_labels and {', '.join(names)} both set the initial responsibilities; pass one of them")


def check_contrastive(init_params: Any, image_shape: Sequence[int] | None, *, has_missing: bool = False) -> None:
    """Raise if contrastive features are requested for samples that are not declared to be images, or not complete."""
    if not (isinstance(init_params, str) and init_params == "contrastive"):
        return
    if has_missing:
        raise ValueError(
            "init_params='contrastive' needs complete images, and X has missing values; use init_params='auto', or "
            "impute them first"
        )
    if image_shape is None:
        raise ValueError(
            "init_params='contrastive' augments images and needs image_shape=(channels, height, width); got None. "
            "For samples that are not images, use init_params='auto'."
        )


def check_likelihood(likelihood: str, summary: FeatureSummary, *, is_image: bool) -> str:
    """A likelihood that is valid for the data.

    For 'auto', Bernoulli if all values are 0 or 1, or are intensities of images between them; else Gaussian.
    """
    low, high = float(summary.low.min()), float(summary.high.max())
    inside = low >= -ROUNDING and high <= 1.0 + ROUNDING
    if likelihood == "bernoulli" and not inside:
        raise ValueError(
            f"likelihood='bernoulli' needs values in [0, 1]; X has values in [{low:.6g}, {high:.6g}]. Scale X, for "
            "instance with MinMaxScaler, or use likelihood='gaussian'."
        )
    if likelihood == "auto":
        return "bernoulli" if summary.is_binary.all() or (is_image and inside) else "gaussian"
    return likelihood


def check_batch_size(network: str, batch_size: int, n_samples: int) -> None:
    """Raise if batches have a single sample where batch normalization needs several."""
    if network == "conv" and min(batch_size, n_samples) < 2:
        raise ValueError(
            f"network='conv' normalizes batches, and needs at least 2 samples in each; got batch_size="
            f"{batch_size} and {n_samples} samples"
        )


def check_callbacks(callbacks: Any) -> None:
    """Raise unless all are instances of skorch callbacks, or (name, callback) pairs."""
    for entry in callbacks or []:
        callback = entry[1] if isinstance(entry, tuple) and len(entry) == 2 else entry
        if isinstance(callback, type):
            raise TypeError(f"callbacks must contain instances; got the class {callback.__name__}: add its parentheses")
        if not isinstance(callback, Callback):
            raise TypeError(
                f"callbacks must contain skorch callbacks, bare or as (name, callback); got {entry!r}. Derive yours "
                "from skorch.callbacks.Callback; scikit-learn's go into set_callbacks."
            )


def check_parameters(estimator: Any) -> None:
    """Raise if a parameter does not meet its constraints."""
    estimator._validate_params()
    check_no_booleans(estimator.get_params(deep=False), estimator._parameter_constraints)


def check_no_booleans(parameters: Mapping[str, Any], constraints: Mapping[str, Any]) -> None:
    """Raise for True and False in place of numbers, which Python accepts as 1 and 0."""
    for name, value in parameters.items():
        is_boolean = name == "verbose" or "boolean" in constraints.get(name, ["boolean"])
        if isinstance(value, (bool, np.bool_)) and not is_boolean:
            raise ValueError(f"{name} must be a number; got {value!r}")


def check_folders(estimator: Any) -> None:
    """Raise if ``memory`` or ``checkpoint`` names a file, or if a fit could not be begun again from a checkpoint."""
    for name in ("memory", "checkpoint"):
        folder = getattr(estimator, name)
        if isinstance(folder, (str, os.PathLike)) and Path(folder).is_file():
            raise ValueError(f"{name}={folder!r} is a file; pass a folder, which need not exist yet")
    if estimator.checkpoint is not None and not isinstance(estimator.random_state, Integral):
        raise ValueError(
            "checkpoint needs an integer random_state, so that the same fit can be repeated; got "
            f"{estimator.random_state!r}"
        )


def check_spread(location: Floats, scale: Floats, names: Sequence[Any] | None) -> None:
    """Raise if means or standard deviations of features exceed the range of float64."""
    bad = ~(np.isfinite(location) & np.isfinite(scale))
    if bad.any():
        raise ValueError(
            f"the variance of {np.count_nonzero(bad)} features is beyond the range of float64; the first is feature "
            f"{name_feature(int(bad.argmax()), names)}. Look for extreme values in X, or divide these features by "
            "a constant."
        )


def explain_no_convergence(bounds: Sequence[float], tol: float, max_iter: int, learning_rate: float) -> str:
    """The message of a ConvergenceWarning after a training with these bounds, one per epoch."""
    finite = [bound for bound in bounds if math.isfinite(bound)]
    best, last = max(finite, default=math.nan), bounds[-1]
    if len(finite) < len(bounds) or last < best - max(abs(best), tol):
        n_undone = len(bounds) - len(finite)
        undone = f", and {n_undone} epochs had to be undone" if n_undone else ""
        return (
            f"The lower bound fell from {best:.4g} to {last:.4g} nats per sample while training{undone}. Lower "
            f"learning_rate (now {learning_rate:g}), or look for extreme values in X."
        )
    if len(bounds) < LEAST_EPOCHS:
        return (
            f"Training ended after {len(bounds)} epochs, too few to see whether it has converged. Increase max_iter "
            f"(now {max_iter}), or continue with warm_start=True."
        )
    return (
        f"The lower bound still changed by more than tol={tol} nats over the last epochs. Increase max_iter (now "
        f"{max_iter}) or tol, or continue with warm_start=True."
    )
