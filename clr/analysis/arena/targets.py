"""Steps of each method to common target losses, the races, and performance profiles."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from clr.analysis.arena.contenders import Entry, Setting
from clr.analysis.race import (
    LossCurve,
    equal_fractions,
    loss_curves,
    race,
    race_targets,
    steps_to,
    target_losses,
)
from clr.analysis.ratios import Numbers, Ratio
from clr.analysis.verdicts.quicker import lead_of
from clr.analysis.verdicts.rules import Rules

# Targets of the profiles: fractions of the way from the initial loss to the end of the tuned
# baseline, in the logarithm. At 1 about half of the seeds of an equally good method would fail.
FRACTIONS = (0.5, 0.75, 0.9)
TUNED, DEFAULT = "tuned", "default"  # of the column `tuning`


def entries(setting: Setting, tuning: str) -> dict[str, Entry]:
    """Entry of each method in a setting; a method without tuning has its default in both cases.

    Methods without such an entry are left out: every value diverged, or the run is missing.
    """
    found = {
        name: contender.best if tuning == TUNED else contender.default
        for name, contender in setting.contenders.items()
    }
    return {name: entry for name, entry in found.items() if entry is not None}


def target_table(setting: Setting, steps: pd.DataFrame, rules: Rules) -> pd.DataFrame:
    """Steps of each method to the targets of the profiles, one row per seed, target and method.

    Columns: `tuning`, `seed`, `fraction`, `target_loss`, `optimizer`, `steps` (inf if not
    reached) and `over_best`, the steps over the fewest of any method with this tuning; inf if
    not reached. No rows without a baseline.
    """
    baseline = entries(setting, TUNED).get(rules.baseline)
    curves = [] if baseline is None else loss_curves(baseline.runs, steps, rules.window_epochs)
    if not curves:
        return pd.DataFrame()
    start = float(np.mean([curve.loss[0] for curve in curves]))
    losses = target_losses(start, max(curve.end for curve in curves), FRACTIONS)
    tables = []
    for tuning in (TUNED, DEFAULT):
        rows = [
            row
            for name, entry in entries(setting, tuning).items()
            for row in _rows(name, entry, steps, losses, rules)
        ]
        columns = ["seed", "fraction", "target_loss", "optimizer", "steps"]
        table = pd.DataFrame(rows, columns=columns).astype({"seed": int})
        best = table.groupby(["seed", "fraction"])["steps"].transform("min")
        over_best = (table["steps"] / best).where(np.isfinite(table["steps"]), math.inf)
        tables.append(table.assign(tuning=tuning, over_best=over_best))
    order = ["tuning", *columns, "over_best"]
    return pd.concat(tables, ignore_index=True)[order].assign(**setting.columns)


def _rows(
    name: str, entry: Entry, steps: pd.DataFrame, losses: Numbers, rules: Rules
) -> list[tuple[int, float, float, str, float]]:
    curves = loss_curves(entry.runs, steps, rules.window_epochs)
    rows = []
    for fraction, loss in zip(FRACTIONS, losses, strict=True):
        needed = steps_to(curves, float(loss))
        for seed in entry.runs["seed"]:  # a run without steps diverged at once
            rows.append((seed, fraction, float(loss), name, float(needed.get(seed, math.inf))))
    return rows


def profile(over_best: Sequence[float]) -> tuple[Numbers, Numbers]:
    """Performance profile of one method: factors ≥ 1, and the share of problems within each.

    ρ(τ) is the share of problems that the method solves in at most τ times the steps of the best
    method (Dolan and Moré, Benchmarking optimization software with performance profiles, 2002).
    The result has the points at which ρ changes, after (1, ρ(1)); it is constant between them.

    Args:
        over_best: the factor of each problem; inf if the method does not solve it.
    """
    ratios = np.sort(np.asarray(over_best, dtype=float))
    factors = np.unique(np.append(ratios[np.isfinite(ratios)], 1.0))
    shares = np.searchsorted(ratios, factors, side="right") / len(ratios)
    return factors, shares


def race_table(setting: Setting, steps: pd.DataFrame, rules: Rules) -> pd.DataFrame:
    """Race of each tuned method with the tuned baseline: the rows of `clr.analysis.race.race`.

    Targets are those of the verdicts: equal fractions of the way to the end of the better of the
    two. A method that diverged at every value, or at once, has no rows.
    """
    own = entries(setting, TUNED)
    if rules.baseline not in own:
        return pd.DataFrame()
    other = loss_curves(own.pop(rules.baseline).runs, steps, rules.window_epochs)
    tables = []
    for name, entry in own.items():
        curves: list[LossCurve] = loss_curves(entry.runs, steps, rules.window_epochs)
        if not curves or not other:
            continue
        targets = race_targets(curves, other, equal_fractions(rules.quicker.targets))
        table = race(curves, other, targets, rules.interval.confidence)
        ratios = zip(table["ratio"], table["ratio_low"], table["ratio_high"], strict=True)
        leads = [str(lead_of(Ratio(*ratio))) for ratio in ratios]
        tables.append(table.assign(optimizer=name, lead=leads, **setting.columns))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
