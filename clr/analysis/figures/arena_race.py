"""Figure of the arena's races: steps of each method over those of the best fixed rate."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clr.analysis.arena.contenders import read_settings
from clr.analysis.arena.targets import race_table
from clr.analysis.figures import arena_panels, panels, style
from clr.analysis.figures.arena_panels import Column, describe_arena
from clr.analysis.names import display_name
from clr.analysis.tables import Tables
from clr.analysis.verdicts import rules as claim_rules

SMALLEST, LARGEST = 0.2, 5.0  # limits of the ratio, at most
END: dict[str, Any] = {"linestyle": "none", "markersize": 4, "clip_on": False, "zorder": 5}


def draw(tables: Tables) -> Figure:
    """Draw the ratio of steps over the way to the end, a row of panels for each setting."""
    rules = claim_rules.load()
    settings = read_settings(tables, rules)
    columns = arena_panels.columns(settings, rules)
    figure = Figure(figsize=(7, 1.9 + 1.9 * len(settings)))
    axes = figure.subplots(len(settings), len(columns), squeeze=False, sharex=True, sharey=True)
    races = [race_table(setting, tables.steps, rules) for setting in settings]
    low, high = _limits(races)
    for setting, races_of, row in zip(settings, races, axes, strict=True):
        for ax, column in zip(row, columns, strict=True):
            ax.axhline(1, color=style.INK, linewidth=0.8)
            ax.set_yscale("log")
            ax.set_ylim(low, high)
            panels.format_log_ticks(ax)
            if len(races_of):
                _draw_races(ax, races_of, column)
        row[0].set_ylabel(f"batch size {setting.batch_size}\nratio of steps")
    for ax in axes[-1]:
        ax.set_xlabel("fraction of the way")
    arena_panels.add_column_legends(list(axes[0]), columns, without=rules.baseline)
    baseline = display_name(rules.baseline)
    describe_arena(
        figure,
        tables,
        f"The races with {baseline} at its best rate: below 1, fewer steps",
        [
            f"Steps of each tuned method over those of {baseline}, to {rules.quicker.targets} "
            "losses at equal distances in the logarithm on the way to the end of the better of the "
            f"two. ▲: from here on the method never gets there; ▼: {baseline} never does."
        ],
        spread=f"Lines: geometric mean over the seeds; bands: {rules.interval.confidence:.0%} t "
        "interval, or the range where a seed never gets there.",
    )
    return figure


def _limits(races: list[pd.DataFrame]) -> tuple[float, float]:
    ratios = [ratio for table in races if len(table) for ratio in table["ratio"]]
    finite = [ratio for ratio in ratios if 0 < ratio < math.inf]
    return max(min([0.5, *finite]) / 1.2, SMALLEST), min(max([2.0, *finite]) * 1.2, LARGEST)


def _draw_races(ax: Axes, races: pd.DataFrame, column: Column) -> None:
    for name in column.names:
        table = races[races["optimizer"] == name]
        ratio = table["ratio"]
        reached = table[((ratio > 0) & np.isfinite(ratio)).cummin()]
        look, label = column.looks[name], display_name(name)
        if len(reached):
            ends = [reached[end].fillna(reached["ratio"]) for end in ("ratio_low", "ratio_high")]
            band: dict[str, Any] = {"color": look["color"], "alpha": 0.12, "linewidth": 0}
            ax.fill_between(reached["fraction"], *ends, gid=panels.tag("band", label), **band)
            gid = panels.tag("main", label)
            ax.plot(reached["fraction"], reached["ratio"], label=label, gid=gid, **look)
        lost = table.drop(reached.index)
        if len(lost):
            first = lost.iloc[0]
            y, marker = (ax.get_ylim()[0], "v") if first["ratio"] == 0 else (ax.get_ylim()[1], "^")
            place: dict[str, Any] = {"color": look["color"], "marker": marker, **END}
            ax.plot(first["fraction"], y, gid=panels.tag("end", label), **place)
