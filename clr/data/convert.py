"""Converts a dataset once: decodes it, measures it, and writes it as FFCV files with a manifest.

A conversion works in a folder of its own, under a lock. One that was killed is gone on with by the next, and its files
are the same, to the byte, as if nothing had happened.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from typing import TypeVar

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import Progress, TaskID

from clr.config import DatasetConfig
from clr.data.beton import JPG, RAW, RECORD, Beton, BetonWriter, journal, page_size
from clr.data.images import Images, Unreadable
from clr.data.info import SPLITS, beton_record, write_manifest
from clr.data.sources import Source
from clr.errors import UserError

T = TypeVar("T")

CHUNK = 1 << 22  # bytes of raw pixels, about, that are decoded and written at a time
JPEGS = 32  # or so many images, where they are stored as JPEG
JPEG_PAGE = 1 << 23  # bytes, FFCV's default; no photograph of a bounded shorter side is larger
SLOW = 5000  # a progress bar is shown from this many images on
# What originals may be, as Pillow names it; the journal holds the position. The last is any other.
MODES = (
    "RGB",
    "L",
    "CMYK",
    "RGBA",
    "P",
    "1",
    "LA",
    "PA",
    "I",
    "I;16",
    "F",
    "YCbCr",
    "LAB",
    "HSV",
    "RGBX",
    "other",
)


def convert(source: Source, folder: str, partial: str) -> None:
    """Makes the folder's files in `partial`, the manifest last, and renames that."""
    if not os.path.exists(os.path.join(partial, "manifest.json")):
        os.makedirs(partial, exist_ok=True)
        _fill(source, partial)
    for split in SPLITS:
        if os.path.exists(path := journal(os.path.join(partial, f"{split}.beton"))):
            os.remove(path)
    shutil.rmtree(folder, ignore_errors=True)  # one without a manifest, which does not count
    os.rename(partial, folder)


def _fill(source: Source, partial: str) -> None:
    splits = {split: source.split(split) for split in SPLITS}
    paths = {split: os.path.join(partial, f"{split}.beton") for split in SPLITS}
    records = {}
    with Progress(
        console=Console(stderr=True), disable=sum(map(len, splits.values())) < SLOW
    ) as progress:
        for split, images in splits.items():
            task = progress.add_task(f"{source.label}: converting {split}", total=len(images))
            records[split] = _write(images, paths[split], progress, task)
            counts = np.bincount(records[split]["label"] + 1, minlength=len(source.classes) + 1)[1:]
            if not counts.all():
                shutil.rmtree(partial)
                empty = source.classes[int(counts.argmin())]
                raise UserError(
                    f"{source.dataset.path}: no image of class {empty} for {split} can be read; mend or delete it"
                )
    mean, std = _moments(records["train"])
    skipped = [
        (split, i) for split in SPLITS for i in np.flatnonzero(records[split]["label"] < 0).tolist()
    ]
    with open(os.path.join(partial, "skipped.txt"), "w") as file:
        file.writelines(
            f"{splits[split].items[i]}\t{_reason(splits[split], i)}\n" for split, i in skipped
        )
    if not skipped:
        os.remove(os.path.join(partial, "skipped.txt"))
    every = np.concatenate([records[split] for split in SPLITS])
    origins = np.bincount(every["origin"][every["label"] >= 0], minlength=len(MODES))
    facts = {
        "name": source.dataset.name,
        "label": source.label,
        "classes": source.classes,
        "num_train": int((records["train"]["label"] >= 0).sum()),
        "num_test": int((records["test"]["label"] >= 0).sum()),
        "resolution": source.dataset.resolution,
        "mean": mean,
        "std": std,
        "fingerprint": _fingerprint([Beton(paths[split]) for split in SPLITS], source.dataset),
        "skipped": len(skipped),
        "converted": {
            mode: int(n) for mode, n in zip(MODES, origins, strict=True) if n and mode != "RGB"
        },
    }
    betons = {split: beton_record(paths[split]) for split in SPLITS}
    write_manifest(os.path.join(partial, "manifest.json"), facts, betons)


def _write(images: Images, path: str, progress: Progress, task: TaskID) -> np.ndarray:
    """Writes the images into an FFCV file, or the rest of them into one that was begun; the records of all."""
    dataset = images.dataset
    raw = 3 * dataset.resolution**2
    each, page = (
        (JPEGS, JPEG_PAGE)
        if dataset.crop == "random_resized"
        else (max(1, CHUNK // raw), page_size(raw))
    )
    with closing(BetonWriter(path, len(images), page)) as writer:
        done = writer.done
        progress.advance(task, done)
        chunks = [
            range(start, min(start + each, len(images))) for start in range(done, len(images), each)
        ]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for encoded in _in_order(
                pool, lambda chunk: [_encode_or_skip(images, i) for i in chunk], chunks
            ):
                writer.append(
                    np.concatenate([record for record, _ in encoded]), [data for _, data in encoded]
                )
                progress.advance(task, len(encoded))
        writer.finish()
        return writer.records


def _in_order(
    pool: ThreadPoolExecutor, function: Callable[[range], T], chunks: list[range]
) -> Iterator[T]:
    """The function's values for all chunks in their order; only a few are ahead of the one that is asked for."""
    todo, running = iter(chunks), list[Future[T]]()
    try:
        while True:
            ahead = 2 * (os.cpu_count() or 1) - len(running)
            running.extend(pool.submit(function, chunk) for chunk in islice(todo, ahead))
            if not running:
                return
            yield running.pop(0).result()
    finally:
        for future in running:
            future.cancel()


def _encode(images: Images, i: int) -> tuple[np.ndarray, bytes]:
    """The record (1,) and the bytes of image i. Unreadable as Images.read raises it, or for what no page can hold."""
    image, mode = images.read(i)
    record = np.zeros(1, RECORD)
    if images.dataset.crop == "padded":
        record["mode"], data = RAW, image.tobytes()
    else:
        record["mode"], data = JPG, _jpeg(image, images.dataset.jpeg_quality)
    record["width"], record["height"], record["label"] = image.width, image.height, images.labels[i]
    record["origin"] = MODES.index(mode if mode in MODES else "other")
    histogram, values = np.array(image.histogram()).reshape(3, 256), np.arange(256)
    record["sums"], record["squares"] = histogram @ values, histogram @ values**2
    return record, data


def _encode_or_skip(images: Images, i: int) -> tuple[np.ndarray, bytes]:
    try:
        return _encode(images, i)
    except Unreadable:
        record = np.zeros(1, RECORD)
        record["label"] = -1
        return record, b""


def _reason(images: Images, i: int) -> str:
    """Why image i was skipped, found out once more: the journal has no room for it."""
    try:
        _encode(images, i)
    except Unreadable as error:
        return str(error)
    return "could not be read when it was converted"


def _jpeg(image: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    try:
        image.save(file, "JPEG", quality=quality)
    except (OSError, ValueError) as error:  # a side is longer than a JPEG may have
        raise Unreadable(f"cannot be stored as JPEG ({error})") from None
    if len(data := file.getvalue()) > JPEG_PAGE:
        raise Unreadable(
            f"has {len(data)} bytes as JPEG, more than {JPEG_PAGE}; dataset.short_side makes it smaller"
        )
    return data


def _moments(records: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel in [0, 1]; from integer sums, so that no rounding adds up.

    Of images stored as JPEG these are the pixels before compression, all of each image.
    """
    count = int((records["width"].astype(np.int64) * records["height"]).sum())
    mean = records["sums"].sum(axis=0) / count
    variance = records["squares"].sum(axis=0) / count - mean**2
    return (mean / 255).tolist(), (np.sqrt(np.maximum(variance, 0)) / 255).tolist()


def _fingerprint(betons: list[Beton], dataset: DatasetConfig) -> str:
    sha = hashlib.sha256()
    for beton in betons:
        raw = dataset.crop == "padded"
        # Raw pixels come from the resolution; crops of JPEG do as well, but only when they are made.
        kind = "images of" if raw else "JPEG images for"
        sha.update(f"{len(beton)} {kind} {dataset.resolution} pixels".encode())
        for i in range(len(beton)):
            sha.update(beton.data(i))
        if not raw:
            sha.update(beton.sizes.astype("<i8").tobytes())
        sha.update(beton.labels.astype("<i8").tobytes())
    return sha.hexdigest()
