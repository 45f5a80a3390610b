"""Training losses of two folders of results, drawn on top of each other.

The figure has one panel for each dataset, model, batch size and setting that both folders contain.
"""

from __future__ import annotations

import textwrap
from dataclasses import replace
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clr.analysis.figures import panels, style
from clr.analysis.figures.captions import describe
from clr.analysis.figures.run_groups import (
    GroupPoints,
    RunGroup,
    group_runs,
    in_windows,
    over_seeds,
    steps_per_point,
)
from clr.analysis.names import display_name
from clr.analysis.tables import Tables
from clr.analysis.verdicts.agreement import SCOPE

COLUMNS = 3
# The other folder's curves are drawn on top, thin, dark and dotted: both show where they agree.
OTHER_LOOKS: dict[str, style.Look] = {
    "clr": {"color": "#00253F", "linestyle": (0, (1, 1.2)), "linewidth": 1.1},
    "sgd": {"color": "#6B2E00", "linestyle": (0, (1, 1.2)), "linewidth": 1.1},
}


def draw(
    mine: dict[str, Tables],
    theirs: dict[str, Tables],
    names: tuple[str, str],
    agreement: pd.DataFrame,
) -> Figure:
    """Draw CLR and the other folder's best fixed rate, from both folders.

    Args:
        mine: tables of each figure of the first folder.
        theirs: tables of each figure of the other folder.
        names: names of the two folders in the legend.
        agreement: result of `clr.analysis.verdicts.agreement.compare`, one row for each curve
            that both folders contain.
    """
    ours, others = _all_figures(mine), _all_figures(theirs)
    scopes = list(agreement.groupby(SCOPE))
    columns = min(COLUMNS, len(scopes))
    rows = -(-len(scopes) // columns)
    figure = Figure(figsize=(2.8 * columns + 1.6, 1.0 + 2.2 * rows))
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax, (key, table) in zip(axes, scopes, strict=False):
        scope = dict(zip(SCOPE, key, strict=True))
        pairs = _pairs(ours, others, scope)
        if pairs:
            _draw_pairs(ax, pairs, (ours, others), names)
        ax.set_title(_title(scope, pairs, table))
    for ax in axes[len(scopes) :]:
        ax.set_axis_off()
    # One legend for all panels, because inside a panel it would hide curves.
    lines = {str(line.get_label()): line for ax in axes for line in ax.lines if _in_legend(line)}
    labels = sorted(lines)
    figure.legend([lines[label] for label in labels], labels, loc="outside right upper")
    note = "Of the fixed learning rates only the best is drawn; the titles count all of them."
    title = f"Training loss: {names[0]} and, dotted on top, {names[1]}"
    describe(figure, ours, title, [note])
    return figure


def _all_figures(figures: dict[str, Tables]) -> Tables:
    """Merge the tables of all figures."""
    merged = {}
    for name in ("runs", "steps", "epochs"):
        table = pd.concat([getattr(tables, name) for tables in figures.values()])
        # A run of two figures has the same rows, with the same index, in both.
        merged[name] = table[~table.index.duplicated()]
    settings: dict[str, set[str]] = {}
    for tables in figures.values():
        for setting, ids in tables.settings.items():
            settings[setting] = settings.get(setting, set()) | ids
    first = next(iter(figures.values()))
    return replace(first, **merged, planned=len(merged["runs"]), settings=settings)


def _pairs(ours: Tables, others: Tables, scope: dict[str, Any]) -> list[tuple[RunGroup, RunGroup]]:
    """Main groups of the other folder's scope and the same groups of ours, ours first."""

    def groups(tables: Tables) -> list[RunGroup]:
        runs = tables.runs_in(scope["setting"])
        columns = ["dataset", "model", "batch_size"]
        return group_runs(runs[(runs[columns] == pd.Series(scope)[columns]).all(axis=1)])

    main = {(group.optimizer, group.rate): group for group in groups(others) if group.main}
    return [
        (group, main[key])
        for group in groups(ours)
        if (key := (group.optimizer, group.rate)) in main
    ]


def _draw_pairs(
    ax: Axes,
    pairs: list[tuple[RunGroup, RunGroup]],
    tables: tuple[Tables, Tables],
    names: tuple[str, str],
) -> None:
    """Draw both members of each pair, the other folder's on top."""
    ours, others = tables
    size = steps_per_point(pd.concat([other.rows(others.steps) for _, other in pairs]))
    below = [_loss_points(own, ours, size, names[0]) for own, _ in pairs]
    above = [_loss_points(other, others, size, names[1]) for _, other in pairs]
    limits = panels.log_limits([*below, *above])
    panels.draw_groups(ax, below, style.looks(ours.runs), limits)
    panels.draw_groups(ax, above, style.looks(others.runs) | OTHER_LOOKS, limits)
    xlabel = "step" if size == 1 else f"step (each point: mean of {size})"
    ax.set(xlabel=xlabel, ylabel="training loss")


def _loss_points(group: RunGroup, tables: Tables, size: int, folder: str) -> GroupPoints:
    """Group named by its folder, and its training loss."""
    windows = in_windows(group.rows(tables.steps), "loss", size, "mean")
    named = replace(group, name=f"{group.name}, {folder}", rate=None, best=None)
    return named, over_seeds(windows, "step", "loss")


def _title(
    scope: dict[str, Any], pairs: list[tuple[RunGroup, RunGroup]], table: pd.DataFrame
) -> str:
    rates = ", ".join(f"{own.name} at {own.rate:g}" for own, _ in pairs if own.rate is not None)
    agree = f"{(table['agreement'] == 'agree').sum()} of {len(table)} curves agree"
    first = f"{scope['dataset']}, {display_name(scope['model'])}, batch size {scope['batch_size']}"
    second = f"{rates}: {agree}" if rates else agree
    if scope["setting"]:
        first += f", {scope['setting']}"
    return f"{textwrap.fill(first, panels.TITLE_WIDTH)}\n{second}"


def _in_legend(line: Any) -> bool:
    return panels.read_tag(line)[0] == "main"
