"""Norm of a gradient, in one pass over its tensors and without copies of their size."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

# A float32 sum of squares over one long row has a relative error of 3e-3 on the CPU. Rows of this
# length, whose norms are combined in float64, reduce it to 1e-8.
ROW_LENGTH = 4096
# A norm below these may have lost squares that underflow.
MIN_FLOAT32_NORM, MIN_FLOAT64_NORM = 1e-12, 1e-140


@torch.no_grad()
def grad_norm_sq(grads: Sequence[Tensor]) -> Tensor:
    """Squared Euclidean norm of all of `grads` together.

    Args:
        grads: at least one tensor; shapes, dtypes and devices may differ.

    Returns:
        A 0-dim tensor on the device of the first gradient, in float64 where the device has it. Its
        relative error is about 1e-8 for gradients of training, and at most 3e-5 where all rounding
        errors have one sign, as in a constant gradient. On the CPU this holds for any size of the
        gradient, as long as the result is a normal float64 number. Other devices sum the squares
        of each tensor in float32 (float64 for float64 tensors): the result is inf for norms above
        1.8e19, and nan between 0 and 1e-12.
    """
    by_dtype: dict[tuple[torch.device, torch.dtype], list[Tensor]] = defaultdict(list)
    for g in grads:
        by_dtype[g.device, g.dtype].append(g)
    return total([norm(gs).square() for gs in by_dtype.values()])


def total(parts: Sequence[Tensor]) -> Tensor:
    """Sum of 0-dim tensors, on the device of the first."""
    result = parts[0]
    for part in parts[1:]:
        result = result + part.to(result)
    return result


def norm(grads: list[Tensor]) -> Tensor:
    """Norm of tensors of one device and dtype, 0-dim, in `sum_dtype(device)`.

    On the CPU a result out of range is computed again, from scaled gradients in float64; looking at
    it costs nothing there. Other devices would have to synchronize: inaccurate results become nan.
    """
    device, dtype = grads[0].device, grads[0].dtype
    # Naming a dtype selects a slower kernel even for float32: only for half precision.
    wide = None if dtype in (torch.float32, torch.float64) else torch.float32
    if device.type != "cpu":
        result = _norm_of_norms(torch.stack(torch._foreach_norm(grads, 2, wide)), device)
        if dtype == torch.float64:
            return result
        return result.masked_fill((result > 0) & (result < MIN_FLOAT32_NORM), math.nan)
    result = _norm_of_norms(_row_norms(grads, wide), device)
    smallest = MIN_FLOAT64_NORM if dtype == torch.float64 else MIN_FLOAT32_NORM
    return _scaled_norm(grads) if result < smallest or result == math.inf else result


def sum_dtype(device: torch.device) -> torch.dtype:
    """Dtype of sums and quotients: float64 where the device has it."""
    return torch.float64 if device.type in ("cpu", "cuda") else torch.float32


def is_dense(x: Tensor) -> bool:
    """Return whether `x` fills its memory without gaps, in row-major or channels_last order."""
    return x.is_contiguous() or (
        x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
    )


def _norm_of_norms(norms: Tensor, device: torch.device) -> Tensor:
    return torch.linalg.vector_norm(norms, dtype=sum_dtype(device))


def _scaled_norm(grads: list[Tensor]) -> Tensor:
    """Norm in float64 by way of gradients divided by their largest element; copies them; CPU."""
    grads = [g.double() for g in grads if g.numel() > 0]
    largest = max((g.abs().max() for g in grads), default=torch.zeros((), dtype=torch.float64))
    if largest == 0 or not largest.isfinite():
        return largest
    norms = [torch.linalg.vector_norm(g / largest) for g in grads]
    return largest * torch.linalg.vector_norm(torch.stack(norms))


def _row_norms(grads: list[Tensor], wide: torch.dtype | None) -> Tensor:
    """Norms of rows of at most `ROW_LENGTH` elements of `grads`, shape (rows,); CPU."""
    norms, remainders = [], []
    for g in grads:
        n = g.numel()
        if n < ROW_LENGTH:
            remainders.append(g if g.dim() == 1 else g.reshape(-1))
            continue
        if not is_dense(g):
            g = g.contiguous()
        if n % ROW_LENGTH == 0 and g.is_contiguous():
            norms.append(torch.linalg.vector_norm(g.view(-1, ROW_LENGTH), dim=1, dtype=wide))
            continue
        start, in_rows = g.storage_offset(), n // ROW_LENGTH * ROW_LENGTH
        rows = g.as_strided((n // ROW_LENGTH, ROW_LENGTH), (ROW_LENGTH, 1), start)
        norms.append(torch.linalg.vector_norm(rows, dim=1, dtype=wide))
        if in_rows < n:
            remainders.append(g.as_strided((n - in_rows,), (1,), start + in_rows))
    if remainders:
        # A copy, but of less than a row of each gradient, and far cheaper than a kernel for each.
        joined = torch.cat(remainders)
        norms.append(torch.linalg.vector_norm(joined, dtype=torch.float64).view(1))
    return torch.cat(norms)
