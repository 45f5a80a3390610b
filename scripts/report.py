"""Write the results of one protocol as FOLDER/report.html, a page that needs no network.

FOLDER must contain tables, figures (scripts/figures.py) and verdicts (scripts/claims.py).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from clr.analysis.report.page import write
from clr.cli import run_main


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="example: python scripts/report.py results/quick",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="results of a protocol, such as results/quick")
    return parser.parse_args()


def main() -> None:
    print(write(parse_arguments().folder))


if __name__ == "__main__":
    run_main(main)
