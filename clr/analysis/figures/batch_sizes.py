"""CLR's curves at each batch size of a sweep, over epochs, as in Figures 3, 5 and 9."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

import pandas as pd
from matplotlib.axes import Axes

from clr.analysis.figures import panels, single_steps, style
from clr.analysis.figures.run_groups import (
    GroupPoints,
    RunGroup,
    group_runs,
    in_windows,
    over_seeds,
    steps_per_point,
)
from clr.analysis.figures.single_steps import GroupSteps
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
    for group in sized.values():
        own = group.rows(steps)
        windows = in_windows(own, y, steps_per_point(own), statistic)
        points = over_seeds(windows, "step", y)
        drawn.append((group, points.set_axis(points.index / steps_per_epoch(group))))
    return drawn


def steps_over_epochs(
    groups: Iterable[RunGroup], steps: pd.DataFrame, y: str, size: int | None = None
) -> list[GroupSteps]:
    """Single steps as by `single_steps.select_steps`, over epochs.

    `size` is by default the number of steps that `over_epochs` summarizes in a point.
    """
    selected = []
    for group in groups:
        own = group.rows(steps)
        window = steps_per_point(own) if size is None else size
        for _, values in single_steps.select_steps([group], own, y, window):
            selected.append((group, values.set_axis(values.index / steps_per_epoch(group))))
    return selected


def steps_per_epoch(group: RunGroup) -> int:
    """Steps of an epoch, whose last, incomplete batch is not trained on."""
    return int(group.runs["num_train"].iloc[0] // group.runs["batch_size"].iloc[0])


def draw(
    ax: Axes,
    drawn: list[GroupPoints],
    ylim: tuple[float, float] | None,
    single: Collection[GroupSteps] = (),
) -> None:
    """Draw the curves in shades of CLR's color, largest batch size first, as legends reverse.

    `single` are single steps of some of the groups, for behind their curves.
    """
    for (group, points), shade in zip(drawn[::-1], style.shades(len(drawn)), strict=True):
        looks = {group.optimizer: shade}
        panels.draw_groups(ax, [(group, points)], looks, ylim)
        own = [(other, values) for other, values in single if other is group]
        single_steps.draw(ax, own, looks)
