"""Distance over Gradients (DoG): SGD whose rate is the distance moved over the gradients seen."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from clr.step.grad_norm import grad_norm_sq, sum_dtype


class DoG(torch.optim.Optimizer):
    """SGD with the rate of DoG, and the average of its steps for evaluation.

    With the first parameters θ₀ and the gradient g of each step, the rate of step t, from 0, is

        η = max(r, ‖θᵢ − θ₀‖ for i ≤ t) / √(Σ ‖gᵢ‖² for i ≤ t + eps),    r = reps_rel · (1 + ‖θ₀‖)

    Norms are over all parameters of all groups. The average after step t, from 1, is

        θ̄ ← (1 − w) θ̄ + w θ,    w = (1 + γ) / (t + γ)

    `eval()` puts θ̄ into the parameters and `train()` puts θ back, both to the bit.

    Args:
        params: parameters or parameter groups.
        reps_rel: the paper's factor of the first step's length; its authors use 1e-4 for networks
            with batch norm.
        eps: added to the sum of squares.
        gamma: γ, at least 0; the larger it is, the more the last steps count.

    State:
        After a step each of the `param_groups` holds 0-dim tensors: `lr`, the rate that was used;
        `grad_norm_sq`, ‖g‖²; `distance` and `grad_sq_sum`, the maximum and the sum above. `state`
        holds θ₀ as `start`, and θ̄ as `average` in training and θ in evaluation.

    References:
        Ivgi, Hinder & Carmon, "DoG is SGD's best friend", 2023 (arXiv 2302.12022): equations (1)
        and (2), and the averaging of their experiments.

    Raises:
        ValueError: for arguments out of range.
        RuntimeError: for a step in evaluation.
    """

    def __init__(
        self,
        params: Iterable[Any],
        reps_rel: float = 1e-6,
        eps: float = 1e-8,
        gamma: float = 8.0,
    ) -> None:
        for name, value in {"reps_rel": reps_rel, "eps": eps}.items():
            if not 0 < value < math.inf:
                raise ValueError(f"{name} must be a finite number above 0, got {value}")
        if not 0 <= gamma < math.inf:
            raise ValueError(f"gamma must be a finite number of at least 0, got {gamma}")
        self._arguments = {"reps_rel": reps_rel, "eps": eps, "gamma": gamma}
        super().__init__(params, {"lr": 0.0, "steps_taken": 0, "training": True})
        for group in self.param_groups:  # a tensor, as after a step
            device = group["params"][0].device if group["params"] else torch.device("cpu")
            group["lr"] = torch.zeros((), dtype=sum_dtype(device), device=device)

    @torch.no_grad()
    def step(  # type: ignore[override]
        self, closure: Callable[[], Tensor] | None = None
    ) -> Tensor | None:
        """Take one step on the gradients in `.grad`, without waiting for the device."""
        group = self.param_groups[0]
        if not group["training"]:
            raise RuntimeError("DoG is in evaluation: call train() before step()")
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        params = [p for group in self.param_groups for p in group["params"]]
        gradients = [p.grad for p in params if p.grad is not None]
        if not gradients:
            return loss

        # 1. The rate.
        norm_sq = grad_norm_sq(gradients)
        distance, grad_sq_sum = self._sums(params, norm_sq)
        rate = distance / grad_sq_sum.sqrt()

        # 2. The step, and the average.
        steps_taken = group["steps_taken"] + 1
        gamma = self._arguments["gamma"]
        weight = (1 + gamma) / (steps_taken + gamma)
        for p in params:
            if p.grad is not None:
                p.addcmul_(p.grad, rate.to(p), value=-1)
            self.state[p]["average"].lerp_(p, weight)
        for group in self.param_groups:
            group.update(lr=rate.clone(), grad_norm_sq=norm_sq.clone(), steps_taken=steps_taken)
            group.update(distance=distance.clone(), grad_sq_sum=grad_sq_sum.clone())
        return loss

    def train(self) -> None:
        """Put the parameters of the last step in place; `step` needs them."""
        self._switch(training=True)

    def eval(self) -> None:
        """Put the average of the steps in place, for evaluation."""
        self._switch(training=False)

    def _sums(self, params: list[Tensor], norm_sq: Tensor) -> tuple[Tensor, Tensor]:
        """The largest distance from the start and the sum of squared gradients, with this step."""
        group = self.param_groups[0]
        if group["steps_taken"] == 0:
            for p in params:
                self.state[p]["start"], self.state[p]["average"] = p.clone(), p.clone()
            start_norm = grad_norm_sq(params).sqrt()
            return self._arguments["reps_rel"] * (1 + start_norm), norm_sq + self._arguments["eps"]
        moved = grad_norm_sq([p - self.state[p]["start"] for p in params]).sqrt()
        distance = torch.maximum(group["distance"].to(moved), moved)
        return distance, group["grad_sq_sum"].to(norm_sq) + norm_sq

    @torch.no_grad()
    def _switch(self, training: bool) -> None:
        for group in self.param_groups:
            if group["training"] != training:
                for p in group["params"]:
                    if "average" in self.state[p]:
                        other = self.state[p]["average"]
                        kept = p.clone()
                        p.copy_(other)
                        other.copy_(kept)
                group["training"] = training
