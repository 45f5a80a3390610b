"""The device that trains, the number format it computes in, and the copies of batches to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from clr.data.pinned import to_device
from clr.errors import UserError


@dataclass(frozen=True)
class Compute:
    """Device and number format of a run."""

    device: torch.device
    precision: str  # as in the config: fp32, bf16, tf32 or fp64

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of parameters and images; under bf16, autocast computes in a narrower one."""
        return torch.float64 if self.precision == "fp64" else torch.float32

    def autocast(self) -> AbstractContextManager[None]:
        """Return the context of a forward pass."""
        enabled = self.precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)

    def to_device(self, tensor: Tensor) -> Tensor:
        """Copy a host tensor to the device without waiting for the copy."""
        return to_device(tensor, self.device)


@contextmanager
def cpu_threads(count: int | None) -> Iterator[None]:
    """Compute with `count` CPU threads; None leaves the number as it is."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def pick_device(name: str, local_rank: int) -> torch.device:
    """Return the device of one rank.

    Args:
        name: auto (a GPU if there is one), cpu or cuda.
        local_rank: number of the rank on its node, which is the number of its GPU.

    Raises:
        UserError: if there is no GPU for this rank.
    """
    gpus = torch.cuda.device_count()
    if name == "cpu" or (name == "auto" and not gpus):
        return torch.device("cpu")
    if not gpus:
        raise UserError("device=cuda, but torch sees no GPU; use device=cpu or device=auto")
    if local_rank >= gpus:
        raise UserError(
            f"this node has {gpus} GPUs and more ranks than that; start at most {gpus} per node"
        )
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)


def set_precision(precision: str, device: torch.device) -> None:
    """Allow tf32 only under `precision=tf32`: by default, torch lets cuDNN round fp32 to tf32.

    Raises:
        UserError: for tf32 on a CPU.
    """
    if precision == "tf32" and device.type != "cuda":
        raise UserError("precision=tf32 needs a GPU; use fp32 or bf16 on this device")
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
