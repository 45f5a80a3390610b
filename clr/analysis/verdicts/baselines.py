"""What the claims are held against: a sweep's best fixed rate, picked in three ways; and the table of all curves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from clr.analysis.baseline import best_fixed_rate
from clr.analysis.names import display_name
from clr.analysis.verdicts.evidence import Run, Scope
from clr.analysis.verdicts.statistics import log_loss_area

FINAL_LOSS, AREA, EACH_STEP = "final loss", "area", "best at each step"


@dataclass(frozen=True, eq=False)
class Baseline:
    """A rate of the sweep, or, for "best at each step", all that survived, of which each step takes the best."""

    pick: str
    runs: list[Run]
    rate: float | None
    name: str
    why: str  # it was picked
    at_edge: bool = False  # a still better one may lie beyond the rates tried


def baselines(scope: Scope, optimizer: str) -> dict[str, Baseline]:
    """The baseline by each way of picking it, among the rates for which no seed diverged; empty if there is none.

    final loss           the rule of clr.analysis.baseline: the lowest mean over the seeds of the final training loss
    area                 the lowest mean over the seeds of the area under the curve of the log loss
    best at each step    no one rate: the lower envelope of all curves, that no choice beforehand can beat
    """
    fixed = scope.table[
        (scope.table["optimizer"] == optimizer) & scope.table["learning_rate"].notna()
    ]
    best = best_fixed_rate(fixed) if len(fixed) else None
    if best is None:
        return {}
    tried = sorted(float(rate) for rate in fixed["learning_rate"].unique())
    runs = {rate: scope.of(optimizer, rate) for rate in tried}
    surviving = [rate for rate in tried if not any(run.diverged for run in runs[rate])]
    area = min(
        surviving, key=lambda rate: (np.mean([log_loss_area(run) for run in runs[rate]]), rate)
    )
    name, of = (
        display_name(optimizer),
        f"of the {len(tried)} rates tried" if len(tried) > 1 else "as the only one",
    )
    final = best.learning_rate
    found = (
        Baseline(
            FINAL_LOSS,
            runs[final],
            final,
            f"{name} at {final:g}",
            f"lowest final loss {of}",
            not best.interior,
        ),
        Baseline(AREA, runs[area], area, f"{name} at {area:g}", "smallest area under the log loss"),
        Baseline(
            EACH_STEP,
            [r for x in surviving for r in runs[x]],
            None,
            f"{name}'s best rate of each step",
            "known to none beforehand",
        ),
    )
    return {baseline.pick: baseline for baseline in found}


def curve_table(scope: Scope) -> pd.DataFrame:
    """A row for each curve: the runs, one a seed, of an optimizer at one rate."""
    rows: list[dict[str, Any]] = []
    for (optimizer, rate), table in scope.table.groupby(
        ["optimizer", "learning_rate"], dropna=False
    ):
        runs = [scope.runs[name] for name in table["run_id"]]
        found = baselines(scope, str(optimizer))
        losses, accuracies = [run.final_loss for run in runs], [run.accuracy for run in runs]
        rows.append(
            {
                "dataset": scope.dataset,
                "data": scope.data,
                "model": scope.model,
                "batch_size": scope.batch_size,
                "optimizer": optimizer,
                "learning_rate": rate,
                "runs": len(runs),
                "diverged": sum(run.diverged for run in runs),
                **spread("final_loss", losses),
                **spread("final_accuracy", accuracies),
                "log_loss_area": float(np.mean([log_loss_area(run) for run in runs])),
                "best_by_final_loss": bool(found) and rate == found[FINAL_LOSS].rate,
                "best_by_area": bool(found) and rate == found[AREA].rate,
            }
        )
    return pd.DataFrame(rows)


def spread(name: str, values: list[float]) -> dict[str, float]:
    """Mean, lowest and highest over the seeds; of runs that diverged they are infinite."""
    if not values:
        return {name: math.nan, f"{name}_low": math.nan, f"{name}_high": math.nan}
    return {name: float(np.mean(values)), f"{name}_low": min(values), f"{name}_high": max(values)}
