"""Tables of the arena; results/DICTIONARY.md describes their columns."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from clr.analysis import tables as figure_tables
from clr.analysis.arena.comparison import compare
from clr.analysis.arena.contenders import Contender, Entry, Setting, read_settings
from clr.analysis.arena.targets import DEFAULT, TUNED, race_table, target_table
from clr.analysis.tables import ARENA, Tables
from clr.analysis.verdicts.baselines import spread
from clr.analysis.verdicts.rules import Rules
from clr.analysis.verdicts.table import rounded
from clr.errors import UserError, first_line

_SETTING = ["dataset", "data", "model", "batch_size", "setting"]


def read_arena(folder: Path) -> Tables:
    """Tables of the figure `arena` of a results folder; UserError if all its runs are missing."""
    figures = figure_tables.read(folder)
    if ARENA not in figures or figures[ARENA].runs.empty:
        raise UserError(f"{folder} has no runs of the arena; train them with: make arena")
    return figures[ARENA]


def read_table(folder: Path) -> pd.DataFrame:
    """Read the table `arena` of a results folder; UserError if it is missing or damaged."""
    path = folder / "arena.parquet"
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        problem = "is missing" if not path.exists() else f"is damaged ({first_line(error)})"
        raise UserError(
            f"{path} {problem}; create it with: .venv/bin/python scripts/arena.py {folder}"
        ) from None


def arena_tables(tables: Tables, rules: Rules) -> dict[str, pd.DataFrame]:
    """Tables `arena`, `arena_values`, `arena_targets` and `arena_race`."""
    settings = read_settings(tables, rules)
    parts = {
        "arena": [pd.DataFrame(_results(setting, rules)) for setting in settings],
        "arena_values": [pd.DataFrame(_values(setting)) for setting in settings],
        "arena_targets": [target_table(setting, tables.steps, rules) for setting in settings],
        "arena_race": [race_table(setting, tables.steps, rules) for setting in settings],
    }
    return {name: rounded(_joined(own)) for name, own in parts.items()}


def _joined(parts: list[pd.DataFrame]) -> pd.DataFrame:
    filled = [part for part in parts if len(part)]
    if not filled:
        return pd.DataFrame()
    table = pd.concat(filled, ignore_index=True)
    first = [*_SETTING, "optimizer"]
    return table[[*first, *table.columns.drop(first)]]


def _results(setting: Setting, rules: Rules) -> Iterator[dict[str, Any]]:
    """Rows of `arena`: each method tuned, if it has a grid, and at its default."""
    references = {
        name: setting.contenders[name].best if name in setting.contenders else None
        for name in (rules.baseline, rules.optimizer)
    }
    for contender in setting.contenders.values():
        for tuning in (TUNED, DEFAULT) if contender.key else (DEFAULT,):
            entry = contender.tuned if tuning == TUNED else contender.default
            if tuning == DEFAULT and entry is None:
                continue  # its runs are missing
            row = {
                **setting.columns,
                "optimizer": contender.optimizer,
                "tuning": tuning,
                "key": contender.key,
                **_entry_columns(contender, entry, tuning),
            }
            for name, reference in references.items():
                result = compare(entry, reference, rules.interval.confidence)
                row |= {
                    f"over_{name}": result.ratio.value,
                    f"over_{name}_low": result.ratio.low,
                    f"over_{name}_high": result.ratio.high,
                    f"standing_{name}": "" if result.standing is None else str(result.standing),
                }
            yield row


def _entry_columns(contender: Contender, entry: Entry | None, tuning: str) -> dict[str, Any]:
    if entry is None:  # each value of the grid has a diverged run
        runs = pd.concat([own.runs for own in contender.grid]) if contender.grid else None
        entry = Entry(math.nan, pd.DataFrame() if runs is None else runs)
    values = len(contender.grid) if tuning == TUNED else 1
    return {
        "values": values,
        "value": entry.value,
        "at_edge": tuning == TUNED and not contender.interior,
        **_outcome(entry),
    }


def _outcome(entry: Entry) -> dict[str, Any]:
    """Number of runs, final loss and test accuracy of an entry."""
    accuracies = [] if entry.diverged else entry.runs["final_test_accuracy"].tolist()
    return {
        "runs": len(entry.runs),
        "diverged": entry.diverged,
        **spread("final_loss", entry.losses.tolist()),
        **spread("final_accuracy", accuracies),
    }


def _values(setting: Setting) -> Iterator[dict[str, Any]]:
    """Rows of `arena_values`: each value of each grid, and those outside of it."""
    for contender in setting.contenders.values():
        if not contender.key:
            continue
        for entry in [*contender.grid, *contender.outside]:
            yield {
                **setting.columns,
                "optimizer": contender.optimizer,
                "key": contender.key,
                "value": entry.value,
                "in_grid": entry in contender.grid,
                "is_default": entry is contender.default,
                "is_tuned": entry is contender.tuned,
                **_outcome(entry),
            }
