"""The race: steps of an optimizer over those of a baseline, for each target loss on the way down.

Verdicts and figures use the same functions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from clr.analysis.ratios import Numbers, ratio_over_seeds
from clr.analysis.rows import rows_of_runs


@dataclass(frozen=True, eq=False)
class LossCurve:
    """Training loss of one run, with one array element per step."""

    seed: int
    diverged: bool
    loss: Numbers  # of the step's batch
    trailing_loss: Numbers  # mean loss over the window that ends with the step

    @property
    def end(self) -> float:
        """Trailing loss at the last step; inf if the run diverged."""
        return math.inf if self.diverged else float(self.trailing_loss[-1])


def loss_curve(run: pd.Series, steps: pd.DataFrame, window_epochs: float) -> LossCurve:
    """Loss curve of one run.

    Args:
        run: its row of runs.csv, with a column `diverged` (`clr.analysis.baseline.diverged`).
        steps: its rows of steps.parquet, in any order.
        window_epochs: epochs over which the trailing loss is averaged, at least one step.
    """
    window = max(1, round(window_epochs * (run["num_train"] // run["batch_size"])))
    loss = steps.set_index("step")["loss"].sort_index()
    # One infinite loss would turn every later mean into nan.
    finite = loss.where(np.isfinite(loss))
    trailing = finite.rolling(window, min_periods=1).mean()
    return LossCurve(
        int(run["seed"]), bool(run["diverged"]), loss.to_numpy(float), trailing.to_numpy(float)
    )


def loss_curves(runs: pd.DataFrame, steps: pd.DataFrame, window_epochs: float) -> list[LossCurve]:
    """Loss curves of several runs, without those that have no steps: they diverged at once.

    Args:
        runs: their rows of runs.csv, as in `loss_curve`.
        steps: rows of steps.parquet of these and possibly other runs.
        window_epochs: as in `loss_curve`.
    """
    rows = rows_of_runs(steps[["run_id", "step", "loss"]], runs["run_id"])
    own = dict(list(rows.groupby("run_id")))
    return [
        loss_curve(run, own[run["run_id"]], window_epochs)
        for _, run in runs.iterrows()
        if run["run_id"] in own
    ]


def equal_fractions(count: int) -> list[float]:
    """The fractions 1/count, 2/count, …, 1."""
    return [i / count for i in range(1, count + 1)]


def target_losses(start: float, end: float, fractions: Sequence[float]) -> Numbers:
    """Loss at each fraction f of the way from start to end in the logarithm: start^(1−f) · end^f.

    The scale is logarithmic because losses fall over decades: on a linear scale all targets but
    the first would be in the first epochs. At f = 1 the target is exactly `end`.
    """
    return np.array([start ** (1 - f) * end**f for f in fractions], dtype=float)


def race_targets(
    curves: Sequence[LossCurve], baseline: Sequence[LossCurve], fractions: Sequence[float]
) -> pd.DataFrame:
    """Targets of a race, as a table with the columns `fraction` and `target_loss`.

    They go from the mean initial loss of all curves to the end of the optimizer that ends lower in
    the mean over the seeds. Its end is the highest over its seeds, a loss that each of them
    reaches: with the mean, about half of the seeds would fail to reach the target at f = 1 and
    the ratio there would depend on rounding. The other optimizer reaches f = 1 only in seeds that
    end as low as that. The targets are the same if the two optimizers change places.
    """
    start = float(np.mean([curve.loss[0] for curve in (*curves, *baseline)]))
    _, end = min(_mean_and_highest_end(side) for side in (curves, baseline))
    losses = target_losses(start, end, fractions)
    return pd.DataFrame({"fraction": list(fractions), "target_loss": losses})


def _mean_and_highest_end(curves: Sequence[LossCurve]) -> tuple[float, float]:
    ends = [curve.end for curve in curves]
    return float(np.mean(ends)), max(ends)


def steps_to(curves: Sequence[LossCurve], target: float) -> pd.Series:
    """First step, from 1, with a trailing loss of at most `target`, indexed by seed.

    The fewest steps if a seed has several runs. inf if the target is never reached; a diverged run
    never reaches it, whatever its loss was before.
    """
    steps = [
        (curve.seed, math.inf if curve.diverged else _first_step(curve.trailing_loss <= target))
        for curve in curves
    ]
    table = pd.DataFrame(steps, columns=["seed", "steps"])
    return table.groupby("seed")["steps"].min().astype(float)


def race(
    curves: Sequence[LossCurve],
    baseline: Sequence[LossCurve],
    targets: pd.DataFrame,
    confidence: float,
) -> pd.DataFrame:
    """Steps of an optimizer over those of a baseline, to each target.

    Args:
        curves: curves of the optimizer, one per seed.
        baseline: curves of the baseline; if a seed has several, the first to reach a target counts.
        targets: result of `race_targets`, possibly for another baseline.
        confidence: level of the interval of the ratio (`ratio_over_seeds`).

    Returns:
        One row per target: `fraction`, `target_loss`; `steps`, `steps_low`, `steps_high` (median,
        fastest and slowest seed; inf if not reached), `seeds_reached`, and the same four for the
        baseline with the prefix `baseline_`; `ratio`, `ratio_low`, `ratio_high`. The ratio is 0 if
        only the optimizer reaches the target, inf if only the baseline does.
    """
    rows: list[dict[Any, Any]] = []
    for target in targets.to_dict("records"):
        own = steps_to(curves, target["target_loss"])
        other = steps_to(baseline, target["target_loss"])
        ratio = ratio_over_seeds(own, other, confidence)
        rows.append(
            {
                **target,
                **_summary("", own),
                **_summary("baseline_", other),
                "ratio": ratio.value,
                "ratio_low": ratio.low,
                "ratio_high": ratio.high,
            }
        )
    return pd.DataFrame(rows)


def _summary(prefix: str, steps: pd.Series) -> dict[str, float]:
    return {
        f"{prefix}steps": float(steps.median()),
        f"{prefix}steps_low": float(steps.min()),
        f"{prefix}steps_high": float(steps.max()),
        f"{prefix}seeds_reached": int(np.isfinite(steps).sum()),
    }


def _first_step(reached: np.ndarray) -> float:
    return float(reached.argmax() + 1) if reached.any() else math.inf
