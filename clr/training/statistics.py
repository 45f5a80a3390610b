"""Batch norm's running statistics at the parameters at which an optimizer is evaluated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import islice

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from clr.training.setup import Setup

# The running average with PyTorch's momentum, 0.1, is as accurate as the mean of 19 batches.
BATCHES = 20


@torch.no_grad()
def refresh_statistics(setup: Setup, seed: int, epoch: int) -> None:
    """Set the running statistics to the means over the first micro-batches of an epoch.

    Optimizers with `train()` and `eval()` train and evaluate at different parameters, and the
    statistics that training leaves are those of the first. The training does not use them.

    All ranks call this; each takes its own share of the batches.
    """
    layers = [
        layer
        for layer in setup.model.modules()
        if isinstance(layer, _BatchNorm) and layer.track_running_stats
    ]
    if not layers:
        return
    setup.model.eval()
    compute = setup.compute
    with _averaging(layers), closing(setup.train_data.epoch(seed, epoch)) as batches:
        for batch in islice(batches, BATCHES):
            images = compute.to_device(batch.images)
            images = setup.transform.train(images, batch.ids, seed, epoch).to(compute.dtype)
            with compute.autocast():
                setup.model(images)


@contextmanager
def _averaging(layers: list[_BatchNorm]) -> Iterator[None]:
    """Let the layers average the statistics of all batches, from none on."""
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
        layer.train()
    yield
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
