"""The drift adjusted learning rate (DAL), which shrinks with the curvature along the gradient."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from clr.optim import CLR
from clr.step.arguments import positive
from clr.step.update import GroupUpdate


class DAL(CLR):
    """Gradient descent whose rate is the drift adjusted learning rate.

        h = min(2 / κ^power, max_lr)    with the curvature κ = ‖Hg‖ / ‖g‖

    In a corridor κ = 0 and the rate is `max_lr`. The rate does not depend on the loss, which is
    needed to skip steps as `CLR` does. The trainer of `clr.training` gives κ at each step, by a
    Hessian-vector product of the batch; in other code call `set_curvature` before `step`.

    Args:
        params, max_lr, process_group: as for `CLR`. The paper's cap is 5.
        power: the paper's p, above 0; it uses 1/2 and 1.

    State, skipped steps: as for `CLR`; a curvature that is not finite skips the step as well.
        `power` is in the `param_groups`, the same in all of them.

    References:
        Rosca, Wu, Qin & Dherin, "On a continuous time model of gradient descent dynamics and
        instability in deep learning", 2023 (arXiv 2302.01952).

    Raises:
        ValueError: for `power` that is not finite and positive; in `step`, without a curvature;
            and as `CLR`.
    """

    _group_keys = (*CLR._group_keys, "power")
    _shared_keys = (*CLR._shared_keys, "power")
    _curvature: Tensor | None = None

    def __init__(
        self,
        params: Iterable[Any],
        max_lr: float | None = 5.0,
        power: float = 0.5,
        process_group: dist.ProcessGroup | None = None,
    ) -> None:
        self._hyperparameters = {"power": positive("power", power)}
        super().__init__(params, max_lr=max_lr, process_group=process_group)

    @torch._disable_dynamo  # compiled code loses an attribute that it sets on an optimizer
    def set_curvature(self, curvature: Tensor | float) -> None:
        """Give ‖Hg‖ / ‖g‖ of the next step, 0-dim: of the loss over all ranks and micro-batches."""
        self._curvature = torch.as_tensor(curvature).detach()

    def _rate(self, gap: Tensor, norm_sq: Tensor) -> Tensor:
        return 2 / gap ** self._shared("power")

    def _descend(
        self, updates: list[GroupUpdate], gap: Tensor, norm_sq: Tensor, length: Tensor
    ) -> None:
        curvature, self._curvature = self._curvature, None
        if curvature is None:
            raise ValueError("DAL needs the curvature of this step: call set_curvature before step")
        # The curvature takes the place of E − f*, which has to be above 0 and finite for a step.
        curvature = curvature.to(gap).clamp(min=torch.finfo(gap.dtype).tiny)
        curvature = curvature.masked_fill(length == 0, 1.0)  # 0/0
        super()._descend(updates, curvature + gap * 0, norm_sq, length)
