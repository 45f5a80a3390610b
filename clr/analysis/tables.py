"""Tables of one protocol under `results/PROTOCOL/`: reading, checking and splitting by figure."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from pyarrow import ArrowException

from clr.analysis.baseline import diverged
from clr.errors import UserError, first_line

TEXT = ("run_id", "dataset", "data_label", "model", "optimizer", "precision", "status")
WHOLE = ("num_train", "batch_size", "seed", "epochs")
REAL = ("learning_rate", "final_train_loss")
OPTIONAL = ("max_lr", "final_test_accuracy", "seconds")  # nan in a table without the column

Table = TypeVar("Table")


@dataclass(frozen=True)
class Tables:
    """Tables of one figure; each contains only rows of the figure's runs."""

    protocol: dict[str, Any]
    runs: pd.DataFrame
    steps: pd.DataFrame
    epochs: pd.DataFrame
    corridor_meter: pd.DataFrame  # only of the runs that were measured
    planned: int  # number of runs that the figure needs; runs.csv may lack some of them

    @property
    def missing(self) -> int:
        """Number of runs that the figure needs and runs.csv lacks."""
        return self.planned - len(self.runs)


def read(folder: Path) -> dict[str, Tables]:
    """Read the tables of every figure that figure_runs.csv names, including figures without runs.

    Args:
        folder: results of one protocol, such as results/quick.

    Raises:
        UserError: if the folder or a table is missing, damaged or incomplete; the message names
            the command that creates it.
    """
    protocol = read_protocol(folder)
    runs, plan = read_runs(folder), read_figure_runs(folder)
    steps = _read_records(
        folder / "steps.parquet", ["run_id", "step", "epoch", "loss", "learning_rate"]
    )
    epochs = _read_records(folder / "epochs.parquet", ["run_id", "epoch", "test_accuracy"])
    meter = pd.DataFrame(columns=["run_id", "step"])
    if (folder / "corridor_meter.parquet").exists():  # older results have no such table
        meter = _read_records(folder / "corridor_meter.parquet", None)
    finished = runs.loc[runs["status"] == "finished", "run_id"]
    for name, table in (("steps.parquet", steps), ("epochs.parquet", epochs)):
        lacking = finished[~finished.isin(table["run_id"])]
        if len(lacking):
            raise UserError(
                f"{folder / name} lacks the finished run {lacking.iloc[0]} of runs.csv; "
                f"create both again with: {reproduce_command(folder)}"
            )
    figures = {}
    for name in sorted(plan["figure"].unique()):
        ids = set(plan.loc[plan["figure"] == name, "run_id"])
        own = [table[table["run_id"].isin(ids)] for table in (runs, steps, epochs, meter)]
        figures[name] = Tables(protocol, *own, planned=len(ids))
    return figures


def read_protocol(folder: Path) -> dict[str, Any]:
    """Read protocol.json: the protocol's name, title, seeds, and whether it is scaled down."""

    def parse(path: Path) -> dict[str, Any]:
        protocol: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for key in ("name", "title", "scaled"):
            protocol[key]
        return protocol

    return load(folder / "protocol.json", parse)


def read_runs(folder: Path) -> pd.DataFrame:
    """Read runs.csv; an infinite `max_lr` becomes nan, because it caps nothing."""
    return load(folder / "runs.csv", lambda path: _typed(_read_text_table(path)))


def read_figure_runs(folder: Path) -> pd.DataFrame:
    """Read figure_runs.csv: the columns `figure` and `run_id`, both strings."""

    def parse(path: Path) -> pd.DataFrame:
        table = _read_text_table(path)
        _require(table, ["figure", "run_id"])
        if table.empty:
            raise ValueError("it names no figure")
        return table.drop_duplicates()

    return load(folder / "figure_runs.csv", parse)


def load(path: Path, parse: Callable[[Path], Table], command: str = "") -> Table:
    """Return `parse(path)`; if the file is missing or damaged, raise UserError naming `command`.

    `command` creates the file; by default it reproduces the protocol's results.
    """
    folder = path.parent
    command = command or reproduce_command(folder)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is not a folder; pass one with results, such as results/quick")
    if not path.exists():
        raise UserError(f"{path} is missing; create it with: {command}")
    try:
        return parse(path)
    except KeyError as error:
        problem = f"it has no {error.args[0]}"
    except (OSError, ValueError, TypeError, ArrowException) as error:
        problem = first_line(error)
    raise UserError(f"{path} is damaged: {problem}; create it again with: {command}")


def reproduce_command(folder: Path) -> str:
    """Command that trains a protocol's runs and writes its tables."""
    return f"make reproduce PROTOCOL={shlex.quote(folder.resolve().name)}"


def complete_command(folder: Path) -> str:
    """Command that trains the runs that the tables lack and keeps those that they contain."""
    return f"{reproduce_command(folder)} ARGS=import_results=true"


def _read_text_table(path: Path) -> pd.DataFrame:
    """Read a CSV file as strings: an id may look like a number, a data set may be named "null"."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    """Columns of runs.csv with their types. ValueError if one is missing or of another type."""
    _require(table, [*TEXT, *WHOLE, *REAL])
    runs = table[list(TEXT)].copy()
    for name in (*WHOLE, *REAL, *OPTIONAL):
        text = table[name].replace("", "nan") if name in table else "nan"
        try:
            numbers = pd.Series(text, index=table.index).astype(float)
            runs[name] = numbers.astype(int) if name in WHOLE else numbers
        except ValueError:
            raise ValueError(f"column {name} is not numeric") from None
    if runs["run_id"].duplicated().any():
        twice = runs.loc[runs["run_id"].duplicated(), "run_id"].iloc[0]
        raise ValueError(f"run {twice} is listed twice")
    runs["max_lr"] = runs["max_lr"].replace(math.inf, np.nan)
    runs["diverged"] = diverged(runs)
    return runs


def _read_records(path: Path, columns: list[str] | None) -> pd.DataFrame:
    """Read a Parquet table with one row per run and step or epoch; all columns if None."""

    def parse(path: Path) -> pd.DataFrame:
        table = pd.read_parquet(path, columns=columns)
        key = ["run_id", "step" if "step" in table else "epoch"]
        _require(table, key)
        types = {name: float for name in table.columns} | {"step": int, "epoch": int}
        types |= {"run_id": str}
        table = table.astype({name: types[name] for name in table.columns})
        if table.duplicated(key).any():
            raise ValueError(f"two rows have the same {' and '.join(key)}")
        return table

    return load(path, parse)


def _require(table: pd.DataFrame, columns: list[str]) -> None:
    lacking = [name for name in columns if name not in table]
    if lacking:
        raise ValueError(f"column {lacking[0]} is missing")
