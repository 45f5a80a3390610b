"""The rule that picks the baseline: the best fixed learning rate of a sweep."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class BestRate:
    learning_rate: float
    final_train_loss: float  # mean over the seeds
    interior: bool  # False: at an edge of the rates tried, so a still better one may lie beyond


def best_fixed_rate(runs: pd.DataFrame) -> BestRate | None:
    """The best fixed rate among the runs of one optimizer on one data set, with one model and one batch size.

    The rule: of the rates for which no seed diverged, the one with the lowest mean over the seeds of the final training
    loss, which is the mean loss over the steps of the last epoch. Of two rates with the same mean, the smaller.

    `interior` says whether it lies strictly between the smallest and the largest rate tried; a rate that diverged was
    tried. A run whose final training loss isn't finite counts as diverged. None if every rate diverged.

    `runs` are rows of runs.csv, of the fixed rates alone.
    """
    which = runs[["dataset", "model", "batch_size", "optimizer"]].drop_duplicates()
    if len(which) != 1 or runs["learning_rate"].isna().any():
        raise ValueError(
            f"one sweep of fixed rates is compared at a time, got:\n{which.to_string(index=False)}"
        )
    # A diverged run may hold any last loss: none of them may enter a mean.
    survived = (runs["status"] == "finished") & np.isfinite(runs["final_train_loss"])
    losses = runs["final_train_loss"].where(survived)
    means = (
        losses.groupby(runs["learning_rate"]).agg(lambda seeds: seeds.mean(skipna=False)).dropna()
    )
    if means.empty:
        return None
    rate = float(means.index[means == means.min()].min())
    tried = runs["learning_rate"]
    return BestRate(rate, float(means.min()), interior=bool(tried.min() < rate < tried.max()))
