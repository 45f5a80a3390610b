"""The claim that CLR reaches a target training loss faster than the best fixed rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from clr.analysis.names import display_name
from clr.analysis.verdicts.baselines import Baseline, Pick, baselines, scope_columns, spread
from clr.analysis.verdicts.evidence import Run, Scope
from clr.analysis.verdicts.finding import Finding
from clr.analysis.verdicts.rules import Bootstrap, Rules
from clr.analysis.verdicts.statistics import (
    NO_RATIO,
    Ratio,
    first_losses,
    ratio_over_seeds,
    steps_to,
)

NOT_REACHED = "not reached"


@dataclass(frozen=True, eq=False)
class Race:
    """Steps of CLR and of a baseline to a target loss, indexed by seed; inf if not reached."""

    target: float
    steps: pd.Series
    baseline_steps: pd.Series
    ratio: Ratio

    def columns(self, batch_size: int) -> dict[str, Any]:
        """Columns of the tables `claims` and `targets`."""
        columns = {"target_loss": self.target}
        for prefix, steps in (("", self.steps), ("baseline_", self.baseline_steps)):
            columns[f"{prefix}steps"] = float(steps.median())
            columns[f"{prefix}steps_low"] = float(steps.min())
            columns[f"{prefix}steps_high"] = float(steps.max())
            columns[f"{prefix}samples"] = float(steps.median()) * batch_size
            columns[f"{prefix}seeds_reached"] = int(np.isfinite(steps).sum())
        return columns


def race(clr: list[Run], baseline: Baseline, target: float, rule: Bootstrap) -> Race:
    """Compare the steps to `target`."""
    steps, baseline_steps = steps_to(clr, target), steps_to(baseline.runs, target)
    return Race(target, steps, baseline_steps, ratio_over_seeds(steps, baseline_steps, rule))


def target_loss(clr: list[Run], baseline: Baseline, fraction: float) -> float:
    """Loss at a `fraction` f of the way from start to end in the logarithm: start^(1−f) · end^f.

    start is the mean initial loss, end the lower of the two mean final losses. The target is the
    same if the two optimizers change places.
    """
    start = float(np.mean([*first_losses(clr), *first_losses(baseline.runs)]))
    end = min(float(np.mean([run.final_loss for run in runs])) for runs in (clr, baseline.runs))
    return float(start ** (1 - fraction) * end**fraction)


def quicker(scope: Scope, rules: Rules) -> Finding:
    """CLR reaches a target training loss in fewer steps than the best fixed rate of a sweep."""
    name, other = display_name(rules.optimizer), display_name(rules.baseline)
    statement = f"{name} is faster than the best fixed rate of {other} on {scope}"
    statistic = (
        f"steps to the target loss, {name} / baseline (the same ratio in samples, because both use "
        f"one batch size); the target is {rules.quicker.headline:g} of the way from the initial "
        "loss to the lower final loss, on a logarithmic scale"
    )
    rule = "the upper end of the ratio's interval is below 1"
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
    best = picked[Pick.FINAL_LOSS]
    target = target_loss(clr, best, rules.quicker.headline)
    races = {
        pick: race(clr, baseline, target, rules.bootstrap) for pick, baseline in picked.items()
    }
    holds = races[Pick.FINAL_LOSS].ratio.upper_bound < 1
    edge = ["the best fixed rate is at an edge of the sweep"] if holds and best.at_edge else []
    return Finding(
        statement,
        statistic,
        rule,
        races[Pick.FINAL_LOSS].ratio,
        holds,
        _numbers(name, clr, best, races[Pick.FINAL_LOSS]),
        not_tested_if,
        edge,
        baseline=f"{best.name}: {best.reason}",
        columns={
            **_columns(scope, clr, picked, races),
            "sensitivity": f"{_other_picks(picked, races)}. {_other_targets(clr, best, rules)}",
        },
    )


def target_table(scope: Scope, rules: Rules) -> pd.DataFrame:
    """Table `targets` of a scope: one row per target loss and way of picking the baseline."""
    picked, clr = baselines(scope, rules.baseline), scope.select(rules.optimizer)
    rows: list[dict[str, Any]] = []
    for fraction in rules.quicker.targets if picked and clr else []:
        target = target_loss(clr, picked[Pick.FINAL_LOSS], fraction)
        for pick, baseline in picked.items():
            result = race(clr, baseline, target, rules.bootstrap)
            rows.append(
                {
                    **scope_columns(scope),
                    "pick": pick.value,
                    "baseline_rate": math.nan if baseline.rate is None else baseline.rate,
                    "fraction": fraction,
                    **result.columns(scope.batch_size),
                    **_interval("ratio", result.ratio),
                }
            )
    return pd.DataFrame(rows)


def _columns(
    scope: Scope, clr: list[Run], picked: dict[Pick, Baseline], races: dict[Pick, Race]
) -> dict[str, Any]:
    best = picked[Pick.FINAL_LOSS]
    return {
        **races[Pick.FINAL_LOSS].columns(scope.batch_size),
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
    """Sentence such as "target 0.0361: not reached by CLR, …; final losses: …"."""
    return (
        f"target {result.target:.3g}: {_reached(name, result.steps)}, "
        f"{_reached(best.name, result.baseline_steps)}; "
        f"final losses: {_final_loss(clr)} for {name}, {_final_loss(best.runs)} for {best.name}"
    )


def _reached(name: str, steps: pd.Series) -> str:
    reached = steps[np.isfinite(steps)]
    if reached.empty:
        return f"{NOT_REACHED} by {name}"
    span = "–".join(dict.fromkeys(f"{value:g}" for value in (reached.min(), reached.max())))
    seeds = f" in {len(reached)} of {len(steps)} seeds" if len(reached) < len(steps) else ""
    return f"reached by {name}{seeds} in {span} steps"


def _final_loss(runs: list[Run]) -> str:
    """Mean final training loss with the range over the seeds."""
    mean, low, high = spread("loss", [run.final_loss for run in runs]).values()
    return Ratio(mean, low, high).text("diverged")


def _other_picks(picked: dict[Pick, Baseline], races: dict[Pick, Race]) -> str:
    """Ratios with the other baselines, and whether the conclusion depends on the choice."""
    holds = races[Pick.FINAL_LOSS].ratio.upper_bound < 1
    others = [picked[Pick.AREA], picked[Pick.EACH_STEP]]
    ratios = [
        f"{races[other.pick].ratio.text(NOT_REACHED)} with {other.name} ({other.reason})"
        for other in others
    ]
    changing = [
        other.pick.value for other in others if (races[other.pick].ratio.upper_bound < 1) != holds
    ]
    effect = f"changes with {' and '.join(changing)}" if changing else "does not change"
    return f"ratio {', '.join(ratios)}; the conclusion {effect}"


def _other_targets(clr: list[Run], best: Baseline, rules: Rules) -> str:
    """Ratio at every target of the rules."""
    ratios = []
    for fraction in rules.quicker.targets:
        result = race(clr, best, target_loss(clr, best, fraction), rules.bootstrap)
        ratios.append(f"{result.ratio.text(NOT_REACHED)} at {fraction:g}")
    return f"Ratio by target: {', '.join(ratios)}"


def _interval(name: str, ratio: Ratio) -> dict[str, float]:
    return {name: ratio.value, f"{name}_low": ratio.low, f"{name}_high": ratio.high}
