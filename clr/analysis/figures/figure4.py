"""Figure 4: the rates that CLR sets itself, over training, and the cap that they have on ImageNet.

A panel for each data set, model and batch size.
"""

from __future__ import annotations

from matplotlib.figure import Figure

from clr.analysis.figures import style
from clr.analysis.tables import Tables, curves, in_windows, over_seeds, window


def draw(tables: Tables) -> Figure:
    panels = list(tables.runs.groupby(["dataset", "data_label", "model", "batch_size"]))
    figure = Figure(figsize=(max(5, 3.5 * len(panels)), 3.1))
    look = style.looks(tables.runs)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for ax, ((_, data, model, batch_size), runs) in zip(axes, panels, strict=True):
        main = [curve for curve in curves(runs) if curve.main]
        steps = tables.steps[tables.steps["run_id"].isin(runs["run_id"])]
        size = window(steps)
        # A median, for one step with a tiny gradient would carry the mean of all its neighbours.
        rates = in_windows(steps, "learning_rate", size, "median")
        points = [
            (c, over_seeds(c.of(rates), "step", "learning_rate")) for c in main if c.rate is None
        ]
        fixed = [(curve, curve.rate) for curve in main if curve.rate is not None]
        caps = style.caps(ax, runs)
        for curve, rate in fixed:
            ax.axhline(rate, label=curve.label, linewidth=0.9, **look[curve.optimizer])
        style.draw(
            ax,
            points,
            look,
            ylim=style.log_limits(points, also=[*caps, *(rate for _, rate in fixed)]),
        )
        ax.set_title(style.scope(data, model, f"batch size {batch_size}"))
        ax.set(
            xlabel="step" if size == 1 else f"step (each point: the median of {size})",
            ylabel="learning rate",
        )
        style.legend(ax, others=[])
    style.describe(figure, tables, "The learning rates that CLR takes", [])
    return figure
