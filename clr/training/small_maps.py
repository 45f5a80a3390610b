"""3×3 convolutions of maps with one or two pixels a side, computed as matrix products.

The last stages of a ResNet with ImageNet's stem see 32×32 images as maps of 2×2 and 1×1 pixels.
There, 5 or 8 of the 9 taps of a 3×3 convolution only meet the padding, but libraries for CPUs
multiply by them all. A matrix product without these taps is the same function, up to the order of
its sums, and takes a fraction of the time.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

LARGEST_SIDE = 2  # pixels; at 3, every tap meets a pixel


class SmallMapConv2d(nn.Conv2d):
    """A 3×3 convolution with padding 1 that computes small maps by matrix products.

    Parameters and state_dict are those of `nn.Conv2d`. Maps with a side of more than LARGEST_SIDE
    pixels are convolved as usual.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Convolve `x`, of shape (images, channels, height, width)."""
        height, width = x.shape[-2:]
        if x.dim() != 4 or max(height, width) > LARGEST_SIDE:
            return super().forward(x)
        pixels = x.flatten(1)
        rows = range(0, height, self.stride[0])
        columns = range(0, width, self.stride[1])
        # The output pixel at (row, column) sees the whole map, through the taps 1 − row, 2 − row,
        # ... and 1 − column, 2 − column, ...
        outputs = [
            linear(
                pixels, self.weight[:, :, 1 - i : 1 - i + height, 1 - j : 1 - j + width].flatten(1)
            )
            for i in rows
            for j in columns
        ]
        stacked = torch.stack(outputs, dim=1).unflatten(1, (len(rows), len(columns)))
        return stacked.permute(0, 3, 1, 2)


def use_matrix_products(model: nn.Module) -> None:
    """Replace each 3×3 convolution of `model` by a SmallMapConv2d with the same parameters.

    Other layers stay, and so do convolutions with hooks, such as those of weight normalization.
    """
    for parent in list(model.modules()):
        for name, layer in parent.named_children():
            if type(layer) is nn.Conv2d and _is_replaceable(layer):
                setattr(parent, name, _small_map_layer(layer))


def _is_replaceable(layer: nn.Conv2d) -> bool:
    return (
        layer.kernel_size == (3, 3)
        and layer.padding == (1, 1)
        and layer.dilation == (1, 1)
        and layer.groups == 1
        and layer.padding_mode == "zeros"
        and layer.bias is None
        and isinstance(layer.weight, nn.Parameter)
        and not (layer._forward_pre_hooks or layer._forward_hooks)
        and not (layer._backward_pre_hooks or layer._backward_hooks)
    )


def _small_map_layer(layer: nn.Conv2d) -> SmallMapConv2d:
    replacement = SmallMapConv2d(
        layer.in_channels,
        layer.out_channels,
        kernel_size=3,
        stride=(layer.stride[0], layer.stride[1]),
        padding=1,
        bias=False,
        device="meta",
    )
    replacement.weight = layer.weight
    return replacement
