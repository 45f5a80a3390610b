"""Ratios over the seeds with their intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtrit

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Ratio:
    """A ratio over the seeds and its interval, whose ends are nan for a single seed.

    The interval is the one of `ratio_over_seeds`: a t interval, or the range over the seeds if
    the ratio of a seed is 0 or infinite.
    """

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


def log_ratio(numerator: Numbers, denominator: Numbers) -> Numbers:
    """Logarithm of numerator / denominator by element; 0 if both are 0 or both are infinite.

    An infinite value means "never", so the logarithm is inf or −inf if only one of the two is
    infinite. The same holds if only one of the two is 0.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(numerator) - np.log(denominator)
    return np.where(numerator == denominator, 0.0, logs)


def ratio_over_seeds(numerator: pd.Series, denominator: pd.Series, confidence: float) -> Ratio:
    """Ratio numerator / denominator over the seeds, with its interval.

    Two runs of one seed share the initial weights and the order of the data, so the series are
    paired by seed; a seed of only one of them is ignored. An infinite value means "never"
    (`log_ratio`). Exchanging the two series inverts ratio and interval up to rounding.

    If every seed has a finite ratio above 0, the value is their geometric mean and the interval
    is Student's t interval on their logarithms, with n − 1 degrees of freedom for n seeds. A ratio
    that is 0 or infinite has no finite logarithm: the value is then the median, and the ends are
    the lowest and the highest ratio of the seeds. That is a range, without a level of confidence.

    Args:
        numerator, denominator: values at least 0, indexed by seed.
        confidence: level of the t interval, such as 0.95.
    """
    pairs = pd.concat([numerator, denominator], axis=1, join="inner").to_numpy(float)
    logs = log_ratio(pairs[:, 0], pairs[:, 1])
    if not len(logs):
        return NO_RATIO
    if len(logs) == 1:
        center, low, high = logs[0], math.nan, math.nan
    elif np.isfinite(logs).all():
        center = logs.mean()
        quantile = stdtrit(len(logs) - 1, (1 + confidence) / 2)  # of Student's t
        half = quantile * logs.std(ddof=1) / math.sqrt(len(logs))
        low, high = center - half, center + half
    else:
        center, low, high = _median(logs), logs.min(), logs.max()
    with np.errstate(over="ignore"):
        return Ratio(*(float(np.exp(end)) for end in (center, low, high)))


def _median(logs: Numbers) -> float:
    """Median of logarithms that may be infinite; 0 if one half is −inf and the other inf."""
    with np.errstate(invalid="ignore"):
        median = float(np.median(logs))
    return 0.0 if math.isnan(median) else median
