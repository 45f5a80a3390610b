"""Interactive panels of a matplotlib figure, by Bokeh: zoom, and numbers at the pointer."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from bokeh.core.validation import silence
from bokeh.core.validation.warnings import MISSING_RENDERERS
from bokeh.embed import json_item
from bokeh.models import ColumnDataSource, CustomJSTicker, FixedTicker, HoverTool, Range1d
from bokeh.models.annotations import Label, Legend, LegendItem
from bokeh.models.formatters import CustomJSTickFormatter
from bokeh.models.renderers import GlyphRenderer
from bokeh.plotting import figure as new_plot
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from clr.analysis.report.colors import on_dark
from clr.analysis.report.plot_curves import PlotCurve, is_plottable, plot_curves

silence(MISSING_RENDERERS)  # a panel without runs is empty, as in the picture

PIXELS_PER_POINT = 1.3  # matplotlib's line widths are in points
HEIGHT, LEGEND_ROW = 300, 23  # pixels; the width is that of the page's column
TOOLTIP_STYLE = "font: 12px/1.45 system-ui, sans-serif; font-variant-numeric: tabular-nums"
TOOLTIP = f'<div class="numbers" style="{TOOLTIP_STYLE}">{{}}</div>'
# Bokeh's names of matplotlib's markers.
MARKERS = {"o": "circle", "x": "x", "^": "triangle", "v": "inverted_triangle"}
# Replaces the colors that Bokeh gives each legend by those of the page's color scheme.
LEGEND_CSS = """
:host { background: none !important; border: none !important; }
.bk-label { color: var(--ink) !important; font: 0.8125rem/1.15 var(--sans) !important; }
.bk-label { white-space: normal; max-width: calc(100vw - 8.5rem); }
.bk-item { --item-background-inactive-color: var(--paper) !important; }
.bk-inactive { opacity: 0.45; }
"""
# Bokeh's own ticks on less than two decades are linear, and crowded at the upper end of the axis.
LOG_TICKS = """
const {start, end} = cb_data, decades = Math.log10(end / start), ticks = [];
if (decades < 0.7) {
  const least = (end - start) / 6, power = 10 ** Math.floor(Math.log10(least));
  const step = [1, 2, 5, 10].find((mantissa) => mantissa * power >= least) * power;
  for (let i = Math.ceil(start / step); i * step <= end; i++) ticks.push(i * step);
} else {
  for (let power = Math.floor(Math.log10(start)); power <= Math.log10(end); power++)
    for (const mantissa of decades < 3 ? [1, 2, 5] : [1]) ticks.push(mantissa * 10 ** power);
}
return ticks.filter((tick) => start <= tick && tick <= end);
"""


@dataclass(frozen=True)
class Panel:
    """One interactive panel."""

    target: str  # id of the page's element that it is drawn into
    title: str
    height: int  # pixels
    item: Any  # argument of Bokeh.embed.embed_item
    on_dark: dict[str, str]  # colors that differ on a dark background


def panels(drawn: Figure, name: str) -> list[Panel]:
    """Interactive panels of the figure `name`, empty if it contains a surface or an image."""
    if not is_plottable(drawn):
        return []
    return [_panel(ax, f"{name}-{i}") for i, ax in enumerate(drawn.axes, start=1)]


def _panel(ax: Axes, target: str) -> Panel:
    curves = plot_curves(ax)
    colors = sorted({to_hex(curve.line.get_color()) for curve in curves})
    changed = {color: on_dark(color) for color in colors if on_dark(color) != color}
    plot = _plot(ax, curves)
    item = _with_own_ids(json_item(plot, target), target, {})  # type: ignore[arg-type]
    return Panel(target, ax.get_title(), plot.height, item, changed)


def _with_own_ids(value: Any, prefix: str, ids: dict[str, str]) -> Any:
    """Replace Bokeh's ids, which count up over the life of the process, in its JSON."""
    if isinstance(value, list):
        return [_with_own_ids(part, prefix, ids) for part in value]
    if not isinstance(value, dict):
        return value
    return {
        key: ids.setdefault(part, f"{prefix}-model{len(ids)}")
        if key in ("id", "root_id") and isinstance(part, str)
        else _with_own_ids(part, prefix, ids)
        for key, part in value.items()
    }


def _plot(ax: Axes, curves: list[PlotCurve]) -> Any:
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    # The curve drawn last is named first, as in the picture.
    labels = [label for label in dict.fromkeys(curve.label for curve in curves[::-1]) if label]
    xlabel = _shared_label(ax, "x")
    scales: dict[str, Any] = {"x_axis_type": ax.get_xscale(), "y_axis_type": ax.get_yscale()}
    plot: Any = new_plot(
        height=HEIGHT + LEGEND_ROW * len(labels),
        sizing_mode="stretch_width",
        tools="pan,box_zoom,reset",
        active_drag=None,
        toolbar_location="above",
        x_range=Range1d(start=left, end=right),
        y_range=Range1d(start=bottom, end=top),
        x_axis_label=xlabel,
        y_axis_label=_shared_label(ax, "y"),
        **scales,
    )
    plot.toolbar.logo = None
    drawn = [(curve, _draw(plot, curve)) for curve in curves]
    renderers: dict[str, list[GlyphRenderer]] = {}
    for curve, own in drawn:
        renderers.setdefault(curve.label, []).extend(own)
    _add_hover_tools(plot, drawn, xlabel.partition(" (")[0])
    items = [LegendItem(label=label, renderers=renderers[label]) for label in labels]
    compact: dict[str, Any] = {"location": "left", "padding": 0, "spacing": 1}
    legend = Legend(items=items, click_policy="hide", stylesheets=[LEGEND_CSS], **compact)
    plot.add_layout(legend, "below")
    _add_texts(plot, ax)
    _set_ticks(plot, ax)
    return plot


def _shared_label(ax: Axes, axis: str) -> str:
    """Axis label of this panel, or of one that shares the axis and is labeled for both."""
    shared = ax.get_shared_x_axes() if axis == "x" else ax.get_shared_y_axes()
    labels = [str(getattr(one, f"get_{axis}label")()) for one in (ax, *shared.get_siblings(ax))]
    return next(filter(None, labels), "")


def _draw(plot: Any, curve: PlotCurve) -> list[GlyphRenderer]:
    """Draw a curve's band or bars, its markers and its line, in this order."""
    line, points = curve.line, curve.points
    columns: dict[str, Any] = {str(name): x.to_numpy(np.float32) for name, x in points.items()}
    source = ColumnDataSource(columns)
    color, width = to_hex(line.get_color()), PIXELS_PER_POINT * line.get_linewidth()
    stroke: dict[str, Any] = {"line_color": color, "line_width": width, "line_alpha": curve.alpha}
    drawn = []
    if "low" in points and curve.filled:
        fill: dict[str, Any] = {"fill_color": color, "fill_alpha": 0.2}
        drawn.append(plot.varea("x", "low", "high", source=source, **fill))
    elif "low" in points:
        drawn.append(plot.segment("x", "low", "x", "high", source=source, **stroke))
    marker = MARKERS.get(str(line.get_marker()))
    if marker:
        dot = {"size": PIXELS_PER_POINT * line.get_markersize(), "marker": marker}
        dot |= {"line_color": color, "fill_color": color}
        drawn.append(plot.scatter("x", "mean", source=source, **dot))
    if line.get_linestyle() != "None":
        # Dash lengths have no public getter; they are multiples of the line's width.
        _, dashes = line._unscaled_dash_pattern  # type: ignore[attr-defined]
        dash = [max(1, round(width * length)) for length in dashes or ()]
        drawn.append(plot.line("x", "mean", source=source, line_dash=dash, **stroke))
    for renderer in drawn:
        renderer.name = curve.name
    return drawn


def _add_hover_tools(plot: Any, drawn: list[tuple[PlotCurve, list[GlyphRenderer]]], x: str) -> None:
    """Show the numbers of all banded curves at the pointer's x, and of other curves at a point."""
    for curve, renderers in drawn:
        if "low" not in curve.points and curve.label:
            text = f"{x} @x{{0.[00]}}<br>{_literal(curve.name)}: @mean{{%.4g}}"
            options: dict[str, Any] = {
                "renderers": renderers[-1:],
                "formatters": {"@mean": "printf"},
                "visible": False,
            }
            tooltip = TOOLTIP.format(text)
            plot.add_tools(HoverTool(tooltips=tooltip, **options))
    if banded := [curve for curve, _ in drawn if "low" in curve.points]:
        plot.add_tools(_hover_banded(plot, banded, x))


def _hover_banded(plot: Any, curves: list[PlotCurve], x: str) -> HoverTool:
    """A tool that finds an invisible line with the text of all `curves` at each x."""
    rows = [
        (point.x, point.mean, f"{escape(curve.name)}: {_range_text(point)}")
        for curve in reversed(curves)
        for point in curve.points.itertuples()
    ]
    table = pd.DataFrame(rows, columns=["x", "y", "text"]).groupby("x", as_index=False)
    source = ColumnDataSource(dict(table.agg({"y": "first", "text": "<br>".join})))
    renderer = plot.line("x", "y", source=source, line_alpha=0)
    tooltip = TOOLTIP.format(f"<b>{x} @x{{0.[00]}}</b><br>@text{{safe}}")
    return HoverTool(renderers=[renderer], mode="vline", tooltips=tooltip, visible=False)


def _range_text(point: Any) -> str:
    return f"{point.mean:.4g} ({point.low:.4g} – {point.high:.4g})"


def _literal(name: str) -> str:
    """HTML that shows `name` literally in a tooltip, where Bokeh replaces $name and @column."""
    return escape(name).replace("$", "&#36;").replace("@", "&#64;")


def _add_texts(plot: Any, ax: Axes) -> None:
    """Copy the texts inside a panel, such as the names of levels."""
    for text in ax.texts:
        position = text.get_transform().transform(text.get_position())
        x, y = ax.transData.inverted().transform(position)
        aligned: dict[str, Any] = {
            "text_align": text.get_horizontalalignment(),
            "text_baseline": text.get_verticalalignment(),
        }
        plot.add_layout(Label(x=x, y=y, text=text.get_text(), text_font_size="11px", **aligned))


def _set_ticks(plot: Any, ax: Axes) -> None:
    if ax.get_xscale() == "log":
        plot.xaxis.ticker = FixedTicker(ticks=list(ax.get_xticks()))
    else:
        plot.xaxis.ticker.min_interval = 1  # steps and epochs are whole numbers
    if ax.get_yscale() == "log":
        plot.yaxis.ticker = CustomJSTicker(major_code=LOG_TICKS)
    for axis in plot.axis:
        axis.formatter = CustomJSTickFormatter(code="return String(Number(tick.toPrecision(6)))")
