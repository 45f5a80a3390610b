"""Fetches and converts a dataset ahead of training: python scripts/prepare_data.py dataset=cifar10 [key=value ...]

Takes the same overrides as train.py, of which only dataset.*, data_dir and loader matter here.
"""

from __future__ import annotations

import sys

from clr.config import load
from clr.data import prepare
from clr.errors import UserError


def main(overrides: list[str]) -> int:
    try:
        config = load(overrides)
        info = prepare(config.dataset, config.data_dir, config.loader)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{info.label}: {info.num_train:,} training and {info.num_test:,} test images, {len(info.classes)} classes")
    print(f"{info.resolution}×{info.resolution} pixels, mean {info.mean}, standard deviation {info.std}")
    print(f"converted in {info.folder}, fingerprint {info.fingerprint}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
