"""The non-negative Gauss-Newton step (NGN)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch.distributed as dist
from torch import Tensor

from clr.optim import CLR
from clr.step.arguments import positive


class NGN(CLR):
    """Gradient descent whose rate is the non-negative Gauss-Newton step.

        h = c / (1 + c‖g‖² / (2(E − f*)))

    It is the harmonic mean of c/2 and the rate of CLR: below c, and below twice the rate of CLR.

    Args:
        params, f_star, process_group: as for `CLR`.
        c: upper bound of the rate; the paper calls it σ.

    State, skipped steps: as for `CLR`. `c` is in the `param_groups`, the same in all of them.

    References:
        Orvieto & Xiao, "An adaptive stochastic gradient method with non-negative Gauss-Newton
        stepsizes", 2024 (arXiv 2407.04358).

    Raises:
        ValueError: for `c` that is not finite and positive, and as `CLR`.
    """

    _group_keys = (*CLR._group_keys, "c")
    _shared_keys = (*CLR._shared_keys, "c")

    def __init__(
        self,
        params: Iterable[Any],
        c: float = 1.0,
        f_star: float = 0.0,
        process_group: dist.ProcessGroup | None = None,
    ) -> None:
        self._hyperparameters = {"c": positive("c", c)}
        super().__init__(params, f_star=f_star, process_group=process_group)

    def _rate(self, gap: Tensor, norm_sq: Tensor) -> Tensor:
        c = self._shared("c")
        return c / (1 + norm_sq * c / (2 * gap))
