"""Converts a dataset once: decodes it, measures it, and writes it as FFCV files with a manifest."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

from clr.config import DatasetConfig
from clr.data.info import SPLITS, DatasetInfo, beton_record, read_manifest, verify_betons, write_manifest
from clr.data.loaders import resolve_loader
from clr.data.sources import Images, Source, open_source
from clr.errors import UserError

FORMAT = 1  # to be raised when the converted files or the manifest change, so that old ones are not taken for new
CHUNK = 1 << 22  # bytes of pixels, about, that are decoded and measured at a time
SLOW = 5000  # a progress bar is shown from this many images on


def prepare(dataset: DatasetConfig, data_dir: str, loader: str) -> DatasetInfo:
    """The dataset, converted into `data_dir`/<name>-<key> unless it already is, and checked.

    FFCV files are written, or verified, only if the `loader` (auto, ffcv, torch) is FFCV. Any number of processes may
    prepare the same dataset at once. UserError names what is wrong with the originals or the converted files.
    """
    use_ffcv = resolve_loader(loader) == "ffcv"
    source = open_source(dataset)
    key = hashlib.sha256(json.dumps([FORMAT, *source.identity()]).encode()).hexdigest()[:12]
    folder = os.path.join(data_dir, f"{dataset.name}-{key}")
    known = read_manifest(folder, dataset)
    if known is None or (use_ffcv and not known[1]):
        try:
            _convert(source, folder, use_ffcv)
        except OSError as error:
            raise UserError(f"cannot write {folder} ({error}); set data_dir to a folder with room") from error
        known = read_manifest(folder, dataset)
        assert known is not None
    info, betons = known
    if use_ffcv:
        verify_betons(info, betons)
    return info


def _convert(source: Source, folder: str, use_ffcv: bool) -> None:
    """Makes the folder's files elsewhere and moves them in, the manifest last: without it the others do not count.

    What is written depends on the source alone, to the byte, so that processes may replace each other's files.
    """
    parent, name = os.path.split(folder)
    os.makedirs(parent or ".", exist_ok=True)
    splits = {split: source.split(split) for split in SPLITS}
    temporary = tempfile.mkdtemp(prefix=f".{name}-", dir=parent or ".")
    try:
        measure = _Measure()
        records = {}
        with Progress(console=Console(stderr=True), disable=sum(map(len, splits.values())) < SLOW) as progress:
            for split, images in splits.items():
                task = progress.add_task(f"{source.label}: converting {split}", total=len(images))
                pixels = progress.track(measure.watch(images), total=len(images), task_id=task)
                if use_ffcv:
                    records[split] = _write_beton(os.path.join(temporary, f"{split}.beton"), pixels, images)
                else:
                    for _ in pixels:
                        pass
                if split == "train":
                    mean, std = measure.mean_and_std()
        facts = {
            "name": source.dataset.name,
            "label": source.label,
            "classes": source.classes,
            "num_train": len(splits["train"]),
            "num_test": len(splits["test"]),
            "resolution": source.dataset.resolution,
            "mean": mean,
            "std": std,
            "fingerprint": measure.sha.hexdigest(),
        }
        write_manifest(os.path.join(temporary, "manifest.json"), facts, records)
        os.makedirs(folder, exist_ok=True)
        for file in [*(f"{split}.beton" for split in records), "manifest.json"]:
            os.replace(os.path.join(temporary, file), os.path.join(folder, file))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_beton(path: str, pixels: Iterable[np.ndarray], images: Images) -> dict[str, Any]:
    from clr.data.ffcv_files import write_beton

    write_beton(path, zip(pixels, images.labels, strict=True), len(images), images.resolution)
    return beton_record(path)


class _Measure:
    """Takes the fingerprint and the channels' moments of images as they pass."""

    def __init__(self) -> None:
        self.sha = hashlib.sha256()
        self._count = 0
        self._sum = np.zeros(3, np.int64)
        self._squares = np.zeros(3, np.int64)

    def watch(self, images: Images) -> Iterator[np.ndarray]:
        """The decoded images in their order; threads decode them a chunk at a time."""
        self.sha.update(f"{len(images)} images of {images.resolution} pixels".encode())
        at_a_time = max(1, CHUNK // (3 * images.resolution**2))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for start in range(0, len(images), at_a_time):
                ids = range(start, min(start + at_a_time, len(images)))
                chunk = np.stack(list(pool.map(images.__getitem__, ids)))
                self.sha.update(chunk.tobytes())
                pixels = chunk.reshape(-1, 3).astype(np.int64)
                self._count += len(pixels)
                self._sum += pixels.sum(axis=0)
                self._squares += (pixels**2).sum(axis=0)
                yield from chunk
        self.sha.update(images.labels.astype("<i8").tobytes())

    def mean_and_std(self) -> tuple[list[float], list[float]]:
        """Of each channel over all pixels so far, in [0, 1]; from integer sums, so that no rounding adds up."""
        mean = self._sum / self._count
        variance = self._squares / self._count - mean**2
        return (mean / 255).tolist(), (np.sqrt(np.maximum(variance, 0)) / 255).tolist()
