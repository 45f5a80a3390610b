"""Batches from FFCV files by torch's DataLoader, without FFCV."""

from __future__ import annotations

import io
import signal
from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from clr.data.beton import Beton
from clr.data.requests import Request

# Signals that launchers and terminals send to all processes of a run. The trainer decides how to
# stop; a worker that died of the signal would break that. Workers end with their iterator or
# their parent.
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)


def read_torch(beton: Beton, request: Request, workers: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Read images (B, H, W, 3) uint8 and labels (B,) int64, batch by batch.

    `workers` processes load the data; 0 loads in this process.
    """
    loader = DataLoader(
        _Batches(beton, request.resolution),
        batch_size=None,
        sampler=list(zip(request.chunks(), request.box_chunks(), strict=True)),
        num_workers=workers,
        worker_init_fn=_ignore_signals,
        generator=torch.Generator(),  # its own, which leaves torch's global generator unchanged
    )
    # Workers inherit the blocked signals, so none can kill a worker before it ignores them.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        return iter(loader)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _ignore_signals(worker: int) -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


class _Batches(Dataset[tuple[Tensor, Tensor]]):
    """Map from the (ids, boxes) of a batch to its images and labels; boxes are None if raw."""

    def __init__(self, beton: Beton, resolution: int) -> None:
        self.beton, self.resolution = beton, resolution

    def __getitem__(self, batch: tuple[np.ndarray, np.ndarray | None]) -> tuple[Tensor, Tensor]:
        ids, boxes = batch
        pixels = np.empty((len(ids), self.resolution, self.resolution, 3), np.uint8)
        for k, i in enumerate(ids):
            data = self.beton.data(i)
            if boxes is None:
                pixels[k] = np.frombuffer(data, np.uint8).reshape(pixels.shape[1:])
            else:
                pixels[k] = self._crop(data, boxes[k])
        return torch.from_numpy(pixels), torch.from_numpy(self.beton.labels[ids])

    def _crop(self, data: memoryview, box: np.ndarray) -> np.ndarray:
        y, x, h, w = box.tolist()
        side, bilinear = self.resolution, Image.Resampling.BILINEAR
        with Image.open(io.BytesIO(data)) as image:
            # Columns first, then rows, as in clr.data.resize; Pillow's own order varies.
            columns = image.crop((x, y, x + w, y + h)).resize((side, h), bilinear)
            return np.asarray(columns.resize((side, side), bilinear))
