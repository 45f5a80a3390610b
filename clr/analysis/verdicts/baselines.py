"""Baselines of the claims: the best fixed rate of a sweep, picked in three ways."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import pandas as pd

from clr.analysis.alternation import WHITE_NOISE_BOUND, alternation_of_runs, measured_turns
from clr.analysis.baseline import best_fixed_rate
from clr.analysis.names import display_name
from clr.analysis.verdicts.evidence import Run, Scope
from clr.analysis.verdicts.statistics import log_loss_area


class Pick(StrEnum):
    """Rule by which the baseline is picked among the rates for which no seed diverged."""

    FINAL_LOSS = "final loss"
    """Lowest mean over the seeds of the final training loss: the rule of clr.analysis.baseline."""
    AREA = "area"
    """Lowest mean over the seeds of the area under the log loss."""
    EACH_STEP = "best at each step"
    """The best rate at each step: the lower envelope of all curves, which no choice can beat."""


@dataclass(frozen=True, eq=False)
class Baseline:
    """Runs that CLR is compared with: those of one rate, or those of all rates for EACH_STEP."""

    pick: Pick
    runs: list[Run]
    rate: float | None
    name: str
    reason: str  # why it was picked
    at_edge: bool = False  # at an edge of the sweep: a better rate may exist beyond it


def baselines(scope: Scope, optimizer: str) -> dict[Pick, Baseline]:
    """Baseline for each way of picking it; empty if no rate of the sweep is free of divergence."""
    table = scope.table
    fixed = table[(table["optimizer"] == optimizer) & table["learning_rate"].notna()]
    best = best_fixed_rate(fixed) if len(fixed) else None
    if best is None:
        return {}
    tried = sorted(float(rate) for rate in fixed["learning_rate"].unique())
    runs = {rate: scope.select(optimizer, rate) for rate in tried}
    converged = [rate for rate in tried if not any(run.diverged for run in runs[rate])]
    areas = {rate: np.mean([log_loss_area(run) for run in runs[rate]]) for rate in converged}
    by_area = min(converged, key=lambda rate: (areas[rate], rate))
    by_loss = best.learning_rate
    name = display_name(optimizer)
    sweep = f"of the {len(tried)} rates tried" if len(tried) > 1 else "(the only rate tried)"
    return {
        Pick.FINAL_LOSS: Baseline(
            Pick.FINAL_LOSS,
            runs[by_loss],
            by_loss,
            f"{name} at {by_loss:g}",
            f"lowest final loss {sweep}",
            at_edge=not best.interior,
        ),
        Pick.AREA: Baseline(
            Pick.AREA,
            runs[by_area],
            by_area,
            f"{name} at {by_area:g}",
            "smallest area under the log loss",
        ),
        Pick.EACH_STEP: Baseline(
            Pick.EACH_STEP,
            [run for rate in converged for run in runs[rate]],
            None,
            f"the best rate of {name} at each step",
            "unknown in advance",
        ),
    }


def curve_table(scope: Scope, meter: pd.DataFrame) -> pd.DataFrame:
    """Table `curves` of a scope: one row per optimizer and learning rate, over its seeds.

    Args:
        meter: the table corridor_meter of all runs.
    """
    rows: list[dict[str, Any]] = []
    for (optimizer, rate), runs in scope.curves().items():
        picked = baselines(scope, optimizer)
        rows.append(
            {
                **scope_columns(scope),
                "optimizer": optimizer,
                "learning_rate": math.nan if rate is None else rate,
                "runs": len(runs),
                "diverged": sum(run.diverged for run in runs),
                **spread("final_loss", [run.final_loss for run in runs]),
                **spread("final_accuracy", [run.accuracy for run in runs]),
                "log_loss_area": float(np.mean([log_loss_area(run) for run in runs])),
                "best_by_final_loss": bool(picked) and rate == picked[Pick.FINAL_LOSS].rate,
                "best_by_area": bool(picked) and rate == picked[Pick.AREA].rate,
                **_alternation_columns(runs, meter),
            }
        )
    return pd.DataFrame(rows)


def _alternation_columns(runs: list[Run], meter: pd.DataFrame) -> dict[str, float]:
    """Columns about the alternation of the loss, and the turn of the gradient meanwhile."""
    windows = alternation_of_runs(
        (run.run_id, np.arange(len(run.loss)) + 1, run.loss) for run in runs
    )
    below = windows[windows["autocorrelation"] < WHITE_NOISE_BOUND]
    counts = windows["run_id"].value_counts()
    shares = (below["run_id"].value_counts().reindex(counts.index, fill_value=0) / counts).tolist()
    turns = measured_turns(meter[meter["run_id"].isin([run.run_id for run in runs])], windows)
    return {
        **spread("alternating", shares),
        **spread("alternates_until", below.groupby("run_id")["step"].max().tolist()),
        "turn_alternating": float(turns.loc[turns["alternates"], "turn"].median()),
        "turn_otherwise": float(turns.loc[~turns["alternates"], "turn"].median()),
    }


def scope_columns(scope: Scope) -> dict[str, Any]:
    """Columns that name the scope of a row."""
    return {
        "dataset": scope.dataset,
        "data": scope.data,
        "model": scope.model,
        "batch_size": scope.batch_size,
        "setting": scope.setting,
    }


def spread(name: str, values: list[float]) -> dict[str, float]:
    """Mean, minimum and maximum over the seeds, as the columns `name`, `name`_low, `name`_high."""
    if not values:
        return {name: math.nan, f"{name}_low": math.nan, f"{name}_high": math.nan}
    return {name: float(np.mean(values)), f"{name}_low": min(values), f"{name}_high": max(values)}
