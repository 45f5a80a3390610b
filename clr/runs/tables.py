"""Tables of a protocol's runs in `results/PROTOCOL/`, the input of figures and verdicts.

runs            one row per completed run
steps           run_id and the columns of the runs' steps.parquet
epochs          run_id and the columns of the runs' epochs.parquet
corridor_meter  run_id and the columns of corridor_meter.parquet, for the runs that have it
figure_runs     figure, task, run_id: the runs that each figure needs, completed or not
protocol.json   the protocol's config
runs.jsonl      run.json of each run, one per line, without local folders

Each table is stored as NAME.parquet and NAME.csv, except steps.csv.gz, which is by far the largest.
results/DICTIONARY.md describes the columns.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import pandas as pd
from pyarrow import parquet

from clr.errors import UserError, first_line
from clr.files import write_bytes, write_parquet, write_text
from clr.runs.columns import (
    EPOCH_COLUMNS,
    METER_COLUMNS,
    RUN_COLUMNS,
    RUN_TEXT_COLUMNS,
    STEP_COLUMNS,
    recorded_types,
)
from clr.runs.record import decode_record, encode_arguments, encode_record

if TYPE_CHECKING:
    from clr.runs.store import Store

FIGURE_RUN_COLUMNS = ["figure", "task", "run_id"]
_RECORDED = {
    "steps": STEP_COLUMNS,
    "epochs": EPOCH_COLUMNS,
    "corridor_meter": METER_COLUMNS,
}
# Columns of `Results.steps`.
_STEPS_USED = ("run_id", "step", "epoch", "loss", "learning_rate", "seconds")
_Content = TypeVar("_Content")


class FigureTask(NamedTuple):
    """A figure that needs a run, and the protocol's task that the run belongs to there."""

    figure: str
    task: str


@dataclass(frozen=True, eq=False)
class Results:
    """The tables of one results folder; those that not every reader needs are read on first use."""

    folder: Path
    protocol: dict[str, Any]
    runs: pd.DataFrame
    steps: pd.DataFrame  # the column `run_id` is a category; without columns that no reader uses
    figure_runs: pd.DataFrame  # text columns `figure`, `task` and `run_id`

    @cached_property
    def epochs(self) -> pd.DataFrame:
        return _read(self.folder / "epochs.parquet", pd.read_parquet)

    @cached_property
    def corridor_meter(self) -> pd.DataFrame:
        """Empty if no run was measured."""
        path = self.folder / "corridor_meter.parquet"
        if not path.is_file():
            columns = ["run_id", *METER_COLUMNS]
            return pd.DataFrame(columns=columns, dtype=float).astype({"run_id": "str"})
        return _read(path, pd.read_parquet)

    @cached_property
    def by_task(self) -> dict[str, pd.DataFrame]:
        """Rows of `runs` by task, in the order of the protocol; a run may belong to several tasks.

        Runs without a task are those of the task "": runs that no figure needs, and all runs of
        tables from before tasks were recorded.
        """
        ids = run_ids_by_task(self.protocol, self.figure_runs)
        named = set().union(*(own for task, own in ids.items() if task))
        ids[""] = set(self.runs["run_id"]) - named
        rows = {task: self.runs[self.runs["run_id"].isin(own)] for task, own in ids.items()}
        return {task: own for task, own in rows.items() if len(own)}

    @cached_property
    def records(self) -> list[dict[str, Any]]:
        """The run.json of each run."""
        return read_records(self.folder)


def read_results(folder: Path) -> Results:
    """Read the tables of `results/PROTOCOL/` with the types of their columns.

    `runs` and `figure_runs` are read from CSV, at full precision, with text columns as text even
    where a cell looks like a number or a missing value. Tables from before `max_lr` or `task`
    existed get an empty column of this name.

    Raises:
        UserError: if a table is missing or cannot be read; the message has the make command.
    """
    check_folder(folder)
    protocol = _read(folder / "protocol.json", _read_json)
    runs = _read(folder / "runs.csv", _read_runs)
    if "max_lr" not in runs:
        runs["max_lr"] = float("nan")
    steps = _read(folder / "steps.parquet", _read_steps)
    figure_runs = with_tasks(_read(folder / "figure_runs.csv", _read_text_table))
    return Results(folder, protocol, runs, steps, figure_runs)


def with_tasks(figure_runs: pd.DataFrame) -> pd.DataFrame:
    """The table with a column `task`, which is empty in tables from before tasks were recorded."""
    return figure_runs if "task" in figure_runs else figure_runs.assign(task="")


def run_ids_by_task(protocol: dict[str, Any], figure_runs: pd.DataFrame) -> dict[str, set[str]]:
    """Ids of the runs of each task in rows of figure_runs, in the order of the protocol's tasks."""
    order = list(protocol.get("tasks", {}))
    ids = {str(task): set(own) for task, own in figure_runs.groupby("task")["run_id"]}
    return {task: ids[task] for task in dict.fromkeys([*order, *ids]) if task in ids}


def task_title(protocol: dict[str, Any], task: str) -> str:
    """Display name of the setting of a task; empty if the protocol gives it none."""
    settings = protocol.get("tasks", {}).get(task, {})
    return settings.get("title") or ""


def check_folder(folder: Path) -> None:
    """Raise UserError if `folder` is not a folder."""
    if not os.path.isdir(folder):  # False also for a loop of links and for a name that is too long
        problem = "is not a folder" if os.path.lexists(folder) else "does not exist"
        raise UserError(
            f"{folder} {problem}; pass a folder with results, such as results/quick, which "
            "make reproduce creates"
        )


def read_records(folder: Path) -> list[dict[str, Any]]:
    """Read the run.json of each run from runs.jsonl; UserError as `read_results`."""
    return _read(folder / "runs.jsonl", _read_json_lines)


def read_recorded(folder: Path) -> dict[str, pd.DataFrame]:
    """Read the tables of what the runs recorded, by name; UserError as `read_results`."""
    return {
        name: _read(folder / f"{name}.parquet", pd.read_parquet)
        for name in _RECORDED
        if name != "corridor_meter" or (folder / f"{name}.parquet").is_file()
    }


def _read(path: Path, reader: Callable[[Path], _Content]) -> _Content:
    command = f"make reproduce PROTOCOL={path.parent.resolve().name}"
    try:
        return reader(path)
    except FileNotFoundError:
        raise UserError(f"{path} is missing; create it with: {command}") from None
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path} cannot be read ({first_line(error)}); create it again with: {command}"
        ) from None


def _read_runs(path: Path) -> pd.DataFrame:
    columns = pd.read_csv(path, nrows=0).columns
    numbers = [name for name in columns if name not in RUN_TEXT_COLUMNS]
    return pd.read_csv(
        path,
        dtype={name: "str" for name in RUN_TEXT_COLUMNS},
        keep_default_na=False,
        na_values={name: ["", "nan"] for name in numbers},
        float_precision="round_trip",
    )


def _read_steps(path: Path) -> pd.DataFrame:
    """Read the steps, which are many: only columns that the analysis uses.

    The id of each row's run is a category, which takes 4 bytes.
    """
    columns = [name for name in parquet.read_schema(path).names if name in _STEPS_USED]
    steps = pd.read_parquet(path, columns=columns, read_dictionary=["run_id"])
    if isinstance(steps.get("run_id", pd.Series()).dtype, pd.CategoricalDtype):
        ids = steps["run_id"].cat
        steps["run_id"] = ids.set_categories(ids.categories.astype("str").sort_values())
    return steps


def _read_text_table(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype="str", keep_default_na=False)


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def _read_json_lines(path: Path) -> list[dict[str, Any]]:
    return [decode_record(line) for line in path.read_text().splitlines()]


def export(
    store: Store, needs: dict[str, set[FigureTask]], protocol: dict[str, Any], folder: Path
) -> None:
    """Write the tables of the completed runs among the keys of `needs`.

    Args:
        store: the store that holds the runs.
        needs: the figures that need each run, by run id.
        protocol: the protocol's config.
        folder: `results/PROTOCOL`, created if it does not exist.
    """
    folder.mkdir(parents=True, exist_ok=True)
    completed = {name: run for name in needs if (run := store.finished(name)) is not None}
    for table, columns in _RECORDED.items():
        write_table(_concatenate(store, completed, table, columns), folder, table)
    runs = pd.DataFrame([row(run) for run in completed.values()], columns=RUN_COLUMNS)
    # Without a number in any row, a column would have no numeric type.
    runs = runs.astype({"learning_rate": float, "max_lr": float})
    write_table(runs, folder, "runs")
    rows = [(*need, name) for name, own in needs.items() for need in sorted(own)]
    figure_runs = pd.DataFrame(rows, columns=FIGURE_RUN_COLUMNS)
    write_table(figure_runs.sort_values("figure", kind="stable"), folder, "figure_runs")
    write_text(json.dumps(protocol, indent=1) + "\n", folder / "protocol.json")
    lines = [encode_record(_portable(run)) + "\n" for run in completed.values()]
    write_text("".join(lines), folder / "runs.jsonl")


def _concatenate(
    store: Store, completed: dict[str, dict[str, Any]], table: str, columns: list[str]
) -> pd.DataFrame:
    """The rows of all runs that have the recorded table; columns that older runs lack are empty."""
    paths = {name: store.folder(name) / f"{table}.parquet" for name in completed}
    parts = [
        pd.read_parquet(path).assign(run_id=name).reindex(columns=["run_id", *columns])
        for name, path in paths.items()
        if table != "corridor_meter" or path.is_file()
    ]
    empty = pd.DataFrame(columns=["run_id", *columns])
    joined = pd.concat(parts or [empty], ignore_index=True)
    return joined.astype({"run_id": "str", **recorded_types(columns)})


def write_table(table: pd.DataFrame, folder: Path, name: str) -> None:
    """Write `table` as `folder`/`name`.parquet and as CSV: atomic, and reproducible to the byte."""
    write_parquet(table, folder / f"{name}.parquet")
    text = table.to_csv(index=False)
    if name == "steps":
        write_bytes(gzip.compress(text.encode(), mtime=0), folder / f"{name}.csv.gz")
    else:
        write_text(text, folder / f"{name}.csv")


def _portable(run: dict[str, Any]) -> dict[str, Any]:
    """The record without the folders of the machine that trained the run."""
    config = {
        key: value for key, value in run["config"].items() if key not in ("data_dir", "store")
    }
    return {**run, "config": {**config, "dataset": {**config["dataset"], "path": None}}}


def row(run: dict[str, Any]) -> dict[str, Any]:
    """The row of the table `runs` for one run.json."""
    config, provenance = run["config"], run["provenance"]
    return {
        "run_id": run["run_id"],
        "dataset": config["dataset"]["name"],
        "data_label": run["data"]["label"],
        "num_train": run["data"]["num_train"],
        "model": config["model"]["name"],
        "optimizer": config["optimizer"]["name"],
        "learning_rate": config["optimizer"].get("lr"),
        "max_lr": config["optimizer"].get("max_lr"),
        "arguments": encode_arguments(config["optimizer"]),
        "batch_size": config["batch_size"],
        "seed": config["seed"],
        "epochs": config["epochs"],
        "precision": config["precision"],
        "status": run["status"],
        **run["summary"],
        "device": run["device"],
        "hardware": provenance["hardware"],
        "revision": provenance["revision"],
        "torch": provenance["libraries"]["torch"],
        "data_fingerprint": run["data"]["fingerprint"],
    }
