"""What the figures read, `results/PROTOCOL/`, and how many runs become one curve."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from clr.analysis.baseline import BestRate, best_fixed_rate, diverged
from clr.analysis.names import display_name
from clr.errors import UserError

# More points than that across a panel of three inches and the noise of single batches hides dashes and trend.
FINEST, POINTS = 60, 50


@dataclass(frozen=True)
class Tables:
    """The tables of one figure: `runs` holds only its runs, and so do `steps`, `epochs` and `meter`."""

    protocol: dict[str, Any]
    runs: pd.DataFrame
    steps: pd.DataFrame
    epochs: pd.DataFrame
    meter: pd.DataFrame  # of those runs that were measured
    named: int  # runs that the figure should show; those that runs.csv lacks are still to be made


@dataclass(frozen=True, eq=False)
class Curve:
    """The runs, one a seed, that are drawn as one line."""

    optimizer: str
    name: str  # what the legend calls it
    runs: pd.DataFrame
    rate: float | None  # the fixed rate, None where the optimizer sets its own
    best: BestRate | None  # set on the curve of the best fixed rate alone

    @property
    def main(self) -> bool:
        """Drawn in colour: an optimizer that sets its own rate, or the best fixed rate."""
        return self.rate is None or self.best is not None

    @property
    def diverged(self) -> bool:
        return bool(diverged(self.runs).any())

    @property
    def label(self) -> str:
        if self.best is not None:
            return f"{self.name}, best rate {self.rate:g}" + (
                "" if self.best.interior else "\n(edge of the sweep)"
            )
        return f"{self.name} (diverged)" if self.diverged else self.name

    def of(self, table: pd.DataFrame) -> pd.DataFrame:
        """The rows of `table` that belong to these runs."""
        return table[table["run_id"].isin(self.runs["run_id"])]


def read(folder: Path) -> dict[str, Tables]:
    """The tables of each figure that figure_runs.csv names, also of those whose runs are all still to be made."""
    remedy = f"make it with: make reproduce PROTOCOL={folder.resolve().name}"
    for name in ("protocol.json", "runs.csv", "steps.parquet", "epochs.parquet", "figure_runs.csv"):
        if not (folder / name).is_file():
            raise UserError(f"{folder / name} is missing; {remedy}")
    protocol = json.loads((folder / "protocol.json").read_text())
    # Ids are hashes: one that happens to look like a number must stay a string.
    runs = pd.read_csv(folder / "runs.csv", dtype={"run_id": str})
    if "max_lr" not in runs:
        runs["max_lr"] = np.nan  # tables from before there were caps
    named = pd.read_csv(folder / "figure_runs.csv", dtype=str)
    steps = pd.read_parquet(
        folder / "steps.parquet", columns=["run_id", "step", "epoch", "loss", "learning_rate"]
    )
    epochs = pd.read_parquet(
        folder / "epochs.parquet", columns=["run_id", "epoch", "test_accuracy"]
    )
    meter = pd.DataFrame({"run_id": []}, dtype=str)  # tables from before there was one have none
    if (folder / "corridor_meter.parquet").is_file():
        meter = pd.read_parquet(folder / "corridor_meter.parquet")
    finished = runs.loc[runs["status"] == "finished", "run_id"]
    for name, table in (("steps.parquet", steps), ("epochs.parquet", epochs)):
        lacking = finished[~finished.isin(table["run_id"])]
        if len(lacking):
            raise UserError(
                f"{folder / name} lacks finished run {lacking.iloc[0]} of runs.csv; {remedy}"
            )
    if named.empty:
        raise UserError(f"{folder / 'figure_runs.csv'} names no figure; {remedy}")

    figures = {}
    for name in sorted(named["figure"].unique()):
        ids = named.loc[named["figure"] == name, "run_id"]
        drawn = runs[runs["run_id"].isin(ids)]
        if (
            name == "corridor_meter"
        ):  # what an optimizer that sets its own rate did without the meter is to be made again
            own = drawn["learning_rate"].isna()
            measured = drawn["run_id"].isin(meter["run_id"])
            drawn = drawn[~own | measured] if measured.any() else drawn[:0]
        figures[name] = Tables(
            protocol,
            drawn,
            steps[steps["run_id"].isin(ids)],
            epochs[epochs["run_id"].isin(ids)],
            meter[meter["run_id"].isin(ids)],
            named=ids.nunique(),
        )
    return figures


def make_missing(folder: Path) -> str:
    """The command that makes the runs that the tables lack, and keeps those that they have."""
    return f"make reproduce PROTOCOL={folder.resolve().name} ARGS=import_results=true"


def curves(runs: pd.DataFrame) -> list[Curve]:
    """The curves of one panel, those in colour last, so that they are drawn on top; CLR is the very last."""
    one_sweep = len(runs[["dataset", "model", "batch_size"]].drop_duplicates()) == 1
    if not one_sweep or runs.duplicated(["optimizer", "learning_rate", "seed"]).any():
        raise ValueError(
            "a panel shows one data set, model and batch size: one run for each seed of a rate"
        )
    found = []
    for optimizer, own in runs.groupby("optimizer"):
        names = (str(optimizer), display_name(optimizer))
        adaptive, fixed = own[own["learning_rate"].isna()], own[own["learning_rate"].notna()]
        if len(adaptive):
            found.append(Curve(*names, adaptive, rate=None, best=None))
        if len(fixed):
            best = best_fixed_rate(fixed)
            for rate in sorted(fixed["learning_rate"].unique()):
                seeds = fixed[fixed["learning_rate"] == rate]
                is_best = best is not None and rate == best.learning_rate
                found.append(Curve(*names, seeds, rate=float(rate), best=best if is_best else None))
    return sorted(found, key=lambda c: (c.main, c.optimizer == "clr"))


def over_seeds(table: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    """Mean, low and high over the runs at each `x` that all of them reach with a finite value."""
    wide = table.pivot(index=x, columns="run_id", values=y)
    wide = wide.replace([np.inf, -np.inf], np.nan).dropna()
    return pd.DataFrame(
        {"mean": wide.mean(axis=1), "low": wide.min(axis=1), "high": wide.max(axis=1)}
    )


def window(steps: pd.DataFrame) -> int:
    """How many steps become one point: all of them are shown in a short run, at most POINTS of a long one."""
    longest = int(steps["step"].max())
    return 1 if longest <= FINEST else math.ceil(longest / POINTS)


def in_windows(steps: pd.DataFrame, y: str, size: int, how: str) -> pd.DataFrame:
    """The `how` (mean or median) of `y` over each `size` steps of each run, at the mean number of those steps."""
    finite = steps[np.isfinite(steps[y])]
    number = (finite["step"] - 1) // size
    centre = finite.groupby(number)["step"].mean()
    points = finite.groupby(["run_id", number.rename("window")])[y].agg(how).reset_index()
    return points.assign(step=points["window"].map(centre))


def by_epoch(steps: pd.DataFrame) -> pd.DataFrame:
    """The mean loss over the steps of each epoch, in the epoch where a run diverged over those before it did."""
    finite = steps[np.isfinite(steps["loss"])]
    points = finite.groupby(["run_id", "epoch"])["loss"].mean().reset_index()
    return points.assign(
        epoch=points["epoch"] + 1
    )  # the number of finished epochs, as in epochs.parquet
