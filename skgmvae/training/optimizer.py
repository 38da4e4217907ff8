"""Adam, with less around it."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Adam, Optimizer

whole_step = Optimizer.profile_hook_step(Adam.step)  # with hooks, and a record for the profiler


class LeanAdam(Adam):
    """torch's fused Adam, bit for bit, whose steps do not sort and check the parameters again.

    For networks of a few small layers that takes longer than the arithmetic. All parameters are in one group and on one
    device. The first step of a parameter is torch's own, and so is every step for which hooks are registered.

    Parameters
    ----------
    params : iterable of nn.Parameter
    lr : float
    """

    def __init__(self, params: Iterable[nn.Parameter], lr: float = 1e-3) -> None:
        super().__init__(params, lr=lr, fused=True)

    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """One step for the parameters that have a gradient."""
        group = self.param_groups[0]
        parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
        states = [self.state[parameter] for parameter in parameters if parameter in self.state]
        has_hooks = self._optimizer_step_pre_hooks or self._optimizer_step_post_hooks
        if closure is not None or has_hooks or not states or len(states) < len(parameters):
            return whole_step(self, closure)
        first_decay, second_decay = group["betas"]
        steps = [state["step"] for state in states]
        with torch.no_grad():
            torch._foreach_add_(steps, 1)
            torch._fused_adam_(
                parameters,
                [parameter.grad for parameter in parameters],
                [state["exp_avg"] for state in states],
                [state["exp_avg_sq"] for state in states],
                [],
                steps,
                lr=group["lr"],
                beta1=first_decay,
                beta2=second_decay,
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                amsgrad=False,
                maximize=False,
            )
        return None

    step.hooked = True  # type: ignore[attr-defined]  # else torch wraps it in what is left out here
