"""When do corridors arise in training, and how do they relate to implicit regularisation? What the meter measured."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from clr.analysis.figures import style
from clr.analysis.names import display_name
from clr.analysis.tables import Curve, Tables, curves, over_seeds

# Columns of the meter's table, what their panels are called, and what is known of a simple surface, with its name.
PANELS: list[tuple[str, str, dict[float, str]]] = [
    ("learning_rate", "Learning rate h", {}),
    ("kappa", "Curvature κ = E‖Hg‖ / ‖g‖³", {0.5: "a round bowl"}),
    ("turn", "Turn of the gradient, h‖Hg‖ / ‖g‖", {2.0: "above, bowls diverge"}),
    ("loss", "Training loss E", {}),
    ("correction", "Implicit regularisation, (h/2)‖Hg‖", {}),
    ("fall", "Fall of the loss over h‖g‖²", {1.0: "a corridor"}),
]
LOWEST_FALL = -1.0  # a step that throws the loss up by orders of magnitude would flatten all others


def draw(tables: Tables) -> Figure:
    figure = Figure(figsize=(7, 4.5))
    axes = figure.subplots(2, 3, sharex=True)
    main = [curve for curve in curves(tables.runs) if curve.main]
    look = style.looks(tables.runs)
    halo = [withStroke(linewidth=2, foreground="white")]
    label: dict[str, Any] = {
        "ha": "left",
        "va": "bottom",
        "fontsize": 6,
        "zorder": 4,
        "path_effects": halo,
    }
    for ax, (column, title, known) in zip(axes.flat, PANELS, strict=True):
        points = [(curve, over_seeds(curve.of(tables.meter), "step", column)) for curve in main]
        style.draw(
            ax, points, look, None if column == "fall" else style.log_limits(points, also=known)
        )
        for value, name in known.items():
            ax.axhline(value, color=style.INK, linewidth=0.8, linestyle=(0, (1, 2)))
            ax.text(0.02, value, name, transform=ax.get_yaxis_transform(), **label)
        ax.set_title(title)
    falls = axes[1, 2]
    falls.set_ylim(max(falls.get_ylim()[0], LOWEST_FALL), max(falls.get_ylim()[1], 1.15))
    for ax in axes[1]:
        ax.set_xlabel("step")
    low, high = axes[0, 0].get_ylim()
    axes[0, 0].set_ylim(low, high * (high / low) ** 0.8)  # room for the legend of all panels
    style.legend(axes[0, 0], others=[])
    title, note = _answer(tables, main)
    notes = [
        note,
        "In a corridor κ, the turn and the implicit regularisation are 0, and the fall is 1. All are of the step's own "
        "batch, before the step, in float32. For CLR without a cap the turn is κ.",
    ]
    # A sweep measures the best rate last, when it is known.
    if unmeasured := [curve.label for curve in main if curve.of(tables.meter).empty]:
        notes.append(f"Not measured yet: {', '.join(unmeasured)}.")
    style.describe(figure, tables, title, notes)
    return figure


def _answer(tables: Tables, main: list[Curve]) -> tuple[str, str]:
    """Where each curve came nearest to a corridor, and how large its implicit regularisation was there."""
    where, size = [], []
    for curve in main[::-1]:
        kappa, turn = (
            over_seeds(curve.of(tables.meter), "step", column)["mean"]
            for column in ("kappa", "turn")
        )
        if len(kappa):
            step, name = (
                kappa.index[int(kappa.argmin())],
                display_name(curve.optimizer),
            )
            where.append(f"{name} at step {step} ({kappa.min():.2g})")
            size.append(f"{turn[turn.index == step].iloc[0] / 2:.2g} ‖g‖ with {name}")
    if not where:
        return "Corridors have κ = 0", "Nothing was measured that all seeds have finite."
    title = f"Corridors have κ = 0. The nearest to one: {', '.join(where)}"
    return title, f"Nearest to a corridor, the implicit regularisation is {', '.join(size)}."
