"""The claim that CLR reaches target training losses faster than the best fixed rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from typing import Any

import pandas as pd

from clr.analysis.names import display_name
from clr.analysis.race import equal_fractions, race, race_targets
from clr.analysis.ratios import NO_RATIO, Ratio
from clr.analysis.verdicts.baselines import Baseline, Pick, baselines, scope_columns, spread
from clr.analysis.verdicts.evidence import Run, Scope
from clr.analysis.verdicts.finding import Finding
from clr.analysis.verdicts.rules import Rules

NOT_REACHED = "not reached"


class Lead(StrEnum):
    """State of the race at one target."""

    LEADS = "leads"
    """The whole interval of the ratio is below 1."""
    LOSES = "loses"
    """The whole interval of the ratio is above 1."""
    NEITHER = "neither"


@dataclass(frozen=True, eq=False)
class Race:
    """Race of CLR and one baseline over all targets.

    `table` has one row per target: the columns of `clr.analysis.race.race`, the number of images
    to the target (`samples`, `baseline_samples`) and `lead`.
    """

    table: pd.DataFrame
    headline: float  # fraction of the target that the verdict quotes

    @property
    def quoted(self) -> dict[Any, Any]:
        """Row of the headline target."""
        (row,) = self.table[self.table["fraction"] == self.headline].to_dict("records")
        return row

    @property
    def ratio(self) -> Ratio:
        """Ratio at the headline target."""
        return Ratio(*(self.quoted[name] for name in ("ratio", "ratio_low", "ratio_high")))

    @property
    def won(self) -> bool:
        """True if CLR leads at the headline target, and at more targets than it loses at."""
        ahead = self.quoted["lead"] == Lead.LEADS
        return bool(ahead and self.count(Lead.LEADS) > self.count(Lead.LOSES))

    def count(self, lead: Lead) -> int:
        """Number of targets with this state."""
        return int((self.table["lead"] == lead).sum())


def run_races(scope: Scope, rules: Rules) -> dict[Pick, Race]:
    """Races of CLR with the baseline of each pick; empty without CLR or without a baseline.

    All have the targets of the race with the best rate by final loss.
    """
    picked, clr = baselines(scope, rules.baseline), scope.select(rules.optimizer)
    if not picked or not clr:
        return {}
    fractions = equal_fractions(rules.quicker.targets)
    targets = race_targets(clr, picked[Pick.FINAL_LOSS].runs, fractions)
    races = {}
    for pick, baseline in picked.items():
        table = race(clr, baseline.runs, targets, rules.interval.confidence)
        table["samples"] = table["steps"] * scope.batch_size
        table["baseline_samples"] = table["baseline_steps"] * scope.batch_size
        bounds = zip(table["ratio"], table["ratio_low"], table["ratio_high"], strict=True)
        table["lead"] = [str(lead_of(Ratio(*ratio))) for ratio in bounds]
        races[pick] = Race(table, rules.quicker.headline)
    return races


def lead_of(ratio: Ratio) -> Lead:
    """State of the race at a target with this ratio of steps."""
    if ratio.upper_bound < 1:
        return Lead.LEADS
    return Lead.LOSES if ratio.lower_bound > 1 else Lead.NEITHER


def quicker(scope: Scope, rules: Rules) -> Finding:
    """CLR reaches target training losses in fewer steps than the best fixed rate of a sweep."""
    name, other = display_name(rules.optimizer), display_name(rules.baseline)
    headline = rules.quicker.headline
    statement = f"{name} is faster than the best fixed rate of {other} on {scope}"
    statistic = (
        f"steps to the target loss, {name} / baseline, 0 if only {name} reaches it (the same ratio "
        "in samples, because both use one batch size); the target is "
        f"{headline:g} of the way from the initial loss to where the better optimizer ends, on a "
        "logarithmic scale"
    )
    rule = (
        f"{name} leads at this target, and at more of the {rules.quicker.targets} targets at equal "
        "distances on the way than it loses at; it leads where the whole interval of the ratio is "
        "below 1, and loses where it is above"
    )
    not_tested_if = f"{name} is faster but the best fixed rate is at an edge of the sweep"
    picked, clr = baselines(scope, rules.baseline), scope.select(rules.optimizer)
    if not picked:
        swept = (scope.table["optimizer"] == rules.baseline).any()
        reason = (
            f"every fixed rate of {other} diverged"
            if swept
            else f"no fixed rate of {other} was run"
        )
        return Finding(statement, statistic, rule, NO_RATIO, None, reason, not_tested_if, [reason])
    best, races = picked[Pick.FINAL_LOSS], run_races(scope, rules)
    result = races[Pick.FINAL_LOSS]
    edge = ["the best fixed rate is at an edge of the sweep"] if result.won and best.at_edge else []
    return Finding(
        statement,
        statistic,
        rule,
        result.ratio,
        result.won,
        _numbers(name, clr, best, result),
        not_tested_if,
        edge,
        baseline=f"{best.name}: {best.reason}",
        columns={
            **_columns(clr, picked, races),
            "sensitivity": _other_picks(picked, races),
        },
    )


def target_table(scope: Scope, rules: Rules) -> pd.DataFrame:
    """Table `targets` of a scope: one row per target loss and way of picking the baseline."""
    picked = baselines(scope, rules.baseline)
    tables = [
        result.table.assign(
            **scope_columns(scope), pick=pick.value, baseline_rate=_rate(picked[pick])
        )
        for pick, result in run_races(scope, rules).items()
    ]
    if not tables:
        return pd.DataFrame()
    first = [*scope_columns(scope), "pick", "baseline_rate"]
    table = pd.concat(tables, ignore_index=True)
    return table[[*first, *table.columns.drop(first)]]


def _rate(baseline: Baseline) -> float:
    return math.nan if baseline.rate is None else baseline.rate


def _columns(
    clr: list[Run], picked: dict[Pick, Baseline], races: dict[Pick, Race]
) -> dict[str, Any]:
    best, result = picked[Pick.FINAL_LOSS], races[Pick.FINAL_LOSS]
    quoted = {k: v for k, v in result.quoted.items() if k not in ("fraction", "lead")}
    return {
        **quoted,
        "targets_led": result.count(Lead.LEADS),
        "targets_lost": result.count(Lead.LOSES),
        **spread("final_loss", [run.final_loss for run in clr]),
        **spread("baseline_final_loss", [run.final_loss for run in best.runs]),
        **spread("final_accuracy", [run.accuracy for run in clr]),
        **spread("baseline_final_accuracy", [run.accuracy for run in best.runs]),
        "baseline_rate": best.rate,
        "rate_by_area": picked[Pick.AREA].rate,
        **_interval("ratio_by_area", races[Pick.AREA].ratio),
        **_interval("ratio_each_step", races[Pick.EACH_STEP].ratio),
    }


def _numbers(name: str, clr: list[Run], best: Baseline, result: Race) -> str:
    """Sentence: the course of the race, the steps to the headline target and the final losses."""
    quoted = result.quoted
    return (
        f"training loss: {name} {_course(result.table)}; target {quoted['target_loss']:.3g}: "
        f"{_reached(name, quoted, '')}, {_reached(best.name, quoted, 'baseline_')}; "
        f"final losses: {_final_loss(clr)} for {name}, {_final_loss(best.runs)} for {best.name}"
    )


def _course(table: pd.DataFrame) -> str:
    """Ranges of the target loss, such as "loses from 2.1 to 1.07, leads from 0.95 to 0.26"."""
    parts = []
    for lead, group in groupby(table.to_dict("records"), key=lambda row: row["lead"]):
        if lead != Lead.NEITHER:
            ends = [f"{row['target_loss']:.3g}" for row in group]
            parts.append(
                f"{lead} {f'from {ends[0]} to {ends[-1]}' if ends[1:] else f'at {ends[0]}'}"
            )
    return ", ".join(parts) or f"neither leads nor loses at any of {len(table)} targets"


def _reached(name: str, row: dict[Any, Any], prefix: str) -> str:
    reached, low, high = (
        row[f"{prefix}{key}"] for key in ("seeds_reached", "steps_low", "steps_high")
    )
    if not reached:
        return f"{NOT_REACHED} by {name}"
    if math.isinf(high):
        return f"reached by {name} in {low:g} steps at the earliest, in {reached} seeds only"
    span = "–".join(dict.fromkeys(f"{steps:g}" for steps in (low, high)))
    return f"reached by {name} in {span} steps"


def _final_loss(runs: list[Run]) -> str:
    """Mean final training loss with the range over the seeds."""
    mean, low, high = spread("loss", [run.final_loss for run in runs]).values()
    return Ratio(mean, low, high).text("diverged")


def _other_picks(picked: dict[Pick, Baseline], races: dict[Pick, Race]) -> str:
    """Ratios with the other baselines, and whether the conclusion depends on the choice."""
    others = [picked[Pick.AREA], picked[Pick.EACH_STEP]]
    ratios = [
        f"{races[other.pick].ratio.text(NOT_REACHED)} with {other.name} ({other.reason})"
        for other in others
    ]
    won = races[Pick.FINAL_LOSS].won
    changing = [other.pick.value for other in others if races[other.pick].won != won]
    effect = f"changes with {' and '.join(changing)}" if changing else "does not change"
    return f"ratio {', '.join(ratios)}; the conclusion {effect}"


def _interval(name: str, ratio: Ratio) -> dict[str, float]:
    return {name: ratio.value, f"{name}_low": ratio.low, f"{name}_high": ratio.high}
