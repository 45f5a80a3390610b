"""Figure of the arena's grids: final loss of each method over its tuned argument."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from clr.analysis.arena.contenders import Contender, Entry, Setting, read_settings
from clr.analysis.arena.targets import TUNED, entries
from clr.analysis.figures import panels, style
from clr.analysis.figures.arena_panels import describe_arena
from clr.analysis.names import display_name
from clr.analysis.tables import Tables
from clr.analysis.verdicts import rules as claim_rules
from clr.analysis.verdicts.rules import Rules

COLUMNS = 4
MOST_LABELS = 4  # of values, below a panel
SPREAD = "Points: mean over the seeds; bars: lowest to highest seed."
SMALLEST, LARGEST = 0.05, 100.0  # limits of the ratio, at most
COLORS: list[style.Look] = [
    {"color": "#009E73", "linestyle": "-", "marker": "o"},
    {"color": "#CC79A7", "linestyle": (0, (4, 1.5)), "marker": "s"},
    {"color": "#56B4E9", "linestyle": "-.", "marker": "D"},
]


def draw(tables: Tables) -> Figure:
    """Draw the loss over that of the best fixed rate, a panel for each method with a grid."""
    rules = claim_rules.load()
    settings = read_settings(tables, rules)
    with_grid = {name for own in settings for name, one in own.contenders.items() if one.key}
    names = sorted(with_grid, key=lambda name: display_name(name).lower())
    rows = max(1, -(-len(names) // COLUMNS))
    figure = Figure(figsize=(7, 1.7 + 1.65 * rows))
    axes = figure.subplots(rows, COLUMNS, squeeze=False, sharey=True)
    references = [_reference(setting, rules) for setting in settings]
    low, high = _limits(settings, references)
    for ax, name in zip(axes.flat, names, strict=False):
        ax.set_yscale("log")
        ax.set_ylim(low, high)
        panels.format_log_ticks(ax)
        ax.axhline(1, color=style.INK, linewidth=0.8)
        for i, (setting, reference) in enumerate(zip(settings, references, strict=True)):
            if name in setting.contenders and reference is not None:
                _draw_grid(ax, i, setting, setting.contenders[name], reference)
        _format(ax, name, settings)
    for ax in list(axes.flat)[len(names) :]:
        ax.set_axis_off()
    for row in axes:
        row[0].set_ylabel("loss ratio")
    _add_legend(figure, settings)
    baseline = display_name(rules.baseline)
    title = f"Sensitivity: final training loss over that of {baseline} at its best rate"
    describe_arena(figure, tables, title, _notes(settings), spread=SPREAD)
    return figure


def _drawn(contender: Contender) -> list[Entry]:
    """Entries at values that have a place on the axis, smallest first."""
    entries = [*contender.grid, *contender.outside]
    return sorted(
        (entry for entry in entries if not math.isnan(entry.value)), key=lambda entry: entry.value
    )


def _reference(setting: Setting, rules: Rules) -> float | None:
    """Mean final loss of the tuned baseline; None without one."""
    entry = entries(setting, TUNED).get(rules.baseline)
    return None if entry is None else float(entry.losses.mean())


def _limits(settings: list[Setting], references: list[float | None]) -> tuple[float, float]:
    ratios = [
        entry.losses.mean() / reference
        for setting, reference in zip(settings, references, strict=True)
        if reference
        for contender in setting.contenders.values()
        for entry in _drawn(contender)
    ]
    finite = [ratio for ratio in ratios if 0 < ratio < math.inf]
    return max(min([0.7, *finite]) / 1.3, SMALLEST), min(max([2.0, *finite]) * 1.3, LARGEST)


def _draw_grid(
    ax: Axes, row: int, setting: Setting, contender: Contender, reference: float
) -> None:
    """Draw one grid in one setting; a value with a diverged run has a cross at the upper edge.

    `row` is the number of the setting: its color, and how far its crosses are below the edge.
    """
    look = COLORS[row % len(COLORS)]
    label = f"batch size {setting.batch_size}"
    low, high = ax.get_ylim()
    finite = [entry for entry in _drawn(contender) if not entry.diverged]
    values = np.array([entry.value for entry in finite])
    losses = np.array([entry.losses.mean() / reference for entry in finite])
    bars = [
        [entry.losses.min() / reference for entry in finite],
        [entry.losses.max() / reference for entry in finite],
    ]
    bars = np.clip(bars, low, high)
    kept = {name: look[name] for name in ("color", "linestyle")}
    size: dict[str, Any] = {"markersize": 3, "linewidth": 1.1, "label": label}
    ax.vlines(values, *bars, color=look["color"], linewidth=0.8)
    shown = np.clip(losses, low, high)
    gid = panels.tag("main", label)
    hollow = [i for i, entry in enumerate(finite) if entry not in contender.grid]
    filled = [i for i in range(len(finite)) if i not in hollow]
    ax.plot(values, shown, marker=look["marker"], markevery=filled, gid=gid, **kept, **size)
    outside: dict[str, Any] = {"linestyle": "none", "markersize": 3, "markerfacecolor": "white"}
    ax.plot(values[hollow], shown[hollow], **(look | outside))
    lost = high * (low / high) ** (0.07 * row)
    for entry in _drawn(contender):
        if entry.diverged:
            cross: dict[str, Any] = {**panels.CROSS, "linestyle": "none", "clip_on": False}
            ax.plot(entry.value, lost, color=look["color"], zorder=5, **cross)
    default = contender.default
    if default is not None and not default.diverged and not math.isnan(default.value):
        ring: dict[str, Any] = {"marker": "o", "markersize": 7, "markerfacecolor": "none"}
        y = float(np.clip(default.losses.mean() / reference, low, high))
        ax.plot(default.value, y, color=look["color"], linestyle="none", linewidth=0.8, **ring)


def _format(ax: Axes, name: str, settings: list[Setting]) -> None:
    contenders = [own.contenders[name] for own in settings if name in own.contenders]
    values = sorted({entry.value for own in contenders for entry in _drawn(own)})
    ax.set_title(display_name(name), fontsize=7)
    ax.set_xlabel(contenders[0].key, labelpad=1)
    if values and min(values) > 0:
        ax.set_xscale("log")
    if len(values) <= MOST_LABELS or min(values) <= 0:
        ax.xaxis.set_major_locator(FixedLocator(values))
    else:
        ax.xaxis.set_major_locator(LogLocator(numticks=MOST_LABELS))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    ax.xaxis.set_minor_locator(NullLocator())


def _add_legend(figure: Figure, settings: list[Setting]) -> None:
    handles = [
        Line2D(
            [], [], label=f"batch size {own.batch_size}", markersize=3, **COLORS[i % len(COLORS)]
        )
        for i, own in enumerate(settings)
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles))


def _notes(settings: list[Setting]) -> list[str]:
    fixed = {
        display_name(name): None
        for own in settings
        for name, one in own.contenders.items()
        if not one.key
    }
    notes = ["Rings: the default of the method. ×: a run diverged at this value."]
    if any(_drawn(one) != one.grid for own in settings for one in own.contenders.values()):
        notes.append("Hollow points: values outside the grid, which tuning cannot choose.")
    if fixed:
        notes.append(f"Without a grid: {'; '.join(fixed)}.")
    return notes
