"""Models of a user, most of which the trainer cannot use."""

import random

import numpy as np
import torch
from torch import nn


class SmallNet(nn.Module):
    """A convolution and a linear layer, for images of any size."""

    def __init__(self, num_classes, width=8, channels=3, dropout=0.0):
        super().__init__()
        self.conv = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, num_classes)

    def forward(self, x):
        return self.head(self.dropout(self.conv(x).relu().mean((2, 3))))


calls = []  # the arguments of each call of counted_net


def counted_net(num_classes, width):
    calls.append((num_classes, width))
    return SmallNet(num_classes, width)


def flat_net(num_classes, size=32):
    """A linear layer on the pixels of images of one size."""
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * size * size, num_classes))


def drawing_net(num_classes):
    """A net whose weights are from all three global generators."""
    net = flat_net(num_classes)
    with torch.no_grad():
        net[1].bias[:3] = torch.tensor([random.random(), np.random.rand(), torch.rand(())])
    return net


class Returns(SmallNet):
    """Returns its logits in a form that the trainer does not take."""

    def __init__(self, num_classes, form):
        super().__init__(num_classes)
        self.form = form

    def forward(self, x):
        logits = super().forward(x)
        forms = {
            "tuple in training": (logits,) if self.training else logits,
            "one too many": torch.cat([logits, logits[:, :1]], dim=1),
            "no batch": logits[0],
            "detached": logits.detach(),
        }
        return forms[self.form]


def lazy_net(num_classes):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes))


def frozen_net(num_classes):
    return SmallNet(num_classes).requires_grad_(False)


class UnusedParameter(SmallNet):
    def __init__(self, num_classes):
        super().__init__(num_classes)
        self.spare = nn.Parameter(torch.ones(3))


class PartlyFrozen(SmallNet):
    def __init__(self, num_classes):
        super().__init__(num_classes)
        self.conv.requires_grad_(False)


class ViewNet(SmallNet):
    """Flattens by `view`, which images in channels_last memory format do not allow."""

    def forward(self, x):
        return super().forward(x.view(len(x), -1).view_as(x))


class Attention(nn.Module):
    """Attention over pixels, which has no second derivatives on the CPU."""

    def __init__(self, num_classes):
        super().__init__()
        self.embed = nn.Linear(3, 8)
        self.head = nn.Linear(8, num_classes)

    def forward(self, x):
        x = self.embed(x.flatten(2).transpose(1, 2))[:, None]
        return self.head(nn.functional.scaled_dot_product_attention(x, x, x).mean((1, 2)))


def not_a_module(num_classes):
    return lambda images: images


def refusing_net(num_classes, depth):
    if depth > 3:
        raise ValueError(f"depth={depth} is too large; use at most 3")
    return SmallNet(num_classes)


def buggy_net(num_classes):
    return undefined_name  # noqa: F821


class BuggyForward(SmallNet):
    def forward(self, x):
        return x.no_such_method()


def without_classes(width=8):
    return SmallNet(10, width)
