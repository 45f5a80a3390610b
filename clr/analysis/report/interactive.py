"""A matplotlib figure of ours as panels that one can zoom and point at, by Bokeh.

They are read back from the drawn figure, so that they show what the picture shows, whichever figure it is.
"""

from __future__ import annotations

import colorsys
from collections.abc import Iterator
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
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex, to_rgb
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

silence(MISSING_RENDERERS)  # a panel whose runs are all missing is empty, as in the picture

PIXELS_A_POINT = 1.3  # matplotlib's widths are in points
HEIGHT, LEGEND_ROW = 300, 23  # pixels; the width is that of the page's column
DARK_PAPER = "#15181b"  # templates/report.css has the same
TOLD = '<div class="numbers" style="font: 12px/1.45 system-ui, sans-serif; font-variant-numeric: tabular-nums">{}</div>'
# Bokeh gives each legend colours of its own; the page's follow its scheme.
LEGEND_CSS = """
:host { background: none !important; border: none !important; }
.bk-label { color: var(--ink) !important; font: 0.8125rem/1.15 var(--sans) !important; }
.bk-label { white-space: normal; max-width: calc(100vw - 8.5rem); }
.bk-item { --item-background-inactive-color: var(--paper) !important; }
.bk-inactive { opacity: 0.45; }
"""
# Bokeh's own ticks of less than two decades are those of a linear axis, crowded at its upper end.
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
    target: str  # the id of the page's element that it goes into
    title: str
    height: int  # pixels
    item: Any  # what Bokeh.embed.embed_item takes
    on_dark: dict[str, str]  # the colours of it that are others on dark paper


@dataclass(frozen=True)
class Curve:
    """A line of the picture, with its band or bars if it has any: all of one length, on the axes' scales."""

    name: str  # what is told of it at the pointer
    label: str  # its entry in the legend: curves may share one
    line: Line2D
    points: pd.DataFrame  # x, mean; low and high as well where there is a band or bars
    filled: bool  # the band is filled, rather than a bar at each point


def panels(drawn: Figure, name: str) -> list[Panel]:
    """The panels of figure `name`; none if it holds anything but lines, bands and error bars, such as a surface."""
    if not all(_is_plain(ax) for ax in drawn.axes):
        return []
    return [_panel(ax, f"{name}-{i}") for i, ax in enumerate(drawn.axes, start=1)]


def _panel(ax: Axes, target: str) -> Panel:
    curves = list(_curves(ax))
    colors = {to_hex(curve.line.get_color()) for curve in curves}
    others = {color: dark for color in sorted(colors) if (dark := on_dark(color)) != color}
    plot = _plot(ax, curves)
    return Panel(target, ax.get_title(), plot.height, json_item(plot, target), others)  # type: ignore[arg-type]


def on_dark(color: str) -> str:
    """What `color` is on dark paper.

    Its lightness is inverted where it would be hard to see there: a contrast below 3, WCAG's least for graphics. The
    light greys of the sweep's other rates are dimmed, to stay behind the colours; the larger rate is still the darker.
    """
    hue, lightness, saturation = colorsys.rgb_to_hls(*to_rgb(color))
    if _contrast(color, DARK_PAPER) < 3:
        return to_hex(colorsys.hls_to_rgb(hue, 1 - lightness, saturation))
    return to_hex((0.15 + lightness / 2,) * 3) if saturation == 0 else color


def _contrast(a: str, b: str) -> float:
    """WCAG 2's contrast of two colours, from 1 to 21."""

    def luminance(color: str) -> float:
        rgb = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
        return float(np.dot(rgb, (0.2126, 0.7152, 0.0722)))

    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _is_plain(ax: Axes) -> bool:
    bars = [
        bar
        for found in ax.containers
        if isinstance(found, ErrorbarContainer)
        for bar in found.lines[2]
    ]
    known = all(
        (isinstance(found, PolyCollection) and found.get_gid()) or found in bars
        for found in ax.collections
    )
    return ax.name == "rectilinear" and not ax.images and not ax.patches and known


def _curves(ax: Axes) -> Iterator[Curve]:
    """The curves in the order in which they were drawn."""
    bands = {found.get_gid(): found for found in ax.collections if found.get_gid()}
    of_bars: list[Line2D] = []
    for container in ax.containers:
        if isinstance(container, ErrorbarContainer):
            line, caps, (bars,) = container.lines
            of_bars += [line, *caps]
            x, mean = line.get_data()
            ends = np.array([segment[:, 1] for segment in bars.get_segments()])
            points = pd.DataFrame(
                {"x": x, "mean": mean, "low": ends.min(axis=1), "high": ends.max(axis=1)}
            )
            yield Curve(
                str(container.get_label()), str(container.get_label()), line, points, filled=False
            )
    labels: dict[str | None, str] = {}
    for line in ax.lines:
        if line in of_bars:
            continue
        name, label = line.get_gid(), " ".join(str(line.get_label()).split())
        crossed = label == "_diverged"
        if label.startswith("_other"):
            label = f"{str(name).rpartition(' ')[0]}, other rates"
        label = labels.setdefault(name, label)  # a cross goes where its curve does
        x, y = line.get_data()
        if not line.get_transform().contains_branch_separately(ax.transData)[0]:
            x = np.array(ax.get_xlim())  # a level, from one edge to the other
        points = pd.DataFrame({"x": x, "mean": y}, dtype=float)
        if name in bands and not crossed:
            corners = np.concatenate([path.vertices for path in bands[name].get_paths()])
            edges = pd.DataFrame(corners, columns=["x", "y"]).groupby("x")["y"].agg(["min", "max"])
            points = points.join(edges.set_axis(["low", "high"], axis=1), on="x")
        yield Curve(
            (name or label) + (" diverged" if crossed else ""), label, line, points, filled=True
        )


def _plot(ax: Axes, curves: list[Curve]) -> Any:
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    scales: dict[str, Any] = {"x_axis_type": ax.get_xscale(), "y_axis_type": ax.get_yscale()}
    # The last drawn is the first named, as in the picture.
    named = [
        label
        for label in dict.fromkeys(curve.label for curve in curves[::-1])
        if not label.startswith("_")
    ]
    along = _shared(ax.get_shared_x_axes(), ax, "xlabel")
    plot: Any = new_plot(
        height=HEIGHT + LEGEND_ROW * len(named),
        sizing_mode="stretch_width",
        tools="pan,box_zoom,reset",
        active_drag=None,
        toolbar_location="above",
        x_range=Range1d(start=left, end=right),
        y_range=Range1d(start=bottom, end=top),
        x_axis_label=along,
        y_axis_label=_shared(ax.get_shared_y_axes(), ax, "ylabel"),
        **scales,
    )
    x = along.partition(" (")[0]
    entries: dict[str, list[GlyphRenderer]] = {}
    for curve in curves:
        drawn = _draw(plot, curve)
        entries.setdefault(curve.label, []).extend(drawn)
        if "low" not in curve.points and not curve.name.startswith("_"):
            plot.add_tools(_hover_each(drawn[-1], x))
    if banded := [curve for curve in curves if "low" in curve.points]:
        plot.add_tools(_hover_all(plot, banded, x))
    plot.toolbar.logo = None
    items = [LegendItem(label=label, renderers=entries[label]) for label in named]
    compact: dict[str, Any] = {"location": "left", "padding": 0, "spacing": 1}
    plot.add_layout(
        Legend(items=items, click_policy="hide", stylesheets=[LEGEND_CSS], **compact), "below"
    )
    for text in ax.texts:
        x_at, y_at = ax.transData.inverted().transform(
            text.get_transform().transform(text.get_position())
        )
        aligned: dict[str, Any] = {
            "text_align": text.get_horizontalalignment(),
            "text_baseline": text.get_verticalalignment(),
        }
        plot.add_layout(
            Label(x=x_at, y=y_at, text=text.get_text(), text_font_size="11px", **aligned)
        )
    if ax.get_xscale() == "log":
        plot.xaxis.ticker = FixedTicker(ticks=list(ax.get_xticks()))
    else:
        plot.xaxis.ticker.min_interval = 1  # steps and epochs
    if ax.get_yscale() == "log":
        plot.yaxis.ticker = CustomJSTicker(major_code=LOG_TICKS)
    for axis in plot.axis:
        axis.formatter = CustomJSTickFormatter(code="return String(Number(tick.toPrecision(6)))")
    return plot


def _shared(axes: Any, ax: Axes, what: str) -> str:
    """A label of this panel, or of one that shares the axis: the picture has it once for all of them."""
    labels = [str(getattr(one, f"get_{what}")()) for one in (ax, *axes.get_siblings(ax))]
    return next(filter(None, labels), "")


def _draw(plot: Any, curve: Curve) -> list[GlyphRenderer]:
    """What is drawn of a curve; the last is what the pointer finds."""
    line, points = curve.line, curve.points
    source = ColumnDataSource(
        {str(name): values.to_numpy(np.float32) for name, values in points.items()}
    )
    color, width = to_hex(line.get_color()), PIXELS_A_POINT * line.get_linewidth()
    drawn = []
    if "low" in points:
        if curve.filled:
            drawn.append(
                plot.varea("x", "low", "high", source=source, fill_color=color, fill_alpha=0.2)
            )
        else:
            drawn.append(
                plot.segment(
                    "x", "low", "x", "high", source=source, line_color=color, line_width=width
                )
            )
    if (marker := line.get_marker()) in ("o", "x"):
        size = {
            "size": PIXELS_A_POINT * line.get_markersize(),
            "line_color": color,
            "fill_color": color,
        }
        drawn.append(
            plot.scatter(
                "x", "mean", source=source, marker={"o": "circle", "x": "x"}[marker], **size
            )
        )
    if line.get_linestyle() != "None":
        # The dashes have no public getter; they are in widths of the line.
        _, dashes = line._unscaled_dash_pattern  # type: ignore[attr-defined]
        dash = [max(1, round(width * length)) for length in dashes or ()]
        drawn.append(
            plot.line(
                "x", "mean", source=source, line_color=color, line_width=width, line_dash=dash
            )
        )
    for renderer in drawn:
        renderer.name = curve.name
    return drawn


def _hover_each(found: GlyphRenderer, x: str) -> HoverTool:
    """The numbers of the point that the pointer is at."""
    told = TOLD.format(f"{x} @x{{0.[00]}}<br>$name: @mean{{%.4g}}")
    return HoverTool(
        renderers=[found], tooltips=told, formatters={"@mean": "printf"}, visible=False
    )


def _hover_all(plot: Any, curves: list[Curve], x: str) -> HoverTool:
    """The numbers of all `curves` at the step or epoch that the pointer is above, in one place."""
    rows = [
        (
            point.x,
            point.mean,
            f"{escape(curve.name)}: {point.mean:.4g} ({point.low:.4g} – {point.high:.4g})",
        )
        for curve in reversed(curves)
        for point in curve.points.itertuples()
    ]
    table = pd.DataFrame(rows, columns=["x", "y", "text"]).groupby("x", as_index=False)
    source = ColumnDataSource(dict(table.agg({"y": "first", "text": "<br>".join})))
    found = plot.line("x", "y", source=source, line_alpha=0)
    told = TOLD.format(f"<b>{x} @x{{0.[00]}}</b><br>@text{{safe}}")
    return HoverTool(renderers=[found], mode="vline", tooltips=told, visible=False)
