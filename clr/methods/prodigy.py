"""Prodigy, of the package prodigyopt, with the rate that it used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import prodigyopt


class Prodigy(prodigyopt.Prodigy):
    """Adam whose learning rate is an estimate d of the distance to the solution.

    The step is −d · lr · m / (√v + d · eps), with the d from before the step. The package keeps the
    d from after it; this class keeps the rate that was used as `used_lr` in each of the
    `param_groups`: d · lr, times Adam's bias correction where that is turned on, and 0 for a step
    that was not taken because all gradients so far are 0.

    Args:
        params: parameters or parameter groups.
        arguments: those of `prodigyopt.Prodigy`; its `lr` is 1, and a schedule multiplies it.

    References:
        Mishchenko & Defazio, "Prodigy: an expeditiously adaptive parameter-free learner", 2023
        (arXiv 2306.06101), algorithm 4.
    """

    def __init__(self, params: Any, **arguments: Any) -> None:
        super().__init__(params, **arguments)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step on the gradients in `.grad`. The host waits for the device."""
        group = self.param_groups[0]
        k, (beta1, beta2) = group["k"], group["betas"]
        rate = group["d"] * max(g["lr"] for g in self.param_groups)
        if group["use_bias_correction"]:
            rate *= (1 - beta2 ** (k + 1)) ** 0.5 / (1 - beta1 ** (k + 1))
        loss = super().step(closure)
        for g in self.param_groups:
            g["used_lr"] = rate if group["k"] > k and g["lr"] > 0 else 0.0
        return loss
