"""Adam and AdamW by torch's fused kernel, called directly: `torch.optim` spends more on the call than the kernel on a ranker's weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch

__all__ = ["Adam", "offered"]

_BETAS, _EPSILON = (0.9, 0.999), 1e-8


def offered(parameters: Sequence[torch.Tensor]) -> bool:
    """Return whether this version of torch has the kernels, which are private to it, and these parameters suit them."""
    kinds = {(parameter.device, parameter.dtype) for parameter in parameters}
    return len(kinds) == 1 and hasattr(torch, "_fused_adam_") and hasattr(torch, "_fused_adamw_")


class Adam:
    """w ← w - rate·m̂ / (√v̂ + ε) with m and v the running means of g and g² (Kingma and Ba 2015, algorithm 1).

    A parameter without a gradient stays as it is and its moments do not age, as in `torch.optim`.

    Args:
        parameters: Of one device and type.
        decay: Weight decay: decoupled (Loshchilov and Hutter 2019), or `coupled`, added to the gradient.
    """

    def __init__(self, parameters: Sequence[torch.Tensor], decay: float, *, coupled: bool) -> None:
        self.parameters, self.decay = list(parameters), decay
        self._move = torch._fused_adam_ if coupled else torch._fused_adamw_
        self._means = [torch.zeros_like(parameter) for parameter in parameters]
        self._powers = [torch.zeros_like(parameter) for parameter in parameters]
        self._steps = [torch.zeros((), device=parameter.device) for parameter in parameters]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Apply the gradients of the parameters."""
        held = zip(self.parameters, self._means, self._powers, self._steps, strict=True)
        moved = [(one[0].grad, *one) for one in held if one[0].grad is not None]
        if not moved:
            return
        gradients, parameters, means, powers, steps = (list(column) for column in zip(*moved, strict=True))
        torch._foreach_add_(steps, 1)
        self._move(
            parameters,
            gradients,
            means,
            powers,
            [],
            steps,
            lr=rate,
            beta1=_BETAS[0],
            beta2=_BETAS[1],
            weight_decay=self.decay,
            eps=_EPSILON,
            amsgrad=False,
            maximize=False,
            grad_scale=None,
            found_inf=None,
        )
