"""The update p ← p − lr · g of one parameter group, in place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from clr.step.grad_norm import is_dense, norm, total
from clr.step.rate import rate_dtype

# The smallest positive float32, and the largest.
TINY, HUGE = 2.0**-149, torch.finfo(torch.float32).max


class Kind(NamedTuple):
    """Properties that tensors of one fused update share; the last two are those of a DTensor."""

    device: torch.device
    dtype: torch.dtype
    mesh: Any = None
    placements: tuple[Any, ...] | None = None


class GroupUpdate:
    """Parameters that have a gradient, with their gradients, arranged for fused kernels.

    Args:
        params: the parameters of one group. Those without gradient are left out. Of a DTensor, this
            rank's shard takes part in the update, and all shards in the norm.
        directions: tensors to subtract in place of the gradients, of their shapes.

    Raises:
        RuntimeError: for sparse gradients.
    """

    def __init__(
        self, params: Sequence[Tensor], directions: Sequence[Tensor] | None = None
    ) -> None:
        self._fused: dict[Kind, tuple[list[Tensor], list[Tensor]]] = {}
        self._unfused: list[tuple[Kind, Tensor, Tensor]] = []
        last: tuple[int, torch.dtype] | None = None
        ps: list[Tensor] = []
        gs: list[Tensor] = []
        gradients = [p.grad for p in params] if directions is None else directions
        for p, g in zip(params, gradients, strict=True):
            if g is None:
                continue
            if g.layout is not torch.strided:
                raise RuntimeError(
                    "CLR does not support sparse gradients; build the embedding with sparse=False"
                )
            if type(p) is not nn.Parameter and hasattr(p, "device_mesh"):
                kind, p, g = _local_shard(p, g)
                last = None
            else:
                kind = None
            if not _same_memory_layout(p, g) or p.dtype != g.dtype:
                self._unfused.append((kind or Kind(p.device, g.dtype), p, g))
                continue
            # Nearly all parameters are of the kind of the previous one: no look-up for those.
            if kind is not None or last != (p.get_device(), p.dtype):
                last = None if kind else (p.get_device(), p.dtype)
                ps, gs = self._fused.setdefault(kind or Kind(p.device, p.dtype), ([], []))
            ps.append(p)
            gs.append(g)

    @property
    def device(self) -> torch.device | None:
        """Device of the first gradient; None without gradients."""
        for kind in self._fused:
            return kind.device
        return self._unfused[0][0].device if self._unfused else None

    @property
    def dtypes(self) -> set[torch.dtype]:
        """Dtypes of the parameters."""
        return {kind.dtype for kind in self._fused} | {p.dtype for _, p, _ in self._unfused}

    @property
    def is_sharded(self) -> bool:
        return any(kind.mesh is not None for kind, _ in self.gradients())

    def gradients(self) -> list[tuple[Kind, list[Tensor]]]:
        """The gradients in lists of one kind."""
        fused = [(kind, gs) for kind, (_, gs) in self._fused.items()]
        return fused + [(kind, [g]) for kind, _, g in self._unfused]

    def descend(self, lr: Tensor, skip: Tensor) -> None:
        """Subtract lr · g unless `skip` (0-dim bool), without reading a value on the host."""
        for _, p, g in self._unfused:
            wide = torch.promote_types(p.dtype, torch.float32)
            updated = p.to(wide) - lr.to(p.device, wide) * g.to(wide)
            p.copy_(torch.where(skip.to(p.device), p, updated.to(p.dtype)))
        for kind, (ps, gs) in self._fused.items():
            # In reverse order: the norm read the gradients first to last, so that the last ones are
            # still in the caches.
            torch._fused_sgd_(
                ps[::-1],
                gs[::-1],
                [],
                weight_decay=0.0,
                momentum=0.0,
                lr=lr.to(kind.device, rate_dtype(kind.device)),
                dampening=0.0,
                nesterov=False,
                maximize=False,
                is_first_step=False,
                found_inf=skip.to(kind.device, torch.float32),
            )

    def scale(self, factor: Tensor) -> None:
        """Multiply the parameters by `factor`, 0-dim."""
        for kind, (ps, _) in self._fused.items():
            torch._foreach_mul_(ps, factor.to(kind.device))
        for kind, p, _ in self._unfused:
            p.mul_(factor.to(kind.device))

    def float64_result(self, lr: float) -> list[tuple[Tensor, Tensor]]:
        """Pairs of a parameter and its new value, computed in float64 and rounded."""
        pairs = [pair for ps, gs in self._fused.values() for pair in zip(ps, gs, strict=True)]
        pairs += [(p, g) for _, p, g in self._unfused]
        return [(p, (p.double() - lr * g.double()).to(p.dtype)) for p, g in pairs]


def float64_results(
    updates: Sequence[GroupUpdate], rates: Sequence[float], norm_sq: float
) -> list[tuple[Tensor, Tensor]] | None:
    """Parameters and their new values, for steps that the fused kernels cannot take; CPU only.

    Returns:
        None if the step cannot be taken in float64 either: ‖g‖² underflows and the rate overflows
        in the arithmetic of the parameters, float32 at least; a new value is not finite; or
        parameters are sharded, because the ranks would have to agree on it.
    """
    result = []
    for update, lr in zip(updates, rates, strict=True):
        in_float64 = update.dtypes <= {torch.float64}
        overflows = math.isinf(lr) if in_float64 else lr > HUGE and norm_sq < TINY
        if update.is_sharded or overflows:
            return None
        result += update.float64_result(lr)
    return result if all(updated.isfinite().all() for _, updated in result) else None


def norms(
    updates: Sequence[GroupUpdate], device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """‖g‖² over all updates, and the sum of the norms of its parts, which is 0 only if g is 0.

    Returns:
        0-dim tensors on `device`, in `dtype`. The second is at least ‖g‖, and equal to it where all
        gradients are of one kind.
    """
    squares, lengths = [], []
    for update in updates:
        for kind, grads in update.gradients():
            length = norm(grads)
            square = length.square()
            if kind.mesh is not None:
                square = _sum_over_shards(square, kind)
                length = square.sqrt()
            squares.append(square)
            lengths.append(length)
    zero = torch.zeros((), dtype=dtype, device=device)
    return (total(squares), total(lengths)) if squares else (zero, zero)


def exceeds_kernel(
    rate: Tensor | float, length: Tensor | float, dtypes: set[torch.dtype], on_cpu: bool
) -> Tensor | bool:
    """Return whether the fused kernels cannot take a step of this rate and this gradient norm.

    They can if the rate is 0 or a normal number of the kernel's arithmetic, which is float32 unless
    all parameters are float64 on the CPU, and if no parameter moves by more than half of the
    largest number it can hold.
    """
    in_float64 = on_cpu and dtypes <= {torch.float64}
    arithmetic = torch.finfo(torch.float64 if in_float64 else torch.float32)
    largest = min((torch.finfo(dtype).max for dtype in dtypes), default=arithmetic.max)
    too_small = (rate > 0) & (rate < arithmetic.tiny)
    return too_small | (rate > arithmetic.max) | (rate * length > largest / 2)


def _same_memory_layout(p: Tensor, g: Tensor) -> bool:
    """Return whether p and g have their elements in the same order in memory."""
    return (p.is_contiguous() and g.is_contiguous()) or (p.stride() == g.stride() and is_dense(p))


def _local_shard(p: Any, g: Any) -> tuple[Kind, Tensor, Tensor]:
    """This rank's part of a DTensor and of its gradient; the parameter's shares its memory."""
    if g.placements != p.placements:
        g = g.redistribute(p.device_mesh, p.placements)
    local_p, local_g = p.to_local(), g.to_local()
    kind = Kind(local_g.device, local_g.dtype, p.device_mesh, tuple(p.placements))
    return kind, local_p, local_g


def _sum_over_shards(value: Tensor, kind: Kind) -> Tensor:
    """Sum of the ranks' values over the dimensions of the mesh that shard; replicas count once."""
    from torch.distributed.tensor import DTensor, Partial, Replicate

    assert kind.placements is not None
    placements = [Replicate() if p.is_replicate() else Partial("sum") for p in kind.placements]
    summed: Tensor = DTensor.from_local(value, kind.mesh, placements).full_tensor()
    return summed
