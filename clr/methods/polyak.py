"""CLR with options: a scale, a cap that grows, momentum, weight decay, an estimate of f*."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from clr.methods.buffers import buffers
from clr.optim import CLR
from clr.step.arguments import in_range, positive
from clr.step.update import GroupUpdate, exceeds_kernel

_SHARED = ("c", "delta", "cap_growth", "momentum", "nesterov", "estimate_f_star")
_STATE = ("previous_rate", "f_star_rise")


class PolyakSGD(CLR):
    """CLR with options, all of them off by default. The numbers are then those of CLR to the bit.

        h = min((E − f*) / (c‖g‖² + δ), cap_growth · h', max_lr)
        v ← μ v − h g
        θ ← (θ + v) / (1 + hλ)               heavy ball
        θ ← (θ − h g + μ v) / (1 + hλ)       with `nesterov`

    where h' is the previous rate, μ is `momentum` and λ is `weight_decay`.

    Args:
        params, f_star, max_lr, process_group: as for `CLR`.
        c: scale of the squared norm; 1 is CLR and 0.5 doubles its rate.
        delta: δ, a constant that bounds the rate where ‖g‖² vanishes.
        cap_growth: bound of the ratio of successive rates, such as 2 ** (batch size / images), at
            least 1; None: no bound. The first rate is at most `cap_growth`. Where groups differ in
            `max_lr`, h' is the largest of their rates. Steps of rate 0 leave it as it is.
        momentum: μ, from 0 to below 1. A step that is skipped or has rate 0 leaves v as it is and
            moves nothing. A step beyond the arithmetic of fused kernels, such as along gradients of
            1e-20, is taken without momentum and leaves v as it is.
        nesterov: use the Nesterov form of the momentum.
        weight_decay: λ, one for each group. It is decoupled from E and g, and implicit, because
            1 − hλ may be negative where h is not bounded.
        estimate_f_star: use an estimate of f* that starts at `f_star` and never falls below it.
            After a step of rate h it is max(E − h‖g‖²/2, f_star). If the loss of a step is below
            it, the step uses the mean of E and `f_star`.

    State:
        In addition to that of `CLR`, each of the `param_groups` holds `previous_rate`, h', and
        `f_star_rise`, the estimate minus `f_star`: 0-dim tensors, of which those of the first group
        count. `state` holds v as `momentum`.

    References:
        * Polyak, "Some methods of speeding up the convergence of iteration methods", 1964: the
          heavy ball.
        * Loizou et al., 2021 (arXiv 2002.10542): c and `cap_growth`, with h' = 1 at first as in the
          authors' code.
        * Schaipp et al., "MoMo", 2024 (arXiv 2305.07583): the estimate of f*, here without
          averages, and the implicit weight decay, there with max_lr in place of h.

    Raises:
        ValueError: for hyperparameters out of range or, except `max_lr` and `weight_decay`, that
            differ between groups, and as `CLR`.
        TypeError: as `CLR`.
    """

    _group_keys = (*CLR._group_keys, *_SHARED, "weight_decay", *_STATE)
    _shared_keys = (*CLR._shared_keys, *_SHARED)

    def __init__(
        self,
        params: Iterable[Any],
        *,
        f_star: float = 0.0,
        max_lr: float | None = None,
        process_group: dist.ProcessGroup | None = None,
        c: float = 1.0,
        delta: float = 0.0,
        cap_growth: float | None = None,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        estimate_f_star: bool = False,
    ) -> None:
        self._hyperparameters = {
            "c": positive("c", c),
            "delta": in_range("delta", delta, 0),
            "cap_growth": None if cap_growth is None else in_range("cap_growth", cap_growth, 1),
            "momentum": in_range("momentum", momentum, 0, 1),
            "nesterov": bool(nesterov),
            "weight_decay": weight_decay,
            "estimate_f_star": bool(estimate_f_star),
        }
        super().__init__(params, f_star=f_star, max_lr=max_lr, process_group=process_group)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        decay = param_group.get("weight_decay", self.defaults["weight_decay"])
        param_group["weight_decay"] = in_range("weight_decay", decay, 0)
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        group["previous_rate"] = torch.ones_like(group["grad_norm_sq"])
        group["f_star_rise"] = torch.zeros_like(group["grad_norm_sq"])

    def _rate(self, gap: Tensor, norm_sq: Tensor) -> Tensor:
        first = self.param_groups[0]
        if self._shared("estimate_f_star"):
            rise = first["f_star_rise"].to(gap)
            gap = gap - torch.where(rise > gap, gap / 2, rise)
        h = gap / (norm_sq * self._shared("c") + self._shared("delta"))
        if growth := self._shared("cap_growth"):
            h = torch.minimum(h, first["previous_rate"].to(h) * growth)
        return h

    def _descend(
        self, updates: list[GroupUpdate], gap: Tensor, norm_sq: Tensor, length: Tensor
    ) -> None:
        super()._descend(updates, gap, norm_sq, length)
        if self._shared("cap_growth") or self._shared("estimate_f_star"):
            self._remember(gap, norm_sq)
        for group, update in zip(self.param_groups, updates, strict=True):
            if self._shared("momentum"):
                self._add_momentum(group, update, length)
            if group["weight_decay"]:
                update.scale(1 / (1 + group["lr"].plain() * group["weight_decay"]))

    def _create_buffers(self) -> None:
        if self._shared("momentum"):
            for group in self.param_groups:
                buffers(self, group, "momentum")

    def _remember(self, gap: Tensor, norm_sq: Tensor) -> None:
        """Keep the rate and the estimate of f* for the next step, unless the rate is 0."""
        h = torch.stack([group["lr"].plain() for group in self.param_groups]).amax()
        rise = (gap - h * norm_sq / 2).clamp(min=0)
        for group in self.param_groups:
            for key, value in {"previous_rate": h, "f_star_rise": rise}.items():
                group[key] = torch.where(h > 0, value, group[key].to(value))

    def _add_momentum(self, group: dict[str, Any], update: GroupUpdate, length: Tensor) -> None:
        """Update v, and add μ v to the parameters, which have taken the step −h g."""
        mu, h = self._shared("momentum"), group["lr"].plain()
        still = (h == 0) | exceeds_kernel(h, length, update.dtypes, h.device.type == "cpu")
        params, gradients, vs = buffers(self, group, "momentum")
        add_v = GroupUpdate(params, vs)
        if not self._shared("nesterov"):
            add_v.descend(torch.full_like(h, -mu), still)
        update_v = GroupUpdate(vs, gradients)
        update_v.scale(torch.full_like(h, mu).masked_fill_(still, 1.0))
        update_v.descend(h, still)
        if self._shared("nesterov"):
            add_v.descend(torch.full_like(h, -mu), still)
