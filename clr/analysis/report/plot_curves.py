"""Curves of a drawn matplotlib panel, read back so that the interactive plot shows the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from clr.analysis.figures.panels import read_tag


@dataclass(frozen=True, eq=False)
class PlotCurve:
    """One line of a panel, with its band or error bars if it has any, in data coordinates."""

    name: str  # shown at the pointer
    label: str  # legend entry, which several curves may share; empty for a curve without one
    line: Line2D
    points: pd.DataFrame  # columns x and mean; also low and high with a band or bars
    filled: bool  # a filled band instead of a bar at each point

    @property
    def alpha(self) -> float:
        """Opacity of the line: below 1 for the single steps behind a curve."""
        alpha = self.line.get_alpha()
        return 1.0 if alpha is None else float(alpha)


def is_plottable(drawn: Figure) -> bool:
    """Return whether a figure has only lines, bands and error bars, which `plot_curves` reads."""
    return all(_is_plottable(ax) for ax in drawn.axes)


def _is_plottable(ax: Axes) -> bool:
    bars = [bar for container in _error_bars(ax) for bar in container.lines[2]]
    known = all(
        artist in bars or (isinstance(artist, PolyCollection) and read_tag(artist)[0] == "band")
        for artist in ax.collections
    )
    return ax.name == "rectilinear" and not ax.images and not ax.patches and known


def plot_curves(ax: Axes) -> list[PlotCurve]:
    """Curves of a panel in drawing order: error bars first, then lines."""
    curves = list(_bar_curves(ax))
    parts = {part for container in _error_bars(ax) for part in _lines_of(container)}
    labels: dict[str, str] = {}
    for line in ax.lines:
        if line in parts:
            continue
        role, name = read_tag(line)
        label = _label(line, role, name)
        if name:
            label = labels.setdefault(name, label)  # cross and single steps have that of the curve
        points = _points(ax, line)
        if role == "main":
            points = _with_band(points, ax, name)
        named = {"diverged": f"{name} diverged"} | dict.fromkeys(("step", "end"), line.get_label())
        shown = str(named.get(role, name) or label)
        curves.append(PlotCurve(shown, label, line, points, filled=True))
    return curves


def _bar_curves(ax: Axes) -> Iterator[PlotCurve]:
    for container in _error_bars(ax):
        line, _, (bars,) = container.lines
        x, mean = line.get_data()
        # The shape of no bars at all, too.
        ends = np.array([segment[:, 1] for segment in bars.get_segments()]).reshape(-1, 2)
        columns = {"x": x, "mean": mean, "low": ends.min(axis=1), "high": ends.max(axis=1)}
        name = str(container.get_label())
        yield PlotCurve(name, name, line, pd.DataFrame(columns), filled=False)


def _error_bars(ax: Axes) -> list[ErrorbarContainer]:
    return [artist for artist in ax.containers if isinstance(artist, ErrorbarContainer)]


def _lines_of(container: ErrorbarContainer) -> list[Line2D]:
    line, caps, _ = container.lines
    return [line, *caps]


def _label(line: Line2D, role: str, name: str) -> str:
    """Legend entry of a line, on one line; the other rates of an optimizer share one."""
    if role == "other":
        return f"{name.rpartition(' ')[0]}, other rates"
    label = " ".join(str(line.get_label()).split())
    # Matplotlib gives a line without a label one that starts with an underscore.
    return "" if not role and label.startswith("_") else label


def _points(ax: Axes, line: Line2D) -> pd.DataFrame:
    x, y = line.get_data()
    if not line.get_transform().contains_branch_separately(ax.transData)[0]:
        x = np.array(ax.get_xlim())  # a level, from one edge to the other
    return pd.DataFrame({"x": x, "mean": y}, dtype=float)


def _with_band(points: pd.DataFrame, ax: Axes, name: str) -> pd.DataFrame:
    """Add the columns low and high from the band of the curve `name`."""
    for artist in ax.collections:
        if read_tag(artist) == ("band", name):
            corners = np.concatenate([path.vertices for path in artist.get_paths()])
            edges = pd.DataFrame(corners, columns=["x", "y"]).groupby("x")["y"].agg(["min", "max"])
            return points.join(edges.set_axis(["low", "high"], axis=1), on="x")
    return points
