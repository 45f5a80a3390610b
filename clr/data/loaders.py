"""Batches from either loader: FFCV, or torch's DataLoader for machines where FFCV is not built."""

from __future__ import annotations

import functools
import io
import signal
from collections.abc import Generator, Iterator
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from clr.data.beton import Beton
from clr.data.crops import central_boxes, random_boxes
from clr.data.info import DatasetInfo
from clr.data.order import permutation
from clr.errors import UserError


class Batch(NamedTuple):
    """Tensors on the host that own their memory; a later batch leaves them alone."""

    images: Tensor  # uint8 (B, H, W, 3)
    labels: Tensor  # int64 (B,)
    ids: Tensor  # int64 (B,): positions in the split


@functools.cache
def _ffcv_problem() -> str | None:
    """Why FFCV cannot be imported; None if it can."""
    try:
        import clr.data.ffcv_files  # noqa: F401
    except (
        Exception
    ) as error:  # a half-built FFCV, or one built for other libraries, fails in many ways
        return f"{type(error).__name__}: {error}"
    return None


def resolve_loader(loader: str) -> str:
    """Either "ffcv" or "torch"; "auto" is FFCV where it can be imported. UserError for "ffcv" where it cannot."""
    if loader not in ("auto", "ffcv", "torch"):
        raise UserError(f"loader={loader} is unknown; use auto, ffcv or torch")
    if loader == "torch":
        return "torch"
    problem = _ffcv_problem()
    if problem is None:
        return "ffcv"
    if loader == "auto":
        return "torch"
    raise UserError(
        f"loader=ffcv, but FFCV cannot be imported ({problem}); install libopencv-dev libturbojpeg0-dev pkg-config g++ "
        "with apt and then the package ffcv, or use loader=torch"
    )


# What a launcher or a terminal sends to all processes of a run. The trainer decides what becomes of them; a loading
# process that died of one would break the trainer's orderly stop. It ends with its iterator or its parent.
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)


def _ignore_signals(worker: int) -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


class _Batches(Dataset[tuple[Tensor, Tensor]]):
    """Map from arrays of ids and boxes, no boxes for raw images, to images and their labels."""

    def __init__(self, beton: Beton, resolution: int) -> None:
        self.beton, self.shape = beton, (resolution, resolution, 3)

    def __getitem__(self, share: tuple[np.ndarray, np.ndarray | None]) -> tuple[Tensor, Tensor]:
        ids, boxes = share
        pixels = np.empty((len(ids), *self.shape), np.uint8)
        for k, i in enumerate(ids):
            data = self.beton.data(i)
            if boxes is None:
                pixels[k] = np.frombuffer(data, np.uint8).reshape(self.shape)
            else:
                pixels[k] = np.asarray(self._crop(data, boxes[k]))
        return torch.from_numpy(pixels), torch.from_numpy(self.beton.labels[ids])

    def _crop(self, data: memoryview, box: np.ndarray) -> Image.Image:
        y, x, h, w = box.tolist()
        with Image.open(io.BytesIO(data)) as image:
            # Columns first, then rows, as clr.data.resize does; Pillow's own order varies with versions and sizes.
            narrow = image.crop((x, y, x + w, y + h)).resize(
                (self.shape[1], h), Image.Resampling.BILINEAR
            )
            return narrow.resize((self.shape[1], self.shape[0]), Image.Resampling.BILINEAR)


class BatchLoader:
    """One rank's batches of one split, the same ones in the same order from either loader and any number of workers.

    Images of a dataset with crop=random_resized are cropped here, by boxes of clr.data.crops. The loaders' pixels may
    then differ by what Pillow's libjpeg and FFCV's libturbojpeg make of a JPEG: by nothing where both are
    libjpeg-turbo (measured on 13,325 crops of Imagenette at 128 pixels, 3.2.0 against Debian's: no pixel differs).
    """

    def __init__(
        self,
        info: DatasetInfo,
        split: str,
        batch_size: int,
        loader: str,
        workers: int,
        rank: int = 0,
        ranks: int = 1,
        accumulate: int = 1,
    ) -> None:
        self._info, self._split, self._workers = info, split, workers
        self._rank, self._ranks = rank, ranks
        self._cropped = info.config.crop == "random_resized"
        self._beton = Beton(info.beton(split))
        if split == "train":
            if batch_size % (ranks * accumulate):
                raise ValueError(
                    f"batch_size={batch_size} is no multiple of {ranks} ranks × {accumulate} parts"
                )
            self.steps_per_epoch = info.num_train // batch_size
            self._step, self._part = batch_size, batch_size // (ranks * accumulate)
        else:
            self._ids = np.array_split(np.arange(info.num_test), ranks)[rank]
            self.steps_per_epoch = -(-len(self._ids) // batch_size)
            self._part = batch_size
        self._read = self._read_ffcv if loader == "ffcv" else self._read_torch

    def epoch(self, seed: int = 0, epoch: int = 0, start: int = 0) -> Generator[Batch, None, None]:
        """The batches of an epoch from step `start` on.

        train: shuffled by (seed, epoch); samples that do not fill a last batch are left out. Each step is this rank's
        part of the global batch, in `accumulate` batches one after the other. test: this rank's samples in their
        order, the last batch may be smaller; seed and epoch mean nothing. An iterator that is not run to its end is
        best closed (contextlib.closing); being garbage-collected closes it as well.
        """
        if self._split == "train":
            steps = permutation(seed, epoch, self._info.num_train)[
                : self.steps_per_epoch * self._step
            ]
            shares = steps.reshape(self.steps_per_epoch, self._ranks, -1)[start:, self._rank]
            ids = shares.reshape(-1)
        else:
            ids = self._ids[start * self._part :]
        if len(ids) == 0:
            return
        boxes = self._boxes(ids, seed, epoch) if self._cropped else None
        chunks = np.split(ids, range(self._part, len(ids), self._part))
        for chunk, (images, labels) in zip(chunks, self._read(ids, boxes, chunks), strict=True):
            yield Batch(images, labels, torch.from_numpy(chunk))

    def _boxes(self, ids: np.ndarray, seed: int, epoch: int) -> np.ndarray:
        heights, widths = self._beton.heights[ids], self._beton.widths[ids]
        if self._split == "train":
            return random_boxes(seed, epoch, ids, heights, widths)
        return central_boxes(heights, widths)

    def _read_ffcv(
        self, ids: np.ndarray, boxes: np.ndarray | None, chunks: list[np.ndarray]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        from clr.data.ffcv_files import read_beton

        resolution = self._info.resolution if self._cropped else None
        return read_beton(self._beton.path, ids, self._part, self._workers, boxes, resolution)

    def _read_torch(
        self, ids: np.ndarray, boxes: np.ndarray | None, chunks: list[np.ndarray]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        cuts = (
            np.split(boxes, range(self._part, len(ids), self._part))
            if boxes is not None
            else [None] * len(chunks)
        )
        loader = DataLoader(
            _Batches(self._beton, self._info.resolution),
            batch_size=None,
            sampler=list(zip(chunks, cuts, strict=True)),
            num_workers=self._workers,
            worker_init_fn=_ignore_signals,
            generator=torch.Generator(),  # its own leaves torch's global one as it is
        )
        # A process that is being started has not got to ignoring them yet; it inherits that they wait.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            return iter(loader)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def open_loader(
    info: DatasetInfo,
    split: str,
    batch_size: int,
    loader: str,
    workers: int,
    rank: int = 0,
    ranks: int = 1,
    accumulate: int = 1,
) -> BatchLoader:
    """Batches of `split` ("train" or "test") of a prepared dataset by `loader` (auto, ffcv, torch), for one rank.

    batch_size: train: of all `ranks` together, each of which gets a contiguous part of every batch, in `accumulate`
    equal ones; ValueError unless it is a multiple of both. test: what a rank, which gets a contiguous part of the
    split, reads at a time. workers: processes (torch; 0 loads in this process) or threads (ffcv) that load. UserError
    if there are fewer training images than batch_size.
    """
    if split == "train" and batch_size > info.num_train:
        raise UserError(
            f"batch_size={batch_size}, but {info.label} has only {info.num_train} training images; use a smaller one"
        )
    return BatchLoader(
        info, split, batch_size, resolve_loader(loader), workers, rank, ranks, accumulate
    )
