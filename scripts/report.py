"""Write a protocol's results as one page that opens without a network: `python scripts/report.py results/quick`."""

from __future__ import annotations

import argparse
from pathlib import Path

from clr.analysis.report.page import write
from clr.cli import run_main


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="a protocol's results, such as results/quick")
    print(write(parser.parse_args().folder))


if __name__ == "__main__":
    run_main(main)
