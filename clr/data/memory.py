"""Batches of raw images that are all held in memory, on the device that trains.

A small dataset read this way needs no worker, no compilation and, on a GPU, no copy of each batch.
Each rank holds its own copy: on GPUs each needs one, and on CPUs sharing one among the few ranks of
a host would save at most LARGEST bytes for each.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from clr.data.beton import Beton
from clr.data.info import Crop, DatasetInfo
from clr.data.pinned import to_device
from clr.data.requests import Request

LARGEST = 1 << 30  # bytes of a dataset, both splits, that loader=auto holds in memory


def fits_in_memory(info: DatasetInfo) -> bool:
    """Return whether loader=auto holds the dataset in memory: raw images of at most LARGEST."""
    size = (info.num_train + info.num_test) * info.resolution**2 * 3
    return info.config.crop == Crop.PADDED and size <= LARGEST


def read_memory(
    beton: Beton, request: Request, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Read images (B, H, W, 3) uint8 on `device` and labels (B,) int64 on the host, by batch."""
    stat = os.stat(beton.path)
    images = _load(beton.path, stat.st_ino, stat.st_mtime_ns, request.resolution, device)
    for ids in request.chunks():
        index = to_device(torch.from_numpy(ids), device)
        yield images.index_select(0, index), torch.from_numpy(beton.labels[ids])


# The two splits of the dataset of a process; warm workers keep them from run to run.
@functools.lru_cache(maxsize=2)
def _load(path: str, inode: int, mtime_ns: int, resolution: int, device: torch.device) -> Tensor:
    """Load all images of a file to `device`; inode and time detect a file converted again."""
    beton = Beton(path)
    images = np.empty((len(beton), resolution, resolution, 3), np.uint8)
    for i, image in enumerate(images):
        image[:] = np.frombuffer(beton.data(i), np.uint8).reshape(image.shape)
    return torch.from_numpy(images).to(device)
