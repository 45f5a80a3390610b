"""The paper's networks: torchvision's ResNets, with a choice of stem."""

from __future__ import annotations

from functools import partial

import torch
import torchvision
from torch import nn

from clr.config import ModelConfig


def build_model(model: ModelConfig, num_classes: int, seed: int) -> nn.Module:
    """ResNet-18 or -50 with torchvision's initialisation, drawn from `seed`; global generators stay.

    The stem `imagenet` is torchvision's own (7×7, stride 2, max-pooling: 32×32 pixels reach the last stage as 1×1);
    `cifar` is the 3×3, stride 1, no pooling that is usual for 32×32 images, at about nine times the cost.
    The init `zero` lets each residual branch and the classifier start at 0, as Goyal et al. (2017) do the branches and
    Haiku's ResNet-50 does both: the first loss is ln(num_classes), and the first gradients are small.
    The norm `group` has no statistics of the batch, so that the loss does not depend on how ranks share it.
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
            nn.init.kaiming_normal_(
                net.conv1.weight, mode="fan_out", nonlinearity="relu"
            )  # as torchvision does
            net.maxpool = nn.Identity()
    return nn.SyncBatchNorm.convert_sync_batchnorm(net) if model.norm == "sync" else net
