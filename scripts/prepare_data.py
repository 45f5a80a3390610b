"""Fetches and converts a dataset ahead of training: python scripts/prepare_data.py dataset=cifar10 [key=value ...]

Takes the same overrides as train.py, of which only dataset.* and data_dir matter here. Killed and called again,
it goes on where it was.
"""

from __future__ import annotations

import sys

from clr.cli import run_main
from clr.config import load
from clr.data import prepare


def main() -> None:
    config = load(sys.argv[1:])
    info = prepare(config.dataset, config.data_dir, config.loader)
    print(
        f"{info.label}: {info.num_train:,} training and {info.num_test:,} test images, {len(info.classes)} classes"
    )
    for mode, n in info.converted.items():
        print(f"{n:,} converted from {mode} to RGB")
    if info.skipped:
        print(f"{info.skipped:,} could not be read and are listed in {info.folder}/skipped.txt")
    print(
        f"{info.resolution}×{info.resolution} pixels, mean {info.mean}, standard deviation {info.std}"
    )
    print(f"converted in {info.folder}, fingerprint {info.fingerprint}")


if __name__ == "__main__":
    run_main(main)
