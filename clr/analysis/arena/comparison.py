"""Comparison of two entries of one setting, paired by seed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from clr.analysis.arena.contenders import Entry
from clr.analysis.ratios import NO_RATIO, Ratio, ratio_over_seeds


class Standing(StrEnum):
    """Outcome of a comparison of final training losses."""

    BETTER = "better"
    """The whole interval of the ratio is below 1."""
    WORSE = "worse"
    """The whole interval of the ratio is above 1."""
    UNDECIDED = "undecided"
    """The interval contains 1, or there is no interval."""
    DIVERGED = "diverged"
    """A run of the method diverged."""


@dataclass(frozen=True)
class LossComparison:
    """Final loss of one entry over that of another."""

    ratio: Ratio
    standing: Standing | None  # None: an entry and itself, or nothing to compare with


def compare(own: Entry | None, other: Entry | None, confidence: float) -> LossComparison:
    """Compare the final losses of two entries; the pairs of runs share a seed.

    Runs of one seed have the same initial weights, order of the data and augmentation. The ratio
    is the geometric mean over the seeds, its interval Student's t on the logarithms
    (`clr.analysis.ratios.ratio_over_seeds`): it contains 1 where the interval of the mean paired
    difference of the log losses contains 0.

    Args:
        own: the method; None if each of its values has a diverged run.
        other: what it is compared with.
        confidence: level of the interval, such as 0.95.
    """
    if other is None:
        return LossComparison(NO_RATIO, None)
    if own is None or own.diverged:
        return LossComparison(Ratio(math.inf, math.nan, math.nan), Standing.DIVERGED)
    if set(own.runs["run_id"]) == set(other.runs["run_id"]):
        return LossComparison(NO_RATIO, None)
    ratio = ratio_over_seeds(own.losses, other.losses, confidence)
    return LossComparison(ratio, _standing(own, other, ratio))


def _standing(own: Entry, other: Entry, ratio: Ratio) -> Standing:
    if other.diverged:  # a range of ratios, not an interval
        return Standing.BETTER if other.diverged == len(other.runs) else Standing.UNDECIDED
    if not np.isfinite([ratio.low, ratio.high]).all() or ratio.low == 0:
        return Standing.UNDECIDED
    if ratio.high < 1:
        return Standing.BETTER
    return Standing.WORSE if ratio.low > 1 else Standing.UNDECIDED
