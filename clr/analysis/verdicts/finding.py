"""What the runs of one scope say about one claim."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from clr.analysis.names import display_name
from clr.analysis.verdicts.evidence import Run, Scope
from clr.analysis.verdicts.statistics import Ratio

NO_RATIO = Ratio(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class Finding:
    """The statistic of a claim, and whether the claim's rule holds."""

    statement: str
    statistic: str
    rule: str  # when the claim holds
    ratio: Ratio
    holds: (
        bool | None
    )  # by the rule, whatever else stands against these runs as a test; None: nothing to compare
    because: str  # the numbers, in a sentence
    reservations: list[str] = field(
        default_factory=list
    )  # of this claim alone: why these runs cannot test it
    if_scaled: list[str] = field(
        default_factory=list
    )  # the same, where the protocol is scaled down
    baseline: str = ""
    columns: dict[str, Any] = field(default_factory=dict)


def most(ratio: Ratio) -> float:
    """The upper end of the interval; of one seed, which has none, the ratio itself."""
    return ratio.value if math.isnan(ratio.high) else ratio.high


def least(ratio: Ratio) -> float:
    """The lower end of the interval; of one seed, which has none, the ratio itself."""
    return ratio.value if math.isnan(ratio.low) else ratio.low


def first_losses(runs: list[Run]) -> pd.Series:
    """The loss before any step was taken, by seed: the same whatever the optimizer."""
    return pd.Series({run.seed: run.loss[0] for run in runs}, dtype=float)


def named(name: str) -> str:
    """An optimizer or a model as texts call it."""
    return display_name(name)


def where(scope: Scope) -> str:
    return f"{scope.data} with {named(scope.model)} at batch size {scope.batch_size}"
