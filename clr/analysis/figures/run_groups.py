"""Groups of runs that differ only in their seeds, and their records averaged for drawing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from clr.analysis.baseline import BestRate, best_fixed_rate
from clr.analysis.names import display_name
from clr.analysis.rows import rows_of_runs
from clr.errors import UserError

# With more points in a panel three inches wide, the noise of single batches hides the curves.
MAX_STEPS_DRAWN_SINGLY, MAX_POINTS = 60, 50


@dataclass(frozen=True, eq=False)
class RunGroup:
    """Runs of one optimizer at one learning rate, one run per seed, drawn as one curve."""

    optimizer: str
    name: str  # display name, such as "SGD"
    runs: pd.DataFrame
    rate: float | None  # fixed learning rate; None if the optimizer sets its own
    best: BestRate | None  # set only for the best fixed rate

    @property
    def main(self) -> bool:
        """True if the group is drawn in color: its rate is adaptive or the best fixed one."""
        return self.rate is None or self.best is not None

    @property
    def diverged(self) -> bool:
        """True if any seed diverged."""
        return bool(self.runs["diverged"].any())

    @property
    def curve_name(self) -> str:
        """Name that all artists of the group's curve share, such as "SGD 0.1"."""
        return self.name if self.rate is None else f"{self.name} {self.rate:g}"

    @property
    def label(self) -> str:
        """Legend entry."""
        if self.best is not None:
            remark = "" if self.best.interior else "\n(edge of the sweep)"
            return f"{self.name}, best rate {self.rate:g}{remark}"
        return f"{self.name} (diverged)" if self.diverged else self.name

    def rows(self, table: pd.DataFrame) -> pd.DataFrame:
        """Rows of `table` that belong to the group's runs."""
        return rows_of_runs(table, self.runs["run_id"])


GroupPoints = tuple[RunGroup, pd.DataFrame]  # a group and the result of `over_seeds`


def group_runs(runs: pd.DataFrame) -> list[RunGroup]:
    """Group the runs of one panel, in drawing order: other rates, then main groups, CLR last.

    Raises:
        UserError: if the runs differ in dataset, model or batch size, or if two runs have the
            same optimizer, rate and seed.
    """
    scopes = runs[["dataset", "model", "batch_size"]].drop_duplicates()
    if len(scopes) > 1:
        listed = "; ".join(f"{a}, {b}, {c}" for a, b, c in scopes.itertuples(index=False))
        raise UserError(
            "a panel shows one dataset, model and batch size, but figure_runs.csv assigns it: "
            f"{listed}; remove the runs of the others from figure_runs.csv"
        )
    twice = runs[runs.duplicated(["optimizer", "learning_rate", "seed"], keep=False)]
    if len(twice):
        raise UserError(
            "a panel shows one run per optimizer, learning rate and seed, but these have the "
            f"same: {', '.join(twice['run_id'][:2])}; remove one of them from figure_runs.csv"
        )
    groups = []
    for optimizer, own in runs.groupby("optimizer"):
        names = (str(optimizer), display_name(optimizer))
        adaptive, fixed = own[own["learning_rate"].isna()], own[own["learning_rate"].notna()]
        if len(adaptive):
            groups.append(RunGroup(*names, adaptive, rate=None, best=None))
        best = best_fixed_rate(fixed) if len(fixed) else None
        for rate, seeds in fixed.groupby("learning_rate"):
            is_best = best is not None and rate == best.learning_rate
            group = RunGroup(*names, seeds, float(str(rate)), best=best if is_best else None)
            groups.append(group)
    return sorted(groups, key=lambda group: (group.main, group.optimizer == "clr"))


def over_seeds(table: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    """Mean, minimum (`low`) and maximum (`high`) over the runs, indexed by `x`.

    Only values of `x` where every run has a finite `y` are kept.
    """
    wide = table.pivot(index=x, columns="run_id", values=y)
    wide = wide.replace([np.inf, -np.inf], np.nan).dropna()
    return pd.DataFrame(
        {"mean": wide.mean(axis=1), "low": wide.min(axis=1), "high": wide.max(axis=1)}
    )


def steps_per_point(steps: pd.DataFrame) -> int:
    """Number of steps that one point of a curve summarizes: 1 for short runs, otherwise even.

    Of a loss that alternates from step to step, an odd number of steps would have more of one
    phase than of the other, in turn, and the curve would alternate as well.
    """
    longest = int(steps["step"].max()) if len(steps) else 0
    return 1 if longest <= MAX_STEPS_DRAWN_SINGLY else 2 * math.ceil(longest / MAX_POINTS / 2)


def in_windows(steps: pd.DataFrame, y: str, size: int, statistic: str) -> pd.DataFrame:
    """Mean or median of `y` in windows of `size` steps of each run; `step` is the windows' center.

    Args:
        steps: rows with run_id, step and `y`; rows with an infinite or missing `y` are ignored.
        y: a column of `steps`.
        size: number of steps per window.
        statistic: "mean" or "median".

    Returns:
        A table with the columns run_id, window, `y` and step.
    """
    finite = steps[np.isfinite(steps[y])]
    window = (finite["step"] - 1) // size
    center = finite.groupby(window)["step"].mean()
    points = finite.groupby(["run_id", window.rename("window")])[y].agg(statistic).reset_index()
    return points.assign(step=points["window"].map(center))


def epoch_means(steps: pd.DataFrame) -> pd.DataFrame:
    """Mean loss over the steps of each epoch, ignoring infinite and missing losses.

    `epoch` becomes the middle of the epoch, where a mean over its steps belongs: 0.5 for the first.
    """
    finite = steps[np.isfinite(steps["loss"])]
    points = finite.groupby(["run_id", "epoch"])["loss"].mean().reset_index()
    return points.assign(epoch=points["epoch"] + 0.5)


def accuracy_points(groups: list[RunGroup], epochs: pd.DataFrame) -> list[GroupPoints]:
    """Test accuracy in percent over finished epochs."""
    percent = epochs.assign(percent=100 * epochs["test_accuracy"])
    return [(group, over_seeds(group.rows(percent), "epoch", "percent")) for group in groups]
