"""The state of a training or an initialization as arrays, for checkpoints and for the other ranks."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from skgmvae._collectives import from_first
from skgmvae._evaluation import cast_networks
from skgmvae._ranks import n_ranks
from skgmvae.data.arrays import Array
from skgmvae.initialization.config import Initialization, MakeModel
from skgmvae.runtime import RandomStream

__all__ = ["State", "get_initialization", "initialize_once", "read_state", "set_initialization", "write_state"]

State: TypeAlias = tuple[dict[str, Array], dict[str, Any]]  # arrays, and values of JSON types


def write_state(
    module: nn.Module, optimizer: torch.optim.Optimizer | None, random: RandomStream | None
) -> dict[str, Array]:
    """Arrays of the weights, the moments of the optimizer and the generators."""
    arrays = {f"module.{name}": tensor.numpy(force=True) for name, tensor in module.state_dict().items()}
    if optimizer is not None:
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        for number, parameter in enumerate(parameters):
            for name, value in optimizer.state.get(parameter, {}).items():
                arrays[f"optimizer.{number}.{name}"] = value.numpy(force=True)
    if random is not None:
        for device, state in random.get_states().items():
            arrays[f"generator.{device}"] = state.numpy().astype(np.int64)
    return {name: array.astype(np.int64) if array.dtype.kind in "iub" else array for name, array in arrays.items()}


@torch.no_grad()
def read_state(
    arrays: dict[str, Array], module: nn.Module, optimizer: torch.optim.Optimizer | None, random: RandomStream | None
) -> None:
    """Set what :func:`write_state` has written, in place."""
    states = module.state_dict()
    for name, tensor in states.items():
        tensor.copy_(torch.from_numpy(arrays[f"module.{name}"]))
    if optimizer is not None:
        optimizer.state.clear()
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        places = [name.split(".", 2)[1:] for name in arrays if name.startswith("optimizer.")]
        for number, name in sorted(places, key=lambda place: int(place[0])):
            parameter = parameters[int(number)]
            value = torch.from_numpy(arrays[f"optimizer.{number}.{name}"].copy())
            optimizer.state[parameter][name] = value.to(parameter.device)
    if random is not None:
        random.set_states(
            {name[10:]: _to_bytes(array) for name, array in arrays.items() if name.startswith("generator.")}
        )


def get_initialization(init: Initialization, random: RandomStream) -> State:
    """The initialized model and its responsibilities, for a checkpoint."""
    model = init.model
    arrays = write_state(model, None, random)
    if init.responsibilities is not None:
        arrays["responsibilities"] = init.responsibilities.numpy(force=True)
    subcomponents = None if model.subcomponents is None else list(model.subcomponents)
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    has_table = getattr(model, "initial_responsibilities", None) is not None
    values = {"name": str(init.name), "is_random": init.is_random, "trained": trained, "has_table": has_table}
    return arrays, {**values, "subcomponents": subcomponents}


def set_initialization(
    make_model: MakeModel, arrays: dict[str, Array], values: dict[str, Any], random: RandomStream
) -> Initialization:
    """A model with what :func:`get_initialization` has given."""
    model = make_model(values["subcomponents"])
    name = next(name for name, _ in model.named_parameters())
    cast_networks(model, torch.from_numpy(arrays[f"module.{name}"]).dtype)
    read_state(arrays, model, None, random)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in values["trained"])
    found = torch.from_numpy(arrays["responsibilities"].copy()) if "responsibilities" in arrays else None
    if values["has_table"]:
        model.initial_responsibilities = found
    return Initialization(values["name"], found, values["is_random"], model)


def initialize_once(
    make_model: MakeModel, random: RandomStream, initialize: Callable[[], Initialization]
) -> Initialization:
    """``initialize()`` on the first rank; the others get its state."""
    if n_ranks() == 1:
        return initialize()
    own: list[Initialization] = []

    def run() -> State:
        own.append(initialize())
        return get_initialization(own[0], random)

    arrays, values = from_first(run)
    return own[0] if own else set_initialization(make_model, arrays, values, random)


def _to_bytes(array: Array) -> Tensor:
    return torch.from_numpy(array.astype(np.uint8))
