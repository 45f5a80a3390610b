"""Holds a folder of results against another: `python scripts/compare.py results/quick [results/other]`.

Without the other one, against what git has committed of the same folder: your own runs against the published ones.
Writes FOLDER/comparison: the table agreement, and the picture curves. The criterion stands in configs/claims.yaml.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import nullcontext
from pathlib import Path

import pandas as pd
from matplotlib import style as matplotlib_style
from plots import compare as figure
from plots import style, tables
from rich.console import Console
from verdicts import rules as rules_of
from verdicts.agreement import committed, compare, summary
from verdicts.records import read
from verdicts.show import agreement

from clr.cli import door
from clr.errors import UserError
from clr.results import write_table


def compare_folders(folder: Path, other: Path | None) -> tuple[pd.DataFrame, str] | None:
    """Write folder/comparison; the table and its summary in a line, None if git has nothing to compare with."""
    rules = rules_of.load()
    with committed(folder) if other is None else nullcontext(other) as found:
        if found is None:
            return None
        mine, theirs = read(folder, rules.window_epochs), read(found, rules.window_epochs)
        table = compare(mine, theirs, rules.agreement)
        name = "the committed results" if other is None else str(other)
        into = folder / "comparison"
        into.mkdir(exist_ok=True)
        write_table(table, into, "agreement")
        if len(table):
            names = (folder.resolve().name, "committed") if other is None else _told_apart(folder, other)
            with matplotlib_style.context(style.RC, after_reset=True):
                drawn = figure.draw(tables.read(folder), tables.read(found), names, table)
                style.save(drawn, into / "curves")
    return table, summary(table, name)


def _told_apart(folder: Path, other: Path) -> tuple[str, str]:
    """As much of the ends of both paths as it takes."""
    parts = [path.resolve().parts for path in (folder, other)]
    n = next((n for n in range(1, max(map(len, parts))) if parts[0][-n:] != parts[1][-n:]), 1)
    return "/".join(parts[0][-n:]), "/".join(parts[1][-n:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="a protocol's results, such as results/quick")
    parser.add_argument("other", type=Path, nargs="?", help="another one; without it, what git has committed of folder")
    arguments = parser.parse_args()
    if not arguments.folder.is_dir():
        raise UserError(
            f"{arguments.folder} is no folder; make it with: make reproduce PROTOCOL={arguments.folder.name}"
        )
    done = compare_folders(arguments.folder, arguments.other)
    if done is None:
        print(f"nothing is committed in {arguments.folder} to hold it against; name another folder to compare with")
        return
    table, told = done
    console = Console(width=None if sys.stdout.isatty() else 130)
    if len(table):
        console.print(agreement(table))
    where = arguments.folder / "comparison"
    console.print(
        f"{arguments.folder} {told}; table and picture in {where}", markup=False, highlight=False, soft_wrap=True
    )


if __name__ == "__main__":
    door(main)
