"""Parameters with given gradients, and what a step left in the optimizer."""

import torch
from torch import Tensor, nn

from clr import CLR


def parameter(grad: Tensor, value: float = 1.0) -> nn.Parameter:
    """A parameter filled with `value`, in the layout and dtype of its gradient `grad`."""
    p = nn.Parameter(torch.full_like(grad, value))
    p.grad = grad.clone(memory_format=torch.preserve_format)
    return p


def constant_grad(size: int, value: float, dtype: torch.dtype = torch.float32) -> nn.Parameter:
    """Ones of shape (size,) whose gradient is `value` everywhere."""
    return parameter(torch.full((size,), value, dtype=dtype))


def rate(optimizer: CLR, group: int = 0) -> float:
    return optimizer.param_groups[group]["lr"].item()


def skipped(optimizer: CLR) -> int:
    return optimizer.param_groups[0]["skipped"].item()


def grad_norm_sq_of(optimizer: CLR) -> float:
    return optimizer.param_groups[0]["grad_norm_sq"].item()
