"""The learning rate that CLR publishes in its parameter groups."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Rate(Tensor):
    """A 0-dim tensor that ignores `fill_`, by which learning-rate schedulers overwrite a rate.

    A rate that a caller keeps thus stays what it was. Copies, pickles and the results of arithmetic
    are plain tensors, so that `torch.load(weights_only=True)` reads them.
    """

    is_overwritten = False  # whether a scheduler called `fill_`

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    def fill_(self, value: Any) -> Rate:
        self.is_overwritten = True
        return self

    def plain(self) -> Tensor:
        """The same memory as a plain tensor."""
        return self.as_subclass(Tensor)

    def __format__(self, spec: str) -> str:
        return self.plain().__format__(spec)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        return self.plain().clone()

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.plain().__reduce_ex__(protocol)


def rate_dtype(device: torch.device) -> torch.dtype:
    """float64 on the CPU; float32 elsewhere, which the fused kernels read there."""
    return torch.float64 if device.type == "cpu" else torch.float32
