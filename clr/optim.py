"""The Corridor Learning Rate: gradient descent whose rate is the Polyak step size at E* = 0.

    h(θ) = (E(θ) − f*) / ‖g(θ)‖²,   θ ← θ − min(h, max_lr) g(θ)

Source: Dherin & Rosca, "Corridor Geometry in Gradient-Based Optimization" (arXiv 2402.08818), with f* = 0; inside a
corridor (H g = 0) the loss falls linearly along −g and h is the step at which it reaches f*.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

# A float32 sum of squares over one long row loses 3e-3 on the CPU; over rows of this length, added in float64, 1e-8.
_ROW = 4096


class CLR(torch.optim.Optimizer):
    """Corridor Learning Rate.

    Args:
        params: parameters or parameter groups. The norm ‖g‖ is one over all of them, and so is the rate.
        f_star: the loss's infimum E*, in the loss's units. Assumed 0, as in the paper; label smoothing or weight decay
            inside the loss break that. A loss at or below `f_star` gives rate 0, never a step uphill.
        max_lr: cap on the rate; None is no cap. The paper caps ImageNet at 10. May differ between groups.
        process_group: ranks over which the gradients are averaged; the loss is averaged over the same ones. None is
            the default group once `torch.distributed` is initialised.

    Every step sets, in each `param_groups[i]`, 0-dim tensors on the parameters' device: `lr`, the rate really used;
    `grad_norm_sq`, ‖g‖²; `skipped`, how many steps so far met a non-finite loss or norm and left the parameters alone.
    Reading them (`.item()`) is the only synchronisation with the device; the step itself makes none on CUDA.

    Schedulers have no effect: the rate is set anew at each step.

    Raises:
        ValueError: for a negative `max_lr`, an `lr` among the arguments, complex or sharded (DTensor) parameters.
        RuntimeError: in `step`, for sparse gradients.
    """

    def __init__(
        self,
        params: Iterable[Any],
        f_star: float = 0.0,
        max_lr: float | None = None,
        process_group: dist.ProcessGroup | None = None,
    ) -> None:
        if not math.isfinite(f_star):
            raise ValueError(f"f_star must be finite, got {f_star}")
        self.process_group = process_group
        super().__init__(params, {"f_star": f_star, "max_lr": max_lr})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        if "lr" in param_group:
            raise ValueError("CLR computes its rate: a group takes no lr; use max_lr to bound it")
        if param_group.get("f_star", self.defaults["f_star"]) != self.defaults["f_star"]:
            raise ValueError("f_star belongs to the loss, not to a group: it must be the same in all groups")
        max_lr = param_group.get("max_lr", self.defaults["max_lr"])
        if max_lr is not None and not max_lr >= 0:
            raise ValueError(f"max_lr must be None or at least 0, got {max_lr}")
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        for p in group["params"]:
            if p.is_complex() or hasattr(p, "device_mesh"):
                raise ValueError("CLR takes real, unsharded parameters (no complex ones, no DTensor)")
        device = group["params"][0].device if group["params"] else None
        group["lr"] = torch.zeros((), dtype=_rate_dtype(device), device=device)
        group["grad_norm_sq"] = torch.zeros_like(group["lr"])
        # A group that joins late shares the count of the others.
        group["skipped"] = self.param_groups[0].get("skipped", torch.zeros((), dtype=torch.int64, device=device))

    @torch.no_grad()
    def step(  # type: ignore[override]
        self, closure: Callable[[], Tensor | float] | None = None, *, loss: Tensor | float | None = None
    ) -> Tensor | float:
        """Take one step; returns this rank's loss as it was given.

        Args:
            closure: computes the loss, calls `backward` and returns the loss; it runs with gradients enabled.
            loss: or the loss itself, whose gradients are in `p.grad`: 0-dim tensor or float. Under gradient
                accumulation the mean over the micro-batches; under `torch.amp.GradScaler` the unscaled loss
                (`scaler.step(optimizer, loss=loss.detach())`).
        """
        if (closure is None) == (loss is None):
            raise ValueError("CLR needs the loss of this step: call step(closure) or step(loss=loss), one of them")
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        assert loss is not None

        params = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        grads = [p.grad for p in params]
        if any(g.is_sparse for g in grads):
            raise RuntimeError("CLR does not support sparse gradients: make the embedding with sparse=False")
        device = params[0].device if params else self.param_groups[0]["params"][0].device
        energy = self._global_mean(loss, device)
        norm_sq = grad_norm_sq(grads) if grads else torch.zeros_like(energy)

        gap = energy - self.defaults["f_star"]
        skip = ~(gap.isfinite() & norm_sq.isfinite())
        # Written with `where` because clamp and min pass a nan on. A gap or a norm of 0 gives rate 0.
        h = torch.where(skip | (gap <= 0) | (norm_sq == 0), 0.0, gap / norm_sq)
        skipped = self.param_groups[0]["skipped"].to(device) + skip
        for group in self.param_groups:
            lr = h if group["max_lr"] is None else h.clamp(max=group["max_lr"])
            group["lr"] = lr.to(_rate_dtype(device))
            group["grad_norm_sq"], group["skipped"] = norm_sq, skipped
            _descend([p for p in group["params"] if p.grad is not None], group["lr"], skip)
        return loss

    def _global_mean(self, loss: Tensor | float, device: torch.device) -> Tensor:
        """The loss as a 0-dim tensor on `device`, averaged over the ranks as the gradients are."""
        dtype = _sum_dtype(device)
        if isinstance(loss, Tensor):
            if loss.numel() != 1:
                raise ValueError(f"the loss must be one number, got a tensor of shape {tuple(loss.shape)}")
            energy = loss.detach().reshape(()).to(device, dtype)
        else:
            energy = torch.full((), float(loss), dtype=dtype, device=device)
        if dist.is_available() and dist.is_initialized():
            world = dist.get_world_size(self.process_group)
            if world > 1:
                energy = energy.clone()
                dist.all_reduce(energy, group=self.process_group)
                energy /= world
        return energy


@torch.no_grad()
def grad_norm_sq(grads: Sequence[Tensor]) -> Tensor:
    """‖g‖² over all of `grads` (any shapes, at least one), as a 0-dim float64 tensor on the first one's device.

    Within 1e-6 (relative) of a sum in float64, in one pass over the gradients and without copies of their size.
    """
    by_device: dict[torch.device, list[Tensor]] = defaultdict(list)
    for g in grads:
        by_device[g.device].append(g)
    first = grads[0].device
    total = torch.zeros((), dtype=_sum_dtype(first), device=first)
    for device, gs in by_device.items():
        norms: list[Tensor] = []
        if device.type == "cpu":
            for g in gs:
                flat, dtype = _flat(g), torch.promote_types(g.dtype, torch.float32)
                whole = flat.numel() // _ROW * _ROW
                if whole:
                    norms.append(torch.linalg.vector_norm(flat[:whole].view(-1, _ROW), dim=1, dtype=dtype).double())
                if whole < flat.numel():
                    norms.append(torch.linalg.vector_norm(flat[whole:], dtype=dtype).double().view(1))
            partial = torch.cat(norms) if norms else total.new_zeros(1)
        else:
            by_dtype: dict[torch.dtype, list[Tensor]] = defaultdict(list)
            for g in gs:
                by_dtype[torch.promote_types(g.dtype, torch.float32)].append(g)
            for dtype, same in by_dtype.items():
                norms += torch._foreach_norm(same, 2, dtype=dtype)
            partial = torch.stack([n.to(_sum_dtype(device)) for n in norms])
        total += partial.square().sum().to(total)
    return total


def _flat(g: Tensor) -> Tensor:
    """`g` as one row in the order of its memory: a view wherever its elements lie without gaps."""
    return g.permute(sorted(range(g.dim()), key=g.stride, reverse=True)).reshape(-1)


def _descend(params: list[Tensor], lr: Tensor, skip: Tensor) -> None:
    """p ← p − lr · p.grad, unless `skip` (0-dim bool), with neither a temporary nor a look at the device's values."""
    fused: dict[tuple[torch.device, torch.dtype], tuple[list[Tensor], list[Tensor]]] = defaultdict(lambda: ([], []))
    for p in params:
        g = p.grad
        assert g is not None
        # The fused kernel walks both memories side by side, so it needs one layout without gaps.
        dense = p.is_contiguous() or (p.dim() == 4 and p.is_contiguous(memory_format=torch.channels_last))
        if dense and p.stride() == g.stride() and g.dtype == p.dtype:
            ps, gs = fused[p.device, p.dtype]
            ps.append(p)
            gs.append(g)
        else:
            p.copy_(torch.where(skip.to(p.device), p, p - lr.to(p.device, p.dtype) * g))
    for (device, _), (ps, gs) in fused.items():
        torch._fused_sgd_(
            ps,
            gs,
            [],
            weight_decay=0.0,
            momentum=0.0,
            lr=lr.to(device),
            dampening=0.0,
            nesterov=False,
            maximize=False,
            is_first_step=False,
            found_inf=skip.to(device, torch.float32),
        )


def _sum_dtype(device: torch.device | None) -> torch.dtype:
    """Sums and quotients are made in float64 where the device has it."""
    return torch.float64 if device is None or device.type in ("cpu", "cuda") else torch.float32


def _rate_dtype(device: torch.device | None) -> torch.dtype:
    """float64 on the CPU; float32 elsewhere, which is what the fused kernels read there."""
    return torch.float64 if device is None or device.type == "cpu" else torch.float32
