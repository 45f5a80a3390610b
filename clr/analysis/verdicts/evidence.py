"""The tables of one protocol, cut into what a claim is about: one data set, one model, one batch size."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from clr.errors import UserError

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Run:
    """One run, step by step."""

    run_id: str
    seed: int
    diverged: bool
    loss: Numbers  # of each step's batch
    trailing_loss: Numbers  # of each step: the mean over the steps of the epoch that ends with it
    rate: Numbers  # that each step took
    epoch: NDArray[np.int64]  # of each step, from 0
    final_loss: float  # the mean over the last epoch's steps; inf if it diverged
    accuracy: float  # on the test set, at the end


@dataclass(frozen=True, eq=False)
class Scope:
    """All runs on one data set, with one model, at one batch size."""

    dataset: str
    data: str  # the label that pictures bear
    model: str
    batch_size: int
    figures: tuple[str, ...]  # that need any of its runs
    table: pd.DataFrame  # its rows of runs.csv
    runs: dict[str, Run]  # by id
    missing: int  # runs that its figures name and runs.csv lacks

    def of(self, optimizer: str, rate: float | None = None) -> list[Run]:
        """The runs of an optimizer, at one of its fixed rates or at all of them, in the order of their seeds."""
        rows = self.table[self.table["optimizer"] == optimizer].sort_values("seed", kind="stable")
        rows = rows if rate is None else rows[rows["learning_rate"] == rate]
        return [self.runs[name] for name in rows["run_id"]]

    @property
    def cap(self) -> float | None:
        """The largest rate that its optimizers may take, None if there is no such cap."""
        caps = self.table["max_lr"].dropna()
        return float(caps.iloc[0]) if len(caps) else None


@dataclass(frozen=True, eq=False)
class Records:
    protocol: dict[str, Any]
    scopes: list[Scope]
    unplaced: dict[
        str, int
    ]  # figure: runs it names that are not made, of a data set, model or batch size with no run


def read(folder: Path, window_epochs: float) -> Records:
    """The records in `folder`; the trailing loss is over the steps of `window_epochs` epochs."""
    remedy = f"make it with: make reproduce PROTOCOL={folder.resolve().name}"
    for name in ("protocol.json", "runs.csv", "steps.parquet", "figure_runs.csv"):
        if not (folder / name).is_file():
            raise UserError(f"{folder / name} is missing; {remedy}")
    protocol = json.loads((folder / "protocol.json").read_text())
    # Every digit counts where verdicts must come out the same again. Ids that look like numbers stay strings.
    table = pd.read_csv(folder / "runs.csv", dtype={"run_id": str}, float_precision="round_trip")
    if "max_lr" not in table:
        table["max_lr"] = np.nan  # tables from before there were caps
    named = pd.read_csv(folder / "figure_runs.csv", dtype=str)
    steps = pd.read_parquet(
        folder / "steps.parquet", columns=["run_id", "step", "epoch", "loss", "learning_rate"]
    )
    of_run = dict(iter(steps.groupby("run_id")))
    lacking = named[~named["run_id"].isin(table["run_id"])]
    placed: set[str] = set()
    scopes = []
    for (dataset, data, model, batch_size), rows in table.groupby(
        ["dataset", "data_label", "model", "batch_size"]
    ):
        if rows.duplicated(["optimizer", "learning_rate", "seed"]).any():
            raise UserError(
                f"{folder / 'runs.csv'} has two runs of one seed with {model} at batch size {batch_size}"
            )
        # A missing run is known by its id alone, which clr.runs.store.run_id begins with these.
        own = lacking["run_id"][
            lacking["run_id"].str.startswith(f"{dataset}-{model}-b{batch_size}-")
        ]
        placed.update(own)
        runs = {row["run_id"]: _run(row, of_run, window_epochs) for row in rows.to_dict("records")}
        figures = sorted(
            named.loc[named["run_id"].isin({*rows["run_id"], *own}), "figure"].unique()
        )
        where = (str(dataset), str(data), str(model), int(str(batch_size)), tuple(figures))
        scopes.append(Scope(*where, rows, runs, missing=own.nunique()))
    unplaced = lacking[~lacking["run_id"].isin(placed)].groupby("figure")["run_id"].nunique()
    return Records(protocol, scopes, {str(figure): int(n) for figure, n in unplaced.items()})


def _run(row: dict[Any, Any], of_run: dict[Any, pd.DataFrame], window_epochs: float) -> Run:
    if row["run_id"] not in of_run:
        raise UserError(
            f"steps.parquet lacks run {row['run_id']} of runs.csv; make both anew with sweep.py"
        )
    steps = of_run[row["run_id"]].sort_values("step")
    # An infinite loss would make all means after it nan.
    loss = steps["loss"].replace([math.inf, -math.inf], math.nan)
    window = max(1, round(window_epochs * (row["num_train"] // row["batch_size"])))
    diverged = row["status"] != "finished" or not math.isfinite(row["final_train_loss"])
    return Run(
        row["run_id"],
        int(row["seed"]),
        diverged,
        loss=steps["loss"].to_numpy(float),
        trailing_loss=loss.rolling(window, min_periods=1).mean().to_numpy(float),
        rate=steps["learning_rate"].to_numpy(float),
        epoch=steps["epoch"].to_numpy(np.int64),
        final_loss=math.inf if diverged else float(row["final_train_loss"]),
        accuracy=float(row.get("final_test_accuracy", math.nan)),
    )
