"""Batches of a prepared dataset: from memory, by FFCV, or by torch's DataLoader without FFCV."""

from __future__ import annotations

import functools
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from clr.data.beton import Beton
from clr.data.crops import central_boxes, random_boxes
from clr.data.info import Crop, DatasetInfo, Split
from clr.data.memory import fits_in_memory, read_memory
from clr.data.order import permutation
from clr.data.requests import Request
from clr.data.torch_files import read_torch
from clr.errors import UserError

LOADERS = ("auto", "memory", "ffcv", "torch")
CPU = torch.device("cpu")


class Batch(NamedTuple):
    """Tensors that own their memory; later batches do not overwrite them."""

    images: Tensor  # uint8 of shape (B, H, W, 3), on the host or, with loader=memory, the device
    labels: Tensor  # int64 of shape (B,)
    ids: Tensor  # int64 of shape (B,): positions in the split


@dataclass(frozen=True)
class Reader:
    """The implementation that reads the files."""

    name: str  # "memory", "ffcv" or "torch"
    workers: int  # threads (ffcv) or processes (torch; 0 reads in this process)
    device: torch.device  # that holds the images (memory)

    def read(self, beton: Beton, request: Request) -> Iterator[tuple[Tensor, Tensor]]:
        """Images and labels of each batch."""
        if self.name == "memory":
            return read_memory(beton, request, self.device)
        if self.name == "torch":
            return read_torch(beton, request, self.workers)
        from clr.data.ffcv_files import read_ffcv

        return read_ffcv(beton.path, request, self.workers)


@dataclass(frozen=True)
class Shard:
    """One rank's part of each batch."""

    rank: int = 0
    world_size: int = 1
    grad_accum_steps: int = 1  # micro-batches per rank and step


class BatchLoader:
    """One rank's batches of one split.

    Every loader, with any number of workers, gives the same samples in the same order. Images of a
    dataset with crop=random_resized are cropped here, by the boxes of clr.data.crops. Their pixels
    may differ between the loaders as far as Pillow's libjpeg and FFCV's libturbojpeg decode
    differently: not at all where both are libjpeg-turbo (13,325 crops of Imagenette at 128 pixels,
    3.2.0 compared with Debian's).
    """

    def __init__(
        self, info: DatasetInfo, split: Split, batch_size: int, reader: Reader, shard: Shard
    ) -> None:
        self._info, self._split, self._reader, self._shard = info, split, reader, shard
        self._beton = Beton(info.beton(split))
        if split == "train":
            parts = shard.world_size * shard.grad_accum_steps
            if batch_size % parts:
                raise ValueError(
                    f"batch_size={batch_size} is not a multiple of {shard.world_size} ranks × "
                    f"{shard.grad_accum_steps} micro-batches"
                )
            self._global_batch_size = batch_size
            self._micro_batch_size = batch_size // parts
            self.steps_per_epoch = info.num_train // batch_size
        else:
            self._ids = np.array_split(np.arange(info.num_test), shard.world_size)[shard.rank]
            self._micro_batch_size = batch_size
            self.steps_per_epoch = -(-len(self._ids) // batch_size)

    def epoch(self, seed: int = 0, epoch: int = 0, start: int = 0) -> Generator[Batch, None, None]:
        """Batches of an epoch, starting with step `start`.

        train: shuffled by (seed, epoch); samples that do not fill a last batch are left out. A step
        is this rank's part of the global batch, in `grad_accum_steps` consecutive batches.
        test: this rank's samples in order; the last batch may be smaller. Seed and epoch are not
        used.

        Close an iterator that is not exhausted (contextlib.closing), which ends its threads and
        processes. Garbage collection closes it as well.
        """
        ids = self._epoch_ids(seed, epoch, start)
        if len(ids) == 0:
            return
        boxes = self._boxes(ids, seed, epoch)
        request = Request(ids, self._micro_batch_size, self._info.resolution, boxes)
        batches = self._reader.read(self._beton, request)
        for chunk, (images, labels) in zip(request.chunks(), batches, strict=True):
            yield Batch(images, labels, torch.from_numpy(chunk))

    def _epoch_ids(self, seed: int, epoch: int, start: int) -> np.ndarray:
        """Ids of this rank's samples from step `start` on."""
        if self._split == "test":
            return self._ids[start * self._micro_batch_size :]
        order = permutation(seed, epoch, self._info.num_train)
        order = order[: self.steps_per_epoch * self._global_batch_size]
        by_rank = order.reshape(self.steps_per_epoch, self._shard.world_size, -1)
        return by_rank[start:, self._shard.rank].reshape(-1)

    def _boxes(self, ids: np.ndarray, seed: int, epoch: int) -> np.ndarray | None:
        """Crops of the samples; None if images are stored as they are used."""
        if self._info.config.crop == Crop.PADDED:
            return None
        heights, widths = self._beton.heights[ids], self._beton.widths[ids]
        if self._split == "train":
            return random_boxes(seed, epoch, ids, heights, widths)
        return central_boxes(heights, widths)


def open_loader(
    info: DatasetInfo,
    split: Split,
    batch_size: int,
    loader: str,
    workers: int,
    rank: int = 0,
    world_size: int = 1,
    grad_accum_steps: int = 1,
    device: torch.device = CPU,
) -> BatchLoader:
    """Open the batches of one split of a prepared dataset, for one rank.

    Args:
        split: "train" or "test".
        batch_size: for train the global batch size, of which each rank gets a contiguous part, in
            `grad_accum_steps` equal micro-batches; for test the number of images that a rank reads
            at a time from its contiguous part of the split.
        loader: "auto", "memory", "ffcv" or "torch".
        workers: threads (ffcv) or processes (torch; 0 loads in this process) that load data.
        device: device on which loader=memory holds the images.

    Raises:
        UserError: there are fewer training images than `batch_size`, or the loader cannot read the
            dataset.
        ValueError: `batch_size` is not a multiple of `world_size` × `grad_accum_steps`.
    """
    if split == "train" and batch_size > info.num_train:
        raise UserError(
            f"batch_size={batch_size} exceeds the {info.num_train} training images of "
            f"{info.label}; use a smaller one"
        )
    reader = Reader(resolve_loader(loader, info), workers, device)
    shard = Shard(rank, world_size, grad_accum_steps)
    return BatchLoader(info, split, batch_size, reader, shard)


def resolve_loader(loader: str, info: DatasetInfo) -> str:
    """Resolve "auto": to "memory" if the dataset fits, else "ffcv" if installed, else "torch".

    UserError if the loader is unknown, cannot be imported or cannot read the dataset.
    """
    check_loader(loader)
    if loader == "memory" and info.config.crop != Crop.PADDED:
        raise UserError(
            f"loader=memory holds raw images, but {info.label} is stored as JPEG "
            f"(dataset.crop={info.config.crop}); use loader=auto"
        )
    if loader != "auto":
        return loader
    if fits_in_memory(info):
        return "memory"
    return "torch" if _ffcv_import_error() else "ffcv"


def check_loader(loader: str) -> None:
    """Raise UserError if the loader is unknown, or is "ffcv" and cannot be imported."""
    if loader not in LOADERS:
        raise UserError(f"loader={loader} is unknown; use one of {', '.join(LOADERS)}")
    if loader == "ffcv" and (problem := _ffcv_import_error()) is not None:
        raise UserError(
            f"loader=ffcv, but FFCV cannot be imported ({problem}); install libopencv-dev "
            "libturbojpeg0-dev pkg-config g++ with apt and then the package ffcv, or use "
            "loader=torch"
        )


@functools.cache
def _ffcv_import_error() -> str | None:
    """Return the reason why FFCV cannot be imported; None if it can."""
    try:
        import clr.data.ffcv_files  # noqa: F401
    except Exception as error:  # a broken build of FFCV can raise anything
        return f"{type(error).__name__}: {error}"
    return None
