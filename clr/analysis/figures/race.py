"""The race: steps of CLR over those of the best fixed rate, to each target loss on the way down.

The figure has one panel for each dataset and model, and one with the headline ratio over batch
sizes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from clr.analysis.figures import batch_sizes, panels, style
from clr.analysis.figures.captions import describe
from clr.analysis.figures.run_groups import RunGroup, group_runs
from clr.analysis.names import display_name
from clr.analysis.race import equal_fractions, loss_curves, race, race_targets
from clr.analysis.tables import Tables
from clr.analysis.verdicts import rules as claim_rules
from clr.analysis.verdicts.rules import Rules

RATIO = ["ratio", "ratio_low", "ratio_high"]
CLOSE = 1.2  # batch sizes up to this factor apart have one label
COLUMNS = 2  # panels in a row
SHOWN = 2.0  # the axis reaches at least from 1 / SHOWN to SHOWN
BARS: style.Look = {"marker": "o", "markersize": 4, "capsize": 2, "elinewidth": 0.8}
# Of the ratios at the last loss that both reach, next to the headline ratios.
OPEN: style.Look = BARS | {"markerfacecolor": "white", "linewidth": 0.8}
END: dict[str, Any] = {"linestyle": "none", "markersize": 5, "clip_on": False, "zorder": 5}
LEAD: dict[str, Any] = {
    "ha": "right",
    "va": "top",
    "fontsize": 6,
    "path_effects": [withStroke(linewidth=2, foreground="white")],
}


@dataclass(frozen=True, eq=False)
class SizedRace:
    """The race on one dataset, with one model, at one batch size."""

    batch_size: int
    group: RunGroup  # the runs of CLR, named after the batch size and the fixed rate
    table: pd.DataFrame  # result of `race`, from the highest target to the lowest
    headline: pd.Series  # its columns, at the headline target

    @property
    def headline_is_finite(self) -> bool:
        """True if both reach the headline target."""
        return 0 < self.headline["ratio"] < np.inf

    @property
    def finite(self) -> pd.DataFrame:
        """Rows before the first target that one of the two never reaches."""
        ratio = self.table["ratio"]
        return self.table[((ratio > 0) & np.isfinite(ratio)).cummin()]


Scopes = dict[tuple[str, str], list[SizedRace]]  # by display name of the data, and model


def draw(tables: Tables) -> Figure:
    """Draw the ratio of steps over target losses, and the headline ratio over batch sizes."""
    rules = claim_rules.load()
    names = (display_name(rules.optimizer), display_name(rules.baseline))
    scopes: Scopes = {
        (str(data), str(model)): _races(runs, tables.steps, rules)
        for (_, data, model), runs in tables.runs.groupby(["dataset", "data_label", "model"])
    }
    figure, axes = _layout(len(scopes))
    ylim = _limits(race for own in scopes.values() for race in own)
    for ax, ((data, model), own) in zip(axes, scopes.items(), strict=False):
        _draw_scope(ax, own, ylim, names)
        ax.set_title(panels.panel_title(data, model), pad=8)
        ax.set_xlabel("target loss")
    axes[-1].set_yscale("log")
    axes[-1].set_ylim(ylim)
    panels.format_log_ticks(axes[-1])
    _draw_headlines(axes[-1], scopes, names)
    title = f"Filled: target at {rules.quicker.headline:g} of the way"
    axes[-1].set_title(f"{title}\nopen: last target that both reach", pad=8)
    axes[-1].set_xlabel("batch size")
    for ax in axes:
        ax.axhline(1, color=style.INK, linewidth=0.8)
        ax.text(0.99, 0.97, f"{names[0]} leads below", transform=ax.get_yaxis_transform(), **LEAD)
        ax.set_ylabel(f"steps of {names[0]} / steps of {names[1]}")
    title = f"The race to each loss: below 1, {names[0]} takes fewer steps"
    describe(figure, tables, title, _notes(names, rules), spread=_spread(rules))
    return figure


def _races(runs: pd.DataFrame, steps: pd.DataFrame, rules: Rules) -> list[SizedRace]:
    """The race at each batch size that has runs of CLR and a best fixed rate."""
    races = []
    for size, rows in runs.groupby("batch_size"):
        groups = {group.optimizer: group for group in group_runs(rows) if group.main}
        if not {rules.optimizer, rules.baseline} <= set(groups):
            continue
        group, best = groups[rules.optimizer], groups[rules.baseline]
        own, other = (loss_curves(main.runs, steps, rules.window_epochs) for main in (group, best))
        fractions = [*equal_fractions(rules.quicker.targets), rules.quicker.headline]
        targets = race_targets(own, other, fractions)
        table = race(own, other, targets, rules.interval.confidence)
        edge = "" if best.best is None or best.best.interior else ", edge"
        named = replace(group, name=f"batch size {size} ({best.curve_name}{edge})")
        races.append(SizedRace(int(str(size)), named, table.iloc[:-1], table.iloc[-1]))
    return races


def _layout(scopes: int) -> tuple[Figure, list[Axes]]:
    """A panel for each scope, and one for the headlines that fills the rest of the last row."""
    rows = scopes // COLUMNS + 1
    names = [*map(str, range(scopes)), *["headline"] * (rows * COLUMNS - scopes)]
    figure = Figure(figsize=(7, 1.2 + 2.5 * rows))
    grid: Any = [names[i : i + COLUMNS] for i in range(0, len(names), COLUMNS)]
    axes = figure.subplot_mosaic(grid)
    return figure, [axes[name] for name in dict.fromkeys(names)]


def _limits(races: Iterable[SizedRace]) -> tuple[float, float]:
    """Limits of the ratio, the same in all panels; a wide interval is cut at the axis."""
    ratios = [1 / SHOWN, SHOWN, *(ratio for own in races for ratio in own.finite["ratio"])]
    return min(ratios) / 1.25, max(ratios) * 1.25


def _draw_scope(
    ax: Axes, races: list[SizedRace], ylim: tuple[float, float], names: tuple[str, str]
) -> None:
    """Draw the ratio over target losses, one curve for each batch size, with end markers.

    A dotted line leads from the last ratio to the marker at the first target that is not reached.
    """
    drawn = [(own.group, _points(own.finite.set_index("target_loss"), ylim)) for own in races]
    batch_sizes.draw(ax, drawn, ylim)
    for own, look in zip(races[::-1], style.shades(len(races)), strict=True):
        ends = own.table.drop(own.finite.index)
        if len(ends):
            x, ratio = ends[["target_loss", "ratio"]].iloc[0]
            edge = _mark_end(ax, x, ratio, own.group.curve_name, look["color"], names)
            last = own.finite[["target_loss", "ratio"]].tail(1).to_numpy()
            path = np.concatenate([last, [(x, edge)]]).T
            gid = panels.tag("end", own.group.curve_name)
            ax.plot(*path, color=look["color"], gid=gid, linewidth=0.8, linestyle=(0, (1, 1.5)))
    handles = [
        Line2D([], [], label=own.group.label, marker="o", markersize=2.2, **look)
        for own, look in zip(races, style.shades(len(races))[::-1], strict=True)
    ]
    ax.legend(handles, [str(handle.get_label()) for handle in handles])
    losses = [loss for own in races for loss in own.table["target_loss"]]
    if losses:
        ax.set_xscale("log")
        ax.set_xlim(max(losses) * 1.05, min(losses) / 1.05)  # training goes to the right
        _format_losses(ax)


def _mark_end(
    ax: Axes,
    x: float,
    ratio: float,
    name: str,
    color: str,
    names: tuple[str, str],
) -> float:
    """Mark at the edge of the axis that only one of the two gets there; return the edge."""
    low, high = ax.get_ylim()
    y, marker = (low, "v") if ratio == 0 else (high, "^")
    loser = f"the best rate of {names[1]}" if ratio == 0 else names[0]
    label = f"{name}: {loser} never gets there"
    gid = panels.tag("end", name)
    ax.plot([x], [y], color=color, marker=marker, label=label, gid=gid, **END)
    return y


def _points(table: pd.DataFrame, ylim: tuple[float, float]) -> pd.DataFrame:
    """Ratio and interval in the columns of `over_seeds`; the ratio for a missing interval."""
    ends = {"low": "ratio_low", "high": "ratio_high"}
    columns = {name: table[end].fillna(table["ratio"]).clip(*ylim) for name, end in ends.items()}
    return pd.DataFrame({"mean": table["ratio"], **columns})


def _draw_headlines(ax: Axes, scopes: Scopes, names: tuple[str, str]) -> None:
    """Draw the headline ratio over batch sizes, one curve with bars for each dataset and model.

    Where it is 0 or infinite, open circles still show the ratio at the last target that both reach.
    """
    looks = [style.LOOKS["clr"], *style.OTHERS]
    handles = []
    for i, ((data, model), races) in enumerate(scopes.items()):
        look = looks[i % len(looks)]
        name = f"{data}, {display_name(model)}"
        last = {own.batch_size: own.finite.iloc[-1] for own in races if len(own.finite)}
        _draw_bars(ax, last, f"{name}, last loss of both", look | OPEN)
        reached = {own.batch_size: own.headline for own in races if own.headline_is_finite}
        handles.append(_draw_bars(ax, reached, name, look | BARS))
        for own in races:
            if not own.headline_is_finite:
                ratio = own.headline["ratio"]
                _mark_end(ax, own.batch_size, ratio, name, look["color"], names)
    titles = [panels.panel_title(data, model) for data, model in scopes]
    ax.legend(handles, titles, fontsize=6)
    _format_sizes(ax, sorted({own.batch_size for races in scopes.values() for own in races}))


def _draw_bars(ax: Axes, rows: dict[int, pd.Series], name: str, look: style.Look) -> Any:
    """Draw the ratio of one row for each batch size, with its interval, cut at the axis."""
    table = pd.DataFrame(list(rows.values()), columns=RATIO, index=list(rows), dtype=float)
    points = _points(table, ax.get_ylim())
    bars = panels.bar_lengths(points["mean"], points["low"], points["high"])
    return ax.errorbar(points.index, points["mean"], bars, label=name, **look)


def _format_sizes(ax: Axes, sizes: list[int]) -> None:
    """Logarithmic axis with a tick at each batch size; close ones share a label."""
    if not sizes:
        return
    ticks: list[list[int]] = []
    for size in sizes:
        if ticks and size < CLOSE * ticks[-1][0]:
            ticks[-1].append(size)
        else:
            ticks.append([size])
    ax.set_xscale("log", base=2)
    ax.set_xlim(sizes[0] / 1.3, sizes[-1] * 1.3)
    labels = [", ".join(map(str, close)) for close in ticks]
    ax.set_xticks([close[0] for close in ticks], labels, minor=False)
    ax.xaxis.set_minor_locator(NullLocator())


def _format_losses(ax: Axes) -> None:
    """Ticks of the target loss: enough labeled ones on a logarithmic axis of any length."""
    high, low = ax.get_xlim()
    if high < 4 * low:
        ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    else:
        mantissas = (1, 2, 3, 5) if high < 30 * low else (1, 3) if high < 1000 * low else (1,)
        powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
        ticks = [mantissa * 10.0**power for power in powers for mantissa in mantissas]
        ax.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    ax.xaxis.set_minor_locator(NullLocator())


def _notes(names: tuple[str, str], rules: Rules) -> list[str]:
    clr, sgd = names
    epochs = "epoch" if rules.window_epochs == 1 else f"{rules.window_epochs:g} epochs"
    return [
        f"Targets: {rules.quicker.targets} losses on the way from the first loss to the end of the "
        "optimizer that ends lower, at equal distances in the logarithm. "
        f"Steps: until the mean loss of the last {epochs} is at most the target. "
        "In parentheses: the best fixed rate; edge: of the sweep. "
        f"▲: from here on {clr} never gets there; ▼: the fixed rate of {sgd} never does."
    ]


def _spread(rules: Rules) -> str:
    return (
        "Lines: geometric mean of the ratio over the seeds; bands and bars: "
        f"{rules.interval.confidence:.0%} t interval, or the range where a seed never gets there."
    )
