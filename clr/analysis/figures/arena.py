"""Figures of the arena: loss and accuracy of each method, over steps and over time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from clr.analysis.arena.contenders import Setting, read_settings
from clr.analysis.arena.display import FLATTERED
from clr.analysis.figures import arena_panels, panels
from clr.analysis.figures.arena_panels import Column, describe_arena
from clr.analysis.figures.run_groups import (
    RunGroup,
    in_windows,
    over_seeds,
    steps_per_point,
)
from clr.analysis.names import display_name
from clr.analysis.tables import Tables
from clr.analysis.verdicts import rules as claim_rules

X_LABELS = {"step": "step", "seconds": "seconds"}
_Points = Callable[[RunGroup], pd.DataFrame]


def draw(tables: Tables) -> Figure:
    """Draw training loss and test accuracy over steps."""
    return _draw(tables, "step")


def draw_time(tables: Tables) -> Figure:
    """Draw training loss and test accuracy over the time of training."""
    return _draw(tables, "seconds")


def _draw(tables: Tables, x: str) -> Figure:
    rules = claim_rules.load()
    settings = read_settings(tables, rules)
    columns = arena_panels.columns(settings, rules)
    figure = Figure(figsize=(7, 1.6 + 2.6 * len(settings)))
    axes = figure.subplots(2 * len(settings), len(columns), squeeze=False, sharey="row")
    for i, setting in enumerate(settings):
        size = _window(tables, setting)
        losses, accuracies = partial(_losses, tables, size, x), partial(_accuracies, tables, x)
        _draw_row(list(axes[2 * i]), setting, columns, losses, is_loss=True)
        _draw_row(list(axes[2 * i + 1]), setting, columns, accuracies, is_loss=False)
    for ax in axes[-1]:
        ax.set_xlabel(X_LABELS[x])
    arena_panels.add_column_legends(list(axes[0]), columns)
    over = "steps" if x == "step" else "time"
    title = f"The arena over {over}: training loss and test accuracy of each tuned method"
    notes = [
        "A method without a grid runs at its defaults.",
        f"{display_name(rules.optimizer)} and {display_name(rules.baseline)} are in every column.",
        arena_panels.setting_notes(settings),
        f"{FLATTERED}.",
    ]
    if x == "seconds":
        notes.append(
            "Time: of the fastest seed. It includes evaluation, and runs that train at the same "
            "time on one host slow each other; bench/optimizers.py measures steps side by side."
        )
    describe_arena(figure, tables, title, notes)
    return figure


def _window(tables: Tables, setting: Setting) -> int:
    """Number of steps that a point of the loss is averaged over."""
    shown = [own.shown for own in setting.contenders.values() if own.shown is not None]
    ids = pd.concat([entry.runs["run_id"] for entry in shown])
    return steps_per_point(tables.steps[tables.steps["run_id"].isin(ids)])


def _draw_row(
    axes: list[Axes], setting: Setting, columns: list[Column], points: _Points, is_loss: bool
) -> None:
    """Draw one quantity in one setting, a panel for each column; losses on a logarithmic axis."""
    drawn = [
        [(own, points(own)) for own in arena_panels.run_groups(setting, column)]
        for column in columns
    ]
    limits = panels.log_limits([pair for own in drawn for pair in own]) if is_loss else None
    for ax, own, column in zip(axes, drawn, columns, strict=True):
        panels.draw_groups(ax, own, column.looks, limits)
        ax.xaxis.set_major_locator(MaxNLocator(3))
        ax.set_xlim(left=0)
    what = "loss" if is_loss else "accuracy, %"
    axes[0].set_ylabel(f"batch size {setting.batch_size}\n{what}")


def _losses(tables: Tables, size: int, x: str, group: RunGroup) -> pd.DataFrame:
    """Loss in windows of `size` steps: mean and range over the seeds by the least `x`."""
    rows = group.rows(tables.steps)
    points = over_seeds(in_windows(rows, "loss", size, "mean"), "window", "loss")
    return _at_least(points, in_windows(rows, x, size, "mean"), "window", x)


def _accuracies(tables: Tables, x: str, group: RunGroup) -> pd.DataFrame:
    """Test accuracy in percent after each epoch, by the least `x`."""
    rows = group.rows(tables.epochs)
    percent = rows.assign(percent=100 * rows["test_accuracy"])
    return _at_least(over_seeds(percent, "epoch", "percent"), rows, "epoch", x)


def _at_least(points: pd.DataFrame, rows: pd.DataFrame, index: str, x: str) -> pd.DataFrame:
    """Return the points at the least `x` of the runs, which other programs slowed the least."""
    least: Any = rows.groupby(index)[x].min()
    return points.set_axis(least.reindex(points.index).to_numpy(float))
