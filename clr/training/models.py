"""The networks: those that configs name, and the paper's, torchvision's ResNets with options."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
import torchvision
from torch import nn

from clr.config_checks import EXAMPLE_CONFIGS
from clr.errors import UserError
from clr.training.factories import call_factory, factory_label
from clr.training.group_norm import GroupNorm

_CHOICES = {
    "stem": ("imagenet", "cifar"),
    "init": ("torchvision", "zero"),
    "norm": ("batch", "sync", "group"),
}


def build_model(config: dict[str, Any], num_classes: int, seed: int) -> nn.Module:
    """Build the model of a config, initialized from `seed` and without use of global generators.

    Args:
        config: `name`, `_target_` (an importable factory: a class or a function that takes
            `num_classes` and returns an `nn.Module`) and the factory's other arguments.
        num_classes: number of outputs for each image.
        seed: of the generators of torch, NumPy and Python's `random` while the factory is called.

    Raises:
        UserError: if the factory cannot be imported, refuses its arguments or returns something
            that is not an `nn.Module`.
    """
    with seeded(seed):
        return call_model_factory(config, num_classes)


def call_model_factory(config: dict[str, Any], num_classes: int) -> nn.Module:
    """Call the factory of a config; the generators are the caller's. Errors: `build_model`."""
    model = call_factory("model", config, num_classes=num_classes)
    if not isinstance(model, nn.Module):
        raise UserError(
            f"{factory_label('model', config)} gives a {type(model).__name__}; let the factory "
            f"return a torch.nn.Module, see {EXAMPLE_CONFIGS['model']}"
        )
    return model


@contextmanager
def seeded(seed: int, devices: Sequence[int] | None = None) -> Iterator[None]:
    """Seed the global generators of torch, NumPy and Python, and restore them at the end.

    Args:
        seed: any integer ≥ 0.
        devices: GPUs whose generators are seeded too. None is all; [] leaves CUDA untouched.
    """
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices):
            if devices is None:
                torch.manual_seed(seed)
            else:
                torch.default_generator.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed % 2**32)
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)


def resnet18(
    num_classes: int, stem: str = "imagenet", init: str = "torchvision", norm: str = "batch"
) -> nn.Module:
    """Build a ResNet-18 with the options of `resnet50`."""
    return _resnet("resnet18", num_classes, stem, init, norm)


def resnet50(
    num_classes: int, stem: str = "imagenet", init: str = "torchvision", norm: str = "batch"
) -> nn.Module:
    """Build a ResNet-50.

    Args:
        num_classes: number of outputs for each image.
        stem: imagenet: torchvision's own (7×7, stride 2, max-pooling; 32×32 pixels reach the last
            stage as 1×1). cifar: 3×3, stride 1, no pooling, as is usual for 32×32 images, at about
            nine times the cost.
        init: torchvision: its default. zero: each residual branch (the scale of its last norm) and
            the classifier start at 0, as in Haiku's ResNet-50 (for the branches also Goyal et al.,
            2017). The first loss is then ln(num_classes), and the first gradients are small.
        norm: batch, sync (batch norm with statistics over all ranks, on GPUs) or group (32 groups).
            Group norm has no batch statistics, so the loss does not depend on how ranks share a
            batch.

    Raises:
        ValueError: if an option is not one of these.
    """
    return _resnet("resnet50", num_classes, stem, init, norm)


def _resnet(name: str, num_classes: int, stem: str, init: str, norm: str) -> nn.Module:
    for key, value in {"stem": stem, "init": init, "norm": norm}.items():
        if value not in _CHOICES[key]:
            raise ValueError(f"{key}={value} is not one of {', '.join(_CHOICES[key])}")
    net: nn.Module = getattr(torchvision.models, name)(
        num_classes=num_classes,
        norm_layer=partial(GroupNorm, 32) if norm == "group" else None,
        zero_init_residual=init == "zero",
    )
    if init == "zero":
        for parameter in net.get_submodule("fc").parameters():
            nn.init.zeros_(parameter)
    if stem == "cifar":
        net.conv1 = nn.Conv2d(3, 64, kernel_size=3, padding=1, bias=False)
        # torchvision initializes all its convolutions like this.
        nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")
        net.maxpool = nn.Identity()
    return nn.SyncBatchNorm.convert_sync_batchnorm(net) if norm == "sync" else net
