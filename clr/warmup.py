"""CLR with a cap that warms up, so that the first steps are short."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch.distributed as dist
from torch import Tensor

from clr.optim import CLR
from clr.step.update import GroupUpdate


class CLRWarmup(CLR):
    """CLR whose cap grows linearly over the first steps.

    With h, the rate of `CLR`, step t (counted from 1) has the rate

        min(h, max_lr · min(1, t / warmup_steps))

    A network that starts with zeros in its last layer has a small gradient, and the first steps of
    CLR are long there. After the warm-up the rate is that of `CLR` with the cap `max_lr`.

    Examples:
        >>> import torch
        >>> from clr.warmup import CLRWarmup
        >>> p = torch.nn.Parameter(torch.ones(1))
        >>> optimizer = CLRWarmup([p], max_lr=0.3, warmup_steps=3)
        >>> for step in range(4):
        ...     optimizer.zero_grad()
        ...     loss = p.square().sum()
        ...     loss.backward()
        ...     _ = optimizer.step(loss=loss)
        ...     print(f"rate {optimizer.param_groups[0]['lr'].item():.2f}")
        rate 0.10
        rate 0.20
        rate 0.25
        rate 0.25

    Args:
        params, f_star, process_group: as for `CLR`.
        max_lr: cap after the warm-up, one for each group. None is refused.
        warmup_steps: number of steps until the cap is `max_lr`, at least 1.

    State:
        In addition to those of `CLR`, each of the `param_groups` holds `final_max_lr`, the cap
        after the warm-up; `warmup_steps`; and `steps_taken`, which counts skipped steps as well.
        `max_lr` is the cap of the last step, and each step overwrites it: to schedule the cap,
        assign to `final_max_lr`.

    Raises:
        ValueError: for `max_lr=None`, `warmup_steps` below 1, and as `CLR`.
        TypeError: for `warmup_steps` that is not an integer, and as `CLR`.
    """

    _group_keys = (*CLR._group_keys, "final_max_lr", "warmup_steps", "steps_taken")

    def __init__(
        self,
        params: Iterable[Any],
        max_lr: float,
        warmup_steps: int,
        f_star: float = 0.0,
        process_group: dist.ProcessGroup | None = None,
    ) -> None:
        self._warmup_steps = warmup_steps  # of the groups in `params`, until the first is added
        super().__init__(params, f_star=f_star, max_lr=max_lr, process_group=process_group)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        first = self.param_groups[0] if self.param_groups else {"warmup_steps": self._warmup_steps}
        warmup_steps = _step_count(param_group.get("warmup_steps", first["warmup_steps"]))
        if param_group.get("max_lr", self.defaults["max_lr"]) is None:
            raise ValueError("CLRWarmup needs a cap to warm up; set max_lr, or use CLR without one")
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        group["final_max_lr"], group["warmup_steps"] = group["max_lr"], warmup_steps
        group["steps_taken"] = first.get("steps_taken", 0)

    def _descend(
        self, updates: list[GroupUpdate], gap: Tensor, norm_sq: Tensor, length: Tensor
    ) -> None:
        for group in self.param_groups:
            share = min(1.0, (group["steps_taken"] + 1) / group["warmup_steps"])
            group["max_lr"] = group["final_max_lr"] * share
        super()._descend(updates, gap, norm_sq, length)
        for group in self.param_groups:
            group["steps_taken"] += 1


def _step_count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"warmup_steps must be an integer, got {value!r}")
    if value < 1:
        raise ValueError(f"warmup_steps must be at least 1, got {value}")
    return value
