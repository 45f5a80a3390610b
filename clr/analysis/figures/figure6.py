"""Figures 6 and 8: CLR and SGD at the best fixed rate, at each batch size of a sweep."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clr.analysis.figures import batch_sizes, panels, single_steps, style
from clr.analysis.figures.captions import describe
from clr.analysis.figures.run_groups import (
    GroupPoints,
    RunGroup,
    epoch_means,
    group_runs,
    over_seeds,
)
from clr.analysis.figures.single_steps import GroupSteps
from clr.analysis.tables import Tables

LAST = "last"  # key of the panel that summarizes the others


def draw(tables: Tables) -> Figure:
    """Draw training loss over epochs for each batch size, and the final loss over batch sizes."""
    losses, looks = epoch_means(tables.steps), style.looks(tables.runs)
    sized: dict[int, list[GroupPoints]] = {
        int(size): [
            (group, over_seeds(group.rows(losses), "epoch", "loss"))
            for group in group_runs(tables.runs[tables.runs["batch_size"] == size])
        ]
        for size in sorted(tables.runs["batch_size"].unique())
    }
    figure, axes = _layout(list(sized))
    single = {size: _single_steps(drawn, tables.steps) for size, drawn in sized.items()}
    ylim = panels.log_limits(
        [drawn for panel in sized.values() for drawn in panel],
        also=single_steps.shown_range([lines for panel in single.values() for lines in panel]),
    )
    for size, drawn in sized.items():
        ax = axes[str(size)]
        panels.draw_groups(ax, drawn, looks, ylim)
        single_steps.draw(ax, single[size], looks)
        panels.add_legend(ax)  # without the other rates, for which a small panel has no space
        rates = [f"{group.rate:g}" for group, _ in drawn if group.diverged and not group.main]
        diverged = f" (diverged: rate {', '.join(rates)})" if rates else ""
        ax.set(title=f"batch size {size}{diverged}", xlabel="epoch")
    groups = {size: [group for group, _ in drawn] for size, drawn in sized.items()}
    _draw_final_losses(axes[LAST], groups, looks)
    note = (
        "Each point is the mean loss over the steps of one epoch, in its middle. "
        "Bars: lowest to highest seed of the last epoch's loss."
    )
    title = "CLR compared with the best fixed learning rate across batch sizes"
    describe(figure, tables, title, [note])
    return figure


def _single_steps(drawn: list[GroupPoints], steps: pd.DataFrame) -> list[GroupSteps]:
    """Loss of the single steps of one panel's main groups, over epochs."""
    groups = [group for group, _ in drawn]
    longest = max(batch_sizes.steps_per_epoch(group) for group in groups)
    return batch_sizes.steps_over_epochs(groups, steps, "loss", longest)


def _layout(sizes: list[int]) -> tuple[Figure, dict[str, Axes]]:
    """A panel for each batch size, and one named LAST that fills the rest of the last row."""
    columns = 2 if len(sizes) in (1, 3) else 3
    rows = len(sizes) // columns + 1
    names = [str(size) for size in sizes] + [LAST] * (rows * columns - len(sizes))
    figure = Figure(figsize=(7, 0.9 + 2.1 * rows))
    grid: list[Any] = [names[i : i + columns] for i in range(0, len(names), columns)]
    axes = figure.subplot_mosaic(grid, sharey=True)
    for i, name in enumerate(dict.fromkeys(names)):
        if i % columns:
            axes[name].tick_params(labelleft=False, which="both")
        else:
            axes[name].set_ylabel("training loss")
    return figure, axes


def _draw_final_losses(
    ax: Axes, sized: dict[int, list[RunGroup]], looks: dict[str, style.Look]
) -> None:
    """Draw the final training loss of the main groups over batch sizes, with bars over seeds."""
    main = [(size, group) for size, groups in sized.items() for group in groups if group.main]
    for optimizer in dict.fromkeys(group.optimizer for _, group in main):
        own = [
            (size, group)
            for size, group in main
            if group.optimizer == optimizer and not group.diverged
        ]
        if own:
            bars: style.Look = {"marker": "o", "markersize": 3, "capsize": 2, "elinewidth": 0.8}
            _draw_bars(ax, own, looks[optimizer] | bars)
    ax.set_xscale("log", base=2)
    ax.set_xticks(list(sized), [str(size) for size in sized], minor=False)
    ax.set(title="last epoch", xlabel="batch size")
    handles: list[Any] = ax.containers[::-1]  # CLR first, as in the other panels
    ax.legend(handles, [str(handle.get_label()) for handle in handles])


def _draw_bars(ax: Axes, own: Iterable[tuple[int, RunGroup]], look: style.Look) -> None:
    """Draw the mean final loss of one optimizer at each batch size, with bars over the seeds."""
    sizes, groups = zip(*own, strict=True)
    finals = [group.runs["final_train_loss"] for group in groups]
    means = [final.mean() for final in finals]
    bars = panels.bar_lengths(means, map(min, finals), map(max, finals))
    ax.errorbar(sizes, means, bars, label=groups[0].name, **look)
