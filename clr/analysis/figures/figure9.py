"""Figure 9: the rates that CLR sets itself across batch sizes, and the cap that they have on ImageNet.

A panel for each data set and model.
"""

from __future__ import annotations

from matplotlib.figure import Figure

from clr.analysis.figures import batch_sizes, style
from clr.analysis.tables import FINEST, POINTS, Tables


def draw(tables: Tables) -> Figure:
    panels = list(tables.runs.groupby(["dataset", "data_label", "model"]))
    figure = Figure(figsize=(max(5, 3.5 * len(panels)), 3.1))
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for ax, ((_, data, model), runs) in zip(axes, panels, strict=True):
        # A median, for one step with a tiny gradient would carry the mean of all its neighbours.
        sized = batch_sizes.by_batch_size(runs)
        rates = batch_sizes.over_epochs(sized, tables.steps, "learning_rate", "median")
        caps = style.caps(ax, runs)
        batch_sizes.draw(
            ax, rates, style.log_limits(rates, also=caps, rows=0 if caps else len(rates))
        )
        ax.set(title=style.scope(data, model), xlabel="epoch", ylabel="learning rate")
        style.legend(ax, others=[])
    note = f"Each point is the median over 1/{POINTS} of training; if that has at most {FINEST} steps, each is shown."
    style.describe(figure, tables, "The learning rates that CLR takes across batch sizes", [note])
    return figure
