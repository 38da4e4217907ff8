"""Saving and loading fitted estimators: arrays as safetensors, the rest as JSON; nothing is executed."""

import dataclasses
import os
import warnings
from importlib.metadata import PackageNotFoundError, version
from numbers import Integral, Real
from typing import Any, TypeVar

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import nn

from skgmvae._configuration import make_train_config
from skgmvae._defaults import choose_max_iter
from skgmvae._evaluation import cast_networks
from skgmvae._file_format import NotASavedEstimatorError, read_file, write_file
from skgmvae._parameters import get_structure
from skgmvae._saved_values import check_architecture, check_history, check_integer
from skgmvae.data.arrays import Array
from skgmvae.runtime import MAX_SEED, RandomStream, check_device, isolated
from skgmvae.training.config import Architecture
from skgmvae.training.net import ELBONet
from skgmvae.training.pretraining import make_autoencoder
from skgmvae.training.train import make_net

__all__ = ["load_estimator", "save_estimator"]

MODULE, ATTRIBUTE = "module.", "attribute."
ARRAYS = ("labels_", "weights_", "means_", "latent_means_", "latent_covariances_")
PLAIN = (
    "lower_bound_",
    "lower_bounds_",
    "converged_",
    "n_iter_",
    "n_features_in_",
    "history_",
    "pretrain_history_",
    "phase_seconds_",
    "init_params_",
    "reseeded_",
)
PACKAGES = ("skgmvae", "torch", "scikit-learn", "skorch", "numpy")

Estimator = TypeVar("Estimator", bound=Any)


def save_estimator(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted estimator to one file; see :meth:`skgmvae.VaDEClustering.save`."""
    check_is_fitted(estimator)
    module = estimator.net_.module_
    arrays = {MODULE + name: _shortest(tensor.numpy(force=True)) for name, tensor in module.state_dict().items()}
    arrays |= {ATTRIBUTE + name: getattr(estimator, name) for name in ARRAYS if hasattr(estimator, name)}
    names = getattr(estimator, "feature_names_in_", None)
    description = {
        "class": type(estimator).__name__,
        "versions": {name: _find_version(name) for name in PACKAGES},
        "parameters": _describe_parameters(estimator),
        "architecture": dataclasses.asdict(estimator._fitted_architecture),
        "structure": {name: _to_plain(value) for name, value in estimator._fitted_structure.items()},
        "noise_seed": int(estimator._noise_seed),
        "feature_names": None if names is None else [str(name) for name in names],
        "attributes": {name: _to_plain(getattr(estimator, name)) for name in PLAIN if hasattr(estimator, name)},
    }
    write_file(path, arrays, description)


def _describe_parameters(estimator: Any) -> dict[str, Any]:
    """Parameters as JSON has them; the default in place of objects, and of ``memory``, a folder of pickles."""
    defaults = type(estimator)().get_params(deep=False)
    parameters = {}
    for name, value in estimator.get_params(deep=False).items():
        plain = _to_plain(value)
        is_lost = _holds_object(value) or name == "memory"
        if is_lost and name == "init_params":
            text = f"init_params={value!r} is not kept in the file; a fit after loading uses {defaults[name]!r}"
            warnings.warn(text, UserWarning, stacklevel=4)
        parameters[name] = _to_plain(defaults[name]) if is_lost else plain
    return parameters


def load_estimator(cls: type[Estimator], path: str | os.PathLike[str]) -> Estimator:
    """A fitted estimator from a file; see :meth:`skgmvae.VaDEClustering.load`."""
    arrays, description = read_file(path)
    try:
        with isolated():
            return _restore(cls, arrays, description)
    except NotASavedEstimatorError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, OverflowError) as error:
        raise NotASavedEstimatorError(f"{path} does not fit together: {error!r}") from error


def _restore(cls: type[Estimator], arrays: dict[str, Array], description: dict[str, Any]) -> Estimator:
    if description["class"] != cls.__name__:
        raise NotASavedEstimatorError(f"the file holds a {description['class']!r}; load it with that class")
    estimator = _make_unfitted(cls, description["parameters"])
    architecture = check_architecture(description["architecture"])
    state = {name.removeprefix(MODULE): array for name, array in arrays.items() if name.startswith(MODULE)}
    module = _make_checked_module(estimator, architecture, state)
    estimator._fitted_architecture = architecture
    estimator._fitted_structure = {name: _to_tuples(value) for name, value in description["structure"].items()}
    if set(estimator._fitted_structure) != set(get_structure(estimator.get_params(deep=False))):
        raise NotASavedEstimatorError("the file's structure is not that of this class")
    estimator._noise_seed = check_integer(description["noise_seed"], "noise_seed", 0, MAX_SEED)
    _set_saved_attributes(estimator, arrays, description, architecture)
    estimator.net_ = _make_net_around(estimator, module)
    return estimator


def _make_unfitted(cls: type[Estimator], parameters: dict[str, Any]) -> Estimator:
    unknown = set(parameters) - set(cls._get_param_names())
    if unknown:
        raise NotASavedEstimatorError(f"the file has parameters that {cls.__name__} does not know: {unknown}")
    # the next fit would unpickle what lies in a folder that a file names
    plain = {name: _to_tuples(value) for name, value in parameters.items() if name != "memory"}
    estimator: Estimator = cls(**plain)
    estimator._validate_params()
    try:
        check_device(estimator.device)
    except ValueError:
        was = estimator.device
        warnings.warn(f"Saved with device={was!r}, which is not at hand; it is 'auto' now.", stacklevel=5)
        estimator.device = "auto"
    return estimator


def _make_checked_module(estimator: Any, architecture: Architecture, state: dict[str, Array]) -> nn.Module:
    """The model with its weights; sizes are compared before memory is allocated."""
    with torch.device("meta"):
        expected = estimator._make_model(make_autoencoder(architecture)).state_dict()
    shapes = {name: tuple(tensor.shape) for name, tensor in expected.items()}
    if shapes != {name: array.shape for name, array in state.items()}:
        raise NotASavedEstimatorError("the file's weights do not have the sizes that its parameters ask for")
    generator = RandomStream(0).on("cpu")  # of initial weights, which those of the file replace
    module = estimator._make_model(make_autoencoder(architecture, generator), generator)
    if module.likelihood.learns_variance:
        module.likelihood.set_variance(torch.ones(architecture.n_features, dtype=torch.float32))
    cast_networks(module, torch.float64)
    module.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in state.items()})
    restored: nn.Module = module.eval()
    return restored


def _set_saved_attributes(
    estimator: Any, arrays: dict[str, Array], description: dict[str, Any], architecture: Architecture
) -> None:
    """Set the fitted attributes; a file cannot set any others."""
    for name, array in arrays.items():
        attribute = name.removeprefix(ATTRIBUTE)
        if name.startswith(ATTRIBUTE) and attribute in ARRAYS:
            setattr(estimator, attribute, array.copy())
        elif not name.startswith(MODULE):
            raise NotASavedEstimatorError(f"the file has an array of unknown meaning, {name!r}")
    for name, value in description["attributes"].items():
        if name not in PLAIN:
            raise NotASavedEstimatorError(f"the file has an attribute of unknown meaning, {name!r}")
        setattr(estimator, name, [_to_tuples(pair) for pair in value] if name == "reseeded_" else value)
    K, D = estimator.n_components, architecture.n_features
    if estimator.weights_.shape != (K,) or estimator.means_.shape != (K, D) or estimator.n_features_in_ != D:
        raise NotASavedEstimatorError("the file's attributes do not have the sizes that its parameters ask for")
    if (
        estimator.labels_.ndim != 1
        or estimator.labels_.dtype != np.int64
        or not np.isin(estimator.labels_, np.arange(K)).all()
    ):
        raise NotASavedEstimatorError(f"the file's labels_ are not components from 0 to {K - 1}")
    check_history(estimator.history_)
    names = description["feature_names"]
    if names is not None:
        if len(names) != D or not all(isinstance(name, str) for name in names):
            raise NotASavedEstimatorError(f"the file does not have a name for each of {D} features")
        estimator.feature_names_in_ = np.array(names, dtype=object)


def _make_net_around(estimator: Any, module: Any) -> ELBONet:
    """A net that can be trained further, with the history of the saved net."""
    if hasattr(module, "reseeded"):
        module.reseeded = list(estimator.reseeded_)
    n_epochs = choose_max_iter(estimator, max(1, len(estimator.labels_)), estimator.n_features_in_)
    net = make_net(
        module,
        make_train_config(estimator, n_epochs, tol=estimator.tol),
        estimator._net_type,
        **estimator._net_options(),
    )
    net.move_to(torch.device("cpu"))
    for values in zip(*estimator.history_.values(), strict=True):
        net.history.new_epoch()
        for name, value in zip(estimator.history_, values, strict=True):
            net.history.record(name, value)
    return net


def _find_version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # not installed
        return None


def _holds_object(value: Any) -> bool:
    """Whether the value is, or holds, something that JSON has no form of."""
    if isinstance(value, (list, tuple)):
        return any(_holds_object(item) for item in value)
    return value is not None and _to_plain(value) is None


def _shortest(array: Array) -> Array:
    """The array in float32 if it represents every value: weights are trained in float32 and stored in float64."""
    if array.dtype != np.float64:
        return array
    with np.errstate(over="ignore", under="ignore"):
        short = array.astype(np.float32)
    return short if np.array_equal(short, array) else array


def _to_plain(value: Any) -> Any:
    """The value in JSON types; None for other objects."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [_to_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(name): _to_plain(item) for name, item in value.items()}
    return None


def _to_tuples(value: Any) -> Any:
    """JSON lists as tuples."""
    return tuple(_to_tuples(item) for item in value) if isinstance(value, list) else value
