"""When do corridors arise in training, and how do they relate to implicit regularisation? What the meter measured."""

from __future__ import annotations

from matplotlib.figure import Figure

from plots import style
from plots.tables import NAMES, Curve, Tables, curves, over_seeds

# Columns of the meter's table, what their panels are called, and values known of simple surfaces with their names.
PANELS: list[tuple[str, str, dict[float, str]]] = [
    ("loss", "Training loss E", {}),
    ("kappa", "Curvature κ = E‖Hg‖ / ‖g‖³", {0.5: "round bowl"}),
    ("turn", "Turn of the gradient, h‖Hg‖ / ‖g‖", {2.0: "a bowl diverges"}),
    ("learning_rate", "Learning rate h", {}),
    ("correction", "Implicit regularisation, (h/2)‖Hg‖", {}),
    ("fall", "Fall of the loss over h‖g‖²", {1.0: "corridor"}),
]


def draw(tables: Tables) -> Figure:
    figure = Figure(figsize=(7, 4.4))
    axes = figure.subplots(2, 3, sharex=True)
    main = [curve for curve in curves(tables.runs) if curve.main]
    look = style.looks(tables.runs)
    for ax, (column, title, known) in zip(axes.flat, PANELS, strict=True):
        points = [(curve, over_seeds(curve.of(tables.meter), "step", column)) for curve in main]
        style.draw(ax, points, look, None if column == "fall" else style.log_limits(points, also=known))
        for value, name in known.items():
            ax.axhline(value, color=style.INK, linewidth=0.8, linestyle=(0, (1, 2)))
            ax.text(0.99, value, name, transform=ax.get_yaxis_transform(), ha="right", va="bottom", fontsize=6)
        ax.set_title(title)
    for ax in axes[1]:
        ax.set_xlabel("step")
    style.legend(axes[0, 0], others=[])
    notes = [
        "In a corridor κ, the turn and the implicit regularisation are 0, and the fall is 1.",
        "All are of the step's own batch. Of its ‖g‖, the implicit regularisation is half the turn.",
    ]
    style.describe(figure, tables, _answer(tables, main), notes)
    return figure


def _answer(tables: Tables, main: list[Curve]) -> str:
    """Where each curve came nearest to a corridor."""
    found = []
    for curve in main[::-1]:
        kappa = over_seeds(curve.of(tables.meter), "step", "kappa")["mean"]
        if len(kappa):
            name = NAMES.get(curve.optimizer, curve.optimizer)
            found.append(f"{name} κ = {kappa.min():.2g} at step {kappa.idxmin()}")
    return f"Nearest to a corridor (κ = 0) in training: {', '.join(found)}"
