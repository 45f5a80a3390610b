"""Building blocks of a panel: curves with bands, logarithmic axes, caps and the legend."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator

from clr.analysis.figures import style
from clr.analysis.figures.run_groups import GroupPoints, RunGroup
from clr.analysis.names import display_name

# main: a curve in color; other: a curve in gray; band: the range of a main curve over the seeds;
# diverged: the cross at the end of a curve; level: a labeled horizontal line; step: the single
# steps behind a main curve; end: the mark where a curve of the race ends.
Role = Literal["main", "other", "band", "diverged", "level", "step", "end"]
TITLE_WIDTH = 50  # characters per line of a panel's title
CROSS: dict[str, Any] = {"marker": "x", "markersize": 4.5}


def tag(role: Role, name: str) -> str:
    """Tag (`gid`) of an artist: its role, and the name that all artists of a curve share."""
    return f"{role}:{name}"


def read_tag(artist: Artist) -> tuple[str, str]:
    """Role and name of an artist, both empty if it has no tag."""
    role, _, name = (artist.get_gid() or "").partition(":")
    return role, name


def draw_groups(
    ax: Axes,
    drawn: list[GroupPoints],
    looks: dict[str, style.Look],
    ylim: tuple[float, float] | None,
) -> None:
    """Draw main groups with bands and other groups in gray; a cross marks a diverged seed.

    Args:
        ax: axes to draw into.
        drawn: groups and their points, in drawing order; a group without points is skipped.
        looks: look of each optimizer.
        ylim: limits of a logarithmic axis; None for a linear axis with automatic limits.
    """
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10], nbins=6))
    if ylim:
        ax.set_yscale("log")
        ax.set_ylim(ylim)
        format_log_ticks(ax)
    others = [group for group, _ in drawn if not group.main]
    for group, points in drawn:
        if points.empty:
            continue
        name = group.curve_name
        if group.main:
            color = looks[group.optimizer]["color"]
            _draw_main(ax, group, points, name, looks[group.optimizer])
        else:
            color = style.INK
            shade = style.gray(others.index(group), len(others))
            x, mean = points.index.to_numpy(), points["mean"].to_numpy()
            look: style.Look = {"color": shade, "linewidth": 0.8, "label": name}
            ax.plot(x, mean, gid=tag("other", name), **look)
        if group.diverged:
            # A loss above the upper limit has its cross at the limit.
            y = min(points["mean"].iloc[-1], ax.get_ylim()[1])
            position: dict[str, Any] = {"clip_on": False, "zorder": 5, "linestyle": "none"}
            look = {"color": color, "label": f"{name} diverged", **position, **CROSS}
            ax.plot(points.index[-1], y, gid=tag("diverged", name), **look)


def _draw_main(
    ax: Axes, group: RunGroup, points: pd.DataFrame, name: str, look: style.Look
) -> None:
    x, mean = points.index.to_numpy(), points["mean"].to_numpy()
    band: dict[str, Any] = {"color": look["color"], "alpha": 0.2, "linewidth": 0}
    ax.fill_between(x, points["low"], points["high"], gid=tag("band", name), **band)
    # Markers show how few points a short curve has.
    marker: dict[str, Any] = {"marker": "o", "markersize": 2.2} if len(x) <= 20 else {}
    ax.plot(x, mean, label=group.label, gid=tag("main", name), **look, **marker)


def draw_level(ax: Axes, value: float, label: str, look: style.Look) -> None:
    """Draw a horizontal line that the legend names."""
    ax.axhline(value, label=label, gid=tag("level", label), **look)


def draw_caps(ax: Axes, runs: pd.DataFrame) -> list[float]:
    """Draw the caps of the learning rates of `runs`, and return them."""
    caps = sorted(runs["max_lr"].dropna().unique())
    for cap in caps:
        look = {"color": style.INK, "linewidth": 1.2, "linestyle": (0, (1, 2))}
        draw_level(ax, cap, f"cap: {cap:g}", look)
    return caps


def format_log_ticks(ax: Axes) -> None:
    """Write ticks as 0.01 instead of powers of ten, and label some minor ticks of a short axis.

    A very short axis has ticks at equal distances.
    """
    low, high = ax.get_ylim()
    if high < 4 * low:
        ax.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        ax.yaxis.set_minor_locator(NullLocator())
    labeled = "235" if high < 60 * low else "25" if high < 500 * low else ""
    ax.yaxis.set_major_formatter(lambda y, _: f"{y:g}")
    ax.yaxis.set_minor_formatter(lambda y, _: f"{y:g}" if f"{y:e}"[0] in labeled else "")


def panel_title(data: object, *rest: object) -> str:
    """Title of a panel: the data above the model and the batch size; a long title is wrapped."""
    names = ", ".join(display_name(part) for part in rest)
    if len(str(data)) <= TITLE_WIDTH:
        return f"{data}\n{names}"
    return textwrap.fill(f"{data}, {names}", TITLE_WIDTH)


def log_limits(
    drawn: list[GroupPoints], also: Iterable[float] = (), legend_rows: int = 0
) -> tuple[float, float]:
    """Limits of a logarithmic axis that show the main curves and the ends of the others.

    Diverged groups are ignored if there are others, because they would flatten the rest.

    Args:
        drawn: groups and their points.
        also: further values to show; values that are not positive and finite are ignored.
        legend_rows: rows of a legend for which space is left above the curves.
    """
    drawn = [(group, points) for group, points in drawn if len(points)]
    drawn = [(group, points) for group, points in drawn if not group.diverged] or drawn
    values = [
        points[["low", "high"]] if group.main else points[["mean"]].iloc[[0, -1]]
        for group, points in drawn
    ]
    shown = np.concatenate([*(table.to_numpy(float).ravel() for table in values), list(also)])
    shown = shown[(shown > 0) & np.isfinite(shown)]
    if not len(shown):
        return 0.1, 10.0  # nothing to show: an empty panel
    low, high = float(shown.min()), float(shown.max())
    pad = max(high / low, 2) ** 0.05
    return low / pad, high * pad * (high / low) ** (0.12 * legend_rows)


def bar_lengths(
    centers: Iterable[float], lows: Iterable[float], highs: Iterable[float]
) -> np.ndarray:
    """Lengths of error bars below and above their centers, of shape (2, number of centers).

    The mean of equal numbers may be rounded to below the lowest of them; such a bar has length 0.
    """
    center, low, high = (np.asarray(list(numbers), float) for numbers in (centers, lows, highs))
    return np.maximum([center - low, high - center], 0.0)


def add_legend(ax: Axes, others: Iterable[RunGroup] = (), also: Iterable[Axes] = ()) -> None:
    """Add a legend of the main curves and levels, CLR first, then of the other rates.

    Args:
        ax: axes of the legend.
        also: further axes, whose curves may be absent in `ax`.
        others: groups drawn in gray; each optimizer has one entry for all of them, and one for
            those that diverged.
    """
    lines = [line for axes in (ax, *also) for line in list(axes.lines)[::-1]]
    named = {line.get_label(): line for line in lines if read_tag(line)[0] in ("main", "level")}
    handles = list(named.values())
    groups = list(others)
    for optimizer in dict.fromkeys(group.optimizer for group in groups):
        own = [group for group in groups if group.optimizer == optimizer]
        look: style.Look = {"color": style.gray(1, 3), "linewidth": 0.8}
        if rates := [f"{group.rate:g}" for group in own if not group.diverged]:
            # Only the first and the last rate: a list of a dozen would hide the curves.
            ends = "–".join(dict.fromkeys((rates[0], rates[-1])))
            handles.append(Line2D([], [], label=f"{own[0].name}, others: {ends}", **look))
        if rates := [f"{group.rate:g}" for group in own if group.diverged]:
            label = f"{own[0].name}, diverged: {', '.join(rates)}"
            cross = CROSS | {"markeredgecolor": style.INK}
            handles.append(Line2D([], [], label=label, **look, **cross))
    if handles:
        ax.legend(handles, [str(handle.get_label()) for handle in handles])
