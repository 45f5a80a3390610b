"""Statistics of the verdicts: loss at the start, area under the loss, movement of a rate."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from clr.analysis.ratios import Numbers, log_ratio
from clr.analysis.verdicts.evidence import Run


def by_seed(runs: list[Run], attribute: str) -> pd.Series:
    """An attribute of each run, indexed by seed."""
    return pd.Series({run.seed: getattr(run, attribute) for run in runs}, dtype=float)


def first_losses(runs: list[Run]) -> pd.Series:
    """Loss before any step was taken, indexed by seed; the same for every optimizer."""
    return pd.Series({run.seed: run.loss[0] for run in runs}, dtype=float)


def log_loss_area(run: Run) -> float:
    """Mean over the steps of the log of the trailing loss; inf if the run diverged.

    This is the area under the curve on a logarithmic axis, per step.
    """
    if run.diverged:
        return math.inf
    positive = np.maximum(run.trailing_loss, np.finfo(float).tiny)  # the loss may be exactly 0
    return float(np.log(positive).mean())


def extremes(rate: Numbers, windows: int) -> tuple[float, float]:
    """Smallest and largest median of `rate` over equal windows of the steps.

    The median, because one step with a tiny gradient would dominate the mean of its window.
    """
    parts = np.array_split(rate, min(windows, len(rate)))
    medians = [float(np.median(part)) for part in parts]
    return min(medians), max(medians)


def permutation_p_value(rate: Numbers, windows: int, shuffles: int, seed: int) -> float:
    """p value of the permutation test that the order of the rates over training is random.

    The fraction of random orders of the rates with extremes at least as far apart, as a ratio, as
    those of `rate`. The observed order counts as one of them, so p ≥ 1 / (shuffles + 1).
    """

    def movement(values: Numbers) -> float:
        low, high = extremes(values, windows)
        return float(log_ratio(np.array(high), np.array(low)))

    rng = np.random.default_rng(seed)
    observed = movement(rate)
    as_large = sum(movement(rng.permutation(rate)) >= observed for _ in range(shuffles))
    return (as_large + 1) / (shuffles + 1)
