"""Corridor meter: distance of training from a corridor, and the alternation of the loss.

It shows what `clr.training.corridor_meter` measured at some steps of CLR and of the best fixed
learning rate, and from the losses of all steps their alternation (`clr.analysis.alternation`).
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from clr.analysis.alternation import WHITE_NOISE_BOUND, WINDOW, alternation, measured_turns
from clr.analysis.figures import panels, single_steps, style
from clr.analysis.figures.captions import describe
from clr.analysis.figures.run_groups import RunGroup, group_runs, over_seeds
from clr.analysis.tables import Tables

BOUND = f"\N{MINUS SIGN}{-WHITE_NOISE_BOUND:g}"
# Titles of the panels, by column of the table corridor_meter.
TITLES = {
    "loss": "Training loss E",
    "learning_rate": "Learning rate h",
    "turn": "Turn of the gradient, h‖Hg‖ / ‖g‖\n(dotted: 2; above, a step makes the gradient grow)",
    "autocorrelation": (
        f"Autocorrelation of the loss at lag one\n(dotted: {BOUND}; below, the loss alternates)"
    ),
    "kappa": "Curvature κ = E‖Hg‖ / ‖g‖³",
    "correction": "Regularization, (h/2)‖Hg‖",
    "fall": "Decrease of E / h‖g‖²",
}
# Values with a dotted line, and a name unless the title explains them.
LEVELS = {
    "turn": (2.0, ""),
    "autocorrelation": (WHITE_NOISE_BOUND, ""),
    "kappa": (0.5, "round bowl"),
    "fall": (1.0, "corridor"),
}
# The turn and the alternation are side by side, the single steps of loss and rate above them.
LAYOUT = [
    ["loss"] * 3 + ["learning_rate"] * 3,
    ["turn"] * 3 + ["autocorrelation"] * 3,
    ["kappa"] * 2 + ["correction"] * 2 + ["fall"] * 2,
]
LINEAR = ("autocorrelation", "fall")
MIN_FALL = -1.0  # lower limit of the last panel: one large increase would flatten everything else
LABEL: dict[str, Any] = {
    "ha": "left",
    "fontsize": 6,
    "zorder": 1.9,  # behind the curves
    "path_effects": [withStroke(linewidth=2, foreground="white")],
}


def draw(tables: Tables) -> Figure:
    """Draw the measured quantities and the alternation over steps.

    Runs without measurements are shown only in the panels of loss, learning rate and alternation.
    """
    figure = Figure(figsize=(7, 6.3))
    axes: dict[str, Axes] = figure.subplot_mosaic(LAYOUT, sharex=True)  # type: ignore[arg-type]
    groups = [group for group in group_runs(tables.runs) if group.main]
    looks = style.looks(tables.runs)
    windows = alternation(tables.steps)
    for column, ax in axes.items():
        table = windows if column == "autocorrelation" else tables.corridor_meter
        if column in table:
            _draw_panel(ax, table, groups, column, looks, _single_steps(tables, groups, column))
        ax.set_title(TITLES[column])
        ax.tick_params(labelbottom=True)  # although panels above others share their axis
    for column in LAYOUT[-1]:
        axes[column].set_xlabel("step")
    axes["autocorrelation"].set_ylim(-1, 1)
    falls = axes["fall"]
    falls.set_ylim(max(falls.get_ylim()[0], MIN_FALL), max(falls.get_ylim()[1], 1.15))
    panels.add_legend(axes["loss"], also=[axes["autocorrelation"]])
    title, note = _nearest_to_corridor(tables, groups)
    notes = [
        f"Autocorrelation: Σ y(t) y(t+1) / Σ y(t)², y the residuals of a straight line through the "
        f"log loss of {WINDOW} steps; 97.5% of such windows of white noise are above {BOUND}.",
        *_turns(tables, groups, windows),
        "Above a turn of 2 the next gradient, to first order g − hHg, is longer than g, and in a "
        "bowl it points backwards.",
        note,
        "In a corridor κ, turn and regularization are 0, and the decrease is 1. Measured "
        "values (dots) are of the step's own batch, before the step, in float32; for CLR without a "
        "cap the turn is κ.",
        *_unmeasured(tables, groups),
    ]
    describe(figure, tables, title, notes)
    return figure


def _draw_panel(
    ax: Axes,
    table: pd.DataFrame,
    groups: list[RunGroup],
    column: str,
    looks: dict[str, style.Look],
    single: list[single_steps.GroupSteps],
) -> None:
    points = [(group, over_seeds(group.rows(table), "step", column)) for group in groups]
    shown = single_steps.shown_range(single)
    if column in LEVELS:
        value, name = LEVELS[column]
        shown.append(value)
        ax.axhline(value, color=style.INK, linewidth=0.8, linestyle=(0, (1, 2)))
        if name:
            ax.text(0.02, value, name, va="bottom", transform=ax.get_yaxis_transform(), **LABEL)
    ylim = None if column in LINEAR else panels.log_limits(points, also=shown)
    panels.draw_groups(ax, points, looks, ylim)
    single_steps.draw(ax, single, looks)


def _single_steps(
    tables: Tables, groups: list[RunGroup], column: str
) -> list[single_steps.GroupSteps]:
    """Single steps of the loss and of the adaptive rates, of which the meter measured only some."""
    if column == "learning_rate":
        groups = [group for group in groups if group.rate is None]
    elif column != "loss":
        return []
    return single_steps.select_steps(groups, tables.steps, column, size=2)


def _turns(tables: Tables, groups: list[RunGroup], windows: pd.DataFrame) -> list[str]:
    """Sentences with each group's median turn where its loss alternates and where it does not."""
    texts = []
    for group in groups[::-1]:
        meter = group.rows(tables.corridor_meter)
        if "turn" not in meter:  # no run was measured
            continue
        turns = measured_turns(meter, group.rows(windows))
        alternates = turns["alternates"]
        parts = [
            f"{rows['turn'].median():.2g} at the {len(rows)} measured steps where the loss {verb}"
            for verb, rows in (
                ("alternates", turns[alternates]),
                ("does not alternate", turns[~alternates]),
            )
            if len(rows)
        ]
        if parts:
            texts.append(f"Median turn of {group.name}, all seeds: {', '.join(parts)}.")
    return texts


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
    return [f"Not measured: {'; '.join(lacking)}."] if lacking else []
