"""Draw the figures of one protocol from its tables, as PNG, PDF and SVG.

Writes FOLDER/figures and prints the files; then one line for each figure that lacks runs, with the
command that trains them. It trains nothing itself.
"""

from __future__ import annotations

import argparse
import gc
from pathlib import Path

from clr.analysis.figures.picture_files import draw_all
from clr.cli import run_main


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="example: python scripts/figures.py results/quick",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="results of a protocol, such as results/quick")
    return parser.parse_args()


def main() -> None:
    folder = parse_arguments().folder
    gc.disable()  # garbage collection of matplotlib's many objects takes a fifth of the time
    paths, missing = draw_all(folder)
    print(*paths, *missing, sep="\n")


if __name__ == "__main__":
    run_main(main)
