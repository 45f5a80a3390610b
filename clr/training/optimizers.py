"""Any optimizer in the trainer: made from its config, stepped alike, with the rate and ‖g‖² of each step."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from torch import Tensor, nn

from clr.errors import UserError
from clr.optim import grad_norm_sq


def build_optimizer(config: dict[str, Any], model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer that the config's `_target_` names, with the config's other keys as its arguments."""
    arguments = {key: value for key, value in config.items() if key != "name"}
    try:
        optimizer = instantiate({**arguments, "_partial_": True})(model.parameters())
    except (InstantiationException, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"optimizer {config['name']} ({config['_target_']}) cannot be made: {reason}"
        ) from None
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise UserError(
            f"optimizer {config['name']}: {config['_target_']} is no torch.optim.Optimizer"
        )
    return optimizer


@cache
def _takes_loss(step: Callable[..., Any]) -> bool:
    return "loss" in inspect.signature(step).parameters


def take_step(optimizer: torch.optim.Optimizer, loss: Tensor) -> tuple[Tensor | float, Tensor]:
    """Step on the gradients that are there; returns the rate that was used and ‖g‖², 0-dim tensors on the device.

    An optimizer whose `step` has the argument `loss` gets it, as CLR does. ‖g‖² is CLR's own where the optimizer leaves
    it in its param_groups, so that it is read once.
    """
    group = optimizer.param_groups[0]
    norm_sq = None
    if "grad_norm_sq" not in group:
        norm_sq = grad_norm_sq(
            [p.grad for g in optimizer.param_groups for p in g["params"] if p.grad is not None]
        )
    if _takes_loss(type(optimizer).step):
        optimizer.step(loss=loss)  # type: ignore[call-overload]
    else:
        optimizer.step()
    return group["lr"], group["grad_norm_sq"] if norm_sq is None else norm_sq
