"""The paper's networks: torchvision's ResNets, with a choice of stem, initialization and norm."""

from __future__ import annotations

from functools import partial

import torch
import torchvision
from torch import nn

from clr.config import ModelConfig


def build_model(model: ModelConfig, num_classes: int, seed: int) -> nn.Module:
    """Build a ResNet-18 or ResNet-50, initialized from `seed` without use of the global generators.

    stem:
        imagenet: torchvision's own (7×7, stride 2, max-pooling; 32×32 pixels reach the last stage
        as 1×1). cifar: 3×3, stride 1, no pooling, as is usual for 32×32 images, at about nine times
        the cost.
    init:
        torchvision: its default. zero: each residual branch and the classifier start at 0, as in
        Haiku's ResNet-50 (for the branches also Goyal et al., 2017). The first loss is then
        ln(num_classes), and the first gradients are small.
    norm:
        batch, sync (batch norm with statistics over all ranks) or group (32 groups). Group norm has
        no batch statistics, so the loss does not depend on how ranks share a batch.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net: nn.Module = getattr(torchvision.models, model.name)(
            num_classes=num_classes,
            norm_layer=partial(nn.GroupNorm, 32) if model.norm == "group" else None,
            zero_init_residual=model.init == "zero",
        )
        if model.init == "zero":
            for parameter in net.get_submodule("fc").parameters():
                nn.init.zeros_(parameter)
        if model.stem == "cifar":
            net.conv1 = nn.Conv2d(3, 64, kernel_size=3, padding=1, bias=False)
            # torchvision initializes all its convolutions like this.
            nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")
            net.maxpool = nn.Identity()
    return nn.SyncBatchNorm.convert_sync_batchnorm(net) if model.norm == "sync" else net
