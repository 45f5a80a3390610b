"""The device that trains: which one, how it computes, how batches come to it."""

from __future__ import annotations

import torch
from torch import Tensor

from clr.errors import UserError


def pick_device(name: str, local: int) -> torch.device:
    """The device that `name` (auto, cpu, cuda) means for rank number `local` of this node."""
    found = torch.cuda.device_count()
    if name == "cpu" or (name == "auto" and not found):
        return torch.device("cpu")
    if not found:
        raise UserError("device=cuda, but torch sees no GPU here; use device=cpu or device=auto")
    if local >= found:
        raise UserError(
            f"this node has {found} GPUs, but more ranks: start at most {found} on a node"
        )
    torch.cuda.set_device(local)
    return torch.device("cuda", local)


def set_precision(precision: str, device: torch.device) -> None:
    """fp32 is IEEE's: torch by itself lets cuDNN round to tf32. bf16 is autocast's, around the forward pass."""
    if precision == "tf32" and device.type != "cuda":
        raise UserError("precision=tf32 is a GPU's; use fp32 or bf16 here")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"


def check_norm(norm: str, device: torch.device) -> None:
    if norm == "sync" and device.type != "cuda":
        raise UserError("model.norm=sync is for GPUs; use batch or group here")


def to(tensor: Tensor, device: torch.device) -> Tensor:
    """A host tensor on the device, by a copy from pinned memory that the host does not wait for."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor
