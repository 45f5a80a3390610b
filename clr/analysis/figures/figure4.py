"""Figure 4: learning rates of CLR over training, and their cap on ImageNet.

The figure has one panel for each dataset, model and batch size.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clr.analysis.figures import panels, single_steps, style
from clr.analysis.figures.captions import describe
from clr.analysis.figures.run_groups import group_runs, in_windows, over_seeds, steps_per_point
from clr.analysis.rows import rows_of_runs
from clr.analysis.tables import Tables


def draw(tables: Tables) -> Figure:
    """Draw learning rates over steps."""
    scopes = list(tables.runs.groupby(["dataset", "data_label", "model", "batch_size"]))
    figure = Figure(figsize=(max(7, 3.5 * len(scopes)), 3.3))
    looks = style.looks(tables.runs)
    axes = figure.subplots(1, len(scopes), squeeze=False)[0]
    for ax, ((_, data, model, batch_size), runs) in zip(axes, scopes, strict=True):
        size = _draw_rates(ax, runs, tables.steps, looks)
        ax.set_title(panels.panel_title(data, model, f"batch size {batch_size}"))
        xlabel = "step" if size == 1 else f"step (each point: median of {size})"
        ax.set(xlabel=xlabel, ylabel="learning rate")
        panels.add_legend(ax)
    describe(figure, tables, "Learning rates of CLR", [])
    return figure


def _draw_rates(
    ax: Axes, runs: pd.DataFrame, all_steps: pd.DataFrame, looks: dict[str, style.Look]
) -> int:
    """Draw adaptive rates as curves, fixed rates and caps as levels; return the steps per point."""
    groups = [group for group in group_runs(runs) if group.main]
    steps = rows_of_runs(all_steps, runs["run_id"])
    size = steps_per_point(steps)
    # The median, because one step with a tiny gradient would dominate a mean.
    rates = in_windows(steps, "learning_rate", size, "median")
    points = [
        (group, over_seeds(group.rows(rates), "step", "learning_rate"))
        for group in groups
        if group.rate is None
    ]
    levels = panels.draw_caps(ax, runs)
    for group in groups:
        if group.rate is not None:
            look = looks[group.optimizer] | {"linewidth": 0.9}
            panels.draw_level(ax, group.rate, group.label, look)
            levels.append(group.rate)
    adaptive = [group for group, _ in points]
    single = single_steps.select_steps(adaptive, steps, "learning_rate", size)
    shown = [*levels, *single_steps.shown_range(single)]
    panels.draw_groups(ax, points, looks, ylim=panels.log_limits(points, also=shown))
    single_steps.draw(ax, single, looks)
    return size
