"""The only module that imports FFCV: writing its files, and reading batches from them."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Iterator
from queue import Empty
from threading import current_thread
from typing import Any

import numpy as np
import torch
from torch import Tensor

_threads = torch.get_num_threads()
import numba  # noqa: E402
from ffcv.fields import IntField, RGBImageField  # noqa: E402
from ffcv.fields.decoders import IntDecoder, SimpleRGBImageDecoder  # noqa: E402
from ffcv.loader import Loader, OrderOption  # noqa: E402
from ffcv.loader.epoch_iterator import EpochIterator  # noqa: E402
from ffcv.memory_allocator import MemoryAllocator  # noqa: E402
from ffcv.pipeline.compiler import Compiler  # noqa: E402
from ffcv.traversal_order.base import TraversalOrder  # noqa: E402
from ffcv.writer import MIN_PAGE_SIZE, DatasetWriter, handle_sample  # noqa: E402

torch.set_num_threads(_threads)  # importing FFCV set it to one


def _set_num_threads(n: int) -> None:
    """Replaces FFCV's, which would also set the number of threads that torch computes with to its own."""
    Compiler.num_threads = n
    numba.set_num_threads(n)


Compiler.set_num_threads = _set_num_threads


def write_beton(path: str, samples: Iterable[tuple[np.ndarray, int]], n: int, resolution: int) -> None:
    """Writes `n` samples (uint8 image (resolution, resolution, 3), label) into a new FFCV file, pixels raw.

    FFCV's DatasetWriter hands the samples to processes and waits for ever when one of them dies; here its parts do
    the same work in this process. An error while iterating `samples` goes through, and leaves a useless file behind.
    """
    fields = {"image": RGBImageField(write_mode="raw"), "label": IntField()}
    image_bytes = 3 * resolution**2
    # A page has to hold an image; pages of the least size keep small datasets small.
    page_size = max(MIN_PAGE_SIZE, 1 << (image_bytes - 1).bit_length())
    writer = DatasetWriter(path, fields, page_size=page_size, num_workers=1)
    writer.num_samples = n
    writer.prepare()
    allocator = MemoryAllocator(path, writer.data_region_start, writer.page_size)
    metadata = np.frombuffer(writer.metadata_sm.buf, dtype=writer.metadata_type)
    try:
        with allocator:
            for i, sample in enumerate(samples):
                handle_sample(sample, i, writer.metadata_type.names, metadata, allocator, fields)
        writer.finalize(allocator.allocations)
    finally:
        del metadata  # the shared memory cannot be closed while an array looks at it
        writer.metadata_sm.close()
        writer.metadata_sm.unlink()


class _GivenOrder(TraversalOrder):
    """The samples that the next epoch visits, as set from outside."""

    ids: np.ndarray

    def sample_order(self, epoch: int) -> np.ndarray:
        return self.ids


@functools.lru_cache(maxsize=8)
def _loader(path: str, inode: int, mtime_ns: int, threads: int) -> Any:
    """The one FFCV Loader for this file: numba compiles for each Loader anew, so that all epochs and runs share it.

    Which samples come, and in batches of how many, is set before each epoch. The inode and time are in the key
    since a file may be converted again under the same name.
    """
    loader = Loader(
        path,
        batch_size=1,
        num_workers=threads,
        os_cache=True,
        order=OrderOption.SEQUENTIAL,
        seed=0,  # without it FFCV draws from numpy's global generator
        drop_last=False,
        pipelines={"image": [SimpleRGBImageDecoder()], "label": [IntDecoder()]},
    )
    # FFCV's `order` argument does not take a class, whatever its documentation says.
    loader.traversal_order = _GivenOrder(loader)
    return loader


def read_beton(path: str, ids: np.ndarray, batch_size: int, workers: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Images (B, H, W, 3) uint8 and labels (B,) int64 of samples `ids`, batch_size at a time, the last may be fewer.

    A thread of FFCV's reads ahead; it ends with this iterator, also if that is closed or dropped halfway. It copies
    with up to `workers` threads. The tensors are copies, as FFCV writes later batches over earlier ones.
    """
    stat = os.stat(path)
    threads = min(max(1, workers), numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
    loader = _loader(path, stat.st_ino, stat.st_mtime_ns, threads)
    loader.batch_size = batch_size
    loader.traversal_order.ids = ids.astype(np.uint64)
    iterator = iter(loader)
    try:
        while (batch := _next(iterator)) is not None:
            _, (images, labels) = batch
            yield torch.from_numpy(images).clone(), torch.from_numpy(labels).flatten().clone()
    finally:
        _close(iterator)


def _next(iterator: EpochIterator) -> Any:
    """The next entry of FFCV's queue, None at the end. FFCV's own __next__ waits for ever if its thread has died."""
    while True:
        try:
            return iterator.output_queue.get(timeout=1)
        except Empty:
            if not iterator.is_alive() and iterator.output_queue.empty():
                raise RuntimeError("FFCV's loading thread died; its own error is printed above") from None


def _close(iterator: EpochIterator) -> None:
    """Ends FFCV's thread, which by itself would wait for ever to put a batch into a full queue (FFCV issue 345)."""
    iterator.iter_ixes = iter(())  # no batch after the one in work
    iterator.close()
    # Not by `join` alone, since the thread still wants to put its last batch and the end mark into the queue. The
    # garbage collector may close an abandoned iterator from within that very thread, which then must not wait.
    while iterator.is_alive():
        while not iterator.output_queue.empty():
            iterator.output_queue.get()
        if iterator is current_thread():
            break
        iterator.join(timeout=0.01)
