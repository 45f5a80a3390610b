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
            raise ValueError(
                "f_star belongs to the loss, not to a group: it must be the same in all groups"
            )
        max_lr = param_group.get("max_lr", self.defaults["max_lr"])
        if max_lr is not None and not max_lr >= 0:
            raise ValueError(f"max_lr must be None or at least 0, got {max_lr}")
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        for p in group["params"]:
            if p.is_complex() or hasattr(p, "device_mesh"):
                raise ValueError(
                    "CLR takes real, unsharded parameters (no complex ones, no DTensor)"
                )
        device = group["params"][0].device if group["params"] else None
        group["lr"] = torch.zeros((), dtype=_rate_dtype(device), device=device)
        group["grad_norm_sq"] = torch.zeros_like(group["lr"])
        # A group that joins late shares the count of the others.
        group["skipped"] = self.param_groups[0].get(
            "skipped", torch.zeros((), dtype=torch.int64, device=device)
        )

    @torch.no_grad()
    def step(  # type: ignore[override]
        self,
        closure: Callable[[], Tensor | float] | None = None,
        *,
        loss: Tensor | float | None = None,
    ) -> Tensor | float:
        """Take one step; returns this rank's loss as it was given.

        Args:
            closure: computes the loss, calls `backward` and returns the loss; it runs with gradients enabled.
            loss: or the loss itself, whose gradients are in `p.grad`: 0-dim tensor or float. Under gradient
                accumulation the mean over the micro-batches; under `torch.amp.GradScaler` the unscaled loss
                (`scaler.step(optimizer, loss=loss.detach())`).
        """
        if (closure is None) == (loss is None):
            raise ValueError(
                "CLR needs the loss of this step: call step(closure) or step(loss=loss), one of them"
            )
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        assert loss is not None

        # All that is looked up in Python comes before the norm, whose long read empties the caches.
        updates = [_Update(group["params"]) for group in self.param_groups]
        alike = [gs for update in updates for gs in update.alike()]
        device = alike[0][0].device if alike else self.param_groups[0]["params"][0].device
        gap = self._global_mean(loss, device) - self.defaults["f_star"]
        norm_sq = _sum([_norm(gs).square() for gs in alike]) if alike else torch.zeros_like(gap)
        skip = ((gap + norm_sq) * 0).isnan()  # nan or infinite
        # A norm of 0 or a number that is not finite gives rate 0 before the clamp, which would pass a nan on.
        h = (gap / norm_sq).nan_to_num_(0.0, 0.0, 0.0).clamp_(min=0)
        skipped = self.param_groups[0]["skipped"].to(device) + skip
        for group, update in zip(self.param_groups, updates, strict=True):
            lr = h if group["max_lr"] is None else h.clamp(max=group["max_lr"])
            group["lr"] = lr.to(_rate_dtype(device))
            group["grad_norm_sq"], group["skipped"] = norm_sq, skipped
            update.descend(group["lr"], skip)
        return loss

    def _global_mean(self, loss: Tensor | float, device: torch.device) -> Tensor:
        """The loss as a 0-dim tensor on `device`, averaged over the ranks as the gradients are."""
        dtype = _sum_dtype(device)
        if isinstance(loss, Tensor):
            if loss.numel() != 1:
                raise ValueError(
                    f"the loss must be one number, got a tensor of shape {tuple(loss.shape)}"
                )
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
    by_dtype: dict[tuple[torch.device, torch.dtype], list[Tensor]] = defaultdict(list)
    for g in grads:
        by_dtype[g.device, g.dtype].append(g)
    return _sum([_norm(gs).square() for gs in by_dtype.values()])


def _sum(parts: Sequence[Tensor]) -> Tensor:
    """The sum of 0-dim tensors, on the device of the first."""
    total = parts[0]
    for part in parts[1:]:
        total = total + part.to(total)
    return total


def _norm(gs: list[Tensor]) -> Tensor:
    """‖g‖ over tensors of one device and dtype, 0-dim, in `_sum_dtype`: the norm of the norms of their parts."""
    device, dtype = gs[0].device, gs[0].dtype
    # Naming a dtype sends even float32 through a slower kernel: only for half precision.
    wide = None if dtype in (torch.float32, torch.float64) else torch.float32
    norms = (
        _row_norms(gs, wide)
        if device.type == "cpu"
        else torch.stack(torch._foreach_norm(gs, 2, wide))
    )
    return torch.linalg.vector_norm(norms, dtype=_sum_dtype(device))


def _row_norms(gs: list[Tensor], wide: torch.dtype | None) -> Tensor:
    """Norms of rows of at most `_ROW` elements that make up `gs`, on the CPU: shape (rows,)."""
    norms, rest = [], []
    for g in gs:
        n = g.numel()
        if n < _ROW:
            rest.append(g if g.dim() == 1 else g.reshape(-1))
            continue
        if not _dense(g):
            g = g.contiguous()
        if n % _ROW == 0 and g.is_contiguous():
            norms.append(torch.linalg.vector_norm(g.view(-1, _ROW), dim=1, dtype=wide))
            continue
        whole, start = n // _ROW * _ROW, g.storage_offset()
        norms.append(
            torch.linalg.vector_norm(
                g.as_strided((n // _ROW, _ROW), (_ROW, 1), start), dim=1, dtype=wide
            )
        )
        if whole < n:
            rest.append(g.as_strided((n - whole,), (1,), start + whole))
    if rest:
        # A copy, but of less than a row from each gradient, and far cheaper than a kernel for each.
        norms.append(torch.linalg.vector_norm(torch.cat(rest), dtype=torch.float64).view(1))
    return torch.cat(norms)


def _dense(x: Tensor) -> bool:
    """Whether the elements of `x` lie in memory without gaps, in either of the usual orders."""
    return x.is_contiguous() or (
        x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
    )


class _Update:
    """p ← p − lr · g for the parameters that have a gradient, without a temporary wherever their memories match."""

    def __init__(self, params: Sequence[Tensor]) -> None:
        self._fused: dict[tuple[torch.device, torch.dtype], tuple[list[Tensor], list[Tensor]]] = {}
        self._odd: list[tuple[Tensor, Tensor]] = []
        ps: list[Tensor] = []
        gs: list[Tensor] = []
        place: tuple[int, torch.dtype] | None = None
        for p in params:
            if (g := p.grad) is None:
                continue
            if g.is_sparse:
                raise RuntimeError(
                    "CLR does not support sparse gradients: make the embedding with sparse=False"
                )
            # The fused kernel walks both memories side by side, so it needs one layout without gaps.
            alike = (p.is_contiguous() and g.is_contiguous()) or (
                p.stride() == g.stride() and _dense(p)
            )
            if not alike or p.dtype != g.dtype:
                self._odd.append((p, g))
                continue
            if place != (p.get_device(), p.dtype):  # nearly always that of the parameter before
                place = (p.get_device(), p.dtype)
                ps, gs = self._fused.setdefault((p.device, p.dtype), ([], []))
            ps.append(p)
            gs.append(g)

    def alike(self) -> list[list[Tensor]]:
        """The gradients, in lists of one device and dtype each."""
        return [gs for _, gs in self._fused.values()] + [[g] for _, g in self._odd]

    def descend(self, lr: Tensor, skip: Tensor) -> None:
        """Make the step unless `skip` (0-dim bool), without a look at the device's values."""
        for p, g in self._odd:
            p.copy_(torch.where(skip.to(p.device), p, p - lr.to(p.device, p.dtype) * g))
        for (device, _), (ps, gs) in self._fused.items():
            # From the last to the first: the norm was read from the first to the last, so that caches hold the end.
            torch._fused_sgd_(
                ps[::-1],
                gs[::-1],
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
