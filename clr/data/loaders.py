"""Batches from either loader: FFCV, or torch's DataLoader for machines where FFCV is not built."""

from __future__ import annotations

import functools
from collections.abc import Generator, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from clr.data.info import DatasetInfo
from clr.data.order import permutation
from clr.data.sources import Images, open_source
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
    except Exception as error:  # a half-built FFCV, or one built for other libraries, fails in many ways
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


class _Batches(Dataset[tuple[Tensor, Tensor]]):
    """Map from an array of ids to their images and labels."""

    def __init__(self, images: Images) -> None:
        self.images = images

    def __getitem__(self, ids: np.ndarray) -> tuple[Tensor, Tensor]:
        pixels = np.stack([self.images[i] for i in ids])
        return torch.from_numpy(pixels), torch.from_numpy(self.images.labels[ids])


class BatchLoader:
    """The batches of one split, the same ones in the same order from either loader and any number of workers."""

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
        self._rank, self._ranks, self._accumulate = rank, ranks, accumulate
        self._info, self._split, self._batch_size, self._workers = info, split, batch_size, workers
        size = info.size(split)
        self._used = size // batch_size * batch_size if split == "train" else size
        self.steps_per_epoch = -(-self._used // batch_size)
        self._read = self._read_ffcv if loader == "ffcv" else self._read_torch
        if loader == "torch":
            self._dataset = _Batches(open_source(info.config).split(split))

    def epoch(self, seed: int = 0, epoch: int = 0, start: int = 0) -> Generator[Batch, None, None]:
        """The batches of an epoch from number `start` on.

        train: shuffled by (seed, epoch); samples that do not fill a last batch are left out. test: all samples in
        their order, the last batch may be smaller; seed and epoch mean nothing. An iterator that is not run to its
        end is best closed (contextlib.closing); being garbage-collected closes it as well.
        """
        if self._split == "train":
            ids = permutation(seed, epoch, self._info.num_train)
        else:
            ids = np.arange(self._info.num_test)
        ids = ids[start * self._batch_size : self._used]
        if len(ids) == 0:
            return
        if self._split == "train":
            ids = ids.reshape(-1, self._ranks, self._batch_size // self._ranks)[:, self._rank].reshape(-1)
            size = self._batch_size // self._ranks // self._accumulate
        else:
            ids, size = np.array_split(ids, self._ranks)[self._rank], self._batch_size
        chunks = np.split(ids, range(size, len(ids), size))
        for chunk, (images, labels) in zip(chunks, self._read(ids, chunks), strict=True):
            yield Batch(images, labels, torch.from_numpy(chunk))

    def _read_ffcv(self, ids: np.ndarray, chunks: list[np.ndarray]) -> Iterator[tuple[Tensor, Tensor]]:
        from clr.data.ffcv_files import read_beton

        return read_beton(self._info.beton(self._split), ids, len(chunks[0]), self._workers)

    def _read_torch(self, ids: np.ndarray, chunks: list[np.ndarray]) -> Iterator[tuple[Tensor, Tensor]]:
        # With a generator of its own, the DataLoader leaves torch's global one as it is.
        generator = torch.Generator()
        return iter(
            DataLoader(self._dataset, batch_size=None, sampler=chunks, num_workers=self._workers, generator=generator)
        )


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
    """Batches of `split` ("train" or "test") of a dataset that was prepared for this `loader` (auto, ffcv, torch).

    workers: processes (torch; 0 loads in this process) or threads (ffcv) that load. UserError if there are fewer
    training images than batch_size.
    """
    if split == "train" and batch_size > info.num_train:
        raise UserError(
            f"batch_size={batch_size}, but {info.label} has only {info.num_train} training images; use a smaller one"
        )
    return BatchLoader(info, split, batch_size, resolve_loader(loader), workers, rank, ranks, accumulate)
