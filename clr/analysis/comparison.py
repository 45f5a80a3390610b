"""Comparison of two results folders: table of agreement, picture of both folders' curves."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib import style as matplotlib_style

from clr.analysis import tables
from clr.analysis.figures import comparison as figure
from clr.analysis.figures import style
from clr.analysis.verdicts import rules as claim_rules
from clr.analysis.verdicts.agreement import committed, compare, summary
from clr.analysis.verdicts.evidence import read
from clr.errors import UserError
from clr.runs.tables import write_table


@dataclass(frozen=True, eq=False)
class Comparison:
    """Result of `compare_folders`."""

    table: pd.DataFrame  # the table `agreement` of results/DICTIONARY.md
    summary: str
    folder: Path  # holds the table and the picture


def compare_folders(folder: Path, other: Path | None) -> Comparison:
    """Compare a results folder with another one and write `folder`/comparison.

    Args:
        folder: a folder such as results/quick.
        other: another results folder; None for the version of `folder` in git's HEAD.

    Raises:
        NothingCommitted: if `other` is None and git has no version to compare with.
        UserError: if a folder or a table is missing or damaged.
    """
    rules = claim_rules.load()
    mine = read(folder, rules.window_epochs)
    output = folder / "comparison"
    if output.exists() and not output.is_dir():
        raise UserError(f"{output} is not a folder; remove it, the comparison is written there")
    with committed(folder) if other is None else nullcontext(other) as other_folder:
        table = compare(mine, read(other_folder, rules.window_epochs), rules.agreement)
        output.mkdir(exist_ok=True)
        write_table(table, output, "agreement")
        if len(table):
            if other is None:
                names = (folder.resolve().name, "committed")
            else:
                names = distinct_names(folder, other)
            _draw(folder, other_folder, names, table, output)
    name = "the committed results" if other is None else str(other)
    return Comparison(table, summary(table, name), output)


def distinct_names(folder: Path, other: Path) -> tuple[str, str]:
    """The shortest ends of both paths that differ, such as "a/cpu" and "b/cpu"."""
    mine, theirs = folder.resolve().parts, other.resolve().parts
    for length in range(1, max(len(mine), len(theirs))):
        if mine[-length:] != theirs[-length:]:
            return "/".join(mine[-length:]), "/".join(theirs[-length:])
    return mine[-1], theirs[-1]


def _draw(
    folder: Path, other: Path, names: tuple[str, str], table: pd.DataFrame, output: Path
) -> None:
    with matplotlib_style.context(style.RC, after_reset=True):
        drawing = figure.draw(tables.read(folder), tables.read(other), names, table)
        style.save(drawing, output / "curves")
