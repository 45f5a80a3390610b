"""The only module that imports FFCV: reads batches from its files."""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from queue import Empty
from threading import current_thread
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

_threads = torch.get_num_threads()
import ffcv._libffcv  # noqa: E402
import numba  # noqa: E402
from ffcv.fields.decoders import IntDecoder, SimpleRGBImageDecoder  # noqa: E402
from ffcv.loader import Loader, OrderOption  # noqa: E402
from ffcv.loader.epoch_iterator import EpochIterator  # noqa: E402
from ffcv.memory_managers import OSCacheManager  # noqa: E402
from ffcv.pipeline.allocation_query import AllocationQuery  # noqa: E402
from ffcv.pipeline.compiler import Compiler  # noqa: E402
from ffcv.pipeline.state import State  # noqa: E402
from ffcv.reader import Reader  # noqa: E402
from ffcv.traversal_order.base import TraversalOrder  # noqa: E402

from clr.data.beton import IMAGE  # noqa: E402
from clr.data.resize import crop_and_resize  # noqa: E402

torch.set_num_threads(_threads)  # importing FFCV set it to one


def _set_num_threads(n: int) -> None:
    """Replaces FFCV's, which would also set the number of threads that torch computes with to its own."""
    Compiler.num_threads = n
    numba.set_num_threads(n)


Compiler.set_num_threads = _set_num_threads


# FFCV's own decoding of JPEG trades accuracy for speed (its fast DCT). Through the same library, libturbojpeg, but with
# the accurate one, the pixels are those that Pillow decodes.
_ACCURATE = 4096
_library = ctypes.CDLL(
    ffcv._libffcv.__file__
)  # which finds the symbols of what it is linked to as well
_jpeg_open, _jpeg_close, _jpeg_read = (
    _library.tjInitDecompress,
    _library.tjDestroy,
    _library.tjDecompress2,
)
_pointer, _number = ctypes.c_uint64, ctypes.c_int32
_jpeg_open.argtypes, _jpeg_open.restype = [], _pointer
_jpeg_close.argtypes, _jpeg_close.restype = [_pointer], _number
_jpeg_read.argtypes = [_pointer, _pointer, ctypes.c_uint64, _pointer, *[_number] * 5]
_jpeg_read.restype = _number

# FFCV hands the metadata to the compiled decoder anew with each batch. numba would freeze any other array that the
# decoder sees at what it holds when it is compiled, so the crops of an epoch come in as columns of the metadata.
_CROPPED = np.dtype(
    [*IMAGE.descr, *((name, "<i4") for name in ("y", "x", "h", "w")), ("damaged", "<u1")]
)


class _CropDecoder(
    SimpleRGBImageDecoder
):  # a subclass, since FFCV takes anything else for what follows a decoder
    """Decodes JPEG, cuts the box that the metadata holds and resizes it to resolution × resolution."""

    def __init__(self, resolution: int) -> None:
        super().__init__()
        self.resolution = resolution

    def declare_state_and_memory(self, previous_state: State) -> tuple[State, AllocationQuery]:
        shape, dtype = (self.resolution, self.resolution, 3), np.dtype("<u1")
        return replace(previous_state, jit_mode=True, shape=shape, dtype=dtype), AllocationQuery(
            shape, dtype
        )

    def generate_code(self) -> Callable:
        read, numbers = self.memory_read, Compiler.get_iterator()
        jpeg_open, jpeg_read, jpeg_close = _jpeg_open, _jpeg_read, _jpeg_close

        def decode(batch_indices, destination, metadata, storage_state):  # type: ignore[no-untyped-def]
            for i in numbers(len(batch_indices)):
                field = metadata[batch_indices[i]]
                height, width = np.int64(field["height"]), np.int64(field["width"])
                data = read(field["data_ptr"], storage_state)
                # Made here: as memory that FFCV keeps for each place in a batch, it would be of the largest height
                # times the largest width.
                image = np.empty((height, width, 3), np.uint8)
                handle = jpeg_open()
                status = jpeg_read(
                    handle,
                    data.ctypes.data,
                    data.size,
                    image.ctypes.data,
                    width,
                    width * 3,
                    height,
                    0,
                    _ACCURATE,
                )
                jpeg_close(handle)
                if status != 0:
                    field["damaged"] = 1
                crop_and_resize(
                    image, field["y"], field["x"], field["h"], field["w"], destination[i]
                )
            return destination[: len(batch_indices)]

        decode.is_parallel = True  # type: ignore[attr-defined]
        return decode


class _GivenOrder(TraversalOrder):
    """The samples that the next epoch visits, as set from outside."""

    ids: np.ndarray

    def sample_order(self, epoch: int) -> np.ndarray:
        return self.ids


# One Loader for each number of threads and size of crops, as numba compiles for each anew, for many seconds. All files,
# epochs and runs share it: it is pointed at its file before each epoch.
_loaders: dict[tuple[int, int | None], Any] = {}


def _loader(path: str, threads: int, resolution: int | None) -> Any:
    if (threads, resolution) not in _loaders:
        decoder = SimpleRGBImageDecoder() if resolution is None else _CropDecoder(resolution)
        loader = Loader(
            path,
            batch_size=1,
            num_workers=threads,
            os_cache=True,
            order=OrderOption.SEQUENTIAL,
            seed=0,  # without it FFCV draws from numpy's global generator
            drop_last=False,
            pipelines={"image": [decoder], "label": [IntDecoder()]},
        )
        # FFCV's `order` argument does not take a class, whatever its documentation says.
        loader.traversal_order = _GivenOrder(loader)
        _loaders[threads, resolution] = loader
    return _loaders[threads, resolution]


@functools.lru_cache(maxsize=8)
def _opened(path: str, inode: int, mtime_ns: int) -> tuple[Reader, OSCacheManager]:
    """The file's metadata and memory map. The key tells a file that was converted again under the same name."""
    reader = Reader(path)
    return reader, OSCacheManager(reader)


def read_beton(
    path: str,
    ids: np.ndarray,
    batch_size: int,
    workers: int,
    boxes: np.ndarray | None = None,
    resolution: int | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Images (B, H, W, 3) uint8 and labels (B,) int64 of samples `ids`, batch_size at a time, the last may be fewer.

    With `boxes`, int64 (n, 4): y, x, h, w for each of `ids`, that part of each image, which is stored as JPEG, is
    resized to `resolution` squared. Without, images are raw and of one size.

    A thread of FFCV's reads ahead; it ends with this iterator, also if that is closed or dropped halfway. It decodes
    with up to `workers` threads. The tensors are copies, as FFCV writes later batches over earlier ones.
    """
    stat = os.stat(path)
    threads = min(max(1, workers), numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
    reader, manager = _opened(path, stat.st_ino, stat.st_mtime_ns)
    metadata, order = reader.metadata, ids
    if boxes is not None:
        # A row for each place in the epoch instead of each sample: no larger than what is read.
        metadata, order = _with_boxes(metadata[ids], boxes), np.arange(len(ids))
    loader = _loader(path, threads, resolution)
    loader.batch_size, loader.memory_manager = batch_size, manager
    loader.reader = SimpleNamespace(metadata=metadata)
    loader.graph.metadata = metadata  # has the size of raw images
    loader.traversal_order.ids = loader.first_traversal_order = order.astype(np.uint64)
    iterator = iter(loader)
    try:
        place = 0
        while (batch := _next(iterator)) is not None:
            _, (images, labels) = batch
            damaged = (
                metadata["f0"]["damaged"][place : place + len(labels)]
                if boxes is not None
                else np.zeros(1)
            )
            if damaged.any():
                raise RuntimeError(
                    f"{path} is damaged: sample {ids[place + int(damaged.argmax())]} cannot be decoded"
                )
            place += len(labels)
            yield torch.from_numpy(images).clone(), torch.from_numpy(labels).flatten().clone()
    finally:
        _close(iterator)


def _with_boxes(metadata: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """FFCV's metadata (n,) with the boxes (n, 4) and a mark for damage among the columns of the image."""
    wider = np.zeros(len(metadata), [("f0", _CROPPED), ("f1", "<i8")])
    wider["f1"] = metadata["f1"]
    for name in IMAGE.names or ():
        wider["f0"][name] = metadata["f0"][name]
    for name, column in zip("yxhw", boxes.T, strict=True):
        wider["f0"][name] = column
    return wider


def _next(iterator: EpochIterator) -> Any:
    """The next entry of FFCV's queue, None at the end. FFCV's own __next__ waits for ever if its thread has died."""
    while True:
        try:
            return iterator.output_queue.get(timeout=1)
        except Empty:
            if not iterator.is_alive() and iterator.output_queue.empty():
                raise RuntimeError(
                    "FFCV's loading thread died; its own error is printed above"
                ) from None


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
