"""Holds a folder of results against another: `python scripts/compare.py results/quick [results/other]`.

Without the other one, against what git has committed of the same folder: your own runs against the published ones.
Writes FOLDER/comparison: the table agreement, and the picture curves. The criterion stands in configs/claims.yaml.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from clr.analysis.comparison import compare_folders
from clr.analysis.verdicts.display import agreement
from clr.cli import run_main
from clr.errors import UserError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="a protocol's results, such as results/quick")
    parser.add_argument(
        "other",
        type=Path,
        nargs="?",
        help="another one; without it, what git has committed of folder",
    )
    arguments = parser.parse_args()
    if not arguments.folder.is_dir():
        raise UserError(
            f"{arguments.folder} is no folder; make it with: make reproduce PROTOCOL={arguments.folder.name}"
        )
    done = compare_folders(arguments.folder, arguments.other)
    if done is None:
        print(
            f"nothing is committed in {arguments.folder} to hold it against; name another folder to compare with"
        )
        return
    table, told = done
    console = Console(width=None if sys.stdout.isatty() else 130)
    if len(table):
        console.print(agreement(table))
    where = arguments.folder / "comparison"
    console.print(
        f"{arguments.folder} {told}; table and picture in {where}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


if __name__ == "__main__":
    run_main(main)
