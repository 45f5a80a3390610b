"""Baseline of a sweep: the best of its fixed learning rates, and which runs diverged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from clr.runs.status import RunStatus


@dataclass(frozen=True)
class BestRate:
    """Best fixed learning rate of one sweep."""

    learning_rate: float
    final_train_loss: float  # mean over the seeds
    interior: bool  # False at an edge of the sweep: a better rate may exist beyond it


@dataclass(frozen=True)
class BestValue:
    """Best value of one argument of an optimizer."""

    value: float
    final_train_loss: float  # mean over the seeds
    interior: bool  # False at an edge of the values tried


def diverged(runs: pd.DataFrame) -> pd.Series:
    """Mask of the diverged runs: they ended early or their final training loss is not finite.

    `runs` are rows of runs.csv. Every part of the analysis uses this definition.
    """
    finished = (runs["status"] == RunStatus.FINISHED) & np.isfinite(runs["final_train_loss"])
    return ~finished


def best_fixed_rate(runs: pd.DataFrame) -> BestRate | None:
    """Best fixed rate of one optimizer on one dataset, with one model and one batch size.

    Among the rates for which no seed diverged, the rate with the lowest mean over the seeds of the
    final training loss (the mean loss over the steps of the last epoch). Ties go to the smaller
    rate. `interior` compares with all rates tried, including those that diverged.

    Args:
        runs: rows of runs.csv, of fixed rates only.

    Returns:
        The best rate, or None if every rate diverged.

    Raises:
        ValueError: if the rows belong to more than one sweep or have no learning rate.
    """
    sweeps = runs[["dataset", "model", "batch_size", "optimizer"]].drop_duplicates()
    if len(sweeps) != 1 or runs["learning_rate"].isna().any():
        raise ValueError(
            f"expected one sweep of fixed learning rates, got:\n{sweeps.to_string(index=False)}"
        )
    best = best_value(runs, "learning_rate")
    return None if best is None else BestRate(best.value, best.final_train_loss, best.interior)


def best_value(runs: pd.DataFrame, column: str) -> BestValue | None:
    """Best of the values in a column, by the rule of `best_fixed_rate`.

    Args:
        runs: rows of runs.csv, of one optimizer in one setting.
        column: name of a column of numbers, in which these runs differ.
    """
    # A diverged run may record any last loss, so its loss becomes nan and excludes its value.
    losses = runs["final_train_loss"].mask(diverged(runs))
    means = losses.groupby(runs[column]).agg(lambda loss: loss.mean(skipna=False))
    means = means.dropna()
    if means.empty:
        return None
    value = float(means.index[means == means.min()].min())
    tried = runs[column]
    interior = bool(tried.min() < value < tried.max())
    return BestValue(value, float(means.min()), interior)
