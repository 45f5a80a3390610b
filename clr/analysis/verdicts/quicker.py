"""The claim that CLR is quicker than the best fixed rate of a sweep: a race of both to a stated training loss."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from clr.analysis.verdicts.baselines import AREA, EACH_STEP, FINAL_LOSS, Baseline, baselines, spread
from clr.analysis.verdicts.evidence import Run, Scope
from clr.analysis.verdicts.finding import NO_RATIO, Finding, first_losses, most, named, where
from clr.analysis.verdicts.rules import Bootstrap, Rules
from clr.analysis.verdicts.statistics import Ratio, ratio_over_seeds, steps_to


@dataclass(frozen=True, eq=False)
class Race:
    """Steps to a training loss, by seed; inf for a seed that never gets there."""

    target: float
    steps: pd.Series
    baseline_steps: pd.Series
    ratio: Ratio

    def columns(self, batch_size: int) -> dict[str, Any]:
        found = {"target_loss": self.target}
        for prefix, steps in (("", self.steps), ("baseline_", self.baseline_steps)):
            found[f"{prefix}steps"] = float(steps.median())
            found[f"{prefix}steps_low"] = float(steps.min())
            found[f"{prefix}steps_high"] = float(steps.max())
            found[f"{prefix}samples"] = float(steps.median()) * batch_size
            found[f"{prefix}seeds_reached"] = int(np.isfinite(steps).sum())
        return found


def race(clr: list[Run], baseline: Baseline, target: float, rule: Bootstrap) -> Race:
    steps, theirs = steps_to(clr, target), steps_to(baseline.runs, target)
    return Race(target, steps, theirs, ratio_over_seeds(steps, theirs, rule))


def target_loss(clr: list[Run], baseline: Baseline, fraction: float) -> float:
    """start^(1−f) · end^f: the loss that lies `fraction` f of the way, in the logarithm.

    start is the mean loss of the first step, end the lower of the two mean final losses: both are the same if the two
    optimizers change places.
    """
    start = float(np.mean([*first_losses(clr), *first_losses(baseline.runs)]))
    end = min(float(np.mean([run.final_loss for run in runs])) for runs in (clr, baseline.runs))
    return float(start ** (1 - fraction) * end**fraction)


def quicker(scope: Scope, rules: Rules) -> Finding:
    """It reaches a stated training loss in fewer steps than the best fixed rate of a sweep."""
    found, clr = baselines(scope, rules.baseline), scope.of(rules.optimizer)
    name, other = named(rules.optimizer), named(rules.baseline)
    statement = f"{name} is quicker than the best fixed rate of {other} on {where(scope)}"
    statistic = (
        f"steps to the target loss, {name} / baseline; the same in samples, as both take batches of one size. The "
        f"target is {rules.quicker.headline:g} of the way, in the logarithm, from the first loss to the lower final one"
    )
    rule = "the ratio, by its upper end, is below 1; no test if it is and the best rate lies at the sweep's edge"
    if not found:
        swept = (scope.table["optimizer"] == rules.baseline).any()
        why = (
            f"every fixed rate of {other} diverged"
            if swept
            else f"no fixed rate of {other} was run"
        )
        return Finding(statement, statistic, rule, NO_RATIO, None, why, [why])
    best, each = found[FINAL_LOSS], found[EACH_STEP]
    target = target_loss(clr, best, rules.quicker.headline)
    races = {pick: race(clr, baseline, target, rules.bootstrap) for pick, baseline in found.items()}
    main = races[FINAL_LOSS]
    holds = most(main.ratio) < 1
    return Finding(
        statement,
        statistic,
        rule,
        main.ratio,
        holds,
        f"to a loss of {target:.3g} {_takes(name, main.steps)}, {_takes(best.name, main.baseline_steps)}; they end at "
        f"{_ends(clr)} and {_ends(best.runs)}",
        ["the best rate lies at the edge of the sweep"] if holds and best.at_edge else [],
        baseline=f"{best.name}: {best.why}",
        columns={
            **main.columns(scope.batch_size),
            **spread("final_loss", [run.final_loss for run in clr]),
            **spread("baseline_final_loss", [run.final_loss for run in best.runs]),
            **spread("final_accuracy", [run.accuracy for run in clr]),
            **spread("baseline_final_accuracy", [run.accuracy for run in best.runs]),
            "baseline_rate": best.rate,
            "rate_by_area": found[AREA].rate,
            **_interval("ratio_by_area", races[AREA].ratio),
            **_interval("ratio_each_step", races[EACH_STEP].ratio),
            "sensitivity": f"{_picks(races, [found[AREA], each])}; {_grid(clr, best, rules)}",
        },
    )


def target_table(scope: Scope, rules: Rules) -> pd.DataFrame:
    """The race to each target of the grid, against each baseline; a row for each pair of them."""
    found, clr = baselines(scope, rules.baseline), scope.of(rules.optimizer)
    rows: list[dict[str, Any]] = []
    for fraction in rules.quicker.targets if found and clr else []:
        target = target_loss(clr, found[FINAL_LOSS], fraction)
        for pick, baseline in found.items():
            run = race(clr, baseline, target, rules.bootstrap)
            rows.append(
                {
                    "dataset": scope.dataset,
                    "data": scope.data,
                    "model": scope.model,
                    "batch_size": scope.batch_size,
                    "pick": pick,
                    "baseline_rate": math.nan if baseline.rate is None else baseline.rate,
                    "fraction": fraction,
                    **run.columns(scope.batch_size),
                    **_interval("ratio", run.ratio),
                }
            )
    return pd.DataFrame(rows)


def _picks(races: dict[str, Race], others: list[Baseline]) -> str:
    """Whether the other ways of picking the baseline change what the numbers say."""
    holds = most(races[FINAL_LOSS].ratio) < 1
    ratios = [
        f"with {other.name} ({other.why}) the ratio is {races[other.pick].ratio}"
        for other in others
    ]
    changing = [other.pick for other in others if (most(races[other.pick].ratio) < 1) != holds]
    return f"{', '.join(ratios)}: what the numbers say " + (
        f"changes with {' and '.join(changing)}" if changing else "stays"
    )


def _grid(clr: list[Run], best: Baseline, rules: Rules) -> str:
    """The ratio at every target."""
    targets = {fraction: target_loss(clr, best, fraction) for fraction in rules.quicker.targets}
    ratios = {
        fraction: race(clr, best, target, rules.bootstrap).ratio
        for fraction, target in targets.items()
    }
    return "by target it is " + ", ".join(
        f"{ratio} at {fraction:g}" for fraction, ratio in ratios.items()
    )


def _takes(name: str, steps: pd.Series) -> str:
    reached = steps[np.isfinite(steps)]
    if reached.empty:
        return f"{name} never gets there"
    span = "–".join(dict.fromkeys(f"{value:g}" for value in (reached.min(), reached.max())))
    rest = f" in {len(reached)} of {len(steps)} seeds and never gets there in the rest"
    return f"{name} takes {span} steps" + (rest if len(reached) < len(steps) else "")


def _ends(runs: list[Run]) -> str:
    """The mean final training loss, and that of the lowest and the highest seed."""
    mean, low, high = spread("loss", [run.final_loss for run in runs]).values()
    return f"{mean:.3g} ({low:.3g}–{high:.3g})".replace("inf", "∞")


def _interval(name: str, ratio: Ratio) -> dict[str, float]:
    return {name: ratio.value, f"{name}_low": ratio.low, f"{name}_high": ratio.high}
