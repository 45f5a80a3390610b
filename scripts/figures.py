"""Draw the paper's figures from the tables of one protocol: `python scripts/figures.py results/quick`."""

from __future__ import annotations

import argparse
import gc
from pathlib import Path

from clr.analysis.figures.draw import draw_all
from clr.cli import run_main


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="a protocol's results, such as results/quick")
    arguments = parser.parse_args()
    gc.disable()  # searching the many small parts of figures for garbage takes a fifth of the time
    paths, lacking = draw_all(arguments.folder)
    print(*paths, *lacking, sep="\n")


if __name__ == "__main__":
    run_main(main)
