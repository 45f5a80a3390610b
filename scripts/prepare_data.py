"""Download and convert a dataset ahead of training."""

from __future__ import annotations

import argparse

from clr.cli import run_main
from clr.config import load
from clr.data import DatasetInfo, prepare

EXAMPLES = """\
examples:
  python scripts/prepare_data.py dataset=cifar10
  python scripts/prepare_data.py dataset=imagenet dataset.path=/datasets/imagenet
  python scripts/prepare_data.py dataset=folder dataset.path=/datasets/flowers dataset.name=flowers

Datasets are the files in configs/dataset; their keys are described in clr/config.py. Runs with the
same values find the converted files. If the conversion is interrupted, the same command resumes it.
If the dataset is already converted, the command only describes it.
"""


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE",
        help="Hydra overrides as for train.py; only dataset=NAME, dataset.*, data_dir and loader "
        "have an effect (default: the dataset of configs/train.yaml)",
    )
    return parser.parse_args()


def main() -> None:
    config = load(parse_arguments().overrides)
    describe(prepare(config.dataset, config.data_dir, config.loader))


def describe(info: DatasetInfo) -> None:
    """Print what was converted, and where it is."""
    print(
        f"{info.label}: {info.num_train:,} training and {info.num_test:,} test images, "
        f"{len(info.classes)} classes"
    )
    for mode, n in info.converted.items():
        print(f"{n:,} converted from {mode} to RGB")
    if info.skipped:
        print(f"{info.skipped:,} could not be read and are listed in {info.folder}/skipped.txt")
    print(
        f"{info.resolution}×{info.resolution} pixels, mean {info.mean}, "
        f"standard deviation {info.std}"
    )
    print(f"converted in {info.folder}, fingerprint {info.fingerprint}")


if __name__ == "__main__":
    run_main(main)
