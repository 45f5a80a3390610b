"""Figure of the arena's performance profiles."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from clr.analysis.arena.contenders import read_settings
from clr.analysis.arena.targets import DEFAULT, FRACTIONS, TUNED, profile, target_table
from clr.analysis.figures import arena_panels, panels
from clr.analysis.figures.arena_panels import Column, describe_arena
from clr.analysis.names import display_name
from clr.analysis.tables import Tables
from clr.analysis.verdicts import rules as claim_rules

LARGEST = 8.0  # factor at the right end of the axis, at most


def draw(tables: Tables) -> Figure:
    """Draw the profile of each method, tuned above and at its default below."""
    rules = claim_rules.load()
    settings = read_settings(tables, rules)
    columns = arena_panels.columns(settings, rules)
    parts = [target_table(setting, tables.steps, rules) for setting in settings]
    targets = pd.concat(parts) if parts else pd.DataFrame()
    figure = Figure(figsize=(7, 5.2))
    axes = figure.subplots(2, len(columns), squeeze=False, sharex=True, sharey=True)
    for row, tuning in zip(axes, (TUNED, DEFAULT), strict=True):
        own = targets[targets["tuning"] == tuning] if len(targets) else targets
        for ax, column in zip(row, columns, strict=True):
            _draw_profiles(ax, own, column)
        row[0].set_ylabel(f"{tuning}\nshare of problems")
    for ax in axes[-1]:
        ax.set_xlabel("steps / fewest steps")
    _format(axes[0][0], targets)
    arena_panels.add_column_legends(list(axes[0]), columns)
    problems = len(targets[["data", "model", "batch_size", "setting", "seed"]].drop_duplicates())
    describe_arena(
        figure,
        tables,
        "Performance profiles: higher and further left is faster",
        _notes(display_name(rules.baseline), problems),
        spread="Each seed is a problem of its own.",
    )
    return figure


def _draw_profiles(ax: Axes, targets: pd.DataFrame, column: Column) -> None:
    """Draw the profiles as steps, extended to the right end of the axis."""
    for name in column.names:
        over_best = targets.loc[targets["optimizer"] == name, "over_best"]
        if len(over_best):
            factors, shares = profile(over_best.tolist())
            label = display_name(name)
            points = np.append(factors, 10 * LARGEST), np.append(shares, shares[-1])
            gid = panels.tag("main", label)
            ax.step(*points, where="post", label=label, gid=gid, **column.looks[name])


def _format(ax: Axes, targets: pd.DataFrame) -> None:
    finite = [factor for factor in targets["over_best"] if math.isfinite(factor)]
    end = min(max([2.0, *finite]), LARGEST)
    ax.set_xscale("log")
    ax.set_xlim(0.97, 1.05 * end)
    ax.set_ylim(-0.03, 1.03)
    ticks = [1, 1.5, 2, 3, 4, 6, 8] if end <= 4 else [1, 2, 4, 8]
    ax.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if tick <= 1.05 * end]))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    ax.xaxis.set_minor_locator(NullLocator())


def _notes(baseline: str, problems: int) -> list[str]:
    fractions = ", ".join(f"{fraction:g}" for fraction in FRACTIONS)
    return [
        f"Problems: {problems} pairs of setting and seed, each with {len(FRACTIONS)} target "
        f"losses: {fractions} of the way from the first loss to the end of {baseline} at its best "
        "rate, in the logarithm. Curve: share of the problems that the method solves within this "
        "factor of the fewest steps of any method. Problems of one run are not independent, and "
        "small differences between curves are noise."
    ]
