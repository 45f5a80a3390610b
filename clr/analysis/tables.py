"""Tables of one protocol under `results/PROTOCOL/`: checked, and split by figure."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from clr.analysis.baseline import diverged
from clr.analysis.rows import rows_of_runs
from clr.errors import UserError
from clr.runs.status import RunStatus
from clr.runs.tables import Results, read_results, run_ids_by_task, task_title

ARENA = "arena"  # the figure whose runs differ in more than learning rate and seed
_PROTOCOL = ("name", "title", "scaled")
_RUN_TEXT = ("run_id", "dataset", "data_label", "model", "optimizer", "precision", "status")
_RUN_WHOLE = ("num_train", "batch_size", "seed", "epochs")
_RUN_REAL = ("learning_rate", "max_lr", "final_train_loss")
_STEP = ("step", "epoch", "loss", "learning_rate")
_EPOCH = ("epoch", "test_accuracy")


@dataclass(frozen=True)
class Tables:
    """Tables of one figure; each contains only rows of the figure's runs."""

    protocol: dict[str, Any]
    runs: pd.DataFrame  # in addition to runs.csv, a column `diverged`
    steps: pd.DataFrame
    epochs: pd.DataFrame
    corridor_meter: pd.DataFrame  # only of the runs that were measured
    planned: int  # number of runs that the figure needs; runs.csv may lack some of them
    # By title of a task, in the order of the protocol: ids of its runs that the figure needs. Tasks
    # without a title are together in "".
    settings: dict[str, set[str]]

    @property
    def missing(self) -> int:
        """Number of runs that the figure needs and runs.csv lacks."""
        return self.planned - len(self.runs)

    def runs_in(self, setting: str) -> pd.DataFrame:
        """Rows of `runs` that belong to the tasks with this title."""
        return self.runs[self.runs["run_id"].isin(self.settings.get(setting, set()))]


def read(folder: Path) -> dict[str, Tables]:
    """Read the tables of every figure that figure_runs.csv names, including figures without runs.

    Args:
        folder: results of one protocol, such as results/quick.

    Raises:
        UserError: if the folder or a table is missing, damaged or incomplete; the message names
            the command that creates it.
    """
    return by_figure(read_checked(folder))


def read_checked(folder: Path) -> Results:
    """Read and check the tables of one protocol; UserError as in `read`."""
    results = read_results(folder)
    if not isinstance(results.protocol, dict):
        raise _damaged(folder, "protocol.json", "is not a JSON object")
    lacking = [key for key in _PROTOCOL if key not in results.protocol]
    if lacking:
        raise _damaged(folder, "protocol.json", f"has no {lacking[0]}")
    _check_columns(folder, "runs.csv", results.runs, _RUN_TEXT, (*_RUN_WHOLE, *_RUN_REAL))
    for column in _RUN_WHOLE:
        if results.runs[column].isna().any():
            raise _damaged(folder, "runs.csv", f"has a run without {column}")
    _check_unique(folder, "runs.csv", results.runs, ["run_id"])
    _check_columns(folder, "figure_runs.csv", results.figure_runs, ("figure", "run_id"), ())
    if results.figure_runs.empty:
        raise _damaged(folder, "figure_runs.csv", "names no figure")
    _check_columns(folder, "steps.parquet", results.steps, ("run_id",), _STEP)
    if not _steps_ascend(results.steps):  # else they are unique, which takes longer to find out
        _check_unique(folder, "steps.parquet", results.steps, ["run_id", "step"])
    _check_columns(folder, "epochs.parquet", results.epochs, ("run_id",), _EPOCH)
    _check_unique(folder, "epochs.parquet", results.epochs, ["run_id", "epoch"])
    meter = results.corridor_meter
    numbers = [name for name in meter.columns if name != "run_id"]
    _check_columns(folder, "corridor_meter.parquet", meter, ("run_id",), ("step", *numbers))
    _check_unique(folder, "corridor_meter.parquet", meter, ["run_id", "step"])
    finished = results.runs.loc[results.runs["status"] == RunStatus.FINISHED, "run_id"]
    for name, table in (("steps.parquet", results.steps), ("epochs.parquet", results.epochs)):
        absent = finished[~finished.isin(table["run_id"].unique())]
        if len(absent):
            problem = f"lacks the finished run {absent.iloc[0]} of runs.csv"
            raise _damaged(folder, name, problem)
    return results


def by_figure(results: Results) -> dict[str, Tables]:
    """Tables of each figure that figure_runs.csv names."""
    # In a table without rows, columns of numbers have no numeric type.
    runs = results.runs.astype(dict.fromkeys(_RUN_REAL, float))
    runs["diverged"] = diverged(runs)
    # An infinite cap caps nothing.
    runs["max_lr"] = runs["max_lr"].replace(math.inf, np.nan)
    tables = (runs, results.steps, results.epochs, results.corridor_meter)
    figures = {}
    for figure, rows in results.figure_runs.groupby("figure"):
        ids = set(rows["run_id"])
        own, steps, epochs, meter = (rows_of_runs(table, ids) for table in tables)
        settings: dict[str, set[str]] = {}
        for task, own_ids in run_ids_by_task(results.protocol, rows).items():
            settings.setdefault(task_title(results.protocol, task), set()).update(own_ids)
        figures[str(figure)] = Tables(
            results.protocol, own, steps, epochs, meter, len(ids), settings
        )
    return figures


def without_arena(results: Results) -> Results:
    """The results without the runs that only the arena needs.

    These may differ in arguments that the other figures and the verdicts do not distinguish.
    """
    needed = results.figure_runs[results.figure_runs["figure"] != ARENA]
    only_arena = set(results.figure_runs["run_id"]) - set(needed["run_id"])
    runs = results.runs[~results.runs["run_id"].isin(only_arena)]
    return replace(results, runs=runs, figure_runs=needed)


def reproduce_command(folder: Path) -> str:
    """Command that trains a protocol's runs and writes its tables."""
    name = folder.resolve().name
    if name == ARENA:
        return "make arena"
    if name.startswith(f"{ARENA}-"):
        return f"make arena PROTOCOL={shlex.quote(name.removeprefix(f'{ARENA}-'))}"
    return f"make reproduce PROTOCOL={shlex.quote(name)}"


def complete_command(folder: Path) -> str:
    """Command that trains the runs that the tables lack and keeps those that they contain."""
    return f"{reproduce_command(folder)} ARGS=import_results=true"


def _damaged(folder: Path, name: str, problem: str) -> UserError:
    command = reproduce_command(folder)
    return UserError(f"{folder / name} {problem}; create it again with: {command}")


def _check_columns(
    folder: Path, name: str, table: pd.DataFrame, text: Iterable[str], numbers: Iterable[str]
) -> None:
    for column in (*text, *numbers):
        if column not in table:
            raise _damaged(folder, name, f"has no column {column}")
    for column in numbers:
        if len(table) and not is_numeric_dtype(table[column]):
            raise _damaged(folder, name, f"has text in the column {column}, which holds numbers")


def _steps_ascend(steps: pd.DataFrame) -> bool:
    """Return whether each run has one block of rows with ascending steps, as sweeps write them."""
    ids = steps["run_id"].astype("category").cat.codes.to_numpy()
    numbers = steps["step"].to_numpy()
    starts_block = ids[1:] != ids[:-1]
    ascends = starts_block | (numbers[1:] > numbers[:-1])
    return bool(ascends.all()) and int(starts_block.sum()) < steps["run_id"].nunique()


def _check_unique(folder: Path, name: str, table: pd.DataFrame, key: list[str]) -> None:
    repeated = table[table.duplicated(key)]
    if len(repeated):
        values = ", ".join(f"{column} {repeated[column].iloc[0]}" for column in key)
        raise _damaged(folder, name, f"has two rows for {values}")
