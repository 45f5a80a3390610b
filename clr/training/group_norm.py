"""Group norm that is fast on a CPU for images in channels_last."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GroupNorm(nn.GroupNorm):
    """`nn.GroupNorm`, computed on a copy in the usual layout on a CPU.

    There, torch's group norm of bf16 images is several times as fast as in channels_last. The
    result is the same up to the order of its sums, in the layout of the input. Parameters and
    state_dict are those of `nn.GroupNorm`.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalize `input`, of shape (images, channels, height, width)."""
        if input.device.type != "cpu" or input.dim() != 4:
            return super().forward(input)
        normalized: Tensor = super().forward(input.contiguous())
        if input.is_contiguous(memory_format=torch.channels_last):
            return normalized.contiguous(memory_format=torch.channels_last)
        return normalized
