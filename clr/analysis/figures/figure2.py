"""Figures 2 and 7: CLR and SGD at the best fixed rate of a sweep, at one batch size."""

from __future__ import annotations

from matplotlib.figure import Figure

from clr.analysis.figures import panels, single_steps, style
from clr.analysis.figures.captions import describe
from clr.analysis.figures.run_groups import (
    accuracy_points,
    group_runs,
    in_windows,
    over_seeds,
    steps_per_point,
)
from clr.analysis.tables import Tables


def draw(tables: Tables) -> Figure:
    """Draw training loss over steps and test accuracy over epochs."""
    figure = Figure(figsize=(7, 3.3))
    left, right = figure.subplots(1, 2, width_ratios=[1.5, 1])
    groups, looks = group_runs(tables.runs), style.looks(tables.runs)

    size = steps_per_point(tables.steps)
    losses = in_windows(tables.steps, "loss", size, "mean")
    points = [(group, over_seeds(group.rows(losses), "step", "loss")) for group in groups]
    single = single_steps.select_steps(groups, tables.steps, "loss", size)
    ylim = panels.log_limits(points, also=single_steps.shown_range(single))
    panels.draw_groups(left, points, looks, ylim)
    single_steps.draw(left, single, looks)
    left.set(title="Training loss", xlabel="step", ylabel="loss of the batch")
    panels.add_legend(left, others=[group for group in groups if not group.main])

    main = [group for group in groups if group.main]
    panels.draw_groups(right, accuracy_points(main, tables.epochs), looks, ylim=None)
    right.set(title="Test accuracy", xlabel="finished epochs", ylabel="accuracy, %")

    note = f"Loss: each point is the mean of {size} steps." if size > 1 else "Loss: every step."
    describe(figure, tables, "CLR compared with the best fixed learning rate", [note])
    return figure
