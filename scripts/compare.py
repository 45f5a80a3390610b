"""Compare the results of a protocol with the committed ones, or with another folder.

Writes FOLDER/comparison: the table agreement and the picture curves. The criterion is in
configs/claims.yaml.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from clr.analysis.comparison import compare_folders
from clr.analysis.verdicts import display
from clr.analysis.verdicts.agreement import NothingCommitted
from clr.cli import run_main


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="example: python scripts/compare.py results/quick",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="results of a protocol, such as results/quick")
    parser.add_argument(
        "other",
        type=Path,
        nargs="?",
        help="results to compare with (default: the committed version of FOLDER)",
    )
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    try:
        comparison = compare_folders(arguments.folder, arguments.other)
    except NothingCommitted as reason:
        print(f"no comparison: {reason}; name another folder to compare with")
        return
    if len(comparison.table):
        display.print_tables([display.agreement(comparison.table)])
    print(f"{arguments.folder} {comparison.summary}; table and picture in {comparison.folder}")


if __name__ == "__main__":
    run_main(main)
