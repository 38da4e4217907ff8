"""Saving and loading fitted estimators: arrays as safetensors, the rest as JSON; nothing is executed."""

import copy
import dataclasses
import json
import math
import os
import warnings
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import nn

from skgmvae._auto import choose_settings, set_settings
from skgmvae._configuration import make_train_config
from skgmvae._evaluation import cast_networks
from skgmvae._file_format import NotASavedEstimatorError, find_version, open_file, to_plain, write_file
from skgmvae._parameters import check_parameters, check_same_structure, get_structure
from skgmvae._saved_answers import check_answers
from skgmvae._saved_values import (
    ATTRIBUTES,
    check_architecture,
    check_arrays,
    check_attributes,
    check_categories,
    check_integer,
    check_sizes,
    check_subcomponents,
    holds_object,
    shorten,
    to_tuples,
)
from skgmvae._warnings import warn
from skgmvae.data.arrays import Array
from skgmvae.models.subcomponents import Counts, count_subcomponents, find_subcomponents_of
from skgmvae.runtime import MAX_SEED, RandomStream, check_device, isolated
from skgmvae.training.config import Architecture
from skgmvae.training.net import ELBONet
from skgmvae.training.pretraining import make_autoencoder
from skgmvae.training.train import make_net

__all__ = ["load_estimator", "save_estimator"]

MODULE, ATTRIBUTE = "module.", "attribute."
ARRAYS = ("labels_", "weights_", "means_", "latent_means_", "latent_covariances_")
PACKAGES = ("skgmvae", "torch", "scikit-learn", "skorch", "numpy")
FOLDERS = ("memory", "checkpoint")  # parameters that a file does not set: the next fit would read what lies there
LATER = {"categorical_features": "from_dtype", "max_subcomponents": 8}  # parameters that files of earlier versions lack
LATER_WEIGHTS = ("prior.slopes",)  # weights that they lack, initially zero

Estimator = TypeVar("Estimator", bound=Any)


def save_estimator(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted estimator to one file; see :meth:`skgmvae.VaDEClustering.save`."""
    check_is_fitted(estimator)
    check_parameters(estimator)
    check_same_structure(estimator._fitted_structure, estimator.get_params(deep=False), "saved")
    module = estimator.net_.module_
    arrays = {MODULE + name: shorten(tensor.numpy(force=True)) for name, tensor in module.state_dict().items()}
    arrays |= {ATTRIBUTE + name: getattr(estimator, name) for name in ARRAYS if hasattr(estimator, name)}
    names = getattr(estimator, "feature_names_in_", None)
    description = {
        "class": type(estimator).__name__,
        "versions": {name: find_version(name) for name in PACKAGES},
        "parameters": _describe_parameters(estimator),
        "architecture": dataclasses.asdict(estimator._fitted_architecture),
        "structure": {name: to_plain(value) for name, value in estimator._fitted_structure.items()},
        "noise_seed": int(estimator._noise_seed),
        "subcomponents": None if module.subcomponents is None else list(module.subcomponents),
        "categories": None if estimator._categories is None else estimator._categories.describe(),
        "feature_names": None if names is None else [str(name) for name in names],
        "attributes": {name: to_plain(getattr(estimator, name)) for name in ATTRIBUTES if hasattr(estimator, name)},
    }
    _check_loadable(type(estimator), arrays, description)
    write_file(path, arrays, description)


def _describe_parameters(estimator: Any) -> dict[str, Any]:
    """Parameters as JSON has them; the default in place of objects and of folders."""
    defaults = type(estimator)().get_params(deep=False)
    parameters = {}
    for name, value in estimator.get_params(deep=False).items():
        plain = to_plain(value)
        is_lost = holds_object(value) or name in FOLDERS
        if is_lost and name == "init_params":
            text = f"init_params={value!r} is not kept in the file; a fit after loading uses {defaults[name]!r}"
            warn(text)
        parameters[name] = to_plain(defaults[name]) if is_lost else plain
    return parameters


def _check_loadable(cls: type[Any], arrays: dict[str, Array], description: dict[str, Any]) -> None:
    """Raise if :func:`load_estimator` would refuse the file, before it replaces one that loads."""
    bad = [name for name, array in arrays.items() if not np.isfinite(array).all()]
    try:
        if bad:
            raise NotASavedEstimatorError(f"{', '.join(bad)} hold values that are not finite")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # load issues them
            shapes = {name: array.shape for name, array in arrays.items()}
            _restore(_outline(cls, json.loads(json.dumps(description)), shapes), arrays)
    except Exception as error:  # whatever has become of the attributes
        raise ValueError(
            f"not saved: the estimator was changed after fit, and could not be loaded again ({error})"
        ) from error


class _Outline(NamedTuple):
    """What a file's description says, before its arrays are read."""

    estimator: Any  # with its parameters
    architecture: Architecture
    subcomponents: Counts
    description: dict[str, Any]


def load_estimator(cls: type[Estimator], path: str | os.PathLike[str]) -> Estimator:
    """A fitted estimator from a file; see :meth:`skgmvae.VaDEClustering.load`."""
    with isolated(), open_file(path) as file:
        try:
            outline = _outline(cls, file.description, file.shapes)
            estimator: Estimator = _restore(outline, file.read())
        except (NotASavedEstimatorError, MemoryError, Warning):
            raise
        except Exception as error:  # whatever a file can bring about
            raise NotASavedEstimatorError(f"{path} is inconsistent: {error!r}") from error
        return estimator


def _outline(cls: type[Any], description: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> _Outline:
    """The estimator with its parameters; the sizes of all arrays are compared before one is read or allocated."""
    if description["class"] != cls.__name__:
        raise NotASavedEstimatorError(f"the file holds a {description['class']!r}; load it with that class")
    estimator = _make_unfitted(cls, description["parameters"])
    architecture = check_architecture(description["architecture"])
    set_settings(estimator, choose_settings(estimator, 1, architecture.n_features), is_new=True)
    sizes = description["attributes"].get("hidden_layer_sizes_", estimator.hidden_layer_sizes_)
    estimator.hidden_layer_sizes_ = check_sizes(sizes)
    estimator.latent_dim_ = architecture.latent_dim
    subcomponents = check_subcomponents(description.get("subcomponents"), int(estimator.n_components))
    with torch.device("meta"):
        expected = estimator._make_model(make_autoencoder(architecture), None, subcomponents).state_dict()
    sizes = {MODULE + name: tuple(tensor.shape) for name, tensor in expected.items()}
    for name in {MODULE + name for name in LATER_WEIGHTS} - set(shapes):
        sizes.pop(name, None)
    if sizes != {name: shape for name, shape in shapes.items() if name.startswith(MODULE)}:
        raise NotASavedEstimatorError("the sizes of the file's weights do not match its parameters")
    K, largest = int(estimator.n_components), max(architecture.n_features, architecture.latent_dim)
    for name in set(shapes) - set(sizes):
        if name.removeprefix(ATTRIBUTE) not in ARRAYS or not name.startswith(ATTRIBUTE):
            raise NotASavedEstimatorError(f"the file has an array of unknown meaning, {name!r}")
        if name != f"{ATTRIBUTE}labels_" and math.prod(shapes[name]) > K * largest**2:
            raise NotASavedEstimatorError(f"the file's {name} has the impossible shape {shapes[name]}")
    return _Outline(estimator, architecture, subcomponents, description)


def _restore(outline: _Outline, arrays: dict[str, Array]) -> Any:
    """The fitted estimator, after a check of every value."""
    estimator, architecture, _, description = outline
    structure = {**LATER, **{name: to_tuples(value) for name, value in description["structure"].items()}}
    if set(structure) != set(get_structure(estimator.get_params(deep=False))):
        raise NotASavedEstimatorError("the file's structure is not that of this class")
    check_same_structure(structure, estimator.get_params(deep=False))
    estimator._fitted_structure, estimator._fitted_architecture = structure, architecture
    estimator._categories = check_categories(description.get("categories"), architecture)
    estimator._noise_seed = check_integer(description["noise_seed"], "noise_seed", 0, MAX_SEED)
    state = {name.removeprefix(MODULE): array for name, array in arrays.items() if name.startswith(MODULE)}
    module = _make_module(outline, state)
    _set_saved_attributes(estimator, module, arrays, description["attributes"])
    estimator.n_subcomponents_ = count_subcomponents(module).numpy()
    estimator.net_ = _make_net_around(estimator, module)
    check_answers(estimator)
    names = description["feature_names"]
    if names is not None:
        if not isinstance(names, list) or len(names) != architecture.n_features or {*map(type, names)} != {str}:
            raise NotASavedEstimatorError(
                f"the file does not have a name for each of {architecture.n_features} features"
            )
        estimator.feature_names_in_ = np.array(names, dtype=object)
    return estimator


def _make_unfitted(cls: type[Estimator], parameters: dict[str, Any]) -> Estimator:
    unknown = set(parameters) - set(cls._get_param_names())
    if unknown:
        raise NotASavedEstimatorError(f"the file has parameters that {cls.__name__} does not know: {unknown}")
    plain = {name: to_tuples(value) for name, value in parameters.items() if name not in FOLDERS}
    estimator: Estimator = cls(**plain)
    check_parameters(estimator)
    try:
        check_device(estimator.device)
    except ValueError:
        was = estimator.device
        warn(f"Saved with device={was!r}, which is not available here; device is now 'auto'.")
        estimator.device = "auto"
    return estimator


def _make_module(outline: _Outline, state: dict[str, Array]) -> nn.Module:
    """The model with its weights."""
    generator = RandomStream(0).on("cpu")  # of initial weights, which those of the file replace
    autoencoder = make_autoencoder(outline.architecture, generator)
    module = outline.estimator._make_model(autoencoder, generator, outline.subcomponents)
    gaussian = module.likelihood.gaussian
    if gaussian is not None and gaussian.learns_variance:
        gaussian.set_variance(torch.ones(len(gaussian.location), dtype=torch.float32))
    cast_networks(module, torch.float64)
    later = {name: tensor for name, tensor in module.state_dict().items() if name in LATER_WEIGHTS}
    module.load_state_dict(later | {name: torch.from_numpy(array.copy()) for name, array in state.items()})
    if gaussian is not None and not (gaussian.scale > 0.0).all():
        raise NotASavedEstimatorError("the file's scale is not positive")
    restored: nn.Module = module.eval()
    return restored


def _set_saved_attributes(estimator: Any, module: Any, arrays: dict[str, Array], attributes: dict[str, Any]) -> None:
    """Set the fitted attributes; a file cannot set any others."""
    for name, array in arrays.items():
        if name.startswith(ATTRIBUTE):
            setattr(estimator, name.removeprefix(ATTRIBUTE), array.copy())
    for name, value in check_attributes(attributes).items():
        setattr(estimator, name, [to_tuples(pair) for pair in value] if name == "reseeded_" else value)
    if hasattr(module, "reseeded"):
        counts = module.subcomponents
        module.reseeded = [(i, find_subcomponents_of(cluster, counts).start) for i, cluster in estimator.reseeded_]
    reference = copy.copy(estimator)
    reference._set_model_attributes(module)
    check_arrays(estimator, reference, int(estimator.n_components), estimator._fitted_architecture.n_features)


def _make_net_around(estimator: Any, module: Any) -> ELBONet:
    """A net that can be trained further, with the history of the saved net."""
    net = make_net(
        module,
        make_train_config(estimator, estimator.max_iter_, tol=estimator.tol),
        estimator._net_type,
        **estimator._net_options(),
    )
    net.move_to(torch.device("cpu"))
    for values in zip(*estimator.history_.values(), strict=True):
        net.history.new_epoch()
        for name, value in zip(estimator.history_, values, strict=True):
            net.history.record(name, value)
    return net
