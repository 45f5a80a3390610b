"""Comparison of two folders of results: the table of agreement and the picture of both folders' curves."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pandas as pd
from matplotlib import style as matplotlib_style

from clr.analysis import tables
from clr.analysis.figures import comparison as figure
from clr.analysis.figures import style
from clr.analysis.verdicts import rules as rules_of
from clr.analysis.verdicts.agreement import committed, compare, summary
from clr.analysis.verdicts.evidence import read
from clr.runs.tables import write_table


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
            names = (
                (folder.resolve().name, "committed")
                if other is None
                else _told_apart(folder, other)
            )
            with matplotlib_style.context(style.RC, after_reset=True):
                drawn = figure.draw(tables.read(folder), tables.read(found), names, table)
                style.save(drawn, into / "curves")
    return table, summary(table, name)


def _told_apart(folder: Path, other: Path) -> tuple[str, str]:
    """As much of the ends of both paths as it takes."""
    parts = [path.resolve().parts for path in (folder, other)]
    n = next((n for n in range(1, max(map(len, parts))) if parts[0][-n:] != parts[1][-n:]), 1)
    return "/".join(parts[0][-n:]), "/".join(parts[1][-n:])
