"""Adaptive learning rates for interpolation with gradients (ALI-G)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch.distributed as dist

from clr.methods.polyak import PolyakSGD


class ALIG(PolyakSGD):
    """Gradient descent with the rate of ALI-G, and optionally Nesterov momentum.

        h = min((E − f*) / (‖g‖² + δ), max_lr),    v ← μ v − h g,    θ ← θ − h g + μ v

    Args:
        params, f_star, process_group: as for `CLR`.
        max_lr: upper bound of the rate, η in the paper; None: unbounded.
        delta: δ.
        momentum: μ, as for `PolyakSGD`; the paper uses 0.9 on images.

    References:
        Berrada, Zisserman & Kumar, "Training neural networks for and by interpolation", 2020
        (arXiv 1906.05661); δ and the form of the momentum are those of the authors' code.

    Raises:
        TypeError, ValueError: as `PolyakSGD`.
    """

    def __init__(
        self,
        params: Iterable[Any],
        max_lr: float | None = 0.1,
        delta: float = 1e-5,
        momentum: float = 0.0,
        f_star: float = 0.0,
        process_group: dist.ProcessGroup | None = None,
    ) -> None:
        options: dict[str, Any] = {"delta": delta, "momentum": momentum, "nesterov": True}
        super().__init__(
            params, f_star=f_star, max_lr=max_lr, process_group=process_group, **options
        )
