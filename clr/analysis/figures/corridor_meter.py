"""Corridor meter: distance of training from a corridor, and the size of implicit regularization.

It shows what `clr.training.corridor_meter` measured at some steps of CLR and of the best fixed
learning rate.
"""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from clr.analysis.figures import panels, style
from clr.analysis.figures.captions import describe
from clr.analysis.figures.run_groups import RunGroup, group_runs, over_seeds
from clr.analysis.tables import Tables

# Columns of the table corridor_meter, titles of their panels, labeled values of simple surfaces.
PANELS: list[tuple[str, str, dict[float, str]]] = [
    ("learning_rate", "Learning rate h", {}),
    ("kappa", "Curvature κ = E‖Hg‖ / ‖g‖³", {0.5: "round bowl"}),
    ("turn", "Gradient change, h‖Hg‖ / ‖g‖", {2.0: "bowls diverge above"}),
    ("loss", "Training loss E", {}),
    ("correction", "Implicit regularization, (h/2)‖Hg‖", {}),
    ("fall", "Decrease of the loss / h‖g‖²", {1.0: "corridor"}),
]
MIN_FALL = -1.0  # lower limit of the last panel: one large increase would flatten everything else
LABEL: dict[str, Any] = {
    "ha": "left",
    "fontsize": 6,
    "zorder": 1.9,  # behind the curves
    "path_effects": [withStroke(linewidth=2, foreground="white")],
}


def draw(tables: Tables) -> Figure:
    """Draw the six measured quantities over steps; runs without measurements are not shown."""
    figure = Figure(figsize=(7, 4.5))
    axes = figure.subplots(2, 3, sharex=True)
    groups = [group for group in group_runs(tables.runs) if group.main]
    looks = style.looks(tables.runs)
    for ax, (column, title, known) in zip(axes.flat, PANELS, strict=True):
        if column in tables.corridor_meter:
            _draw_panel(ax, tables, groups, column, known, looks)
        ax.set_title(title)
    falls = axes[1, 2]
    falls.set_ylim(max(falls.get_ylim()[0], MIN_FALL), max(falls.get_ylim()[1], 1.15))
    for ax in axes[1]:
        ax.set_xlabel("step")
    low, high = axes[0, 0].get_ylim()
    axes[0, 0].set_ylim(low, high * (high / low) ** 0.8)  # space for the legend of all panels
    panels.add_legend(axes[0, 0])
    title, note = _nearest_to_corridor(tables, groups)
    notes = [
        note,
        "In a corridor κ, the gradient change and the implicit regularization are 0, and the last "
        "panel is 1. All values are of the step's own batch, before the step, in float32. For CLR "
        "without a cap the gradient change is κ.",
        *_unmeasured(tables, groups),
    ]
    describe(figure, tables, title, notes)
    return figure


def _draw_panel(
    ax: Axes,
    tables: Tables,
    groups: list[RunGroup],
    column: str,
    known: dict[float, str],
    looks: dict[str, style.Look],
) -> None:
    meter = tables.corridor_meter
    points = [(group, over_seeds(group.rows(meter), "step", column)) for group in groups]
    ylim = None if column == "fall" else panels.log_limits(points, also=known)
    panels.draw_groups(ax, points, looks, ylim)
    for value, name in known.items():
        ax.axhline(value, color=style.INK, linewidth=0.8, linestyle=(0, (1, 2)))
        side = "top" if name.endswith("above") else "bottom"
        ax.text(0.02, value, name, va=side, transform=ax.get_yaxis_transform(), **LABEL)


def _nearest_to_corridor(tables: Tables, groups: list[RunGroup]) -> tuple[str, str]:
    """Title and note: the smallest κ of each group, and its implicit regularization there."""
    smallest, sizes = [], []
    for group in groups[::-1]:
        rows = group.rows(tables.corridor_meter)
        if rows.empty:
            continue
        kappa, turn = (over_seeds(rows, "step", column)["mean"] for column in ("kappa", "turn"))
        if len(kappa):
            step = kappa.idxmin()
            smallest.append(f"{kappa.min():.2g} with {group.name}")
            size = turn.reindex([step]).iloc[0] / 2
            sizes.append(f"{size:.2g} ‖g‖ with {group.name} (step {step})")
    if not smallest:
        return "Corridor meter", "No measurement is finite for all seeds."
    title = f"Corridor meter: smallest κ is {', '.join(smallest)}; in a corridor κ = 0"
    return title, f"At the smallest κ the implicit regularization is {', '.join(sizes)}."


def _unmeasured(tables: Tables, groups: list[RunGroup]) -> list[str]:
    """A note that lists the runs without measurements, if there are any."""
    lacking = []
    for group in groups:
        runs = group.runs[~group.runs["run_id"].isin(tables.corridor_meter["run_id"])]
        name = group.name if group.rate is None else f"{group.name} at rate {group.rate:g}"
        if len(runs) == len(group.runs):
            lacking.append(name)
        elif len(runs):
            lacking.append(f"{name} with seed {', '.join(map(str, sorted(runs['seed'])))}")
    return [f"Not measured, therefore not shown: {'; '.join(lacking)}."] if lacking else []
