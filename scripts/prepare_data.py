"""Fetches and converts a dataset ahead of training: python scripts/prepare_data.py dataset=cifar10 [key=value ...]

Takes the same overrides as train.py, of which only dataset.*, data_dir and loader matter here.
"""

from __future__ import annotations

import sys

from clr.cli import door
from clr.config import load
from clr.data import prepare


def main() -> None:
    config = load(sys.argv[1:])
    info = prepare(config.dataset, config.data_dir, config.loader)
    print(f"{info.label}: {info.num_train:,} training and {info.num_test:,} test images, {len(info.classes)} classes")
    print(f"{info.resolution}×{info.resolution} pixels, mean {info.mean}, standard deviation {info.std}")
    print(f"converted in {info.folder}, fingerprint {info.fingerprint}")


if __name__ == "__main__":
    door(main)
