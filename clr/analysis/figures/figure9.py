"""Figure 9: learning rates of CLR across batch sizes, and their cap on ImageNet.

The figure has one panel for each dataset and model.
"""

from __future__ import annotations

from matplotlib.figure import Figure

from clr.analysis.figures import batch_sizes, panels, single_steps
from clr.analysis.figures.captions import describe
from clr.analysis.figures.run_groups import MAX_POINTS, MAX_STEPS_DRAWN_SINGLY
from clr.analysis.tables import Tables


def draw(tables: Tables) -> Figure:
    """Draw learning rates over epochs."""
    scopes = list(tables.runs.groupby(["dataset", "data_label", "model"]))
    figure = Figure(figsize=(max(7, 3.5 * len(scopes)), 3.4))
    axes = figure.subplots(1, len(scopes), squeeze=False)[0]
    for ax, ((_, data, model), runs) in zip(axes, scopes, strict=True):
        sized = batch_sizes.group_by_batch_size(runs)
        # The median, because one step with a tiny gradient would dominate a mean.
        rates = batch_sizes.over_epochs(sized, tables.steps, "learning_rate", "median")
        single = batch_sizes.steps_over_epochs(sized.values(), tables.steps, "learning_rate")
        caps = panels.draw_caps(ax, runs)
        rows = 0 if caps else len(rates)  # below a cap there is space for the legend
        shown = [*caps, *single_steps.shown_range(single)]
        ylim = panels.log_limits(rates, also=shown, legend_rows=rows)
        batch_sizes.draw(ax, rates, ylim, single)
        ax.set(title=panels.panel_title(data, model), xlabel="epoch", ylabel="learning rate")
        panels.add_legend(ax)
    note = (
        f"Each point is the median over about 1/{MAX_POINTS} of training; runs of at most "
        f"{MAX_STEPS_DRAWN_SINGLY} steps show every step."
    )
    describe(figure, tables, "Learning rates of CLR across batch sizes", [note])
    return figure
