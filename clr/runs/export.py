"""Update of the tables in `results/PROTOCOL/` that replaces no runs by fewer or shorter ones.

The tables are committed, and a sweep may cover a part of a protocol, or be interrupted. So:

- Figures that the sweep did not cover keep their rows.
- A figure whose runs are all in the tables keeps them, unless all runs of the sweep for it are
  completed as well, are no fewer, and were planned for no fewer training images.
- A figure with missing runs takes the sweep's runs if these are at least as many.

Files are replaced at the end, each atomically, under a lock between sweeps that export at the same
time.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock

from clr.errors import UserError, first_line
from clr.files import write_text
from clr.runs.columns import RUN_TEXT_COLUMNS
from clr.runs.record import decode_record
from clr.runs.store import Store
from clr.runs.tables import FIGURE_RUN_COLUMNS, FigureTask, export, with_tasks, write_table

_RUN_TABLES = ("runs", "steps", "epochs", "corridor_meter")  # with a column run_id


@dataclass(frozen=True)
class RunSet:
    """The size of a figure's set of runs."""

    runs: int
    completed: int
    images: int  # training images that all its runs are planned for, over all epochs

    @property
    def is_complete(self) -> bool:
        return self.completed == self.runs

    def replaces(self, other: RunSet | None) -> bool:
        """Return whether this set may replace `other` in the tables; None if they have no other."""
        if other is None or other.completed == 0:
            return True
        if other.is_complete:
            return self.is_complete and self.runs >= other.runs and self.images >= other.images
        return self.completed >= other.completed


@dataclass(frozen=True)
class WantedRuns:
    """The runs that a sweep trains, or has trained."""

    needs: Mapping[str, Collection[FigureTask]]  # by run id: the figures that need the run
    images: Mapping[str, int]  # by run id: number of training images times epochs
    protocol: dict[str, Any]  # the protocol's config

    def run_sets(self, completed: Collection[str]) -> dict[str, RunSet]:
        """Return the set of each figure, given the ids of the completed runs."""
        names = {need.figure for own in self.needs.values() for need in own}
        sets = {}
        for figure in sorted(names):
            runs = [
                name for name, own in self.needs.items() if figure in {need.figure for need in own}
            ]
            images = sum(self.images[name] for name in runs)
            sets[figure] = RunSet(len(runs), len(set(runs) & set(completed)), images)
        return sets


@dataclass(frozen=True)
class _Present:
    """The tables that the folder has already."""

    figures: dict[str, list[str]]  # by figure: ids of the runs that it needs
    lines: dict[str, str]  # by run id: its line of runs.jsonl
    images: dict[str, int]

    def run_sets(self) -> dict[str, RunSet]:
        return {
            figure: RunSet(
                len(runs),
                sum(name in self.lines for name in runs),
                sum(self.images.get(name, 0) for name in runs),
            )
            for figure, runs in self.figures.items()
        }


def check_writable(folder: Path) -> None:
    """Raise UserError if `folder` cannot be written or created, which nothing here does yet."""
    existing = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    if not os.path.isdir(existing):
        problem = f"{existing} is not a folder"
    elif not os.access(existing, os.W_OK | os.X_OK):
        problem = f"no permission to write {existing}"
    else:
        return
    raise UserError(f"cannot write {folder}: {problem}; choose another results=FOLDER")


def irreplaceable(wanted: WantedRuns, folder: Path) -> list[str]:
    """Return the figures whose tables the sweep will not replace even when all its runs succeed."""
    present = _read_present(folder).run_sets()
    return [
        figure
        for figure, new in wanted.run_sets(wanted.needs).items()
        if not new.replaces(present.get(figure))
    ]


def update_tables(store: Store, wanted: WantedRuns, folder: Path) -> list[str]:
    """Bring the completed runs of a sweep into the tables in `folder`.

    Nothing is written if no run is completed.

    Returns:
        The figures that keep the runs that they had, because those of the sweep are fewer, shorter
        or not completed.

    Raises:
        UserError: the folder cannot be written, or its tables are damaged.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / f".{folder.name}.lock"):
            return _update(store, wanted, folder)
    except OSError as error:
        raise UserError(
            f"cannot write {folder}: {error.strerror}; choose another results=FOLDER"
        ) from None


def _update(store: Store, wanted: WantedRuns, folder: Path) -> list[str]:
    completed = {name for name in wanted.needs if store.finished(name) is not None}
    present = _read_present(folder)
    present_sets, new_sets = present.run_sets(), wanted.run_sets(completed)
    if not completed:
        return [figure for figure in new_sets if figure in present_sets]
    taken = {figure for figure, new in new_sets.items() if new.replaces(present_sets.get(figure))}
    if taken:
        selected = {
            name: {need for need in own if need.figure in taken}
            for name, own in wanted.needs.items()
        }
        selected = {name: own for name, own in selected.items() if own}
        kept_figures = {
            figure: runs for figure, runs in present.figures.items() if figure not in taken
        }
        with tempfile.TemporaryDirectory(dir=folder, prefix=".new-") as temporary:
            new = Path(temporary)
            export(store, selected, wanted.protocol, new)
            if kept_figures:
                _add_kept_rows(folder, new, present, kept_figures)
            # runs.jsonl last: it says which runs the tables have.
            for path in sorted(new.iterdir(), key=lambda path: path.name == "runs.jsonl"):
                path.replace(folder / path.name)
    return [figure for figure in new_sets if figure not in taken]


def _add_kept_rows(
    folder: Path, new: Path, present: _Present, kept_figures: dict[str, list[str]]
) -> None:
    """Add to the tables in `new` the rows of the figures that `folder` keeps."""
    new_lines = _read_lines(new / "runs.jsonl")
    kept_runs = {name for runs in kept_figures.values() for name in runs if name in present.lines}
    kept_runs -= new_lines.keys()
    # Rows keep their place, and new runs follow.
    present_order = [name for name in present.lines if name in kept_runs or name in new_lines]
    order = list(dict.fromkeys([*present_order, *new_lines]))
    for name in _RUN_TABLES:
        if not (folder / f"{name}.parquet").is_file():
            continue
        new_rows = pd.read_parquet(new / f"{name}.parquet")
        old_rows = pd.read_parquet(folder / f"{name}.parquet")
        newer_texts = {column: "" for column in RUN_TEXT_COLUMNS if column not in old_rows}
        old_rows = old_rows.assign(**newer_texts)
        old_rows = old_rows[old_rows["run_id"].isin(kept_runs)].reindex(columns=new_rows.columns)
        write_table(_in_order([old_rows, new_rows], order), new, name)
    figure_runs = with_tasks(pd.read_parquet(folder / "figure_runs.parquet"))
    kept_rows = figure_runs.loc[figure_runs["figure"].isin(kept_figures), FIGURE_RUN_COLUMNS]
    rows = pd.concat([kept_rows, pd.read_parquet(new / "figure_runs.parquet")])
    write_table(rows.sort_values("figure", kind="stable"), new, "figure_runs")
    lines = {**present.lines, **new_lines}
    write_text("".join(f"{lines[name]}\n" for name in order), new / "runs.jsonl")


def _in_order(parts: Iterable[pd.DataFrame], order: list[str]) -> pd.DataFrame:
    """Concatenate tables, ordered by run; the rows of a run keep their order."""
    filled = [part for part in parts if len(part)]
    if not filled:
        return next(iter(parts))
    table = pd.concat(filled)
    place = table["run_id"].map({name: number for number, name in enumerate(order)})
    return table.iloc[place.argsort(kind="stable")].reset_index(drop=True)


def _read_present(folder: Path) -> _Present:
    """Read which runs the tables have; all empty if there are no tables."""
    if not (folder / "runs.jsonl").is_file() or not (folder / "figure_runs.parquet").is_file():
        return _Present({}, {}, {})
    try:
        lines = _read_lines(folder / "runs.jsonl")
        records = {name: decode_record(line) for name, line in lines.items()}
        pairs = pd.read_parquet(folder / "figure_runs.parquet")
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"the tables in {folder} are damaged ({first_line(error)}); "
            "delete the folder, or restore it with git"
        ) from None
    # A run may belong to several tasks of a figure.
    figures = {
        str(figure): list(dict.fromkeys(runs)) for figure, runs in pairs.groupby("figure")["run_id"]
    }
    images = {
        name: record["data"]["num_train"] * record["config"]["epochs"]
        for name, record in records.items()
    }
    return _Present(figures, lines, images)


def _read_lines(path: Path) -> dict[str, str]:
    """The lines of runs.jsonl by run id."""
    return {decode_record(line)["run_id"]: line for line in path.read_text().splitlines()}
