"""Runs of one protocol, grouped into scopes: one task, dataset, model and batch size."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_numeric_dtype

from clr.analysis.baseline import diverged
from clr.analysis.names import display_name
from clr.analysis.race import LossCurve, loss_curve
from clr.analysis.ratios import Numbers
from clr.analysis.tables import without_arena
from clr.errors import UserError
from clr.runs.tables import Results, read_results, task_title

_TEXT_COLUMNS = ("run_id", "dataset", "data_label", "model", "optimizer", "status")
_NUMBER_COLUMNS = ("num_train", "batch_size", "seed", "learning_rate", "final_train_loss")
_STEP_COLUMNS = ("step", "epoch", "loss", "learning_rate")
_PROTOCOL_KEYS = ("name", "scaled", "seeds")


@dataclass(frozen=True, eq=False)
class Run(LossCurve):
    """One run, with one array element per step."""

    run_id: str
    rate: Numbers  # learning rate of the step
    epoch: NDArray[np.int64]  # from 0
    final_loss: float  # mean loss over the last epoch; inf if the run diverged
    accuracy: float  # test accuracy at the end of training, from 0 to 1


@dataclass(frozen=True, eq=False)
class Scope:
    """The runs of one task on one dataset, with one model, at one batch size."""

    task: str  # of the protocol; empty in tables from before tasks were recorded
    setting: str  # title of the task; empty without one
    dataset: str
    data: str  # display name of the data
    model: str
    batch_size: int
    figures: tuple[str, ...]  # figures that need at least one of its runs
    table: pd.DataFrame  # its rows of runs.csv
    runs: dict[str, Run]  # by run id
    missing: int  # runs that its figures need and runs.csv lacks

    def __str__(self) -> str:
        setting = f", {self.setting}" if self.setting else ""
        return f"{self.data}, {display_name(self.model)}, batch size {self.batch_size}{setting}"

    def select(self, optimizer: str, rate: float | None = None) -> list[Run]:
        """Runs of an optimizer, at one fixed rate or all rates, in the order of their seeds."""
        rows = self.table[self.table["optimizer"] == optimizer].sort_values("seed", kind="stable")
        if rate is not None:
            rows = rows[rows["learning_rate"] == rate]
        return [self.runs[run_id] for run_id in rows["run_id"]]

    def curves(self) -> dict[tuple[str, float | None], list[Run]]:
        """Runs by optimizer and fixed rate (None if the optimizer sets its own rate)."""
        groups = self.table.groupby(["optimizer", "learning_rate"], dropna=False)
        curves: dict[tuple[str, float | None], list[Run]] = {}
        key: Any
        for key, rows in groups:
            optimizer, rate = key
            fixed_rate = None if pd.isna(rate) else float(rate)
            curves[str(optimizer), fixed_rate] = [self.runs[run_id] for run_id in rows["run_id"]]
        return curves

    def cap(self, optimizer: str) -> float | None:
        """Largest learning rate that an optimizer may use; None without a cap."""
        caps = self.table.loc[self.table["optimizer"] == optimizer, "max_lr"].dropna()
        return float(caps.iloc[0]) if len(caps) else None


@dataclass(frozen=True, eq=False)
class Records:
    """The scopes of a results folder."""

    protocol: dict[str, Any]
    scopes: list[Scope]
    unplaced: dict[str, int]  # by figure: missing runs that belong to a scope without any run
    corridor_meter: pd.DataFrame  # the table; without rows if no run was measured


def read(folder: Path, window_epochs: float) -> Records:
    """Read the runs in a results folder and group them into scopes.

    Args:
        folder: a folder such as results/quick.
        window_epochs: epochs over which the trailing loss is averaged.

    Raises:
        UserError: if the folder, a table or a column is missing or damaged, or no run is completed.
    """
    results = read_results(folder)
    _check_columns(results)
    results = without_arena(results)
    _check_runs(results)
    steps = {str(run_id): rows for run_id, rows in results.steps.groupby("run_id")}
    scopes: list[Scope] = []
    placed: set[str] = set()  # missing runs that belong to a scope
    for task in results.by_task:
        for own, missing in _scopes(results, task, steps, window_epochs):
            scopes.append(own)
            placed |= missing
    # Tasks keep the order of the protocol.
    scopes.sort(key=lambda own: (own.dataset, own.data, own.model, own.batch_size))
    absent = _absent(results)
    unplaced = absent[~absent["run_id"].isin(placed)].groupby("figure")["run_id"].nunique()
    return Records(
        results.protocol,
        scopes,
        {str(name): int(n) for name, n in unplaced.items()},
        results.corridor_meter,
    )


def _absent(results: Results) -> pd.DataFrame:
    """Rows of figure_runs of the missing runs."""
    return results.figure_runs[~results.figure_runs["run_id"].isin(results.runs["run_id"])]


def _scopes(
    results: Results, task: str, steps: dict[str, pd.DataFrame], window_epochs: float
) -> Iterator[tuple[Scope, set[str]]]:
    """Yield the scopes of a task, each with the ids of its missing runs."""
    absent, needed = _absent(results), results.figure_runs
    for key, rows in results.by_task[task].groupby(
        ["dataset", "data_label", "model", "batch_size"]
    ):
        dataset, data, model, batch_size = map(str, key)
        # A missing run is known by its id only, which starts with these (clr.runs.identity.run_id).
        prefix = f"{dataset}-{model}-b{batch_size}-"
        missing = set(
            absent.loc[absent["run_id"].str.startswith(prefix) & (absent["task"] == task), "run_id"]
        )
        shown = needed["run_id"].isin({*rows["run_id"], *missing}) & (needed["task"] == task)
        scope = Scope(
            task,
            task_title(results.protocol, task),
            dataset,
            data,
            model,
            int(batch_size),
            figures=tuple(sorted(needed.loc[shown, "figure"].unique())),
            table=rows,
            runs=_runs(rows, steps, window_epochs, results.folder),
            missing=len(missing),
        )
        yield scope, missing


def _check_columns(results: Results) -> None:
    """Raise UserError if the tables lack a key or a column that the analysis needs."""
    folder, command = results.folder, _command(results)
    protocol = results.protocol
    if not isinstance(protocol, dict) or not set(_PROTOCOL_KEYS) <= set(protocol):
        raise UserError(
            f"{folder / 'protocol.json'} lacks one of {', '.join(_PROTOCOL_KEYS)}; "
            f"create it again with: {command}"
        )
    required = [
        ("runs.csv", results.runs, (*_TEXT_COLUMNS, *_NUMBER_COLUMNS), _NUMBER_COLUMNS),
        ("steps.parquet", results.steps, ("run_id", *_STEP_COLUMNS), _STEP_COLUMNS),
        ("figure_runs.csv", results.figure_runs, ("figure", "run_id"), ()),
    ]
    for name, table, columns, numbers in required:
        for column in columns:
            if column not in table:
                raise UserError(
                    f"{folder / name} has no column {column}; create it again with: {command}"
                )
        for column in numbers:
            if len(table) and not is_numeric_dtype(table[column]):
                raise UserError(
                    f"{folder / name} has text in the column {column}, which holds numbers; "
                    f"create it again with: {command}"
                )


def _check_runs(results: Results) -> None:
    """Raise UserError if there are no runs, or two of the same settings and seed."""
    folder, command = results.folder, _command(results)
    if results.runs.empty:
        raise UserError(f"{folder / 'runs.csv'} has no completed run; train them with: {command}")
    settings = ["dataset", "model", "batch_size", "optimizer", "learning_rate", "seed"]
    for runs in results.by_task.values():
        repeated = runs[runs.duplicated(settings)]
        if len(repeated):
            raise UserError(
                f"{folder / 'runs.csv'} has two runs of the same settings and seed, one of them "
                f"{repeated['run_id'].iloc[0]}; export one protocol only, with: {command}"
            )


def _command(results: Results) -> str:
    return f"make reproduce PROTOCOL={results.folder.resolve().name}"


def _runs(
    rows: pd.DataFrame, steps: dict[str, pd.DataFrame], window_epochs: float, folder: Path
) -> dict[str, Run]:
    runs = {}
    for _, row in rows.assign(diverged=diverged(rows)).iterrows():
        run_id = str(row["run_id"])
        if run_id not in steps:
            raise UserError(
                f"{folder / 'steps.parquet'} lacks the run {run_id} of runs.csv; create both again "
                f"with: make reproduce PROTOCOL={folder.resolve().name}"
            )
        curve = loss_curve(row, steps[run_id], window_epochs)
        runs[run_id] = _run(row, steps[run_id].set_index("step").sort_index(), curve)
    return runs


def _run(row: pd.Series, steps: pd.DataFrame, curve: LossCurve) -> Run:
    return Run(
        **vars(curve),
        run_id=str(row["run_id"]),
        rate=steps["learning_rate"].to_numpy(float),
        epoch=steps["epoch"].to_numpy(np.int64),
        final_loss=math.inf if curve.diverged else float(row["final_train_loss"]),
        accuracy=float(row.get("final_test_accuracy", math.nan)),
    )
