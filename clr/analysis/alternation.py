"""Alternation of the training loss: its autocorrelation at lag one, in windows over training."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

# Steps per window: long enough for eight periods of an alternation, short enough to date its end.
WINDOW = 16
MAX_WINDOWS = 30  # of a run, and of a curve three inches wide
# 97.5% of all windows of independent, normally distributed values lie above this (a test simulates
# it). Their mean is -2 / WINDOW instead of 0, because the straight line takes up two degrees of
# freedom.
WHITE_NOISE_BOUND = -0.54


def lag_one_autocorrelation(values: NDArray[np.float64]) -> float:
    """Autocorrelation at lag one of the residuals of a straight line.

    With the residuals y_1, …, y_n of the least-squares line through the values, it is
    Σ y_t y_{t+1} / Σ y_t² (sums over t = 1…n−1 and t = 1…n). It is near −1 for a series that
    alternates from one value to the next, near 0 for independent values and positive for a slow
    drift.

    Args:
        values: at least 3 values at equal distances.

    Returns:
        A number in (−1, 1); nan if a value is not finite or if all lie on a straight line.
    """
    if not np.isfinite(values).all():
        return float("nan")
    design = np.vander(np.arange(len(values), dtype=float), 2)
    residuals = values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
    total = float(residuals @ residuals)
    if total <= 1e-24 * float(values @ values):  # rounding errors only
        return float("nan")
    return float(residuals[:-1] @ residuals[1:]) / total


def alternation(steps: pd.DataFrame) -> pd.DataFrame:
    """Autocorrelation at lag one of the log loss, in windows of `WINDOW` steps of each run.

    The logarithm, because losses fall over decades and alternate in proportion to their size.
    Windows start every half window, or less often in a run that would have more than
    `MAX_WINDOWS`.

    Args:
        steps: rows with run_id, step and loss.

    Returns:
        A table with the columns run_id, step (the center of the window) and autocorrelation. A run
        shorter than a window has no rows; a window with a loss that is not positive and finite has
        nan.
    """
    losses = steps.set_index("step").groupby("run_id")["loss"]
    runs = ((str(run_id), own.sort_index()) for run_id, own in losses)
    return alternation_of_runs((run_id, own.index, own) for run_id, own in runs)


def alternation_of_runs(runs: Iterable[tuple[str, ArrayLike, ArrayLike]]) -> pd.DataFrame:
    """The table of `alternation` for the run id, steps and losses of each run, in their order."""
    rows = []
    for run_id, steps, losses in runs:
        numbers, values = np.asarray(steps, float), np.asarray(losses, float)
        logarithms = np.log(np.where(values > 0, values, np.nan))
        for start in range(0, len(values) - WINDOW + 1, _stride(len(values))):
            window = slice(start, start + WINDOW)
            value = lag_one_autocorrelation(logarithms[window])
            rows.append((run_id, float(numbers[window].mean()), value))
    table = pd.DataFrame(rows, columns=["run_id", "step", "autocorrelation"])
    return table.astype({"run_id": "str", "step": float, "autocorrelation": float})


def measured_turns(meter: pd.DataFrame, windows: pd.DataFrame) -> pd.DataFrame:
    """The turn h‖Hg‖ / ‖g‖ at each measured step, and whether the loss alternates there.

    Args:
        meter: rows of the table corridor_meter.
        windows: result of `alternation` for the same runs.

    Returns:
        A table with the columns run_id, step, turn and alternates (yes/no): whether the nearest
        window is below `WHITE_NOISE_BOUND`. Steps without a finite turn or a window have no row.
    """
    meter = meter[np.isfinite(meter["turn"])][["run_id", "step", "turn"]]
    joined = pd.merge_asof(
        meter.sort_values("step").astype({"step": float}),
        windows.dropna().sort_values("step"),
        on="step",
        by="run_id",
        direction="nearest",
        tolerance=WINDOW // 2,  # within the window
    ).dropna(subset="autocorrelation")
    joined["alternates"] = joined["autocorrelation"] < WHITE_NOISE_BOUND
    return joined.drop(columns="autocorrelation")


def _stride(steps: int) -> int:
    """Steps from the start of a window to that of the next, in a run of `steps` steps."""
    return max(WINDOW // 2, -(-steps // MAX_WINDOWS))
