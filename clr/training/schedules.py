"""Learning-rate schedules: the key `schedule` of an optimizer's config, applied by the trainer."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from clr.errors import UserError
from clr.training.factories import factory_label
from clr.training.modes import has_modes


class Schedule:
    """The schedule of a run. It multiplies the optimizer's learning rate by a factor at each step.

    It has no state in checkpoints: the number of steps taken determines it.

    Args:
        config: the optimizer's config, as `TrainConfig` holds it; without `schedule`, nothing
            happens.
        optimizer: built from it. When a run resumes, its state is that of the checkpoint.
        steps: number of steps of the whole run.
        steps_taken: number of steps that are done.

    Raises:
        UserError: if the optimizer computes its own rate, or averages its parameters.
    """

    def __init__(
        self,
        config: dict[str, Any],
        optimizer: torch.optim.Optimizer,
        steps: int,
        steps_taken: int = 0,
    ) -> None:
        self._optimizer, self._label = optimizer, factory_label("optimizer", config)
        self._scheduler: LambdaLR | None = None
        if "schedule" not in config:
            return
        if has_modes(optimizer):
            raise self._refusal("averages its parameters over the steps in place of a schedule")
        if isinstance(optimizer.param_groups[0]["lr"], Tensor):
            raise self._refusal("computes the rate of each step itself")
        factor = _warmup_cosine(config["schedule"]["warmup_fraction"], steps)
        self._scheduler = LambdaLR(optimizer, factor, last_epoch=steps_taken - 1)

    def after_step(self) -> None:
        """Set the rate of the next step.

        Raises:
            UserError: if the step has replaced the rate that the schedule had set.
        """
        if self._scheduler is None:
            return
        rates = [group["lr"] for group in self._optimizer.param_groups]
        are_tensors = any(isinstance(rate, Tensor) for rate in rates)
        if are_tensors or rates != self._scheduler.get_last_lr():
            raise self._refusal("computes the rate of each step itself")
        self._scheduler.step()

    def _refusal(self, reason: str) -> UserError:
        return UserError(
            f"optimizer.schedule cannot be used with {self._label}, which {reason}; remove it"
        )


def _warmup_cosine(warmup_fraction: float, steps: int) -> Callable[[int], float]:
    """Factor of the rate after N steps: linear from almost 0 to 1, then half a cosine to 0.

    Args:
        warmup_fraction: the share of the steps before the factor is 1, at least 0 and below 1.
        steps: number of steps of the run; the factor of a step after the last would be 0.
    """
    warmup = min(round(warmup_fraction * steps), steps - 1)

    def factor(steps_taken: int) -> float:
        if steps_taken < warmup:
            return (steps_taken + 1) / (warmup + 1)
        return 0.5 * (1 + math.cos(math.pi * (steps_taken - warmup) / (steps - warmup)))

    return factor
