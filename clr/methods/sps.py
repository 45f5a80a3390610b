"""The stochastic Polyak step size with a cap (SPS_max)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch.distributed as dist

from clr.methods.polyak import PolyakSGD


class SPSMax(PolyakSGD):
    """Gradient descent whose rate is the bounded stochastic Polyak step size.

        h = min((E − f*) / (c‖g‖²), max_lr)

    CLR is the case c = 1. With `cap_growth` = 2 ** (batch size / images) and without `max_lr` it is
    the smoothed version: the cap is `cap_growth` times the previous rate.

    Args:
        params, f_star, max_lr, process_group: as for `CLR`.
        c, cap_growth: as for `PolyakSGD`.

    References:
        Loizou et al., "Stochastic Polyak step-size for SGD: an adaptive learning rate for fast
        convergence", 2021 (arXiv 2002.10542). c = 1/2 is the default of the authors' code.

    Raises:
        TypeError, ValueError: as `PolyakSGD`.
    """

    def __init__(
        self,
        params: Iterable[Any],
        c: float = 0.5,
        max_lr: float | None = None,
        cap_growth: float | None = None,
        f_star: float = 0.0,
        process_group: dist.ProcessGroup | None = None,
    ) -> None:
        super().__init__(
            params,
            f_star=f_star,
            max_lr=max_lr,
            process_group=process_group,
            c=c,
            cap_growth=cap_growth,
        )
