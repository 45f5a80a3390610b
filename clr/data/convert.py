"""Conversion of a dataset: decode, measure and write it as FFCV files with a manifest.

A conversion works in a folder of its own, under a lock that the caller holds. If it is killed, the
next one resumes it, and the files become the same, to the byte, as without the interruption.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress, TaskID

from clr.config import DatasetConfig
from clr.data.beton import Beton, BetonWriter, journal, page_size
from clr.data.encode import JPEG_PAGE, MODES, encode_or_skip, map_in_order, skip_reason
from clr.data.images import Images
from clr.data.info import SPLITS, Crop, Split, beton_record, write_manifest
from clr.data.sources import Source
from clr.errors import UserError
from clr.files import write_text

RAW_CHUNK = 1 << 22  # bytes of raw pixels, approximately, that are decoded and written at a time
JPEG_CHUNK = 32  # images instead, if they are stored as JPEG
PROGRESS_FROM = 5000  # number of images from which on a progress bar is shown


def convert(source: Source, folder: str, partial: str) -> None:
    """Convert into the folder `partial`, resuming what is there, and rename it to `folder`.

    UserError if a class has no readable image; OSError if `partial` cannot be written.
    """
    if not os.path.exists(os.path.join(partial, "manifest.json")):
        os.makedirs(partial, exist_ok=True)
        _write_files(source, partial)
    for split in SPLITS:
        Path(journal(os.path.join(partial, f"{split}.beton"))).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)  # a folder without a manifest is not a conversion
    os.rename(partial, folder)


def _write_files(source: Source, partial: str) -> None:
    """Write the FFCV files of both splits, skipped.txt and, last, the manifest."""
    splits = {split: source.split(split) for split in SPLITS}
    paths = {split: os.path.join(partial, f"{split}.beton") for split in SPLITS}
    records: dict[Split, np.ndarray] = {}
    hidden = sum(map(len, splits.values())) < PROGRESS_FROM
    with Progress(console=Console(stderr=True), disable=hidden) as progress:
        for split, images in splits.items():
            task = progress.add_task(f"{source.label}: converting {split}", total=len(images))
            records[split] = _write_split(images, paths[split], progress, task)
            empty = _class_without_images(source, records[split])
            if empty is not None:
                shutil.rmtree(partial)
                raise UserError(
                    f"{source.dataset.path}: no {split} image of class {empty} can be read; "
                    "fix or delete it"
                )
    _list_skipped(splits, records, os.path.join(partial, "skipped.txt"))
    fingerprint = _fingerprint([Beton(paths[split]) for split in SPLITS], source.dataset)
    facts = {**_facts(source, records), "fingerprint": fingerprint}
    write_manifest(partial, facts, {split: beton_record(paths[split]) for split in SPLITS})


def _write_split(images: Images, path: str, progress: Progress, task: TaskID) -> np.ndarray:
    """Write the images into an FFCV file, resuming an unfinished one; return all records."""
    if images.dataset.crop == Crop.RANDOM_RESIZED:
        chunk_size, page = JPEG_CHUNK, JPEG_PAGE
    else:
        image_bytes = 3 * images.dataset.resolution**2
        chunk_size, page = max(1, RAW_CHUNK // image_bytes), page_size(image_bytes)

    def encode_chunk(chunk: range) -> list[tuple[np.ndarray, bytes]]:
        return [encode_or_skip(images, i) for i in chunk]

    with closing(BetonWriter(path, len(images), page)) as writer:
        progress.advance(task, writer.done)
        starts = range(writer.done, len(images), chunk_size)
        chunks = [range(start, min(start + chunk_size, len(images))) for start in starts]
        for encoded in map_in_order(encode_chunk, chunks):
            records, data = zip(*encoded, strict=True)
            writer.append(np.concatenate(records), data)
            progress.advance(task, len(encoded))
        writer.finish()
        return writer.records


def _class_without_images(source: Source, records: np.ndarray) -> str | None:
    """Name of a class of which every image was skipped."""
    labels = records["label"][records["label"] >= 0]
    counts = np.bincount(labels, minlength=len(source.classes))
    return None if counts.all() else source.classes[int(counts.argmin())]


def _list_skipped(splits: dict[Split, Images], records: dict[Split, np.ndarray], path: str) -> None:
    """Write the path of each skipped original and the reason, if there are any."""
    lines = []
    for split, images in splits.items():
        for i in np.flatnonzero(records[split]["label"] < 0).tolist():
            lines.append(f"{_printable(str(images.items[i]))}\t{skip_reason(images, i)}\n")
    if lines:
        write_text("".join(lines), Path(path))


def _printable(text: str) -> str:
    """The text with everything escaped that would break a line or is not valid UTF-8."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _facts(source: Source, records: dict[Split, np.ndarray]) -> dict[str, Any]:
    """The fields of DatasetInfo that follow from the records."""
    stored = {split: records[split][records[split]["label"] >= 0] for split in SPLITS}
    mean, std = _moments(stored["train"])
    origins = np.concatenate([stored[split]["origin"] for split in SPLITS])
    counts = np.bincount(origins, minlength=len(MODES)).tolist()
    return {
        "name": source.dataset.name,
        "label": source.label,
        "classes": source.classes,
        "num_train": len(stored["train"]),
        "num_test": len(stored["test"]),
        "resolution": source.dataset.resolution,
        "mean": mean,
        "std": std,
        "skipped": sum(len(records[split]) - len(stored[split]) for split in SPLITS),
        "converted": {
            mode: n for mode, n in zip(MODES, counts, strict=True) if n > 0 and mode != "RGB"
        },
    }


def _moments(records: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel in [0, 1], from exact integer sums.

    For images stored as JPEG these are over all pixels before compression.
    """
    count = int((records["width"].astype(np.int64) * records["height"]).sum())
    mean = records["sums"].sum(axis=0) / count
    variance = records["squares"].sum(axis=0) / count - mean**2
    return (mean / 255).tolist(), (np.sqrt(np.maximum(variance, 0)) / 255).tolist()


def _fingerprint(betons: list[Beton], dataset: DatasetConfig) -> str:
    """SHA-256 of the stored data and labels; part of the id of each run, so it must not change."""
    digest = hashlib.sha256()
    is_raw = dataset.crop == Crop.PADDED
    kind = "images of" if is_raw else "JPEG images for"
    for beton in betons:
        # The resolution matters for JPEG too: crops are resized to it when they are loaded.
        digest.update(f"{len(beton)} {kind} {dataset.resolution} pixels".encode())
        for i in range(len(beton)):
            digest.update(beton.data(i))
        if not is_raw:
            digest.update(beton.sizes.astype("<i8").tobytes())
        digest.update(beton.labels.astype("<i8").tobytes())
    return digest.hexdigest()
