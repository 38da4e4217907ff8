"""Adam without torch's compiler, which takes longer to load than a model of a small table to train."""

import inspect
from typing import Any

import torch

__all__ = ["Adam"]


class Adam(torch.optim.Adam):
    """:class:`torch.optim.Adam`, whose decorators would import ``torch._dynamo`` at the first step of a process.

    They serve programs that compile the optimizer, and leave no trace otherwise.
    """

    add_param_group = inspect.unwrap(torch.optim.Adam.add_param_group)
    step: Any = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))
