"""Figure of the cells: final losses and headline ratios of the settings of one protocol."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from clr.analysis.cells import Cell, CellCurve, loss_text, read_cells
from clr.analysis.figures import panels, style
from clr.analysis.figures.captions import describe
from clr.analysis.names import display_name
from clr.analysis.ratios import Ratio
from clr.analysis.tables import Tables
from clr.analysis.verdicts import rules as claim_rules
from clr.analysis.verdicts.rules import Rules

ROW = 0.36  # height of a row in inches
LEGEND = 0.26  # inches between the panel and the legend, for the panel's title
BETWEEN = 0.28  # of a row, between the curves of a cell
SHOWN = 2.0  # the axis of the ratio reaches at least from 1 / SHOWN to SHOWN
MARKERS = {"clr": "o", "sgd": "s"}
OTHER_MARKER = "D"
TEXT: dict[str, Any] = {"fontsize": 6, "va": "center", "textcoords": "offset points"}
RIGHT: dict[str, Any] = {"xytext": (5, 0), "ha": "left"}  # of a marker
LEFT: dict[str, Any] = {"xytext": (-5, 0), "ha": "right"}


def draw(tables: Tables) -> Figure:
    """Draw one row for each cell: final training losses at the left, headline ratios right."""
    rules, looks = claim_rules.load(), style.looks(tables.runs)
    names = (display_name(rules.optimizer), display_name(rules.baseline))
    cells = read_cells(tables, rules)
    figure = Figure(figsize=(7, 1.7 + ROW * len(cells)))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[1.25, 1])
    curves = [curve for cell in cells for curve in cell.curves]
    _set_limits(left, [curve.loss for curve in curves], pad=1.15)
    _set_limits(right, [Ratio(1, 1 / SHOWN, SHOWN), *(curve.ratio for curve in curves)], pad=1.1)
    right.axvline(1, color=style.INK, linewidth=0.8)
    for row, cell in enumerate(cells):
        if not cell.curves:
            left.annotate("no completed run", (left.get_xlim()[0], row), **RIGHT, **TEXT)
        for i, curve in enumerate(cell.curves):
            y = row + BETWEEN * (i - (len(cell.curves) - 1) / 2)
            _draw_loss(left, y, curve, looks[curve.optimizer]["color"])
            _draw_ratio(right, y, curve, looks[curve.optimizer]["color"], names[1])
    left.set_yticks(range(len(cells)), [cell.setting for cell in cells])
    left.set_ylim(len(cells) - 0.5, -0.5)
    for ax in (left, right):
        ax.tick_params(axis="y", length=0)
    left.set(title="Final training loss", xlabel="mean over the last epoch")
    right.set(title=f"Steps / steps of {names[1]}", xlabel="ratio; below 1: in fewer steps")
    _add_legend(left, cells, looks)
    title = f"{names[0]} and the best fixed rate of {names[1]} in each setting"
    describe(figure, tables, title, _notes(names[1], rules), spread=_spread(rules))
    return figure


def _draw_loss(ax: Axes, y: float, curve: CellCurve, color: str) -> None:
    """Draw the final loss with its range; the best fixed rate is written beside it."""
    low, high = ax.get_xlim()
    if curve.diverged:
        ax.plot(high, y, color=color, linestyle="none", clip_on=False, **panels.CROSS)
        ax.annotate(loss_text(curve), (high, y), color=color, **LEFT, **TEXT)
        return
    _draw_interval(ax, y, curve.loss, curve.optimizer, color)
    if curve.rate is not None:
        text = f"{curve.rate:g}{', edge of the sweep' if curve.at_edge else ''}"
        in_last_quarter = curve.loss.high > high * (low / high) ** 0.25
        x, side = (curve.loss.low, LEFT) if in_last_quarter else (curve.loss.high, RIGHT)
        ax.annotate(text, (x, y), color=color, **side, **TEXT)


def _draw_ratio(ax: Axes, y: float, curve: CellCurve, color: str, baseline: str) -> None:
    """Draw a ratio with its interval; at the edge if one of the two never gets to the target."""
    ratio, (low, high) = curve.ratio, ax.get_xlim()
    if math.isnan(ratio.value):
        return
    if 0 < ratio.value < math.inf:
        _draw_interval(ax, y, ratio, curve.optimizer, color)
        return
    if ratio.value == 0:
        x, marker, side, text = low, "<", RIGHT, f"{baseline} never gets there"
    else:
        x, marker, side, text = high, ">", LEFT, "never gets there"
    if not ratio.low == ratio.value == ratio.high and not math.isnan(ratio.low):
        text += " in most seeds"
    ax.plot(x, y, color=color, linestyle="none", marker=marker, markersize=5, clip_on=False)
    ax.annotate(text, (x, y), color=color, **side, **TEXT)


def _draw_interval(ax: Axes, y: float, value: Ratio, optimizer: str, color: str) -> None:
    """Draw a dot and a bar, cut at the axis; no bar for a single seed."""
    low, high = ax.get_xlim()
    if not math.isnan(value.low):
        ax.hlines(y, max(value.low, low), min(value.high, high), color=color, linewidth=1.0)
    ax.plot(value.value, y, color=color, marker=_marker(optimizer), markersize=3.5)


def _marker(optimizer: str) -> str:
    return MARKERS.get(optimizer, OTHER_MARKER)


def _set_limits(ax: Axes, values: Iterable[Ratio], pad: float) -> None:
    """Logarithmic axis for the finite values, and the ends of their intervals if they are near."""
    finite = [value for value in values if 0 < value.value < math.inf]
    dots = [value.value for value in finite] or [1.0]
    ends = [end for value in finite for end in (value.low, value.high)]
    near = [end for end in ends if min(dots) / 3 <= end <= max(dots) * 3]
    low, high = min(dots + near) / pad, max(dots + near) * pad
    ax.set_xscale("log")
    ax.set_xlim(low, high)
    mantissas = (1, 1.5, 2, 3, 5, 7) if high < 8 * low else (1, 2, 5) if high < 100 * low else (1,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)))
    ticks = [mantissa * 10.0**power for power in powers for mantissa in mantissas]
    ax.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    ax.xaxis.set_minor_locator(NullLocator())


def _add_legend(ax: Axes, cells: list[Cell], looks: dict[str, style.Look]) -> None:
    """One entry for each optimizer above the panel, those that set their own rate first."""
    labels: dict[str, str] = {}
    for curve in (curve for cell in cells for curve in cell.curves):
        name = display_name(curve.optimizer)
        if curve.rate is not None:
            labels[curve.optimizer] = f"{name}, best fixed rate"
        labels.setdefault(curve.optimizer, name)
    handles = []
    for optimizer in sorted(labels, key=lambda name: ("fixed" in labels[name], name)):
        look: style.Look = {"marker": _marker(optimizer), "markersize": 3.5, "linewidth": 1.0}
        color = looks[optimizer]["color"]
        handles.append(Line2D([], [], color=color, label=labels[optimizer], **look))
    above = 1 + LEGEND / (ROW * len(cells))
    place: dict[str, Any] = {"loc": "lower right", "bbox_to_anchor": (1, above), "borderaxespad": 0}
    ax.legend(handles=handles, ncols=len(handles), **place)


def _notes(baseline: str, rules: Rules) -> list[str]:
    return [
        f"Numbers beside the squares: the best fixed rate of {baseline}. Steps: to a target that "
        f"is {rules.quicker.headline:g} of the way from the first loss to the end of the optimizer "
        "that ends lower, in the logarithm."
    ]


def _spread(rules: Rules) -> str:
    return (
        "Losses: mean over the seeds, lowest to highest seed. Ratios: geometric mean, "
        f"{rules.interval.confidence:.0%} t interval, or the range where a seed never gets there; "
        "both are cut at the axis."
    )
