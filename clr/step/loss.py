"""The loss as a number: validation, and its mean over the ranks."""

from __future__ import annotations

import math
import numbers
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from clr.step.grad_norm import sum_dtype

Loss = Tensor | float

# Ranks that hold the same averaged gradients have norms that are equal to rounding.
NORM_TOLERANCE = 1e-3


def check_loss(loss: Any) -> Any:
    """Return `loss` if it is one real number, as a tensor or a Python or NumPy scalar.

    Raises:
        TypeError: for another type, such as a complex number or a string.
        ValueError: for a tensor that is complex or has several elements.
    """
    if not isinstance(loss, Tensor):
        if not isinstance(loss, numbers.Real):
            raise TypeError(f"the loss must be a real number or a tensor, got {loss!r}")
    elif loss.is_complex():
        raise ValueError("the loss must be real, got a complex tensor; use its .real or .abs()")
    elif loss.numel() != 1:
        raise ValueError(f"the loss must be one number, got a tensor of shape {tuple(loss.shape)}")
    return loss


def mean_over_ranks(loss: Loss, device: torch.device, group: dist.ProcessGroup | None) -> Tensor:
    """The loss averaged over the ranks as the gradients are: 0-dim, in `sum_dtype(device)`."""
    dtype = sum_dtype(device)
    if hasattr(loss, "full_tensor"):  # a DTensor
        loss = loss.full_tensor()
    if isinstance(loss, Tensor):
        mean = loss.detach().reshape(()).to(device, dtype)
    else:
        mean = torch.full((), float(loss), dtype=dtype, device=device)
    if (ranks := world_size(group)) > 1:
        mean = mean.clone()
        dist.all_reduce(mean, group=group)
        mean /= ranks
    return mean


def ranks_agree(norm_sq: Tensor, group: dist.ProcessGroup | None) -> bool:
    """Return whether ‖g‖² is known to be equal on all ranks; False while it is 0 or not finite.

    Raises:
        RuntimeError: on all ranks, if it differs between them.
    """
    if world_size(group) == 1:
        return True
    bounds = torch.stack([norm_sq, -norm_sq])
    dist.all_reduce(bounds, dist.ReduceOp.MAX, group=group)
    largest, smallest = bounds[0].item(), -bounds[1].item()  # waits for the device
    if largest - smallest > NORM_TOLERANCE * largest:
        raise RuntimeError(
            f"‖g‖² differs between ranks ({smallest:.3g} to {largest:.3g}), but CLR needs the norm "
            "of the whole gradient, averaged over the ranks. Wrap the model in "
            "DistributedDataParallel, or shard it with FSDP2 (fully_shard). "
            "ZeroRedundancyOptimizer and FSDP1, whose ranks have only a part of the gradient, "
            "cannot be used with CLR"
        )
    return 0 < largest < math.inf


def world_size(group: dist.ProcessGroup | None) -> int:
    """Number of ranks; 1 without `torch.distributed`."""
    return dist.get_world_size(group) if dist.is_available() and dist.is_initialized() else 1
