"""Speed of the loaders relative to torchvision's datasets with a DataLoader, and to FFCV.

    python bench/loaders.py

Each variant reads the same images for a while, in turn with the others, with one worker or in the
main process. The variants of raw images pad, crop, mirror and normalize. Those of JPEG cut a random
part out of each image and resize it to 128 pixels. The limit of raw images is a large copy: each
byte is read once as uint8, and written and read once as float32.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any

import torch
from bench_images import write_digits, write_photographs
from bench_table import Row, row, save
from bench_timing import Ratio, alternate, copy_bandwidth, now
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from clr.config import load
from clr.data import DatasetInfo, Transform, open_loader, prepare

ROUNDS, BATCH_SIZE, WORKERS = 5, 128, 1
NORMALIZE = [
    v2.ToImage(),
    v2.ToDtype(torch.float32, scale=True),
    v2.Normalize([0.5, 0.5, 0.5], [0.25, 0.25, 0.25]),
]


def own_speed(info: DatasetInfo, loader: str, batches: int) -> Callable[[], float]:
    """Seconds per image of one of this package's loaders."""

    def measure() -> float:
        opened = open_loader(info, "train", BATCH_SIZE, loader, WORKERS)
        transform = Transform(info, info.config.crop_padding, info.config.flip)

        def images() -> Iterator[Any]:
            for epoch in range(batches):
                with closing(opened.epoch(0, epoch)) as own:
                    for batch in own:
                        yield transform.train(batch.images, batch.ids, 0, epoch)

        return seconds_per_image(images(), batches)

    return measure


def torchvision_speed(folder: Path, augmentation: list[Any], batches: int) -> Callable[[], float]:
    """Seconds per image of ImageFolder and a DataLoader."""
    transform = v2.Compose([*augmentation, *NORMALIZE])

    def measure() -> float:
        loader = DataLoader(
            ImageFolder(str(folder / "train"), transform),
            batch_size=BATCH_SIZE,
            shuffle=True,
            num_workers=WORKERS,
            drop_last=True,
            persistent_workers=True,
        )

        def images() -> Iterator[Any]:
            while True:
                yield from loader

        return seconds_per_image(images(), batches)

    return measure


def seconds_per_image(batches: Iterator[Any], number: int) -> float:
    """Seconds per image over `number` batches after the first, which starts workers."""
    next(batches)
    start = now()
    for _ in range(number):
        next(batches)
    return (now() - start) / (number * BATCH_SIZE)


def raw(scratch: Path) -> list[Row]:
    """Rows of raw images of 32 pixels, as CIFAR-10's."""
    folder = scratch / "raw"
    write_digits(folder, pixels=32, train_images=5000)
    cfg = load(["dataset=folder", f"dataset.path={folder}", "dataset.name=bench-raw"])
    info = prepare(cfg.dataset, str(scratch / "converted"), cfg.loader)
    augmentation = [v2.RandomCrop(32, padding=4), v2.RandomHorizontalFlip()]
    times = alternate(
        {
            "own": own_speed(info, "memory", 30),
            "FFCV, one thread": own_speed(info, "ffcv", 30),
            "torchvision's ImageFolder and DataLoader, one worker": torchvision_speed(
                folder, augmentation, 30
            ),
        },
        ROUNDS,
    )
    own = times.pop("own")
    bytes_per_image = 32 * 32 * 3 * (1 + 4 + 4)
    share = bytes_per_image / copy_bandwidth(torch.device("cpu")) / median(own)
    work = f"loader of raw images of 32 px, padding, crop, flip, {1 / median(own):,.0f} img/s"
    aims = {"FFCV, one thread": "≥ 1"}
    return [
        row(
            f"{work}: speed",
            peer,
            Ratio.of(its, own),
            aim=aims.get(peer, "≥ 10"),
            limit="a large copy",
            share=share,
        )
        for peer, its in times.items()
    ]


def photographs(scratch: Path) -> list[Row]:
    """Rows of JPEG images that are cropped to 128 pixels."""
    folder = scratch / "photographs"
    write_photographs(folder, images=BATCH_SIZE * 3)
    cfg = load(
        [
            "dataset=imagenet",
            f"dataset.path={folder}",
            "dataset.name=bench-jpeg",
            "dataset.resolution=128",
        ]
    )
    info = prepare(cfg.dataset, str(scratch / "converted"), cfg.loader)
    augmentation = [v2.RandomResizedCrop(128), v2.RandomHorizontalFlip()]
    peer = "torchvision's ImageFolder and DataLoader, one worker"
    times = alternate(
        {
            "own": own_speed(info, cfg.loader, 6),
            peer: torchvision_speed(folder, augmentation, 6),
        },
        ROUNDS,
    )
    work = f"loader of JPEG of 500×375 to 128 px, {1 / median(times['own']):,.0f} img/s: speed"
    return [row(work, peer, Ratio.of(times[peer], times["own"]), aim="≥ 2")]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        save("python bench/loaders.py", [*raw(Path(scratch)), *photographs(Path(scratch))])


if __name__ == "__main__":
    main()
