"""Statistics of the verdicts: ratios over the seeds, steps to a loss, movement of a rate."""

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
    """A ratio over the seeds and its bootstrap interval, whose ends are nan for a single seed."""

    value: float
    low: float
    high: float

    @property
    def lower_bound(self) -> float:
        """Lower end of the interval; the ratio itself for a single seed."""
        return self.value if math.isnan(self.low) else self.low

    @property
    def upper_bound(self) -> float:
        """Upper end of the interval; the ratio itself for a single seed."""
        return self.value if math.isnan(self.high) else self.high

    def text(self, infinite: str) -> str:
        """The ratio for readers, such as "1.22 (1.2–1.25)", with `infinite` for an infinite value.

        Examples with infinite="not reached": "not reached" if the value and both ends are
        infinite, "2 (1.5 to not reached)" if only the upper end is.
        """
        value, low, high = (number(x, infinite) for x in (self.value, self.low, self.high))
        if math.isnan(self.low) or value == low == high == infinite:
            return value
        joint = " to " if infinite in (low, high) else "–"
        return f"{value} ({low}{joint}{high})"


NO_RATIO = Ratio(math.nan, math.nan, math.nan)


def number(value: float, infinite: str) -> str:
    """Three significant digits; words for an infinite value and a dash for nan."""
    if math.isnan(value):
        return "–"
    return infinite if math.isinf(value) else f"{value:.3g}"


def ratio_over_seeds(numerator: pd.Series, denominator: pd.Series, rule: Bootstrap) -> Ratio:
    """Median over the seeds of numerator / denominator, with a percentile bootstrap interval.

    Two runs of one seed share the initial weights and the order of the data, so the series are
    paired by seed; a seed of only one of them is ignored. An infinite value means "never": the
    ratio is then inf, or 0 for an infinite denominator, or 1 if both are infinite.

    Computed on the share a / (a + b) = r / (1 + r), which is finite even if r is not. Exchanging
    the two series turns it into 1 − share, so ratio and interval are inverted up to rounding.

    Args:
        numerator, denominator: values at least 0, indexed by seed.
        rule: number of resamples, confidence level and random seed.
    """
    pairs = pd.concat([numerator, denominator], axis=1, join="inner").to_numpy(float)
    shares = np.array([_share(a, b) for a, b in pairs])
    if not len(shares):
        return NO_RATIO
    low = high = math.nan
    if len(shares) > 1:
        result = bootstrap(
            (shares,),
            np.median,
            method="percentile",
            n_resamples=rule.resamples,
            confidence_level=rule.confidence,
            rng=np.random.default_rng(rule.seed),
            vectorized=True,
        )
        low, high = result.confidence_interval
    return Ratio(*(_ratio(share) for share in (float(np.median(shares)), low, high)))


def _share(a: float, b: float) -> float:
    """a / (a + b), with its limits for infinite values."""
    if a == b:  # also if both are infinite
        return 0.5
    if math.isinf(a):
        return 1.0
    return 0.0 if math.isinf(b) else a / (a + b)


def _ratio(share: float) -> float:
    return math.inf if share == 1 else share / (1 - share)


def by_seed(runs: list[Run], attribute: str) -> pd.Series:
    """An attribute of each run, indexed by seed."""
    return pd.Series({run.seed: getattr(run, attribute) for run in runs}, dtype=float)


def first_losses(runs: list[Run]) -> pd.Series:
    """Loss before any step was taken, indexed by seed; the same for every optimizer."""
    return pd.Series({run.seed: run.loss[0] for run in runs}, dtype=float)


def steps_to(runs: list[Run], target: float) -> pd.Series:
    """First step, from 1, with a trailing loss of at most `target`, indexed by seed.

    The fewest steps if a seed has several runs. inf if the target is never reached; a diverged run
    never reaches it, whatever its loss was before.
    """
    steps = [
        (run.seed, math.inf if run.diverged else _first_step(run.trailing_loss <= target))
        for run in runs
    ]
    table = pd.DataFrame(steps, columns=["seed", "steps"])
    return table.groupby("seed")["steps"].min().astype(float)


def _first_step(reached: np.ndarray) -> float:
    return float(reached.argmax() + 1) if reached.any() else math.inf


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
        return _share(high, low)

    rng = np.random.default_rng(seed)
    observed = movement(rate)
    as_large = sum(movement(rng.permutation(rate)) >= observed for _ in range(shuffles))
    return (as_large + 1) / (shuffles + 1)
