"""Buffers of an optimizer that have the shape of its parameters."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def buffers(
    optimizer: torch.optim.Optimizer, group: dict[str, Any], name: str
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """The parameters of a group that have a gradient, their gradients, and their buffers `name`.

    Buffers are in `optimizer.state`, in the dtype of the parameters, and zeros at first.
    """
    params = [p for p in group["params"] if p.grad is not None]
    result = []
    for p in params:
        state = optimizer.state[p]
        if name not in state:
            state[name] = torch.zeros_like(p)
        result.append(state[name])
    return params, [p.grad for p in params], result
