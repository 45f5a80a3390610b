"""Encoding of images as samples of an FFCV file, in parallel and in order."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import numpy as np
from PIL import Image

from clr.cpus import available_cpus
from clr.data.beton import JPG, RAW, RECORD
from clr.data.images import Images
from clr.data.info import Crop
from clr.data.pixels import Unreadable

T = TypeVar("T")

JPEG_PAGE = 1 << 23  # bytes, FFCV's default; no photograph of a bounded shorter side is larger
# Modes of the originals by Pillow's name; the journal stores the position. The last is any other.
MODES = (
    *("RGB", "L", "CMYK", "RGBA", "P", "1", "LA", "PA", "I", "I;16", "I;16B", "F"),
    *("YCbCr", "LAB", "HSV", "RGBX", "other"),
)


def encode(images: Images, i: int) -> tuple[np.ndarray, bytes]:
    """The record (RECORD of shape (1,)) and the bytes of image i.

    Raises Unreadable as `Images.read` does, and if the image does not fit into a page.
    """
    image, mode = images.read(i)
    record = np.zeros(1, RECORD)
    if images.dataset.crop == Crop.PADDED:
        record["mode"], data = RAW, image.tobytes()
    else:
        record["mode"], data = JPG, _jpeg(image, images.dataset.jpeg_quality)
    record["width"], record["height"], record["label"] = image.width, image.height, images.labels[i]
    record["origin"] = MODES.index(mode if mode in MODES else "other")
    histogram, values = np.array(image.histogram()).reshape(3, 256), np.arange(256)
    record["sums"], record["squares"] = histogram @ values, histogram @ values**2
    return record, data


def encode_or_skip(images: Images, i: int) -> tuple[np.ndarray, bytes]:
    """Encode image i; an unreadable one gives the record of a skipped sample and no bytes."""
    try:
        return encode(images, i)
    except Unreadable:
        record = np.zeros(1, RECORD)
        record["label"] = -1
        return record, b""


def skip_reason(images: Images, i: int) -> str:
    """Return why image i was skipped, from encoding it again; the journal has no reasons."""
    try:
        encode(images, i)
    except Unreadable as error:
        return str(error)
    return "could not be read when it was converted"


def map_in_order(function: Callable[[range], T], chunks: list[range]) -> Iterator[T]:
    """Values of the function for all chunks, in order, computed by one thread per available CPU.

    At most two chunks per CPU are computed ahead of the one that is requested.
    """
    workers = available_cpus()
    remaining, running = iter(chunks), list[Future[T]]()
    with ThreadPoolExecutor(workers) as pool:
        try:
            while True:
                ahead = 2 * workers - len(running)
                running.extend(pool.submit(function, chunk) for chunk in islice(remaining, ahead))
                if not running:
                    return
                yield running.pop(0).result()
        finally:
            for future in running:
                future.cancel()


def _jpeg(image: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    try:
        image.save(file, "JPEG", quality=quality)
    except (OSError, ValueError) as error:  # a side is longer than JPEG allows
        raise Unreadable(f"cannot be stored as JPEG ({error})") from None
    data = file.getvalue()
    if len(data) > JPEG_PAGE:
        raise Unreadable(
            f"has {len(data)} bytes as JPEG, more than {JPEG_PAGE}; set dataset.short_side to "
            "make it smaller"
        )
    return data
