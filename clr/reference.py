"""Reference implementation of CLR: the formula and nothing else, for reading and for tests."""

import math

import torch


class ReferenceCLR(torch.optim.Optimizer):
    """θ ← θ − min(h, max_lr) g with h = (E − f*) / ‖g‖², in float64, then rounded."""

    def __init__(self, params, f_star=0.0, max_lr=math.inf):  # type: ignore[no-untyped-def]
        super().__init__(params, {"f_star": f_star, "max_lr": max_lr})

    @torch.no_grad()
    def step(self, loss):  # type: ignore[no-untyped-def, override]
        params = [
            (g["max_lr"], p) for g in self.param_groups for p in g["params"] if p.grad is not None
        ]
        norm_sq = sum(float(p.grad.double().square().sum()) for _, p in params)
        gap = float(loss) - self.param_groups[0]["f_star"]
        if not math.isfinite(gap + norm_sq):
            return  # skip the step
        h = gap / norm_sq if gap > 0 and norm_sq > 0 else 0.0
        for max_lr, p in params:
            p.copy_(p.double() - min(h, max_lr) * p.grad.double())
