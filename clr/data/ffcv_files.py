"""Batches from FFCV files by FFCV itself; the only module that imports it."""

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
from clr.data.requests import Request  # noqa: E402
from clr.data.resize import crop_and_resize  # noqa: E402

torch.set_num_threads(_threads)  # importing FFCV has set it to 1


def _set_num_threads(n: int) -> None:
    """Replacement of FFCV's function, which would also set the number of threads of torch."""
    Compiler.num_threads = n
    numba.set_num_threads(n)


Compiler.set_num_threads = _set_num_threads


# FFCV decodes JPEG with libturbojpeg's fast, inaccurate DCT. These functions of the same library
# are called with the accurate one, which gives the pixels that Pillow decodes. The symbols are
# found through FFCV's extension module, which is linked to the library.
_ACCURATE_DCT = 4096
_library = ctypes.CDLL(ffcv._libffcv.__file__)
_pointer, _int = ctypes.c_uint64, ctypes.c_int32
_jpeg_open = _library.tjInitDecompress
_jpeg_open.argtypes, _jpeg_open.restype = [], _pointer
_jpeg_close = _library.tjDestroy
_jpeg_close.argtypes, _jpeg_close.restype = [_pointer], _int
_jpeg_read = _library.tjDecompress2
_jpeg_read.argtypes = [_pointer, _pointer, ctypes.c_uint64, _pointer, *[_int] * 5]
_jpeg_read.restype = _int

# FFCV passes the metadata to the compiled decoder with each batch. Any other array that the decoder
# refers to is a constant from the time of compilation on, for Numba. So the crops of an epoch are
# passed as columns of the metadata.
_BOX_COLUMNS = ("y", "x", "h", "w")
_CROPPED_IMAGE = np.dtype(
    [*IMAGE.descr, *((name, "<i4") for name in _BOX_COLUMNS), ("damaged", "<u1")]
)


# A subclass of FFCV's decoder, because FFCV takes anything else for an operation after the decoder.
class _CropDecoder(SimpleRGBImageDecoder):
    """Decode JPEG, crop the box in the metadata and resize it to resolution × resolution."""

    def __init__(self, resolution: int) -> None:
        super().__init__()
        self.resolution = resolution

    def declare_state_and_memory(self, previous_state: State) -> tuple[State, AllocationQuery]:
        shape, dtype = (self.resolution, self.resolution, 3), np.dtype("<u1")
        state = replace(previous_state, jit_mode=True, shape=shape, dtype=dtype)
        return state, AllocationQuery(shape, dtype)

    def generate_code(self) -> Callable:
        read, prange = self.memory_read, Compiler.get_iterator()
        jpeg_open, jpeg_read, jpeg_close = _jpeg_open, _jpeg_read, _jpeg_close

        def decode(batch_indices, destination, metadata, storage_state):  # type: ignore[no-untyped-def]
            for i in prange(len(batch_indices)):
                field = metadata[batch_indices[i]]
                height, width = np.int64(field["height"]), np.int64(field["width"])
                data = read(field["data_ptr"], storage_state)
                # Allocated per image: FFCV would allocate memory of the maximum height times the
                # maximum width for each image of a batch.
                image = np.empty((height, width, 3), np.uint8)
                source, size, target = data.ctypes.data, data.size, image.ctypes.data
                handle = jpeg_open()
                status = jpeg_read(
                    handle, source, size, target, width, width * 3, height, 0, _ACCURATE_DCT
                )
                jpeg_close(handle)
                if status != 0:
                    field["damaged"] = 1
                box = (field["y"], field["x"], field["h"], field["w"])
                crop_and_resize(image, box, destination[i])
            return destination[: len(batch_indices)]

        decode.is_parallel = True  # type: ignore[attr-defined]
        return decode


class _GivenOrder(TraversalOrder):
    """Order of the samples in the next epoch, set by `read_ffcv`."""

    ids: np.ndarray

    def sample_order(self, epoch: int) -> np.ndarray:
        return self.ids


# Numba compiles a Loader for many seconds, so there is one per number of threads and size of crops,
# shared by all files, epochs and runs. It is set to its file before each epoch.
_loaders: dict[tuple[int, int | None], Any] = {}


def _loader(path: str, threads: int, crop_resolution: int | None) -> Any:
    """The shared Loader. `crop_resolution` is None for raw images, which are not cropped here."""
    key = threads, crop_resolution
    if key not in _loaders:
        if crop_resolution is None:
            decoder = SimpleRGBImageDecoder()
        else:
            decoder = _CropDecoder(crop_resolution)
        loader = Loader(
            path,
            batch_size=1,
            num_workers=threads,
            os_cache=True,
            order=OrderOption.SEQUENTIAL,
            seed=0,  # without it FFCV draws from NumPy's global generator
            drop_last=False,
            pipelines={"image": [decoder], "label": [IntDecoder()]},
        )
        # FFCV's documentation says that `order` takes a class, but it does not.
        loader.traversal_order = _GivenOrder(loader)
        _loaders[key] = loader
    return _loaders[key]


@functools.lru_cache(maxsize=8)
def _open(path: str, inode: int, mtime_ns: int) -> tuple[Reader, OSCacheManager]:
    """Metadata and memory map of a file; inode and time detect a file that was converted again."""
    reader = Reader(path)
    return reader, OSCacheManager(reader)


def read_ffcv(path: str, request: Request, workers: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Read images (B, H, W, 3) uint8 and labels (B,) int64, batch by batch.

    A thread of FFCV reads ahead and decodes with up to `workers` threads. It ends with this
    iterator, also if that is closed or garbage-collected early. The tensors are copies, because
    FFCV reuses the memory of its batches.

    Raises RuntimeError if an image cannot be decoded or if FFCV's thread dies.
    """
    stat = os.stat(path)
    threads = min(max(1, workers), numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
    reader, manager = _open(path, stat.st_ino, stat.st_mtime_ns)
    metadata, order, resolution = reader.metadata, request.ids, None
    if request.boxes is not None:
        # One row per position in the epoch, instead of one per sample of the file.
        metadata = _with_boxes(metadata[request.ids], request.boxes)
        order, resolution = np.arange(len(request.ids)), request.resolution
    loader = _loader(path, threads, resolution)
    loader.batch_size, loader.memory_manager = request.batch_size, manager
    loader.reader = SimpleNamespace(metadata=metadata)
    loader.graph.metadata = metadata  # has the size of raw images
    loader.traversal_order.ids = loader.first_traversal_order = order.astype(np.uint64)
    iterator = iter(loader)
    try:
        position = 0
        while (batch := _next(iterator)) is not None:
            _, (images, labels) = batch
            if request.boxes is not None:
                damaged = metadata["f0"]["damaged"][position : position + len(labels)]
                if damaged.any():
                    sample = request.ids[position + int(damaged.argmax())]
                    raise RuntimeError(f"{path} is damaged: sample {sample} cannot be decoded")
            position += len(labels)
            yield torch.from_numpy(images).clone(), torch.from_numpy(labels).flatten().clone()
    finally:
        _close(iterator)


def _with_boxes(metadata: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """FFCV's metadata (n,) with the boxes (n, 4) and a flag for damage as columns of the image."""
    wider = np.zeros(len(metadata), [("f0", _CROPPED_IMAGE), ("f1", "<i8")])
    wider["f1"] = metadata["f1"]
    for name in IMAGE.names or ():
        wider["f0"][name] = metadata["f0"][name]
    for name, column in zip(_BOX_COLUMNS, boxes.T, strict=True):
        wider["f0"][name] = column
    return wider


def _next(iterator: EpochIterator) -> Any:
    """Next entry of FFCV's queue, None at the end. FFCV's __next__ hangs if its thread has died."""
    while True:
        try:
            return iterator.output_queue.get(timeout=1)
        except Empty:
            if not iterator.is_alive() and iterator.output_queue.empty():
                raise RuntimeError(
                    "FFCV's loading thread died; its own error is printed above"
                ) from None


def _close(iterator: EpochIterator) -> None:
    """End FFCV's thread, which would block forever on a full queue (FFCV issue 345)."""
    iterator.iter_ixes = iter(())  # no batch after the current one
    iterator.close()
    # `join` alone would block: the thread still puts its last batch and the end mark into the
    # queue. The garbage collector may run this in that very thread, which must not wait for itself.
    while iterator.is_alive():
        while not iterator.output_queue.empty():
            iterator.output_queue.get()
        if iterator is current_thread():
            break
        iterator.join(timeout=0.01)
