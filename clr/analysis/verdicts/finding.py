"""Finding of one claim in one scope."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from clr.analysis.ratios import Ratio


@dataclass(frozen=True)
class Finding:
    """Statistic of a claim in one scope, and whether the rule of the claim holds."""

    statement: str  # the claim in a sentence
    statistic: str  # what the ratio is
    rule: str  # condition under which the claim holds
    ratio: Ratio
    holds: bool | None  # by the rule alone, ignoring all reservations; None: nothing to compare
    numbers: str  # what the runs did, in a sentence
    not_tested_if: str = ""  # condition of this claim alone under which runs are not a test of it
    reservations: list[str] = field(default_factory=list)  # why these runs are not a test
    scaled_reservations: list[str] = field(default_factory=list)  # likewise, if scaled down
    baseline: str = ""
    columns: dict[str, Any] = field(default_factory=dict)  # further columns of the table `claims`
