"""Single steps of one seed, drawn faintly behind a curve that averages over steps.

An average over steps hides a loss that alternates from step to step.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from clr.analysis.figures import style
from clr.analysis.figures.panels import tag
from clr.analysis.figures.run_groups import RunGroup

# Vertices of a faint line. A longer run is drawn as an envelope in all formats and in the report:
# as a raster image it would keep the PDF and the SVG small, but not the report's data, and a line
# of more vertices than pixels looks like its envelope anyway.
MAX_VERTICES = 1000
# Fraction of a line's values, at either end, that the limits of the axis need not show.
TAIL = 0.01
LOOK: dict[str, Any] = {"linewidth": 0.5, "alpha": 0.45, "linestyle": "-", "zorder": 1.5}

GroupSteps = tuple[RunGroup, pd.Series]  # a group and the single steps of its first seed


def select_steps(
    groups: Iterable[RunGroup], steps: pd.DataFrame, y: str, size: int
) -> list[GroupSteps]:
    """Column `y` at the single steps of the first seed of each main group, indexed by step.

    Empty if a point of the curves is a single step anyway. Infinite and missing values are left
    out, as in the curves.

    Args:
        groups: groups of runs, of which only the main ones are used.
        steps: rows with run_id, step and `y`.
        y: a column of `steps`.
        size: number of steps that a point of the curves summarizes.
    """
    selected = []
    for group in groups if size > 1 else ():
        if group.main:
            first = group.runs.sort_values("seed")["run_id"].iloc[0]
            rows = steps[(steps["run_id"] == first) & np.isfinite(steps[y])]
            selected.append((group, rows.set_index("step")[y].sort_index()))
    return selected


def shown_range(selected: list[GroupSteps]) -> list[float]:
    """Values that the axis has to show: all but the `TAIL` at either end of each line.

    Single outliers would flatten the curves.
    """
    lines = [values for _, values in selected if len(values)]
    return [float(end) for values in lines for end in values.quantile([TAIL, 1 - TAIL])]


def draw(ax: Axes, selected: list[GroupSteps], looks: dict[str, style.Look]) -> None:
    """Draw the single steps behind the curves of their groups, in the same colors."""
    for group, values in selected:
        points = envelope(values)
        color = looks[group.optimizer]["color"]
        name = f"{group.curve_name}, single steps"
        gid = tag("step", group.curve_name)
        ax.plot(points.index, points.to_numpy(), color=color, label=name, gid=gid, **LOOK)


def envelope(values: pd.Series) -> pd.Series:
    """The lowest and the highest value of each of `MAX_VERTICES` / 2 equal parts of a long series.

    Both keep their place on the axis. A series of at most `MAX_VERTICES` values is returned whole.
    """
    if len(values) <= MAX_VERTICES:
        return values
    numbered = pd.Series(values.to_numpy())
    parts = numbered.groupby(np.arange(len(values)) * (MAX_VERTICES // 2) // len(values))
    return values.iloc[np.union1d(parts.idxmin(), parts.idxmax())]
