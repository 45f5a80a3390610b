"""Statistics of the verdicts: loss at the start, area under the loss, movement of a rate."""

from __future__ import annotations

import math
from collections.abc import Sequence

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


def extremes(rates: Numbers, windows: int) -> tuple[Numbers, Numbers]:
    """Smallest and largest median of the rates over equal windows of the steps.

    The median, because one step with a tiny gradient would dominate the mean of its window.

    Args:
        rates: shape (..., steps).
        windows: number of windows, or one for each step of a shorter run.

    Returns:
        Two arrays of shape (...).
    """
    parts = np.array_split(rates, min(windows, rates.shape[-1]), axis=-1)
    medians = [_median(part) for part in parts]
    return np.min(medians, axis=0), np.max(medians, axis=0)


def permutation_p_values(
    rates: Sequence[Numbers], windows: int, shuffles: int, seed: int
) -> list[float]:
    """p values of the permutation test that the order of a run's rates over training is random.

    The fraction of random orders of the rates with extremes at least as far apart, as a ratio, as
    those of the run. The observed order counts as one of them, so p ≥ 1 / (shuffles + 1). Runs of
    equal length are tested with the same random orders.

    Args:
        rates: the rates of each run, shape (steps,).
        windows: as in `extremes`.
        shuffles: number of random orders.
        seed: seed of the random orders.
    """
    as_large = np.zeros(len(rates))
    for length in {len(rate) for rate in rates}:
        own = [i for i, rate in enumerate(rates) if len(rate) == length]
        observed_order = np.array([rates[i] for i in own])
        observed = _movement(observed_order, windows)
        rng = np.random.default_rng(seed)
        for _ in range(shuffles):
            shuffled = observed_order.take(rng.permutation(length), axis=1)
            as_large[own] += _movement(shuffled, windows) >= observed
    return [float(p) for p in (as_large + 1) / (shuffles + 1)]


def _movement(rates: Numbers, windows: int) -> Numbers:
    """Logarithm of the largest over the smallest median of each run, shape (runs,)."""
    low, high = extremes(rates, windows)
    return log_ratio(high, low)


def _median(values: Numbers) -> Numbers:
    """`np.median` over the last axis, five times as fast: it selects one element, not three."""
    middle = values.shape[-1] // 2
    ordered = np.partition(values, middle, axis=-1)
    median = ordered[..., middle]
    if values.shape[-1] % 2 == 0:
        median = (ordered[..., :middle].max(axis=-1) + median) / 2
    return np.where(np.isnan(values).any(axis=-1), np.nan, median)
