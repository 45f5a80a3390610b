"""Speed of the conversion of JPEG images relative to FFCV's own DatasetWriter.

    python bench/conversion.py

Both store the same JPEG images, resized to a shorter side of 256 pixels, with two workers. They run
in turn, in processes of their own. The peak of the memory of each is printed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median

from bench_images import write_photographs
from bench_table import row, save
from bench_timing import Ratio, alternate, now

from clr.config import load
from clr.data import prepare

ROUNDS, IMAGES, WORKERS = 4, 300, 2


# Conversion of the images in a folder into another; it returns what counts, after the imports.
Converter = Callable[[Path, str], Callable[[], object]]


def own(folder: Path, target: str) -> Callable[[], object]:
    """Convert with this package."""
    cfg = load(
        [
            "dataset=imagenet",
            f"dataset.path={folder}",
            "dataset.short_side=256",
            "dataset.name=bench",
        ]
    )
    return partial(prepare, cfg.dataset, target, cfg.loader)


def ffcv(folder: Path, target: str) -> Callable[[], object]:
    """Convert with FFCV's writer."""
    from ffcv.fields import IntField, RGBImageField
    from ffcv.writer import DatasetWriter
    from torchvision.datasets import ImageFolder
    from torchvision.transforms.v2 import Resize

    def write() -> None:
        for split in ("train", "val"):
            images = ImageFolder(str(folder / split), Resize(256))
            fields = {"image": RGBImageField("jpg", jpeg_quality=90), "label": IntField()}
            writer = DatasetWriter(f"{target}/{split}.beton", fields, num_workers=WORKERS)
            writer.from_indexed_dataset(images)

    return write


def measure(converter: Converter, folder: Path) -> tuple[float, float]:
    """Seconds and megabytes, at the peak, of a conversion."""
    with tempfile.TemporaryDirectory() as target:
        convert = converter(folder, target)
        # The default on Linux; a spawned process hands on its own way, which makes each worker of
        # FFCV import everything again.
        multiprocessing.set_start_method("fork", force=True)
        start = now()
        convert()
        seconds = now() - start
    peak = sum(
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return seconds, peak / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    peaks: dict[str, list[float]] = {"own": [], "FFCV": []}
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_photographs(folder, IMAGES)

        def run(name: str, converter: Converter) -> float:
            with ProcessPoolExecutor(1, context) as pool:
                seconds, peak = pool.submit(measure, converter, folder).result()
            peaks[name].append(peak)
            return seconds

        times = alternate(
            {"own": partial(run, "own", own), "FFCV": partial(run, "FFCV", ffcv)},
            ROUNDS,
            warm_up=0,  # each process starts cold
        )
    work = (
        f"conversion of {IMAGES} JPEG images, {IMAGES / median(times['own']):.0f} img/s, "
        f"peak {median(peaks['own']):.0f} MB: speed"
    )
    peer = f"FFCV's DatasetWriter, peak {median(peaks['FFCV']):.0f} MB"
    rows = [row(work, peer, Ratio.of(times["FFCV"], times["own"]), aim="≥ 1")]
    save("python bench/conversion.py", rows)


if __name__ == "__main__":
    main()
