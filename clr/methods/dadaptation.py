"""D-Adaptation for SGD, of the package dadaptation, with the rate that it used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dadaptation
import torch


class DAdaptSGD(dadaptation.DAdaptSGD):
    """SGD whose learning rate is an estimate d of the distance to the solution over ‖g₀‖.

    With the first gradient g₀ and the d from before the step, a step is

        λ = d · lr / ‖g₀‖,    z ← z − λ g,    θ ← β θ + (1 − β) z

    The package keeps d alone; this class keeps λ as `used_lr` in each of the `param_groups`. In
    addition, steps before the first gradient that is not 0 do nothing; the package divides by 0.

    Args:
        params: parameters or parameter groups.
        momentum: β.
        arguments: further ones of `dadaptation.DAdaptSGD`; its `lr` is 1, and a schedule multiplies
            it.

    References:
        Defazio & Mishchenko, "Learning-rate-free learning by D-Adaptation", 2023
        (arXiv 2301.07733), algorithm 4.
    """

    def __init__(self, params: Any, **arguments: Any) -> None:
        super().__init__(params, **arguments)
        for group in self.param_groups:
            group["g0_norm"] = 0.0  # read from the first step that is taken

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step on the gradients in `.grad`. The host waits for the device."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        group, rate = self.param_groups[0], 0.0
        if group["k"] > 0 or self._has_gradient():
            rate = group["d"] * max(g["lr"] for g in self.param_groups)
            super().step()
            rate /= group["g0_norm"]
        else:
            self._create_state()
        for g in self.param_groups:
            g["used_lr"] = rate if g["lr"] > 0 else 0.0
        return loss

    def _create_state(self) -> None:
        """Create the state without a step, for `torch.distributed.checkpoint`."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    start = p.detach().clone()
                    self.state[p].update(z=start.clone(), s=torch.zeros_like(start), x0=start)

    def _has_gradient(self) -> bool:
        params = (p for group in self.param_groups for p in group["params"])
        return any(p.grad is not None and bool(p.grad.any()) for p in params)
