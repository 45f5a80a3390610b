"""Interface of the trainer to any PyTorch optimizer: build it, check it, take a step."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from clr.config_checks import EXAMPLE_CONFIGS
from clr.errors import UserError
from clr.optim import CLR, grad_norm_sq
from clr.training.distributed import Ranks
from clr.training.factories import call_factory, factory_label
from clr.training.modes import set_optimizer_mode
from clr.training.schedules import Schedule

# Keys of `param_groups[0]` with the rate of the last step, by precedence: that of `clr.methods`,
# Schedule-Free's, and that of all others.
_RATE_KEYS = ("used_lr", "scheduled_lr", "lr")


def check_optimizer(config: dict[str, Any]) -> bool:
    """Check an optimizer's config by building it for a layer of two units.

    Call this before the data and the model are built, which may take minutes.

    A process without other ranks also takes a trial step.

    Returns:
        Whether the optimizer needs the curvature of each step.

    Raises:
        UserError: for NaN among the arguments, arguments that the optimizer refuses, an
            optimizer that the trainer cannot step, or a schedule that it does not follow.
    """
    for key, value in config.items():
        if isinstance(value, float) and math.isnan(value):
            raise UserError(
                f"optimizer.{key}=nan is not a number; see {EXAMPLE_CONFIGS['optimizer']}"
            )
    with torch.random.fork_rng(devices=[]):
        optimizer = build_optimizer(config, nn.Linear(2, 2))
        Schedule(config, optimizer, steps=1)
        # With several ranks, rank 0 may be alone here, and an optimizer may wait for the others.
        if not dist.is_initialized():
            _check_step(config)
    return needs_curvature(optimizer)


def needs_curvature(optimizer: torch.optim.Optimizer) -> bool:
    """True if the optimizer has `set_curvature`, which gets ‖Hg‖ / ‖g‖ before each step."""
    return callable(getattr(optimizer, "set_curvature", None))


def build_optimizer(config: dict[str, Any], model: nn.Module) -> torch.optim.Optimizer:
    """Build the optimizer `_target_` of the config, with the config's other keys as its arguments.

    Raises:
        UserError: if it cannot be built, or if the trainer cannot step it.
    """
    label = factory_label("optimizer", config)
    optimizer = call_factory("optimizer", config, model.parameters())
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise UserError(
            f"{label} is not a torch.optim.Optimizer; see {EXAMPLE_CONFIGS['optimizer']}"
        )
    if required := _required_arguments(type(optimizer).step):
        raise UserError(
            f"{label} cannot be used: its step requires {', '.join(required)}; "
            "use an optimizer whose step takes no argument or a loss"
        )
    if not isinstance(optimizer.param_groups[0].get("lr"), int | float | Tensor):
        raise UserError(
            f"{label} cannot be used: its param_groups have no number 'lr', "
            "the rate that is recorded; let the optimizer set it"
        )
    return optimizer


def take_step(
    optimizer: torch.optim.Optimizer,
    loss: Tensor,
    ranks: Ranks | None = None,
    curvature: Tensor | None = None,
) -> tuple[Tensor | float, Tensor]:
    """Step on the gradients in `.grad`, without waiting for the device.

    An optimizer whose `step` has the argument `loss` gets the mean loss over all ranks.

    Args:
        loss: 0-dim, the mean over this rank's images.
        ranks: None is this process alone.
        curvature: ‖Hg‖ / ‖g‖, 0-dim, the same on all ranks, for an optimizer that needs it.

    Returns:
        The rate that was used and ‖g‖². Tensors are 0-dim on the device. ‖g‖² is the optimizer's
        own if its param_groups hold it, as CLR's do, so that the gradients are read once.
    """
    group = optimizer.param_groups[0]
    norm_sq = None
    if "grad_norm_sq" not in group:
        gradients = [p.grad for g in optimizer.param_groups for p in g["params"]]
        norm_sq = grad_norm_sq([gradient for gradient in gradients if gradient is not None])
    if curvature is not None:
        optimizer.set_curvature(curvature)  # type: ignore[attr-defined]
    if _takes_loss(type(optimizer).step):
        if ranks is not None and not isinstance(optimizer, CLR):  # CLR averages the loss itself
            loss = ranks.mean(loss.detach().to(torch.float64, copy=True)).to(loss.dtype)
        optimizer.step(loss=loss)  # type: ignore[call-overload]
    else:
        optimizer.step()
    rate = next(group[key] for key in _RATE_KEYS if key in group)
    return rate, group["grad_norm_sq"] if norm_sq is None else norm_sq


def _check_step(config: dict[str, Any]) -> None:
    """Take a trial step; if it fails, find out whether the optimizer has needs that are not met.

    Other failures are left to the training, where they have a traceback and a run.

    Raises:
        UserError: if the optimizer can step only with a closure, or only with sparse gradients, or
            if it does not follow the config's schedule.
    """
    if _trial_step_works(config):
        return
    needs = {
        "a closure, and the trainer computes each gradient once": {"with_closure": True},
        "sparse gradients, and those of the models are dense": {"sparse": True},
    }
    for need, trial in needs.items():
        if _trial_step_works(config, **trial):
            label = factory_label("optimizer", config)
            raise UserError(f"{label} cannot be used: its step requires {need}; use another one")


def _trial_step_works(
    config: dict[str, Any], with_closure: bool = False, sparse: bool = False
) -> bool:
    """Return whether two steps succeed."""
    model = nn.Embedding(2, 2, sparse=True) if sparse else nn.Linear(2, 2)
    inputs = torch.tensor([0]) if sparse else torch.ones(1, 2)
    optimizer = build_optimizer(config, model)
    schedule = Schedule(config, optimizer, steps=2)
    step: Callable[..., Any] = optimizer.step

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss: Tensor = model(inputs).square().mean()
        loss.backward()
        return loss.detach()

    try:
        set_optimizer_mode(optimizer, training=True)
        for _ in range(2):
            if with_closure:
                step(torch.enable_grad()(closure))
            elif sparse:
                closure()
                step()
            else:
                loss = closure()
                curvature = torch.ones(()) if needs_curvature(optimizer) else None
                take_step(optimizer, loss, curvature=curvature)
                schedule.after_step()
    except UserError:
        raise
    except Exception:
        return False
    return True


@cache
def _takes_loss(step: Callable[..., Any]) -> bool:
    return "loss" in inspect.signature(step).parameters


def _required_arguments(step: Callable[..., Any]) -> list[str]:
    """Return the arguments of `step` without a default, except for `self` and `loss`."""
    parameters = list(inspect.signature(step).parameters.values())[1:]
    optional_kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [
        parameter.name
        for parameter in parameters
        if parameter.default is inspect.Parameter.empty
        and parameter.kind not in optional_kinds
        and parameter.name != "loss"
    ]
