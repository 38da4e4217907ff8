"""Adam without torch's compiler, which takes longer to load than a model of a small table to train."""

import inspect
from typing import Any

import torch

__all__ = ["Adam"]


class Adam(torch.optim.Adam):
    """:class:`torch.optim.Adam` without the decorators of its methods, which load torch's compiler at the first step.

    They serve programs that compile the optimizer. A method that is not decorated is taken as it is.
    """

    add_param_group = inspect.unwrap(torch.optim.Adam.add_param_group)
    step: Any = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))
