"""The numbers behind the verdicts: steps to a loss, how much a rate moves, and ratios with intervals over the seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import bootstrap

from clr.analysis.verdicts.evidence import Numbers, Run
from clr.analysis.verdicts.rules import Bootstrap


@dataclass(frozen=True)
class Ratio:
    """A ratio over the seeds, with its bootstrap interval; `low` and `high` are nan where there is only one seed."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        interval = "" if math.isnan(self.low) else f" ({self.low:.3g}–{self.high:.3g})"
        return f"{self.value:.3g}{interval}".replace("inf", "∞")


def ratio_over_seeds(above: pd.Series, below: pd.Series, rule: Bootstrap) -> Ratio:
    """The median over the seeds of above/below, with its percentile bootstrap interval.

    Both are indexed by seed and paired by it, for two runs of one seed share initial weights and the order of the data;
    seeds that only one of them has are left out. Values are at least 0. An infinite one means "never": the ratio
    is then inf, or 0 where it stands below, and 1 where neither got there.

    All is done on the share a/(a + b) = r/(1 + r), which is finite where r is not. Exchanging the two turns it into
    1 − share, so that ratio and interval are inverted, exactly but for rounding.
    """
    pairs = pd.concat([above, below], axis=1, join="inner").to_numpy(float)
    shares = np.array([_share(a, b) for a, b in pairs])
    if not len(shares):
        return Ratio(math.nan, math.nan, math.nan)
    low = high = math.nan
    if len(shares) > 1:
        found = bootstrap(
            (shares,),
            np.median,
            method="percentile",
            n_resamples=rule.resamples,
            confidence_level=rule.confidence,
            rng=np.random.default_rng(rule.seed),
            vectorized=True,
        )
        low, high = found.confidence_interval
    return Ratio(
        *(math.inf if s == 1 else s / (1 - s) for s in (float(np.median(shares)), low, high))
    )


def _share(a: float, b: float) -> float:
    if a == b:  # also where neither gets there
        return 0.5
    if math.isinf(a):
        return 1.0
    return 0.0 if math.isinf(b) else a / (a + b)


def by_seed(runs: list[Run], value: str) -> pd.Series:
    """An attribute of each run, by seed."""
    return pd.Series({run.seed: getattr(run, value) for run in runs}, dtype=float)


def steps_to(runs: list[Run], target: float) -> pd.Series:
    """The first step, from 1, whose trailing loss is at most `target`, by seed; of several runs of a seed, the least.

    inf where none gets there. A run that diverged never does, wherever it was before.
    """
    steps = [
        (run.seed, math.inf if run.diverged else _first(run.trailing_loss <= target))
        for run in runs
    ]
    return (
        pd.DataFrame(steps, columns=["seed", "steps"]).groupby("seed")["steps"].min().astype(float)
    )


def _first(reached: np.ndarray) -> float:
    return float(reached.argmax() + 1) if reached.any() else math.inf


def log_loss_area(run: Run) -> float:
    """The mean over the steps of the logarithm of the trailing loss: the area under the curve on a log axis."""
    if run.diverged:
        return math.inf
    return float(
        np.log(np.maximum(run.trailing_loss, np.finfo(float).tiny)).mean()
    )  # a loss of 0 is a number, too


def extremes(rate: Numbers, windows: int) -> tuple[float, float]:
    """The smallest and the largest of the medians of `rate` over so many equal windows of the steps.

    A median, for one step with a tiny gradient would carry the mean of all its neighbours.
    """
    parts = np.array_split(rate, min(windows, len(rate)))
    medians = [float(np.median(part)) for part in parts]
    return min(medians), max(medians)


def chance_of_moving(rate: Numbers, windows: int, shuffles: int, seed: int) -> float:
    """The share of random orders of the same rates whose extremes lie as far apart, as a ratio, as those of `rate`.

    Counts the given order itself, as a permutation test must: at least 1/(shuffles + 1).
    """

    def moved(values: Numbers) -> float:
        low, high = extremes(values, windows)
        return _share(high, low)

    rng = np.random.default_rng(seed)
    observed = moved(rate)
    as_far = sum(moved(rng.permutation(rate)) >= observed for _ in range(shuffles))
    return (as_far + 1) / (shuffles + 1)
