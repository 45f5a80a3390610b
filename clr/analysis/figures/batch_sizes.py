"""CLR's curves at each batch size of a sweep, over epochs, as in Figures 3, 5 and 9."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
from matplotlib.axes import Axes

from clr.analysis.figures import panels, style
from clr.analysis.figures.run_groups import (
    GroupPoints,
    RunGroup,
    group_runs,
    in_windows,
    over_seeds,
    steps_per_point,
)
from clr.errors import UserError


def group_by_batch_size(runs: pd.DataFrame) -> dict[int, RunGroup]:
    """Group the runs of one optimizer by batch size, smallest first.

    Raises:
        UserError: if a batch size has fixed learning rates or more than one optimizer.
    """
    sized = {}
    for size in sorted(runs["batch_size"].unique()):
        groups = group_runs(runs[runs["batch_size"] == size])
        if len(groups) != 1 or groups[0].rate is not None:
            raise UserError(
                "this figure shows one optimizer that sets its own rate, but figure_runs.csv "
                f"assigns it: {', '.join(group.label for group in groups)}; remove the others"
            )
        sized[int(size)] = replace(groups[0], name=f"{groups[0].name}, batch size {size}")
    return sized


def over_epochs(
    sized: dict[int, RunGroup], steps: pd.DataFrame, y: str, statistic: str
) -> list[GroupPoints]:
    """Mean or median of `y` in windows of steps, at the epoch of each window's center."""
    drawn = []
    for size, group in sized.items():
        own = group.rows(steps)
        windows = in_windows(own, y, steps_per_point(own), statistic)
        points = over_seeds(windows, "step", y)
        # An epoch's last, incomplete batch is not trained on.
        steps_per_epoch = int(group.runs["num_train"].iloc[0]) // size
        drawn.append((group, points.set_axis(points.index / steps_per_epoch)))
    return drawn


def draw(ax: Axes, drawn: list[GroupPoints], ylim: tuple[float, float] | None) -> None:
    """Draw the curves in shades of CLR's color, largest batch size first, as legends reverse."""
    for (group, points), shade in zip(drawn[::-1], style.shades(len(drawn)), strict=True):
        panels.draw_groups(ax, [(group, points)], {group.optimizer: shade}, ylim)
