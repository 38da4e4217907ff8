"""Fitted mixtures as ONNX graphs, for programs without Python."""

import copy
import os
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from skgmvae._atomic_write import write_atomically
from skgmvae._evaluation import cast_networks
from skgmvae.models.subcomponents import join_subcomponents

__all__ = ["write_onnx"]

OUTPUTS: dict[str, Callable[[Any, Tensor, Tensor], Tensor]] = {
    "responsibilities": lambda model, x, noise: join_subcomponents(
        model.log_responsibilities(x, noise), model.subcomponents
    ).exp(),
    "transform": lambda model, x, noise: model.embed(x),
    "reconstruct": lambda model, x, noise: model.reconstruct(x),
}
N_EXAMPLES = 3  # samples to trace the graph with


class Graph(nn.Module):
    """The outputs of a model for rows (N, D), in float32.

    Parameters
    ----------
    model : nn.Module
        Copied.
    noise : Tensor of shape (S, L)
        For q(c|x) where it has no closed form.
    outputs : sequence of str
    """

    noise: Tensor

    def __init__(self, model: nn.Module, noise: Tensor, outputs: Sequence[str]) -> None:
        super().__init__()
        self.model = cast_networks(copy.deepcopy(model).cpu(), torch.float32).eval()
        self.outputs = tuple(outputs)
        self.register_buffer("noise", noise.to(torch.float32))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Each output, (N, ...), of rows (N, D)."""
        return tuple(OUTPUTS[name](self.model, x, self.noise).to(torch.float32) for name in self.outputs)


@torch.no_grad()
def write_onnx(
    model: nn.Module, noise: Tensor, n_features: int, path: str | os.PathLike[str], outputs: Sequence[str]
) -> None:
    """Write a graph with the input ``X``, float32 of shape (N, D), and an output per name.

    Parameters
    ----------
    model : nn.Module
        Fitted.
    noise : Tensor of shape (S, L)
    n_features : int
        D.
    path : str or path-like
    outputs : sequence of str
    """
    outputs = check_outputs(outputs)
    rows = torch.zeros(N_EXAMPLES, n_features, dtype=torch.float32, device="cpu")
    likelihood: Any = model.likelihood
    if likelihood.n_heads:
        raise ValueError(
            "to_onnx takes models of continuous columns only; this one has columns of categories, flags or counts"
        )
    try:
        import_module("onnxscript")  # which torch needs, and does not install
    except ImportError as error:
        raise ImportError("to_onnx needs onnxscript; install it with: pip install 'skgmvae[onnx]'") from error
    program: Any = torch.onnx.export(
        Graph(model, noise, outputs).eval(),
        (rows,),
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("n_samples")},),
        input_names=["X"],
        output_names=list(outputs),
        verbose=False,
    )
    write_atomically(path, program.model_proto.SerializeToString())


def check_outputs(outputs: Sequence[str]) -> list[str]:
    """The names as a list of known ones, each once."""
    names = [outputs] if isinstance(outputs, str) else list(dict.fromkeys(outputs))
    unknown = [name for name in names if name not in OUTPUTS]
    if unknown or not names:
        raise ValueError(
            f"outputs may contain {', '.join(map(repr, OUTPUTS))}; got {unknown or names}. predict_proba and "
            "score_samples search for the maximum of a density, which a graph cannot do; 'responsibilities' are the "
            "encoder's approximation q(c|x) of predict_proba."
        )
    return names
